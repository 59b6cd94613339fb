"""One block of work: its slots run concurrently, so that their depth calls share batches.

The result depends on the block alone. The executor's cache is cleared first, and the grouping of
slots depends only on their numbers and pictures, not on the number of samples wanted or on earlier
work of the worker. So depth batches, and with them the last bit of every map, are always the same.
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
from pearl_data.synthesise.current_input import CurrentInput, InputPlace
from pearl_data.synthesise.outcome import key_of, outcome, timings_of
from pearl_tools.executor import ToolExecutor

PIXELS_AT_ONCE: Final = 48_000_000
"""Slots run concurrently while their pictures have fewer pixels than this: bounds memory."""


class SlotResult(NamedTuple):
    """The result of one slot: the quarantined candidates, and the sample if there is one."""

    sample: Sample | None
    quarantined: list[Quarantined]
    timings: list[CallTiming]

    @property
    def inputs(self) -> int:
        """The number of inputs that the slot consumed."""
        return len(self.quarantined) + (self.sample is not None)


class _OpenSlot:
    """A slot in progress: its candidates are tried in turn until one yields a sample."""

    def __init__(self, number: int, slot: Slot) -> None:
        self.number = number
        self._candidates = slot
        self.candidate: Candidate | None = None
        self.quarantined: list[Quarantined] = []
        self.sample: Sample | None = None
        self.timings: list[CallTiming] = []

    @property
    def place(self) -> InputPlace:
        """The slot's number, with the key of the current candidate."""
        return InputPlace(slot=self.number, key=self.candidate.key_stem if self.candidate else None)

    def open_next(self) -> bool:
        """Open the next usable candidate; False if no candidate remains."""
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
        """Run the episode of the open candidate and record its outcome."""
        candidate = self.candidate
        assert candidate is not None
        media = {root.record.id: root for root in candidate.roots}
        policy = PlanPolicy(expert, candidate.task, media, seed)
        episode = await run_episode(policy, media, calls)
        found = outcome(candidate, policy, episode, val_share)
        self.timings += timings_of(key_of(candidate), episode)
        self.candidate = None  # frees its pictures
        if isinstance(found, Quarantined):
            self.quarantined.append(found)
        else:
            self.sample = found
            self._candidates = iter(())  # frees the pictures of the others


def run_block(
    source: QuestionSource,
    index: int,
    expert: Expert,
    executor: ToolExecutor,
    *,
    seed: int,
    val_share: float,
    room: int | None = None,
    current: CurrentInput | None = None,
) -> list[SlotResult]:
    """The results of block ``index``, one per slot, in the source's order. Stops early once there
    are ``room`` samples. Skipped inputs (``current.skip``) go to the quarantine.
    """
    current = current or CurrentInput()

    def begin(slot: _OpenSlot) -> bool:
        current.set(slot.place)
        return slot.open_next()

    def finish(running: list[_OpenSlot]) -> None:
        """Run the episodes of ``running``, then the next candidates of slots without a sample."""
        while running:
            current.set(running[0].place if len(running) == 1 else None)
            asyncio.run(_side_by_side(running, expert, executor, seed, val_share))
            current.found += sum(slot.sample is not None for slot in running)
            running = [slot for slot in running if slot.sample is None and begin(slot)]

    executor.clear_cache()
    slots: list[_OpenSlot] = []
    side_by_side: list[_OpenSlot] = []
    with while_opening(current.picture):
        current.set(InputPlace(slot=0))
        for number, candidates in enumerate(source.block(index)):
            slot = _OpenSlot(number, candidates)
            slots.append(slot)
            if number in current.skip.slots:
                key, reason = current.skip.slots[number]
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
                or current.skip.one_by_one
                or _open_pixels(side_by_side) >= PIXELS_AT_ONCE
            ):
                finish(side_by_side)
                side_by_side = []
                if room is not None and current.found >= room:
                    break
            current.set(InputPlace(slot=number + 1))
        finish(side_by_side)
    return [SlotResult(slot.sample, slot.quarantined, slot.timings) for slot in slots]


def _ends_a_group(number: int) -> bool:
    """True if slot ``number`` ends a group. Groups have 1, 2, 4, 8 ... slots, so that a run that
    wants few samples computes few.
    """
    return not (number + 2) & (number + 1)


def _open_pixels(slots: list[_OpenSlot]) -> int:
    """The total pixels of the pictures that ``slots`` hold; a shared picture counts once."""
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
    """Run one candidate of each slot concurrently; their calls share batches."""
    calls = CallQueue(executor)
    episodes = (slot.try_candidate(expert, calls, seed, val_share) for slot in slots)
    await asyncio.gather(*episodes)
