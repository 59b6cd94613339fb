"""The input a worker has at hand, for whoever watches it, and the inputs it must not touch again.

A worker that dies takes its memory with it: the watching process must already know which picture
was being opened, or which slot was being carried out, to try the rest without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from pearl_tools.errors import ToolError, ToolFailure


class Place(NamedTuple):
    """A picture by its name, or a slot by its number in the block; ``key`` begins the id of the
    candidate that is tried there, once it is known.
    """

    picture: str | None = None
    slot: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        if self.picture is not None:
            return f"picture {self.picture}"
        return f"slot {self.slot}" + (f" ({self.key})" if self.key else "")


class Avoid(NamedTuple):
    """Pictures that are not opened and slots that are not tried, each with its reason.

    With ``one_by_one`` slots are carried out apart, so that each is known while it is at hand.
    """

    pictures: Mapping[str, ToolError] = {}
    slots: Mapping[int, tuple[str | None, ToolError]] = {}
    one_by_one: bool = False


class AtHand:
    """Reports to ``tell`` each place that is taken up, with the number of samples found so far."""

    def __init__(
        self,
        avoid: Avoid | None = None,
        tell: Callable[[Place | None, int], None] | None = None,
    ) -> None:
        self.avoid = avoid or Avoid()
        self.found = 0
        self._tell = tell
        self._place: Place | None = None

    def take(self, place: Place | None) -> None:
        """From now on ``place`` is at hand; None for several at once, or nothing."""
        self._place = place
        if self._tell:
            self._tell(place, self.found)

    @contextmanager
    def picture(self, name: str) -> Iterator[None]:
        """Inside, the picture ``name`` is opened; raises ``ToolFailure`` for one to be avoided."""
        if name in self.avoid.pictures:
            raise ToolFailure(self.avoid.pictures[name])
        before = self._place
        self.take(Place(picture=name))
        try:
            yield
        finally:
            self.take(before)
