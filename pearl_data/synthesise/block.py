"""One block of work: its slots side by side, so that depth calls of one round share batches.

A block's result depends on the block alone: the executor's cache is emptied before it, and which
slots go side by side depends on their numbers and pictures, never on how many samples are wanted or
on which worker did what before; so neither does the make-up of the depth batches, and with it the
last bit of every map.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pearl_data.experts.base import Expert
from pearl_data.shards import CallTiming, Quarantined, Sample
from pearl_data.sources.base import Candidate, QuestionSource, Slot
from pearl_data.sources.keys import slug
from pearl_data.sources.pictures import while_opening
from pearl_data.synthesise.at_hand import AtHand, Place
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

    def __init__(self, number: int, slot: Slot) -> None:
        self.number = number
        self._candidates = slot
        self.quarantined: list[Quarantined] = []
        self.sample: Sample | None = None
        self.timings: list[CallTiming] = []
        self.trial: Trial | None = None

    @property
    def place(self) -> Place:
        """Where it is, with the key of the candidate that is tried."""
        key = self.trial.candidate.key_stem if self.trial else None
        return Place(slot=self.number, key=key)

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
    room: int | None = None,
    at_hand: AtHand | None = None,
) -> list[SlotResult]:
    """The results of block ``index``, one per slot, in the source's order; of the first slots only
    if these have ``room`` samples. What is avoided goes to the quarantine.
    """
    at_hand = at_hand or AtHand()

    def begin(slot: _OpenSlot) -> bool:
        at_hand.take(slot.place)
        return slot.next_trial(expert, seed, val_share)

    def finish(running: list[_OpenSlot]) -> None:
        """Carries out the trials of ``running``, and what is tried after those that fail."""
        while running:
            at_hand.take(running[0].place if len(running) == 1 else None)
            _carry_out([slot.trial for slot in running if slot.trial is not None], executor)
            for slot in running:
                slot.settle()
                at_hand.found += slot.sample is not None
            running = [slot for slot in running if slot.sample is None and begin(slot)]

    executor.clear_cache()
    slots: list[_OpenSlot] = []
    side_by_side: list[_OpenSlot] = []
    with while_opening(at_hand.picture):
        at_hand.take(Place(slot=0))
        for number, candidates in enumerate(source.block(index)):
            slot = _OpenSlot(number, candidates)
            slots.append(slot)
            if number in at_hand.avoid.slots:
                key, reason = at_hand.avoid.slots[number]
                slot.quarantined.append(
                    Quarantined(
                        key=key or f"{slug(source.name)}-{index:06d}-{number:03d}",
                        reason=reason,
                        record={"block": index, "slot": number},
                    )
                )
            elif begin(slot):
                side_by_side.append(slot)
            if (
                _ends_a_group(number)
                or at_hand.avoid.one_by_one
                or _open_pixels(side_by_side) >= PIXELS_AT_ONCE
            ):
                finish(side_by_side)
                side_by_side = []
                if room is not None and at_hand.found >= room:
                    break
            at_hand.take(Place(slot=number + 1))
        finish(side_by_side)
    return [SlotResult(slot.sample, slot.quarantined, slot.timings) for slot in slots]


def _ends_a_group(number: int) -> bool:
    """If a group of slots side by side ends with slot ``number``: groups of 1, 2, 4, 8 ... slots,
    so that who wants few samples computes few.
    """
    return not (number + 2) & (number + 1)


def _open_pixels(slots: list[_OpenSlot]) -> int:
    """Pixels of the pictures that the trials of ``slots`` hold, shared ones once."""
    roots = {
        id(root): root.record
        for slot in slots
        if slot.trial is not None
        for root in slot.trial.candidate.roots
    }
    return sum(record.width * record.height for record in roots.values())


def _carry_out(trials: list[Trial], executor: ToolExecutor) -> None:
    """Runs all calls of ``trials``, one call of each at a time, until all have ended."""
    while True:
        wanted = [(trial, call) for trial in trials if (call := trial.wanted()) is not None]
        if not wanted:
            return
        observations = executor.run_many([(call, trial.media) for trial, call in wanted])
        for (trial, call), observation in zip(wanted, observations, strict=True):
            trial.give(call, observation)
