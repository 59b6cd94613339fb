"""The same curve at one process and at two, and checkpoints that go from one to the other.

Tolerances: the gradients of a step are sums of float32 in another order, 1e-7 relative; over twelve
updates of AdamW with learning rate 0.01 the losses stay within 1e-4 relative, weights within 1e-4.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from processes_run import STEPS, shared_config, shared_run
from toy_run import toy_batches, toy_config
from trainer_run import SOURCES, real_config, real_runs
from trainer_run import STEPS as STEPS_OF_REAL

from pearl_tools.errors import UsageError
from pearl_train.run.folder import RunFolder
from pearl_train.run.metrics import read_metrics
from pearl_train.training.checkpoint import Checkpoint, whole
from pearl_train.training.loop import train
from pearl_train.training.processes import accelerator_for

ROOT = Path(__file__).parents[3]
LEFT = 8


def two_processes(out: Path, parallel: str, *, resume: bool = False) -> None:
    """The toy run in two processes over gloo: to step 8, or from there to its end."""
    launch("processes_run.py", out, parallel, STEPS if resume else LEFT, *["--resume"] * resume)


def launch(script: str, *arguments: object) -> None:
    """``script`` of the tests' folder in two processes."""
    paths = [ROOT, ROOT / "tools", ROOT / "tests"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",  # where a process was when it aborted
    }
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, str(ROOT / "tests" / script), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def losses(folder: RunFolder) -> dict[int, dict[str, float]]:
    return {int(line["step"]): line for line in read_metrics(folder.metrics) if "loss" in line}


def panels(folder: RunFolder) -> list[dict[str, float]]:
    """What the panel said of targets, at each of its steps. Gradients are those of the first
    micro-batch, which holds other samples where there are more processes.
    """
    return [
        {name: value for name, value in line.items() if "gradient" not in name}
        for line in read_metrics(folder.metrics)
        if "panel/target_std" in line
    ]


def checkpoint(folder: RunFolder, step: int) -> Checkpoint:
    found = whole(folder.checkpoints / f"step-{step:06d}")
    assert isinstance(found, Checkpoint)
    return found


def assert_alike(one: RunFolder, other: RunFolder, step: int) -> None:
    for name in ("weights", "moments"):
        left, right = checkpoint(one, step).tensors(name), checkpoint(other, step).tensors(name)
        assert left.keys() == right.keys()
        for key in left:
            torch.testing.assert_close(left[key], right[key], rtol=1e-3, atol=1e-4)
    counted = [checkpoint(run, step).state()["left_out"][""]["changed"] for run in (one, other)]
    assert counted[0] == counted[1]
    assert [len(keys) for keys in counted[0].values()] == [7] * step
    mine, theirs = losses(one), losses(other)
    for at in mine.keys() & theirs.keys():
        assert mine[at] == pytest.approx(theirs[at], rel=1e-4)
    for left, right in zip(panels(one), panels(other), strict=False):
        assert left == pytest.approx(right, rel=1e-3, abs=1e-4)


def test_shares_are_unequal_and_one_is_empty() -> None:
    """So the test below sees what must be divided by the global count, and who must wait."""
    shares = [next(toy_batches(shared_config(), rank, 2)(0)) for rank in (0, 1)]
    assert [[len(batch.keys) for batch in share] for share in shares] == [[3, 1], [3, 0]]


def test_two_processes_give_the_curve_of_one_and_their_checkpoint_goes_on_in_one(
    tmp_path: Path,
) -> None:
    straight, shared = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "shared")
    shared_run(straight.path)
    two_processes(shared.path, "ddp")
    assert sorted(losses(shared)) == [3, 6, LEFT], "what was left in between is written as well"
    assert losses(shared)[3]["samples"] == 21
    said = [(line["step"], line["panel/samples"]) for line in panels(shared)]
    assert said == [(0, 7), (4, 35)], "of the samples of both"
    assert_alike(straight, shared, LEFT)
    result = shared_run(shared.path, resume=True)
    assert result is not None
    assert result.steps == STEPS
    assert_alike(straight, shared, STEPS)


