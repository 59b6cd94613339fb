"""A full disk is one error that names the file; what was there stays, and the run goes on from it.

RLIMIT_FSIZE stands for the disk: the system refuses what goes beyond, in whichever library writes.
"""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from pearl_train.cli.group import cli
from pearl_train.errors import CannotWrite, writing
from pearl_train.run.folder import RunFolder
from pearl_train.run.metrics import Metrics
from pearl_train.settings.config import Config
from pearl_train.settings.load import load_config
from pearl_train.training.checkpoint import Checkpoint, Snapshot, newest_whole, write_checkpoint
from pearl_train.training.exported import export_adapter, export_run
from pearl_train.training.loop import train

SETS = ["optim.steps=3", "optim.batch=2", "optim.micro_batch=2", "checkpoint.every=1",
        "checkpoint.keep_last=5", "log.every=1", "log.tensorboard=false",
        "evaluate.max_new_tokens=2"]  # fmt: skip


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Inside, no file grows beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def snapshot(step: int) -> Snapshot:
    tensors = {"weights": {"a": torch.zeros(4)}, "moments": {"a": torch.ones(4, 4096)}}
    return Snapshot(step=step, tensors=tensors, state={"long": "x" * 20_000})


@pytest.mark.parametrize(
    ("size", "name"), [(50, "weights.safetensors"), (9_000, "moments.safetensors")]
)
def test_a_checkpoint_that_finds_no_room_names_the_file_and_leaves_nothing(
    tmp_path: Path, size: int, name: str
) -> None:
    write_checkpoint(tmp_path, snapshot(1))
    with no_file_above(size), pytest.raises(CannotWrite) as caught:
        write_checkpoint(tmp_path, snapshot(2))
    assert str(tmp_path / "step-000002" / name) in str(caught.value)
    assert "File too large" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    assert isinstance(newest_whole(tmp_path, print), Checkpoint)
    write_checkpoint(tmp_path, snapshot(2))


@pytest.mark.parametrize("name", ["state.json", "processor"])
def test_other_files_of_a_checkpoint_are_named_too(tmp_path: Path, name: str) -> None:
    small = Snapshot(step=2, tensors={}, state={"long": "x" * (20_000 if "st" in name else 1)})

    def beside(folder: Path) -> None:
        (folder / "processor").write_bytes(b"x" * 20_000)

    with no_file_above(9_000), pytest.raises(CannotWrite, match="step-000002"):
        write_checkpoint(tmp_path, small, beside)
    assert not list(tmp_path.iterdir())


def test_a_run_that_found_no_room_is_resumed_to_the_same_weights(
    tiny_data: Path,
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = load_config([], SETS, {"model.id": str(tiny_folder("llava"))})
    train(config, tiny_data, tmp_path / "whole", progress=False)
    real = write_checkpoint

    def at_step_2(folder: Path, made: Snapshot, beside: Callable[[Path], None]) -> Path:
        if made.step != 2:
            return real(folder, made, beside)
        with no_file_above(60_000):
            return real(folder, made, beside)

    monkeypatch.setattr("pearl_train.training.session.write_checkpoint", at_step_2)
    out = tmp_path / "run"
    with pytest.raises(CannotWrite) as caught:
        train(config, tiny_data, out, progress=False)
    monkeypatch.undo()
    assert f"{out}/checkpoints/step-000002/" in str(caught.value)
    assert f"pearl-train run --resume {out}" in str(caught.value)
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-000001"]
    assert "cannot be written" in (out / "README.md").read_text()
    train(config, tiny_data, out, resume=True, progress=False)
    for name in ("metrics.jsonl", "model/model.safetensors"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_model_that_finds_no_room_is_written_when_the_run_is_resumed(
    tiny_data: Path, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """One line, by the command; adapters make checkpoints smaller than the model."""
    out = tmp_path / "run"
    sets = [*SETS, "optim.steps=1", "objective.name=sft", "model.lora.rank=1"]
    options = [word for choice in sets for word in ("--set", choice)]
    model = str(tiny_folder("llava"))
    command = ["run", "--data", str(tiny_data), "--model", model, "--out", str(out), *options]
    with no_file_above(130_000):
        done = CliRunner().invoke(cli, command, standalone_mode=False)
    assert isinstance(done.exception, CannotWrite), done.exception
    assert str(done.exception).startswith(f"{out / 'model'}: cannot be written: I/O error: File t")
    assert f"pearl-train run --resume {out} writes the missing files" in str(done.exception)
    assert not list(out.glob("model*"))
    train(RunFolder(out).read_config(), tiny_data, out, resume=True, progress=False)
    assert load_file(out / "model" / "model.safetensors")
    for export, size in ((export_run, 130_000), (export_adapter, 3_000)):
        with no_file_above(size), pytest.raises(CannotWrite, match=r"/\.?to\S*: cannot be written"):
            export(out, tmp_path / "to")
        assert not list(tmp_path.glob("*to*"))
        export(out, tmp_path / "to").rename(tmp_path / export.__name__)


def test_metrics_that_find_no_room_are_named(tmp_path: Path) -> None:
    config = load_config([], ["log.tensorboard=false"])
    assert isinstance(config, Config)
    metrics = Metrics(RunFolder(tmp_path), config)
    metrics.log(0, {"loss": 1.0})
    with no_file_above(30), pytest.raises(CannotWrite, match=r"metrics\.jsonl: cannot be written"):
        metrics.log(1, {"loss": 1.0})
    with no_file_above(50):
        metrics.close()


def test_a_copied_tree_that_finds_no_room_names_its_first_target(tmp_path: Path) -> None:
    source, target = tmp_path / "model", tmp_path / "export"
    source.mkdir()
    for name in ("a", "b"):
        (source / name).write_bytes(b"x" * 5_000)
    with no_file_above(1_000), pytest.raises(CannotWrite) as caught, writing(target):
        shutil.copytree(source, target)
    assert caught.value.what in {
        f"{target / name}: cannot be written: File too large" for name in ("a", "b")
    }


def test_a_copied_file_that_finds_no_room_is_named_by_its_target(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 5_000)
    with no_file_above(1_000), pytest.raises(CannotWrite) as caught, writing(tmp_path):
        shutil.copyfile(tmp_path / "a", tmp_path / "b")
    assert caught.value.what == f"{tmp_path / 'b'}: cannot be written: File too large"
