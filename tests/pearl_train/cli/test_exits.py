"""The same mistake ends every command in the same status: 2 for a wrong argument, 1 for damage."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from tiny_models import drawn_picture

from pearl_train.cli.group import cli
from pearl_train.cli.main import main
from pearl_train.errors import RunInterrupted

Ended = Callable[..., tuple[int, str]]

#: How each command is called; ``DATA`` and ``MODEL`` are what the test gives.
CALLS: dict[str, list[str]] = {
    "run": ["run", "--data", "DATA", "--model", "MODEL", "--out", "OUT"],
    "doctor": ["doctor", "--data", "DATA", "--model", "MODEL", "--samples", "1"],
    "eval": ["eval", "MODEL", "--data", "DATA"],
    "compare": ["compare", "--data", "DATA", "--model", "MODEL", "--out", "OUT"],
    "predict": ["predict", "MODEL", "--image", "PHOTO", "--question", "Which colour?"],
}
SHORT = [
    word
    for choice in ("steps=1", "batch=2", "micro_batch=2")
    for word in ("--set", f"optim.{choice}")
] + ["--set", "log.tensorboard=false"]
WITH_DATA = [name for name, call in CALLS.items() if "DATA" in call]


@pytest.fixture
def ended(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny_data: Path,
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
) -> Ended:
    """A function from a command, what it is given and further words to its status and output."""
    photo = tmp_path / "photo.jpg"
    drawn_picture(3).save(photo)

    def call(
        name: str, *more: str, data: object = tiny_data, model: object = None
    ) -> tuple[int, str]:
        given = {
            "DATA": data,
            "MODEL": model or tiny_folder("fast_vlm"),
            "OUT": tmp_path / "out",
            "PHOTO": photo,
        }
        words = [str(given.get(word, word)) for word in CALLS[name]]
        monkeypatch.setattr(sys, "argv", ["pearl-train", *words, *more])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out + said.err

    return call


def empty(place: Path) -> Path:
    place.mkdir()
    return place


@pytest.mark.parametrize("command", WITH_DATA)
def test_what_is_no_data_set_is_misuse_in_the_same_words(
    command: str, ended: Ended, tmp_path: Path
) -> None:
    status, told = ended(command, data=tmp_path / "nosuch")
    assert status == 2
    assert "nosuch: expected a dataset folder with manifest.jsonl, or a tar, got nothing" in told
    status, told = ended(command, data=empty(tmp_path / "empty"))
    assert status == 2
    assert "empty: expected a dataset folder with manifest.jsonl, or a tar, got a folder" in told
    assert "pearl-data synth makes one" in told


@pytest.mark.parametrize("command", WITH_DATA)
def test_a_damaged_data_set_is_a_failure(
    command: str, ended: Ended, tiny_data: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "set"))
    shard = next((data / "shards").glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:-512])
    status, told = ended(command, data=data)
    assert status == 1
    assert "pearl-data validate" in told


@pytest.mark.parametrize("command", CALLS)
def test_what_is_no_model_is_misuse(command: str, ended: Ended, tmp_path: Path) -> None:
    assert ended(command, model=empty(tmp_path / "empty"))[0] == 2
    assert ended(command, model="nobody/no-such-model")[0] == 2


@pytest.mark.parametrize("command", CALLS)
def test_a_model_that_cannot_be_talked_to_is_misuse(
    command: str, ended: Ended, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder("llava"), tmp_path / "model"))
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("'<image>\\n'", "''"))
    status, told = ended(command, model=folder)
    assert status == 2, "it drops pictures"
    assert f"the chat template of model {folder}: expected " in told
    template.write_text("{{ messages[0]['content'] + 1 }}")
    status, told = ended(command, model=folder)
    assert status == 2, "it fails"
    assert f"the chat template of model {folder}: expected " in told
    template.unlink()
    assert ended(command, model=folder)[0] == 2, "it is not there"


@pytest.mark.parametrize("command", CALLS)
def test_broken_weights_are_a_failure(
    command: str, ended: Ended, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder("fast_vlm"), tmp_path / "model"))
    weights: dict[str, Any] = load_file(folder / "model.safetensors")
    weights[min(weights)].view(-1)[0] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    status, told = ended(command, model=folder)
    assert status == 1
    assert "expected finite weights" in told


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("run", ["--set", "data.split=dev"]),
        ("doctor", ["--set", "data.split=dev"]),
        ("compare", ["--set", "data.split=dev"]),
        ("eval", ["--split", "dev"]),
    ],
)
def test_a_split_that_is_not_there_is_misuse(command: str, more: list[str], ended: Ended) -> None:
    assert ended(command, *more)[0] == 2


@pytest.mark.parametrize("command", CALLS)
def test_a_choice_that_does_not_exist_is_misuse(command: str, ended: Ended) -> None:
    status, told = ended(command, "--set", "optim.lrr=1")
    assert status == 2
    assert "did you mean optim.lr?" in told


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--learning-rate", "Give choices as --set KEY=VALUE: did you mean optim.lr?"),
        ("--lora-r", "did you mean model.lora.rank?"),
        ("--seed", "did you mean seed?"),
        ("--dat", "'--data'"),
    ],
)
def test_an_option_that_is_a_choice_is_answered_with_its_key(option: str, told: str) -> None:
    done = CliRunner().invoke(cli, ["run", option, "1"])
    assert done.exit_code == 2
    assert told in done.stderr
    assert ("--set KEY" in done.stderr) is (option != "--dat")


@pytest.mark.parametrize("command", ["predict", "eval"])
def test_a_choice_of_training_is_misuse_where_a_model_is_asked(command: str, ended: Ended) -> None:
    status, told = ended(command, "--set", "optim.lr=5", "--set", "evaluate.max_new_tokens=2")
    assert status == 2
    assert "--set optim.lr: expected a choice of how a model is asked (evaluate.*, " in told


@pytest.mark.parametrize(
    ("command", "choice"),
    [
        ("predict", "data.split=test"),
        ("eval", "data.split=test"),
        ("eval", "data.max_tokens=99"),
        ("predict", "objective.lvr.weight=0.5"),
        ("predict", "evaluate.split=test"),
        ("eval", "evaluate.max_turns=3"),
        ("eval", "model.revision=main"),
        ("run", "evaluate.max_turns=3"),
        ("doctor", "objective.target.ema_decay=0.5"),
        ("compare", "objective.target.ema_decay=0.5"),
    ],
)
def test_a_choice_that_nothing_reads_is_misuse(command: str, choice: str, ended: Ended) -> None:
    status, told = ended(command, "--set", choice)
    assert status == 2
    assert choice.partition("=")[0] in told
    assert "leave it out" in told


def test_a_comparison_tells_wrong_objectives_with_other_faults(ended: Ended) -> None:
    status, told = ended("compare", "--objectives", "bad", "--set", "optim.lrr=1")
    assert status == 2
    assert "--objectives: expected some of" in told
    assert "optim.lrr (--set)" in told


def test_what_is_no_run_cannot_be_exported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder in (tmp_path / "nosuch", empty(tmp_path / "empty")):
        monkeypatch.setattr(sys, "argv", ["pearl-train", "export", str(folder), "--to", "to"])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["run", "eval", "predict", "doctor"])
def test_who_is_stopped_while_a_model_is_loaded_says_a_word(
    command: str, number: signal.Signals, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loading(*args: object) -> None:
        os.kill(os.getpid(), number)

    for module in ("build", "load"):
        monkeypatch.setattr(f"pearl_train.model.{module}.load_model", loading)
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    status, told = ended(command)
    assert status == 130
    assert told.splitlines()[-1].startswith("interrupted")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_that_is_terminated_after_its_last_step_can_be_finished(
    ended: Ended, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def exporting(*args: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("pearl_train.model.export.export_model", exporting)
    status, told = ended("run", *SHORT)
    assert status == 130
    assert "interrupted after the last step: everything is trained and in a checkpoint" in told
    assert "Not finished" in (out / "README.md").read_text()
    status, told = ended("predict", model=out)
    assert status == 2
    assert f"pearl-train run --resume {out} writes what is missing; no step is left" in told
    monkeypatch.undo()
    monkeypatch.setattr(sys, "argv", ["pearl-train", "run", "--resume", str(out)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    assert "Not finished" not in (out / "README.md").read_text()
    assert (out / "curves.png").is_file()
    assert (out / "model" / "config.json").is_file()


@pytest.mark.parametrize(("interrupted", "expected"), [(False, 0), (True, 130)])
def test_a_run_that_ends_in_order_takes_leave_of_other_processes(
    ended: Ended, monkeypatch: pytest.MonkeyPatch, *, interrupted: bool, expected: int
) -> None:
    """Else a thread of gloo may abort the process while Python comes to its end."""

    def interrupt(*_: object, **_more: object) -> None:
        raise RunInterrupted("interrupted at step 1")

    if interrupted:
        monkeypatch.setattr("pearl_train.training.loop.train", interrupt)
    monkeypatch.setenv("RANK", "0")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    status, said = ended("run", *SHORT)
    assert status == expected, said
    assert not dist.is_initialized()


def test_a_comparison_that_is_interrupted_in_a_row_names_its_own_command(
    monkeypatch: pytest.MonkeyPatch, ended: Ended
) -> None:
    def interrupted(request: object) -> None:
        raise RunInterrupted("Go on with: pearl-train run --resume inner")

    monkeypatch.setattr("pearl_train.comparing.compare.compare", interrupted)
    status, said = ended("compare")
    assert status == 130
    assert "run the same command again" in said
    assert "--resume" not in said