def test_the_real_trainer_gives_one_curve_at_one_process_and_two_and_goes_on_in_one(
    tmp_path: Path, tiny_folder: Callable[[str], Path], tiny_data: Path
) -> None:
    """Real pictures, views, loader and model, with targets made on the way and cached ones.

    Sums run in another order and rows are padded to other widths: losses within 1e-3 relative.
    """
    model = tiny_folder("qwen2_5_vl")
    launch("trainer_run.py", tiny_data, model, tmp_path / "two")
    real_runs(tiny_data, model, tmp_path / "one")
    for source in SOURCES:
        one, two = (RunFolder(tmp_path / name / source) for name in ("one", "two"))
        assert json.loads(two.environment.read_text())[0]["processes"] == 2
        assert_one_curve(one, two)
        shutil.rmtree(two.checkpoints / f"step-{STEPS_OF_REAL:06d}")
        train(real_config(model, source), tiny_data, two.path, resume=True, progress=False)
        assert_one_curve(one, two)


def assert_one_curve(one: RunFolder, two: RunFolder) -> None:
    """Of losses, the panel's figures from step 0 on, and the loss on the validation split."""
    mine, theirs = losses(one), losses(two)
    assert sorted(mine) == sorted(theirs) == list(range(1, STEPS_OF_REAL + 1))
    for step in mine:
        assert mine[step] == pytest.approx(theirs[step], rel=1e-3)
    assert len({line["vlm"] for line in mine.values()}) == STEPS_OF_REAL
    said, also = panels(one), panels(two)
    assert [line["step"] for line in said] == [0, 2, 3]
    assert said[0]["panel/samples"] >= 4
    for left, right in zip(said, also, strict=True):
        assert left == pytest.approx(right, rel=1e-3, abs=1e-3)
    measured = [
        [line for line in read_metrics(folder.metrics) if "validation/loss" in line]
        for folder in (one, two)
    ]
    assert len(measured[0]) == len(measured[1]) == 2
    for left, right in zip(*measured, strict=True):
        assert left == pytest.approx(right, rel=1e-3)


@pytest.mark.slow
def test_fsdp2_gives_the_curve_of_one_process_and_checkpoints_go_both_ways(tmp_path: Path) -> None:
    straight, sharded = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "sharded")
    shared_run(straight.path)
    two_processes(sharded.path, "fsdp2")
    assert_alike(straight, sharded, LEFT)
    shared_run(sharded.path, resume=True)
    assert_alike(straight, sharded, STEPS)

    begun = RunFolder(tmp_path / "begun")
    shared_run(begun.path, stop=LEFT)
    two_processes(begun.path, "fsdp2", resume=True)
    assert_alike(straight, begun, STEPS)


@pytest.mark.slow
def test_fsdp2_measures_each_term_s_gradient_over_the_samples_of_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three samples of each in the first micro-batch: six of one process that takes six."""
    sharded, straight = RunFolder(tmp_path / "sharded"), RunFolder(tmp_path / "straight")
    two_processes(sharded.path, "fsdp2")
    config = toy_config(optim={"batch": 7, "micro_batch": 6})
    monkeypatch.setattr("processes_run.shared_config", lambda: config)
    shared_run(straight.path, stop=1)
    one, other = (read_metrics(folder.metrics)[0] for folder in (straight, sharded))
    assert one["step"] == other["step"] == 0
    for name in ("panel/gradient/vlm", "panel/gradient/jepa"):
        assert one[name] == pytest.approx(other[name], rel=1e-4)


def test_fsdp2_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import msgspec

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setenv("LOCAL_RANK", "0")
    config = msgspec.structs.replace(shared_config(), parallel="fsdp2")
    with pytest.raises(UsageError, match='parallel: expected "ddp" where there is no GPU'):
        accelerator_for(config)


def test_one_process_says_that_it_shards_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import msgspec

    monkeypatch.delenv("LOCAL_RANK", raising=False)
    config = msgspec.structs.replace(shared_config(), parallel="fsdp2")
    monkeypatch.setattr("processes_run.shared_config", lambda: config)
    shared_run(tmp_path / "run")
    assert capsys.readouterr().err.count("this run is one process and holds the whole model") == 1
    monkeypatch.undo()
    shared_run(tmp_path / "plain")
    assert "one process" not in capsys.readouterr().err
