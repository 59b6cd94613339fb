"""Checkpoints are whole or not there, and hold no pickle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from toy_run import Toy, beside, toy_batches, toy_config, toy_ingredients, toy_moment

from pearl_tools.errors import BadInput
from pearl_train.run.folder import RunFolder
from pearl_train.training.checkpoint import (
    Checkpoint,
    Snapshot,
    best_checkpoint,
    expect_names,
    newest_whole,
    prune,
    sweep,
    whole,
    write_checkpoint,
)
from pearl_train.training.optim import make_optimizer
from pearl_train.training.session import fit
from pearl_train.training.state import TEACHER, capture, kept_names, restore
from pearl_train.training.update import weighted


def snapshot(step: int, validation: float | None = None) -> Snapshot:
    tensors = {"weights": {"w": torch.full((3,), float(step))}, "panel": {}}
    return Snapshot(step=step, tensors=tensors, state={"step": step}, validation=validation)


def heard(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    told: list[str] = []
    return newest_whole(folder, told.append), told


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, snapshot(7), beside)
    found, told = heard(tmp_path)
    assert found is not None
    assert not told
    assert found.step == 7
    assert found.state() == {"step": 7}
    assert torch.equal(found.tensors("weights")["w"], torch.full((3,), 7.0))
    assert found.tensors("panel") == {}
    assert set(found.manifest.sha256) == {
        "weights.safetensors", "state.json", "processor/tokens.json"}  # fmt: skip


def test_every_file_obeys_the_umask(tmp_path: Path) -> None:
    """safetensors writes files that only their owner may read."""
    (tmp_path / "usual").touch()
    usual = (tmp_path / "usual").stat().st_mode
    path = write_checkpoint(tmp_path, snapshot(1), beside)
    files = [file for file in path.rglob("*") if file.is_file()]
    assert {file.stat().st_mode for file in files} == {usual}
    assert {file.parent for file in files} == {path, path / "processor"}, "nothing is left over"


@pytest.mark.parametrize("damage", ["cut off", "no manifest", "missing", "altered", "bad manifest"])
def test_a_torn_checkpoint_is_passed_over_by_name(tmp_path: Path, damage: str) -> None:
    write_checkpoint(tmp_path, snapshot(1))
    torn = write_checkpoint(tmp_path, snapshot(2))
    file = torn / "weights.safetensors"
    match damage:
        case "cut off":
            file.write_bytes(file.read_bytes()[:-4])
        case "no manifest":
            (torn / "manifest.json").unlink()
        case "missing":
            file.unlink()
        case "altered":
            file.write_bytes(file.read_bytes()[:-1] + b"\x01")
        case _:
            (torn / "manifest.json").write_text("{")
    found, told = heard(tmp_path)
    assert found is not None
    assert found.step == 1
    assert len(told) == 1
    assert "step-000002 is passed over" in told[0]


def test_a_crash_while_writing_leaves_nothing_under_a_name(tmp_path: Path) -> None:
    def crash(folder: Path) -> None:
        raise KeyboardInterrupt

    write_checkpoint(tmp_path, snapshot(1))
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, snapshot(2), crash)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]


def test_what_a_kill_left_behind_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".step-000002.tmp").mkdir()
    (tmp_path / ".step-000001.old").mkdir()
    write_checkpoint(tmp_path, snapshot(3))
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000003"]


def test_a_torn_checkpoint_is_replaced_and_a_whole_one_left(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, snapshot(1))
    (path / "manifest.json").unlink()
    write_checkpoint(tmp_path, snapshot(1))
    assert isinstance(whole(path), Checkpoint)
    before = (path / "state.json").stat().st_mtime_ns
    write_checkpoint(tmp_path, snapshot(1))
    assert (path / "state.json").stat().st_mtime_ns == before


def test_the_last_ones_and_the_best_are_kept(tmp_path: Path) -> None:
    for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 2.5), (5, None)):
        write_checkpoint(tmp_path, snapshot(step, loss))
    best = best_checkpoint(tmp_path)
    assert best is not None
    assert best.name == "step-000002"
    prune(tmp_path, 2, keep_best=True)
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["2", "4", "5"]
    prune(tmp_path, 1, keep_best=False)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000005"]


def test_other_weights_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"1 missing, such as b and 2 unknown, such as c"):
        expect_names(tmp_path, {"a", "b"}, {"a", "c", "d"})


def test_frozen_weights_are_left_to_the_base_and_teachers_are_kept() -> None:
    kept = kept_names(Toy())
    assert not any(name.startswith("frozen") for name in kept)
    assert f"{TEACHER}.weight" in kept
    assert len({"embed.weight", "head.weight"} & kept) == 1, "tied weights are written once"


def test_a_parameter_without_moments_comes_back_without() -> None:
    """Else its first update would be bias-corrected as its second."""
    config = toy_config()
    toy = Toy()
    optimizer = make_optimizer(toy, config.optim)
    (batch, _) = next(toy_batches(config)(0))
    terms = toy(batch, toy_moment(2), None)
    assert "jepa" not in terms.losses
    weighted(terms, {"answer": 10.0}).backward()
    optimizer.step()
    state = capture(toy, optimizer, kept_names(toy))
    assert "apart.weight/exp_avg" not in state.moments

    other = Toy(seed=9)
    fresh = make_optimizer(other, config.optim)
    restore(other, fresh, state)
    assert other.apart.weight not in fresh.state
    assert torch.equal(other.mix.weight, toy.mix.weight)
    assert torch.equal(other.head.weight, toy.embed.weight)
    before, after = optimizer.state[toy.mix.weight], fresh.state[other.mix.weight]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert fresh.param_groups[0]["betas"] == (0.9, 0.95)


def test_nothing_in_a_checkpoint_is_pickled(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    config = toy_config()
    fit(toy_ingredients(config, beside_checkpoint=beside), config, folder, progress=False)
    files = [path for path in folder.checkpoints.rglob("*") if path.is_file()]
    assert files
    assert {path.suffix for path in files} == {".safetensors", ".json"}
    for path in files:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
