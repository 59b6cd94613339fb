from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from trajectories import build_sample

from pearl_data.cli.group import cli
from pearl_data.shards import BlockResult, DatasetWriter, Quarantined
from pearl_tools.errors import tool_error

ESC = "\x1b[2J\u202e"


def entry(key: str, code: str, got: str = "x") -> Quarantined:
    return Quarantined(
        key=key, reason=tool_error(code, "p", "y", got), record={"question": f"{key}{ESC}"}
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    out = [
        entry("a", "geometry.outside"),
        entry("b", "geometry.inverted", got=ESC),
        entry("c", "geometry.outside"),
        entry("d", "reference.no_such_file"),
    ]
    with DatasetWriter.open(tmp_path / "set", {"seed": 0}) as writer:
        writer.add_block(0, BlockResult(5, [build_sample("s", seed=1)], out, []))
        writer.close()
    return tmp_path / "set"


def keys(*arguments: object) -> list[str]:
    done = CliRunner().invoke(cli, ["show", *map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    return [one["key"] for one in json.loads(done.stdout)["quarantined"]]


def test_entries_are_chosen_by_code_stage_and_key(dataset: Path) -> None:
    assert keys(dataset, "--quarantine") == ["a", "b", "c", "d"]
    assert keys(dataset, "--quarantine", "geometry.outside") == ["a", "c"]
    assert keys(dataset, "--quarantine", "geometry") == ["a", "b", "c"]
    assert keys(dataset, "--quarantine", "--key", "d") == ["d"]


def test_the_text_names_each_entry_and_steers_nothing(dataset: Path) -> None:
    done = CliRunner().invoke(cli, ["show", str(dataset), "--quarantine"])
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines if line[:1].isalpha()] == ["a", "b", "c", "d"]
    assert [line.split() for line in lines[-3:]] == [
        ["2", "geometry.outside"],
        ["1", "geometry.inverted"],
        ["1", "reference.no_such_file"],
    ]
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "\\x1b[2J\\u202e" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--quarantine", "geometry.outsid"],
        ["--quarantine", "--key", "z"],
        ["--quarantine", "--out", "x"],
    ],
)
def test_what_nothing_has_is_misuse(arguments: list[str], dataset: Path) -> None:
    done = CliRunner().invoke(cli, ["show", str(dataset), *arguments])
    assert type(done.exception).__name__ == "UsageError"


def test_only_datasets_have_a_quarantine(dataset: Path) -> None:
    tar = next((dataset / "shards").glob("*.tar"))
    done = CliRunner().invoke(cli, ["show", str(tar), "--quarantine"])
    assert type(done.exception).__name__ == "UsageError"


def test_synth_says_an_example_of_each_reason(tmp_path: Path) -> None:
    images = tmp_path / "img"
    images.mkdir()
    Image.new("RGB", (64, 48)).save(images / "a.png")
    row = {
        "question": "Which colour?",
        "choices": ["red", "blue"],
        "answer": "red",
        "evidence": [{"bbox": [0.1, 0.1, 0.5, 0.5]}],
    }
    rows = [{**row, "image": name} for name in ("b.png", "c.png")]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ["--tools", "crop", "--source", f"jsonl:{tmp_path / 'a.jsonl'}"]
    out = ["--images", str(images), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, ["synth", *arguments, *out])
    lines = done.stdout.splitlines()
    (place,) = (n for n, line in enumerate(lines) if line.endswith("2 reference.no_such_file"))
    assert "b.png" in lines[place + 1]
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "reference.no_such_file" in page
    assert "b.png" in page
