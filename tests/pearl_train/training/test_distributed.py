"""The same curve at one process and at two, and checkpoints that go from one to the other.

Tolerances: the gradients of a step are sums of float32 in another order, 1e-7 relative; over twelve
updates of AdamW with learning rate 0.01 the losses stay within 1e-4 relative, weights within 1e-4.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes_run import STEPS, shared_config, shared_run
from toy_run import toy_batches

from pearl_tools.errors import UsageError
from pearl_train.run.folder import RunFolder
from pearl_train.run.metrics import read_metrics
from pearl_train.training.checkpoint import Checkpoint, whole
from pearl_train.training.processes import accelerator_for

ROOT = Path(__file__).parents[3]
LEFT = 8


def two_processes(out: Path, parallel: str, *, resume: bool = False) -> None:
    """The toy run in two processes over gloo: to step 8, or from there to its end."""
    script = str(ROOT / "tests" / "processes_run.py")
    paths = [ROOT, ROOT / "tools", ROOT / "tests"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OMP_NUM_THREADS": "1",
    }
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [str(out), parallel, str(STEPS if resume else LEFT)] + ["--resume"] * resume
    done = subprocess.run(
        [sys.executable, *launch, script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def losses(folder: RunFolder) -> dict[int, dict[str, float]]:
    return {int(line["step"]): line for line in read_metrics(folder.metrics) if "loss" in line}


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
    assert_alike(straight, shared, LEFT)
    result = shared_run(shared.path, resume=True)
    assert result is not None
    assert result.steps == STEPS
    assert_alike(straight, shared, STEPS)


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
