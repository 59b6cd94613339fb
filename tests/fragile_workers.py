"""Block computers that end or stop their worker at a chosen slot; workers import them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pearl_data.synthesise.current_input import CurrentInput, InputPlace

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
    """Returns the numbers of a block's slots; calls ``happens`` at ``slot`` of ``block``, at most
    ``times`` times over all workers. Skipped slots give their error code.
    """

    notes: Path
    happens: Callable[[], None]
    block: int = 1
    slot: int | None = 2
    picture: str | None = None
    together: bool = False
    times: int = 1
    facts: str = "open"

    def run(self, index: int, room: int | None, current: CurrentInput) -> list[int | str]:
        made: list[int | str] = []
        for number in range(SLOTS):
            if number in current.skip.slots:
                made.append(current.skip.slots[number][1].code)
                continue
            together = self.together and not current.skip.one_by_one
            current.set(None if together else InputPlace(slot=number, key="scene"))
            if (index, number) == (self.block, self.slot):
                if self.picture is None:
                    self._happen()
                elif error := current.skip.pictures.get(self.picture):
                    made.append(error.code)
                    continue
                else:
                    with current.picture(self.picture):
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
    """Opens a computer, or fails to open it."""

    computer: Fragile
    happens: Callable[[], None] | None = None

    def __call__(self) -> Fragile:
        if self.happens:
            self.happens()
        return self.computer


def refused() -> None:
    raise FileNotFoundError(2, "No such file or directory", "photos")
