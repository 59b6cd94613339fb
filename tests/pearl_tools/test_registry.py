from __future__ import annotations

import jsonschema
import pytest

from pearl_tools.errors import ToolFailure
from pearl_tools.registry import TOOLS, find_tool
from pearl_tools.tool import Tool


def test_tools_are_crop_zoom_and_depth() -> None:
    assert list(TOOLS) == ["crop", "zoom", "depth"]


def test_registry_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TOOLS["shell"] = TOOLS["crop"]  # type: ignore[index]  # that is the point


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_schema_is_accepted_as_is_by_function_calling_and_mcp(tool: Tool) -> None:
    schema = tool.spec.arguments
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    # Function-calling services refuse these at the top level.
    assert not {"oneOf", "anyOf", "allOf", "not", "enum", "$ref"} & set(schema)
    assert all("description" in p for p in schema["properties"].values())


@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
def test_prompt_names_every_argument(tool: Tool) -> None:
    for name in tool.spec.arguments["properties"]:
        assert f"`{name}`" in tool.spec.description


@pytest.mark.parametrize("name", ["crop", "zoom"])
def test_coordinates_are_declared(name: str) -> None:
    declared = TOOLS[name].spec.coordinates
    assert declared is not None
    assert (declared.unit, declared.box_form, declared.origin) == ("fraction", "xyxy", "top_left")


def test_depth_says_which_sign_is_near() -> None:
    assert "larger (brighter) = nearer" in TOOLS["depth"].spec.description
    assert TOOLS["depth"].spec.coordinates is None


def test_unknown_tool_names_those_that_exist() -> None:
    with pytest.raises(ToolFailure) as raised:
        find_tool("corp")
    assert str(raised.value.error) == (
        "tool: expected one of crop, zoom, depth, got corp [schema.unknown_tool]; "
        "did you mean `crop`?"
    )
