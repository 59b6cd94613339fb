"""The quarantine of a set as text for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

import msgspec

from pearl_data.findings import Finding
from pearl_data.shards.sample import Quarantined
from pearl_tools.errors import UsageError, listed, short_repr

#: Most entries printed one by one; ``--json`` gives all.
SHOWN = 40
_RECORD_CHARS = 300


def select(
    entries: Iterable[Quarantined | Finding], code: str | None, key: str | None
) -> tuple[list[Quarantined], list[Finding]]:
    """The entries with this ``code`` (``geometry.outside``, or a stage, ``geometry``) and ``key``
    (None: any), and findings for the lines that cannot be read.

    Raises ``UsageError`` for a code or a key without an entry; the message names existing ones.
    """
    found: list[Quarantined] = []
    unreadable: list[Finding] = []
    codes, keys = set[str](), set[str]()
    for entry in entries:
        if isinstance(entry, Finding):
            unreadable.append(entry)
            continue
        codes.add(entry.reason.code)
        keys.add(entry.key)
        if code in (None, entry.reason.code, entry.reason.stage) and key in (None, entry.key):
            found.append(entry)
    if code is not None and code not in codes | {each.partition(".")[0] for each in codes}:
        raise UsageError(f"--quarantine: expected {_one_of(codes, code)}, got {code}")
    if key is not None and not found:
        raise UsageError(f"--key: expected {_one_of(keys, key)}, got {key}")
    return found, unreadable


def quarantine_lines(entries: Sequence[Quarantined], *, whole: bool) -> Iterator[str]:
    """The entries with their records, shortened unless ``whole``; then the count of each code."""
    for entry in entries if whole else entries[:SHOWN]:
        yield f"{entry.key}: {entry.reason}"
        if entry.record is not None:
            text = msgspec.json.encode(entry.record).decode()
            yield f"    {text if whole else short_repr(text, _RECORD_CHARS)}"
    if len(entries) > SHOWN and not whole:
        yield f"... and {len(entries) - SHOWN} more (--json gives all)"
    if not entries:
        yield "nothing was quarantined"
    else:
        yield ""
    counts = Counter(entry.reason.code for entry in entries)
    for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield f"{count:>8}  {code}"


def _one_of(names: set[str], wanted: str) -> str:
    near = get_close_matches(wanted, names, 5, 0.3) or sorted(names)
    return f"one of {listed(near, 5)}" if names else "none, since nothing was quarantined"
