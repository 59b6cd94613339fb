"""One block of work: its slots side by side, so that depth calls of one round share batches.

A block's result depends on the block alone: the executor's cache is emptied before it, and which
slots go side by side depends on their numbers and pictures, never on how many samples are wanted or
on which worker did what before; so neither does the make-up of the depth batches, and with it the
last bit of every map.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from pearl_data.episode import CallQueue, run_episode
from pearl_data.experts.base import Expert, PlanPolicy
from pearl_data.shards import CallTiming, Quarantined, Sample
from pearl_data.sources.base import Candidate, QuestionSource, Slot
from pearl_data.sources.keys import slug
from pearl_data.sources.pictures import while_opening
from pearl_data.synthesise.at_hand import AtHand, Place
from pearl_data.synthesise.outcome import key_of, outcome, timings_of
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
    """A slot while it is being worked on: its candidates are tried in turn until one is written."""

    def __init__(self, number: int, slot: Slot) -> None:
        self.number = number
        self._candidates = slot
        self.candidate: Candidate | None = None
        self.quarantined: list[Quarantined] = []
        self.sample: Sample | None = None
        self.timings: list[CallTiming] = []

    @property
    def place(self) -> Place:
        """Where it is, with the key of the candidate that is tried."""
        return Place(slot=self.number, key=self.candidate.key_stem if self.candidate else None)

    def open_next(self) -> bool:
        """Opens the next usable candidate; False if there is none left."""
        self.candidate = None
        for item in self._candidates:
            if isinstance(item, Candidate):
                self.candidate = item
                return True
            self.quarantined.append(
                Quarantined(key=item.key_stem, reason=item.reason, record=item.record)
            )
        return False

    async def try_candidate(
        self, expert: Expert, calls: CallQueue, seed: int, val_share: float
    ) -> None:
        """The episode of the open candidate, and its outcome."""
        candidate = self.candidate
        assert candidate is not None
        media = {root.record.id: root for root in candidate.roots}
        policy = PlanPolicy(expert, candidate.task, media, seed)
        episode = await run_episode(policy, media, calls)
        found = outcome(candidate, policy, episode, val_share)
        self.timings += timings_of(key_of(candidate), episode)
        self.candidate = None  # and with it the pictures
        if isinstance(found, Quarantined):
            self.quarantined.append(found)
        else:
            self.sample = found
            self._candidates = iter(())  # those not tried hold pictures too


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
        return slot.open_next()

    def finish(running: list[_OpenSlot]) -> None:
        """Runs the episodes of ``running``, then those of the next candidates of slots without a
        sample.
        """
        while running:
            at_hand.take(running[0].place if len(running) == 1 else None)
            asyncio.run(_side_by_side(running, expert, executor, seed, val_share))
            at_hand.found += sum(slot.sample is not None for slot in running)
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
    """Pixels of the pictures that the candidates of ``slots`` hold, shared ones once."""
    roots = {
        id(root): root.record
        for slot in slots
        if slot.candidate is not None
        for root in slot.candidate.roots
    }
    return sum(record.width * record.height for record in roots.values())


async def _side_by_side(
    slots: list[_OpenSlot], expert: Expert, executor: ToolExecutor, seed: int, val_share: float
) -> None:
    """One candidate of each slot; their calls share batches."""
    calls = CallQueue(executor)
    episodes = (slot.try_candidate(expert, calls, seed, val_share) for slot in slots)
    await asyncio.gather(*episodes)
