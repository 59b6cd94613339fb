"""What was left out of a run stays counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_samples import with_long_validation

from pearl_train.run.folder import RunFolder
from pearl_train.settings.load import load_config
from pearl_train.training.loader import Tally
from pearl_train.training.loop import most, train


def test_a_resumed_run_does_not_forget_what_was_left_out_before() -> None:
    before = {"dropped: too-long": 3, "changed: downscaled": 1}
    assert most(before, {}) == before
    assert most(before, {"dropped: too-long": 5}) == {**before, "dropped: too-long": 5}


def test_processes_count_a_sample_once() -> None:
    one = Tally(dropped={"too-long": {"a": "", "b": ""}})
    one.merge(Tally(dropped={"too-long": {"b": ""}, "text-too-long": {"c": ""}}))
    assert one.counts() == {"dropped: too-long": 2, "dropped: text-too-long": 1}


@pytest.mark.parametrize("kept", [0, 1])
def test_validation_samples_that_are_left_out_are_told_and_stop_nothing(
    kept: int, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    data = with_long_validation(tmp_path / "set", kept=kept)
    sets = ["optim.steps=2", "optim.batch=2", "optim.micro_batch=2", "log.tensorboard=false",
            "data.max_tokens=300", "checkpoint.every=1"]  # fmt: skip
    config = load_config([], sets, {"model.id": str(tiny_folder("fast_vlm")),
                                    "objective.name": "sft"})  # fmt: skip
    result = train(config, data, tmp_path / "run", progress=False)
    assert result.left_out == {"validation, dropped: text-too-long": 3 - kept}
    assert (result.validation is not None) == bool(kept)
    facts = RunFolder(tmp_path / "run").read_data()
    assert facts.validation_samples == kept
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"- validation, dropped: text-too-long: {3 - kept} samples" in card
    assert ("1 of split `val` for the validation loss" in card) == bool(kept)
