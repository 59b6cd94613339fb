"""The public JSON Schemas: the typed records are the source, ``schemas/`` is the export.

Draft 2020-12, without remote references, so that any validator works offline. Written so that an
error points at the value that is wrong: tools are told apart by ``if``/``then`` on their name, a
nullable record by its type, never by ``anyOf``, whose error is only "no branch matched".

``python -m pearl_data.schemas --write`` writes the files, ``--check`` fails where they differ.
"""

from __future__ import annotations

import inspect
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import click
import msgspec

from pearl_data.findings import Finding
from pearl_data.shards.manifest import HeaderLine, ShardLine, SummaryLine
from pearl_data.terminal import say
from pearl_data.trajectory import SCHEMA_VERSION, Call, Fault, Result, Trajectory
from pearl_tools.errors import ToolError, all_codes
from pearl_tools.registry import TOOLS
from pearl_tools.types import MAX_NUMBER, ObservationRecord, ToolCall

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Where the exported files lie in a checkout.
FOLDER = Path(__file__).resolve().parents[1] / "schemas"

_OK: Schema = {
    "properties": {
        "result": {"properties": {"status": {"const": "ok"}}, "required": ["status"]},
    },
    "required": ["result"],
}


def schemas() -> dict[str, Schema]:
    """Every exported schema by name: ``trajectory``, ``tool-call``, ``observation``, ..."""
    from pearl_data.audit.records import AUDIT_SCHEMA_VERSION, AuditReport  # brings polars along

    return {
        "trajectory": trajectory_schema(),
        "tool-call": _document("tool-call", SCHEMA_VERSION, ToolCall),
        "observation": _document("observation", SCHEMA_VERSION, ObservationRecord),
        "manifest": _manifest(),
        "audit-report": _document("audit-report", AUDIT_SCHEMA_VERSION, AuditReport),
    }


@cache
def trajectory_schema() -> Schema:
    """The schema of one record, the one that validation compiles."""
    return _document("trajectory", SCHEMA_VERSION, Trajectory)


def schema_text(schema: Schema) -> str:
    """A schema as its file has it: two spaces, keys in the order of the records."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def drift(folder: Path = FOLDER) -> list[str]:
    """What differs between ``folder`` and the code, one line each; empty where nothing does."""
    wanted = {f"{name}.schema.json": schema_text(schema) for name, schema in schemas().items()}
    there = {path.name for path in folder.glob("*.json")}
    lines = [f"{name}: not written yet" for name in sorted(wanted.keys() - there)]
    lines += [f"{name}: no record has this schema" for name in sorted(there - wanted.keys())]
    return lines + [
        f"{name}: differs from the code"
        for name in sorted(wanted.keys() & there)
        if (folder / name).read_text("utf-8") != wanted[name]
    ]


def write(folder: Path = FOLDER) -> None:
    """Write all schemas to ``folder`` and remove those that no record has any more."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        path.unlink()
    for name, schema in schemas().items():
        (folder / f"{name}.schema.json").write_text(schema_text(schema), "utf-8")


def _document(name: str, version: str, record: type) -> Schema:
    """The schema of ``record`` as a document of its own."""
    (root,), definitions = msgspec.json.schema_components([record])
    return _finish(name, version, definitions.pop(root["$ref"].rpartition("/")[2]), definitions)


def _manifest() -> Schema:
    """One line of a manifest: which record it is follows from its ``kind``."""
    lines = (HeaderLine, ShardLine, SummaryLine)
    references, definitions = msgspec.json.schema_components(lines)
    kinds = [str(line.__struct_config__.tag) for line in lines]
    root: Schema = {
        "title": "ManifestLine",
        "description": "One line of manifest.jsonl: a header, then shards, then a summary.",
        "type": "object",
        "properties": {"kind": {"enum": kinds}},
        "required": ["kind"],
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": reference,
            }
            for kind, reference in zip(kinds, references, strict=True)
        ],
    }
    return _finish("manifest", SCHEMA_VERSION, root, definitions)


def _finish(name: str, version: str, root: Schema, definitions: dict[str, Schema]) -> Schema:
    """Root and definitions with everything said that types alone cannot say."""
    records = {root["title"]: root, **definitions}
    for title, rules in _RULES.items():
        if title in records:
            rules(records[title])
    if {Call.__name__, ToolCall.__name__} & records.keys():
        for tool in TOOLS.values():
            definitions[_arguments_of(tool.spec.name)] = _copy(tool.spec.arguments)
    body = _plain({**root, "$defs": dict(sorted(definitions.items()))})
    if not definitions:
        del body["$defs"]
    return {"$schema": DIALECT, "$id": f"urn:pearl:{name}:{version}", **body}


def _rules_for_call(call: Schema) -> None:
    """An ok call names a known tool, has arguments that fit it and says what it did and what ran. A
    failed call may have any name and any arguments: they are often why it failed.
    """
    call["allOf"] = [
        {
            "if": _OK,
            "then": {
                "properties": {
                    "tool": {"enum": list(TOOLS)},
                    "arguments": {"type": "object"},
                    "effective": {"type": "object"},
                    "exec": {"type": "object"},
                }
            },
        },
        *(
            {
                "if": {
                    "properties": {"tool": {"const": name}, **_OK["properties"]},
                    "required": ["tool", "result"],
                },
                "then": {"properties": {"arguments": _if_object(_arguments_of(name))}},
            }
            for name in TOOLS
        ),
    ]


