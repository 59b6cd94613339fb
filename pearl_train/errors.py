"""Why a run ends before its last step, a sample that a model does not take, a question without an
answer.

RunInterrupted   somebody asked it to (exit 130); it can be resumed
Diverged         a loss, a gradient or a weight is no longer a number: names step, terms, samples
Collapsed        the collapse panel says so and log.on_collapse is "stop"
Refused          the model's processor or tokenizer does not take a sample, which is sound
CannotWrite      a full disk, or one that refuses otherwise: names the file
NoAnswer         a model that was asked says nothing

All are :class:`~pearl_tools.errors.PearlError`; exit 1 but for the first.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pearl_data.formats.chat import UNLETTERED, Refused
from pearl_tools.errors import Interrupted, PearlError

__all__ = [
    "BY_PROCESSOR", "BY_TOKENIZER", "REFUSALS", "UNLETTERED",
    "CannotWrite", "Collapsed", "Diverged", "NoAnswer", "Refused", "RunInterrupted", "writing",
]  # fmt: skip

BY_PROCESSOR, BY_TOKENIZER = "refused-by-processor", "refused-by-tokenizer"
REFUSALS = frozenset({BY_PROCESSOR, BY_TOKENIZER, UNLETTERED})
"""Reasons of :class:`Refused`."""


class RunInterrupted(Interrupted):
    """Training was interrupted and can go on; the message says how.

    ``during`` says for the card what it was at, where that was no step: "while ...".
    """

    def __init__(self, message: str, *, during: str = "") -> None:
        super().__init__(message)
        self.during = during


class Diverged(PearlError):
    """A loss, a gradient or a weight is not finite.

    ``what`` is the message without the ``remedy``, which a card words by itself.
    """

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(f"{what}. {remedy}" if remedy else what)
        self.what = what


class Collapsed(PearlError):
    """The views collapsed; the message names the remedy."""


class CannotWrite(PearlError):
    """A file cannot be written; ``what`` names it and says why, without the ``remedy``."""

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.what = what


class NoAnswer(PearlError):
    """The reply of a model is empty."""


@contextmanager
def writing(
    path: Path, remedy: str = "make room there, then run the same command again"
) -> Iterator[None]:
    """Inside, only ``path``, or files below it, are written: what the system refuses is a
    ``CannotWrite`` naming the file, with the ``remedy``.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        reason = " ".join(str(error).replace("Error while serializing:", "").split())
        raise CannotWrite(f"{path}: cannot be written: {reason}", remedy=remedy) from error
    except OSError as error:
        named, reason = _fault(error)
        raise CannotWrite(f"{named or path}: cannot be written: {reason}", remedy=remedy) from error


def _fault(error: OSError) -> tuple[str, str]:
    """The file that could not be written, or "", and the reason. Of a copy that is its target, of a
    copied tree the first target.
    """
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        _, target, reason = error.args[0][0]
        return str(target), re.sub(r"^\[Errno \d+\] ", "", str(reason)).partition(": '")[0]
    reason = error.strerror or " ".join(str(error).split())[:300]
    return str(error.filename2 or error.filename or ""), reason
