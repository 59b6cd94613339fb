"""Benches that end their worker, or stop it, at a place: importable by worker processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pearl_data.synthesise.at_hand import AtHand, Place

SLOTS = 4


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crashed() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def hanging() -> None:
    time.sleep(600)


def out_of_memory() -> None:
    raise MemoryError


@dataclass
class Fragile:
    """Gives the slots of a block that it could work on; at ``slot`` of ``block`` something happens,
    ``times`` times over all workers.
    """

    notes: Path
    happens: Callable[[], None]
    block: int = 1
    slot: int | None = 2
    picture: str | None = None
    together: bool = False
    times: int = 1
    facts: str = "open"

    def run(self, index: int, room: int | None, at_hand: AtHand) -> list[int | str]:
        made: list[int | str] = []
        for number in range(SLOTS):
            if number in at_hand.avoid.slots:
                made.append(at_hand.avoid.slots[number][1].code)
                continue
            together = self.together and not at_hand.avoid.one_by_one
            at_hand.take(None if together else Place(slot=number, key="scene"))
            if (index, number) == (self.block, self.slot):
                if self.picture is None:
                    self._happen()
                elif error := at_hand.avoid.pictures.get(self.picture):
                    made.append(error.code)
                    continue
                else:
                    with at_hand.picture(self.picture):
                        self._happen()
            made.append(10 * index + number)
        return made

    def _happen(self) -> None:
        with self.notes.open("a") as notes:
            notes.write(f"{os.getpid()}\n")
        if len(self.notes.read_text().splitlines()) <= self.times:
            self.happens()


@dataclass
class Opening:
    """Opens a bench, or fails to."""

    bench: Fragile
    happens: Callable[[], None] | None = None

    def __call__(self) -> Fragile:
        if self.happens:
            self.happens()
        return self.bench


def refused() -> None:
    raise FileNotFoundError(2, "No such file or directory", "photos")