def _rules_for_tool_call(call: Schema) -> None:
    """A request names a known tool; decoded arguments fit it, text is not looked into."""
    call["properties"]["tool"] = {"enum": list(TOOLS)}
    call["properties"]["arguments"] = {"type": ["object", "string"]}
    call["allOf"] = [
        {
            "if": {"properties": {"tool": {"const": name}}, "required": ["tool"]},
            "then": {"properties": {"arguments": _if_object(_arguments_of(name))}},
        }
        for name in TOOLS
    ]


def _rules_for_result(result: Schema) -> None:
    """An error and no media, or no error and media or words: never both, never neither."""
    result["if"] = {"properties": {"status": {"const": "ok"}}, "required": ["status"]}
    result["then"] = {
        "properties": {"error": {"type": "null"}},
        "if": {"properties": {"media": {"maxItems": 0}}},
        "then": {"properties": {"text": {"minLength": 1}}},  # a tool may answer in words alone
    }
    result["else"] = {"properties": {"error": {"type": "object"}, "media": {"maxItems": 0}}}


def _rules_for_code(record: Schema) -> None:
    """Codes come from the closed set."""
    record["properties"]["code"] = {"enum": all_codes()}


_RULES = {
    Call.__name__: _rules_for_call,
    ToolCall.__name__: _rules_for_tool_call,
    Result.__name__: _rules_for_result,
    ObservationRecord.__name__: _rules_for_result,
    ToolError.__name__: _rules_for_code,
    Fault.__name__: _rules_for_code,
    Finding.__name__: _rules_for_code,
}


def _arguments_of(tool: str) -> str:
    return f"{tool}-arguments"


def _if_object(definition: str) -> Schema:
    """Check objects against ``definition``; that it is an object is said elsewhere."""
    return {"if": {"type": "object"}, "then": {"$ref": f"#/$defs/{definition}"}}


def _plain(schema: Any) -> Any:
    """``schema`` with nullable unions by type, portable patterns and bounded numbers."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _plain(value) for key, value in schema.items()}
    if "anyOf" in schema and {"type": "null"} in schema["anyOf"]:
        schema = _nullable(schema)
    if len(schema.get("prefixItems", ())) == schema.get("maxItems"):
        schema.pop("items", None)  # one item too many is one error, not two
    if isinstance(schema.get("pattern"), str):
        # `$` lets a final line break through in Python's re, and does not elsewhere
        schema["pattern"] = _portable(schema["pattern"])
    if schema.get("type") in ("integer", "number", ["integer", "null"], ["number", "null"]):
        # as a bound, 1e308 made the whole check three times as slow: big numbers are compared
        schema.setdefault("minimum", -MAX_NUMBER)
        schema.setdefault("maximum", MAX_NUMBER)
    if isinstance(schema.get("description"), str):
        schema["description"] = " ".join(inspect.cleandoc(schema["description"]).split())
    return schema


def _nullable(schema: Schema) -> Schema:
    """``anyOf`` of one schema and null as one schema."""
    (other,) = [each for each in schema.pop("anyOf") if each != {"type": "null"}]
    if "discriminator" in other:
        return {
            **schema,
            "type": ["object", "null"],
            "if": {"type": "object"},
            "then": _tagged(other),
        }
    if "$ref" in other:
        return {**schema, "type": ["object", "null"], "if": {"type": "object"}, "then": other}
    if "enum" in other:
        return {**schema, "enum": [*other["enum"], None]}
    return {**schema, **other, "type": [other["type"], "null"]}


def _tagged(union: Schema) -> Schema:
    """A tagged union as ``if``/``then`` on its tag: an error points into the right branch."""
    field, branches = union["discriminator"]["propertyName"], union["discriminator"]["mapping"]
    return {
        "type": "object",
        "properties": {field: {"enum": list(branches)}},
        "required": [field],
        "allOf": [
            {
                "if": {"properties": {field: {"const": tag}}, "required": [field]},
                "then": {"$ref": reference},
            }
            for tag, reference in branches.items()
        ],
    }


def _portable(pattern: str) -> str:
    return pattern[:-1] + r"(?!\n)$" if pattern.endswith("$") else pattern


def _copy(schema: Schema) -> Schema:
    copied: Schema = json.loads(json.dumps(schema))
    return copied


@click.command()
@click.option("--write", "to_write", is_flag=True, help="Write the files.")
@click.option("--check", is_flag=True, help="Exit 1 where the files differ from the code.")
def main(*, to_write: bool, check: bool) -> None:
    """Write or check the exported JSON Schemas.

    Example: python -m pearl_data.schemas --check
    """
    if to_write == check:
        raise click.UsageError("expected one of --write and --check")
    if to_write:
        write()
        return
    differences = drift()
    for line in differences:
        say(f"schemas/{line}", err=True)
    if differences:
        say("run: python -m pearl_data.schemas --write", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
