"""The calls of quarantine entries.

The record of an entry may be a whole trajectory (a check rejected it), a question with the steps so
far (the expert gave up), or a row of the source (no call was made yet). So each field is looked up
separately. Not here: counting (:mod:`pearl_data.audit.count`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from pearl_data.audit.calls import Caller
from pearl_data.findings import Finding
from pearl_data.shards.sample import Quarantined
from pearl_data.trajectory import Call


def quarantined_caller(path: str, entry: Quarantined) -> Caller:
    """``entry`` as the one who made its calls; None for what its record does not say."""
    record = entry.record or {}
    return Caller(
        path=path,
        key=entry.key,
        split=_text(record, "split"),
        dataset=_text(record.get("source"), "dataset"),
        family=_text(record.get("task"), "family"),
        origin=_text(record, "origin"),
        outcome="quarantined",
    )


def quarantined_calls(entry: Quarantined) -> list[list[Call]]:
    """The calls in ``record["steps"]`` of ``entry``, step by step; a list per step.

    What cannot be read as a call is none: rows of a source may have ``steps`` of their own.
    """
    steps = (entry.record or {}).get("steps")
    return [_calls(step) for step in steps] if isinstance(steps, list) else []


def first_of_each(
    entries: Iterable[Quarantined | Finding], codes: Collection[str]
) -> dict[str, Quarantined]:
    """The first entry of each of ``codes``; stops reading once all are found."""
    found: dict[str, Quarantined] = {}
    for entry in entries if codes else ():
        if isinstance(entry, Quarantined) and entry.reason.code in codes:
            found.setdefault(entry.reason.code, entry)
            if len(found) == len(codes):
                break
    return found


def _calls(step: object) -> list[Call]:
    found = step.get("calls") if isinstance(step, dict) else None
    calls = []
    for one in found if isinstance(found, list) else ():
        try:
            calls.append(msgspec.convert(one, Call, strict=False))
        except msgspec.ValidationError:
            continue
    return calls


def _text(record: Any, name: str) -> str | None:
    value = record.get(name) if isinstance(record, dict) else None
    return value if isinstance(value, str) else None
