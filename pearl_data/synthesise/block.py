"""One block of work: its slots side by side, so that depth calls of one round share batches.

A block's result depends on the block alone: the executor's cache is emptied before it, so that the
make-up of the depth batches, and with it the last bit of every map, never depends on which worker
did what before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from pearl_data.experts.base import Expert
from pearl_data.shards import CallTiming, Quarantined, Sample
from pearl_data.sources.base import Candidate, QuestionSource, Slot
from pearl_data.synthesise.trial import Trial
from pearl_tools.executor import ToolExecutor

PIXELS_AT_ONCE: Final = 48_000_000
"""Slots are worked on side by side until their pictures have so many pixels: bounds memory."""


class SlotResult(NamedTuple):
    """What became of one slot: what was tried in vain, and the sample if one was found."""

    sample: Sample | None
    quarantined: list[Quarantined]
    timings: list[CallTiming]

    @property
    def inputs(self) -> int:
        """How many inputs the slot consumed."""
        return len(self.quarantined) + (self.sample is not None)


class _OpenSlot:
    """A slot while it is being worked on."""

    def __init__(self, slot: Slot) -> None:
        self._candidates = slot
        self.quarantined: list[Quarantined] = []
        self.sample: Sample | None = None
        self.timings: list[CallTiming] = []
        self.trial: Trial | None = None

    def next_trial(self, expert: Expert, seed: int, val_share: float) -> bool:
        """Starts the next usable candidate; False when there is none left."""
        self.trial = None
        for item in self._candidates:
            if not isinstance(item, Candidate):
                self.quarantined.append(
                    Quarantined(key=item.key_stem, reason=item.reason, record=item.record)
                )
                continue
            self.trial = Trial(item, expert, seed, val_share)
            return True
        return False

    def settle(self) -> None:
        """Takes the outcome of the ended trial."""
        assert self.trial is not None
        outcome = self.trial.sample()
        if isinstance(outcome, Quarantined):
            self.quarantined.append(outcome)
        else:
            self.sample = outcome
            self._candidates = iter(())  # those not tried hold pictures too
        self.timings += self.trial.timings
        self.trial = None  # and with it the pictures


def run_block(
    source: QuestionSource,
    index: int,
    expert: Expert,
    executor: ToolExecutor,
    *,
    seed: int,
    val_share: float,
) -> list[SlotResult]:
    """The results of block ``index``, one per slot, in the source's order."""

    def begin(slot: _OpenSlot) -> bool:
        return slot.next_trial(expert, seed, val_share)

    executor.clear_cache()
    slots: list[_OpenSlot] = []
    side_by_side: list[_OpenSlot] = []
    for candidates in source.block(index):
        slot = _OpenSlot(candidates)
        slots.append(slot)
        if begin(slot):
            side_by_side.append(slot)
        if _open_pixels(side_by_side) >= PIXELS_AT_ONCE:
            _finish(side_by_side, begin, executor)
            side_by_side = []
    _finish(side_by_side, begin, executor)
    return [SlotResult(slot.sample, slot.quarantined, slot.timings) for slot in slots]


def _open_pixels(slots: list[_OpenSlot]) -> int:
    """Pixels of the pictures that the trials of ``slots`` hold, shared ones once."""
    roots = {
        id(root): root.record
        for slot in slots
        if slot.trial is not None
        for root in slot.trial.candidate.roots
    }
    return sum(record.width * record.height for record in roots.values())


def _finish(
    running: list[_OpenSlot], begin: Callable[[_OpenSlot], bool], executor: ToolExecutor
) -> None:
    """Carries out the trials of ``running``, and what is tried after those that fail."""
    while running:
        _carry_out([slot.trial for slot in running if slot.trial is not None], executor)
        for slot in running:
            slot.settle()
        running = [slot for slot in running if slot.sample is None and begin(slot)]


def _carry_out(trials: list[Trial], executor: ToolExecutor) -> None:
    """Runs all calls of ``trials``, one call of each at a time, until all have ended."""
    while True:
        wanted = [(trial, call) for trial in trials if (call := trial.wanted()) is not None]
        if not wanted:
            return
        observations = executor.run_many([(call, trial.media) for trial, call in wanted])
        for (trial, call), observation in zip(wanted, observations, strict=True):
            trial.give(call, observation)
