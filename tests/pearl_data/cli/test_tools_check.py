from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tiny_depth_models import fitted_model, flip, random_model
from transformers import AutoModelForDepthEstimation

from pearl_data.cli.tools import tools
from pearl_data.cli.tools_check import check
from pearl_tools.errors import ModelUnavailable, UsageError


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(tools, ["check", *(str(a) for a in arguments)])


def test_the_example_in_the_help_passes_and_says_how_well() -> None:
    example = (check.help or "").partition("Example: pearl-data tools check ")[2]
    result = invoke(*shlex.split(example))
    assert result.exit_code == 0, result.output
    assert "depth: embedded, relative inverse depth of unknown scale, weights " in result.stdout
    assert "ok: larger = nearer, Spearman 0." in result.stdout


def test_a_model_that_knows_nothing_exits_1_with_the_reason(tmp_path: Path) -> None:
    result = invoke("depth", "--depth-model", random_model("dpt", tmp_path), "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["passed"] is False
    assert told["verdict"] == "not_correlated"
    assert told["output"] == "relative_inverse"
    assert "random" in told["told"]


def test_a_model_that_says_the_opposite_exits_1_with_the_remedy(tmp_path: Path) -> None:
    folder = fitted_model("depth_anything", tmp_path)
    model = AutoModelForDepthEstimation.from_pretrained(folder)
    flip(model)
    model.save_pretrained(folder)
    result = invoke("depth", "--depth-model", folder)
    assert result.exit_code == 1
    assert "refused: larger = farther, Spearman -0." in result.stdout
    assert f"use --depth-model '{folder}#metric'" in result.stdout
    assert invoke("depth", "--depth-model", f"{folder}#metric").exit_code == 0


def test_json_says_whether_it_passed() -> None:
    result = invoke("depth", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["passed"], told["verdict"]) == (True, "larger_nearer")


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = invoke("depth", "--depth-model", tmp_path)
    assert isinstance(result.exception, ModelUnavailable)


@pytest.mark.parametrize("name", ["nonsense", "embedded#metric", "org/model#depth", "no.tflite"])
def test_a_name_that_no_model_has_is_misuse(name: str) -> None:
    result = invoke("depth", "--depth-model", name)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith(f"--depth-model: depth model '{name}': expected")


@pytest.mark.parametrize(("device", "got"), [("cuda:99", "'cuda:99' ("), ("gpu", "'gpu'")])
def test_a_device_that_is_not_here_is_misuse(device: str, got: str) -> None:
    for command in (
        ["check", "depth"],
        ["eval", "depth", __file__],
        ["run", "depth", __file__, "--arguments", "{}"],
    ):
        result = CliRunner().invoke(tools, [*command, "--device", device])
        assert isinstance(result.exception, UsageError)
        assert str(result.exception).startswith("--device: expected ")
        assert got in str(result.exception)


def test_only_learned_tools_have_a_self_test() -> None:
    result = invoke("crop")
    assert result.exit_code == 2
    assert "'crop' is not 'depth'" in result.output


@pytest.mark.parametrize("line", ["#relative_inverse", "#inverse", "#metric"])
def test_the_help_says_how_to_overrule_the_sign(line: str) -> None:
    assert line in (check.help or "")
