"""What was left out of a run stays counted."""

from __future__ import annotations

from pearl_train.training.loader import Tally
from pearl_train.training.loop import most


def test_a_resumed_run_does_not_forget_what_was_left_out_before() -> None:
    before = {"dropped: too-long": 3, "changed: downscaled": 1}
    assert most(before, {}) == before
    assert most(before, {"dropped: too-long": 5}) == {**before, "dropped: too-long": 5}


def test_processes_count_a_sample_once() -> None:
    one = Tally(dropped={"too-long": {"a": "", "b": ""}})
    one.merge(Tally(dropped={"too-long": {"b": ""}, "text-too-long": {"c": ""}}))
    assert one.counts() == {"dropped: too-long": 2, "dropped: text-too-long": 1}
