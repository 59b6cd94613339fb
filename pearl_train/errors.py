"""Errors of training and inference.

RunInterrupted   Ctrl-C or SIGTERM (exit 130); the run can be resumed
Diverged         a loss, a gradient or a weight is not finite: names step, terms, samples
Collapsed        the collapse panel reports a collapse and log.on_collapse is "stop"
Refused          the model's processor or tokenizer cannot handle a sample that is sound
CannotWrite      a file cannot be written, as on a full disk: names the file
NoAnswer         the model's reply is empty

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
    """A file cannot be written; ``what`` names it and the reason, without the ``remedy``."""

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.what = what


class NoAnswer(PearlError):
    """The reply of a model is empty."""


@contextmanager
def writing(
    path: Path, remedy: str = "make room there, then run the same command again"
) -> Iterator[None]:
    """Turn errors of writing ``path``, or files below it, into ``CannotWrite`` naming the file,
    with the ``remedy``.
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
