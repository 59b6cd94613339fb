"""The input that a worker is processing, reported to the parent, and the inputs it must skip.

A worker that dies loses its memory. The parent must already know which picture the worker was
opening, or which slot it was computing, to compute the rest of the block without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from pearl_tools.errors import ToolError, ToolFailure


class InputPlace(NamedTuple):
    """A picture by its name, or a slot by its number in the block; ``key`` is the start of the
    candidate's id, once known.
    """

    picture: str | None = None
    slot: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        if self.picture is not None:
            return f"picture {self.picture}"
        return f"slot {self.slot}" + (f" ({self.key})" if self.key else "")


class Skip(NamedTuple):
    """Pictures and slots to skip, each with the error that explains why.

    ``one_by_one`` runs slots separately, so that a loss can be attributed to one slot.
    """

    pictures: Mapping[str, ToolError] = {}
    slots: Mapping[int, tuple[str | None, ToolError]] = {}
    one_by_one: bool = False


class CurrentInput:
    """The input in progress; ``report`` gets every change, with the number of samples so far."""

    def __init__(
        self,
        skip: Skip | None = None,
        report: Callable[[InputPlace | None, int], None] | None = None,
    ) -> None:
        self.skip = skip or Skip()
        self.found = 0
        self._report = report
        self._place: InputPlace | None = None

    def set(self, place: InputPlace | None) -> None:
        """Set the input in progress; None for several slots at once, or nothing."""
        self._place = place
        if self._report:
            self._report(place, self.found)

    @contextmanager
    def picture(self, name: str) -> Iterator[None]:
        """Mark picture ``name`` as being opened; raises ``ToolFailure`` if it must be skipped."""
        if name in self.skip.pictures:
            raise ToolFailure(self.skip.pictures[name])
        before = self._place
        self.set(InputPlace(picture=name))
        try:
            yield
        finally:
            self.set(before)
