"""Exit codes and messages of the installed program, seen from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from drawn import picture

from pearl_data.cli.group import cli
from pearl_train.cli.group import cli as trainer


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{root}/tools{os.pathsep}{root}"}
    command = [sys.executable, "-m", "pearl_data.cli.main", *arguments]
    return subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(picture([("red", (40, 40, 80, 80))]))
    return path


def test_a_call_that_succeeds_exits_0(photo: Path, tmp_path: Path) -> None:
    call = ("tools", "run", "crop", str(photo), "--out", str(tmp_path / "out"), "--json")
    done = run(*call, "--arguments", '{"bbox": [0.125, 0.1, 0.25, 0.4]}')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["effective"]["box_px"] == [40, 24, 80, 96]


def test_a_call_that_fails_exits_1_and_says_why_on_stdout(photo: Path, tmp_path: Path) -> None:
    call = ("tools", "run", "crop", str(photo), "--out", str(tmp_path / "out"), "--json")
    done = run(*call, "--arguments", '{"bbox": [0.5, 0.5, 1.2, 1]}')
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "geometry.partly_outside"


def test_misuse_exits_2(tmp_path: Path) -> None:
    assert run("synth", "--tools", "crop").returncode == 2
    done = run("synth", "--tools", "magnify", "--out", str(tmp_path / "x"))
    assert done.returncode == 2
    assert "--tools: expected some of crop, zoom, depth, got magnify" in done.stderr
    assert "Traceback" not in done.stderr
    assert run("nonsense").returncode == 2


def test_a_depth_model_without_a_replay_is_misuse(tmp_path: Path) -> None:
    done = run("validate", str(tmp_path), "--depth-model", "embedded")
    assert done.returncode == 2
    assert "--depth-model: expected --replay" in done.stderr
    done = run("validate", str(tmp_path), "--help")
    assert "--depth-model MODEL" in done.stdout


@pytest.mark.parametrize("option", ["--depth-model", "--device"])
def test_a_depth_model_for_tools_that_ask_none_is_misuse(tmp_path: Path, option: str) -> None:
    out = tmp_path / "set"
    done = run("synth", "--tools", "crop,zoom", "--out", str(out), "--limit", "1", option, "cpu")
    assert done.returncode == 2
    assert f"{option}: --tools crop,zoom asks no depth model; leave out {option} cpu" in done.stderr
    assert not out.exists()


def test_a_source_that_is_not_there_exits_1_with_its_name(tmp_path: Path) -> None:
    arguments = ["synth", "--tools", "crop", "--source", "coco:none.json"]
    done = run(*arguments, "--images", str(tmp_path), "--out", str(tmp_path / "x"))
    assert done.returncode == 1
    assert "none.json: cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_exits_0() -> None:
    assert run("--help").returncode == 0


def commands(group: click.Group, path: str = "pearl-data") -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = [(path, group)]
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += commands(command, f"{path} {name}")
        else:
            found.append((f"{path} {name}", command))
    return found


@pytest.mark.parametrize(("path", "command"), commands(cli))
def test_every_help_ends_with_an_example_of_that_command(path: str, command: click.Command) -> None:
    text = " ".join(f"{command.help} {command.epilog or ''}".split())
    example = text.rsplit("Example: ", 1)[1]
    assert example.startswith(path)
    # every option that the example uses exists
    known = {name for p in command.params for name in p.opts} | {
        name for _, other in commands(cli) for p in other.params for name in p.opts
    }
    assert {word for word in example.split() if word.startswith("--")} <= known


def test_a_name_that_is_no_utf_8_is_refused_at_once(tmp_path: Path) -> None:
    odd = os.fsdecode(b"cut\xff.jpg")
    done = run("tools", "run", "crop", str(tmp_path / odd), "--arguments", "{}", "--json")
    assert done.returncode == 2
    assert "cut\\xff.jpg: expected a name in UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_set_of_which_nothing_could_be_written_is_a_failure(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"image": "gone.png", "question": "What?", "answer": "red"}\n')
    source = ("--source", f"jsonl:{rows}", "--images", str(tmp_path))
    done = run("synth", "--tools", "crop", *source, "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "1 quarantined" in done.stdout
    assert "nothing was written" in done.stderr


@pytest.mark.parametrize(("limit", "status"), [("10", 1), ("63", 1), ("64", 0)])
@pytest.mark.parametrize("module", ["pearl_data.cli.main", "pearl_train.cli.main"])
def test_too_few_open_files_are_one_line_before_anything_begins(
    module: str, limit: str, status: int
) -> None:
    command = f"ulimit -n {limit}; exec {sys.executable} -m {module} --help"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == status
    if status:
        assert done.stderr.startswith(f"error: expected room for 64 open files, got {limit} ")
        assert done.stderr.count("\n") == 1


def test_a_soft_limit_of_open_files_is_raised() -> None:
    command = f"ulimit -Sn 10; exec {sys.executable} -m pearl_data.cli.main --help"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False)
    assert done.returncode == 0


def test_every_whole_number_of_the_command_line_has_a_largest_value() -> None:
    def options(command: click.Command, path: str) -> list[str]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            names = command.list_commands(context)
            inner = [(name, command.get_command(context, name)) for name in names]
            return [o for name, one in inner if one for o in options(one, f"{path} {name}")]
        return [
            f"{path} {option.name}"
            for option in command.params
            if isinstance(option.type, click.types.IntParamType)
            and getattr(option.type, "max", None) is None
        ]

    assert options(cli, "pearl-data") + options(trainer, "pearl-train") == []
