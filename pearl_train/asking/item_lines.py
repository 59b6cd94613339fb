"""``items.jsonl``: a header that says what was examined, then a line for every question.

Whole lines only, each written before the next question is asked; a line that was torn by a crash is
cut off when the file is opened again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from pearl_data.shards.files import write_whole
from pearl_data.trajectory import canonical_json
from pearl_tools.errors import BadInput
from pearl_tools.strict_json import decode_json
from pearl_tools.types import Record
from pearl_train.errors import writing

ITEMS = "items.jsonl"


class Header(Record, frozen=True, kw_only=True):
    """What an evaluation is of; lines are only continued under an equal header."""

    model: str
    data: str
    split: str | None
    mode: str
    options: dict[str, Any]

    @property
    def digest(self) -> str:
        """A name for exactly this evaluation."""
        return hashlib.sha256(canonical_json(self)).hexdigest()[:12]


class ItemLine(Record, frozen=True, kw_only=True):
    """One question's line: the question, the reply, the parsed answer and the cost.

    ``log_likelihoods`` are the means that rank the choices, in their order. ``refused``
    is the reason if this model cannot be asked the question.
    """

    key: str
    family: str
    identity: str
    answer: str
    choices: int
    reply: str
    stated: str | None
    correct: bool
    lenient: bool
    ended: bool
    latency_ms: float
    tokens: int
    thought_tokens: int
    turns: int
    tools: dict[str, int]
    errors: dict[str, int]
    notes: list[str]
    likeliest: str | None = None
    likeliest_correct: bool | None = None
    log_likelihoods: list[float] = []
    refused: str = ""


def read_lines(path: Path) -> tuple[Header, list[ItemLine]]:
    """An ``items.jsonl`` without a torn last line; raises ``BadInput`` for one that is none."""
    texts = path.read_bytes().split(b"\n")[:-1]
    try:
        header = decode_json(texts[0], Header)
        return header, [decode_json(text, ItemLine) for text in texts[1:]]
    except (IndexError, msgspec.DecodeError) as error:
        raise BadInput(
            f"{path}: expected the lines of an evaluation, got {error}; "
            "remove the file to start anew"
        ) from error


class Store:
    """``items.jsonl``: whole lines only, each written before the next question is asked."""

    def __init__(self, lines: list[ItemLine], stream: IO[bytes] | None) -> None:
        self.lines, self._stream = lines, stream

    def append(self, line: ItemLine) -> None:
        """Write ``line`` so that killing this process cannot lose it."""
        if self._stream is not None:
            with writing(Path(self._stream.name)):
                self._stream.write(_encoded(line))
                self._stream.flush()


@contextmanager
def open_store(folder: Path | None, header: Header) -> Iterator[Store]:
    """The lines in ``folder``, open for more; nothing is kept without a folder."""
    if folder is None:
        yield Store([], None)
        return
    path, lines = folder / ITEMS, list[ItemLine]()
    if path.is_file() and path.read_bytes().count(b"\n"):
        known, lines = read_lines(path)
        if known != header:
            raise BadInput(
                f"{path}: expected lines of {header.model} on {header.data}, got those of "
                f"{known.model} on {known.data} or with other options; name another folder"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, b"".join(_encoded(record) for record in [header, *lines]))
    with path.open("ab", buffering=0) as stream:
        yield Store(lines, stream)


def _encoded(record: Record) -> bytes:
    return msgspec.json.encode(record) + b"\n"
