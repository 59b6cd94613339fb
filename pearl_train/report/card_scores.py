"""The part of a card that says how the model scored: a table of every evaluation of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from pearl_tools.errors import BadInput, listed
from pearl_tools.strict_json import decode_json
from pearl_train.run.names import folder_name

_NOTES = """\
Intervals are Wilson's. By likelihood: where the choice that the model holds for the likeliest is
the right one, whatever it says; of a model that calls tools after its own last words, and never
where it came to no answer. Not read of open questions."""


EVERY: Final = "every"


def scores(run: Path, step: int | Literal["every"] | None = EVERY) -> str:
    """A table of every evaluation that ``pearl-train eval`` left in ``run``; empty if none did.

    ``step`` leaves those of one set of weights: of the checkpoint at that step, None of the end.
    """
    text = ""
    for found in _evaluations(run):
        at = found.get("checkpoint")
        if step not in (EVERY, at):
            continue
        earlier = f", **checkpoint of step {at}**" if at is not None and step == EVERY else ""
        split = f", split `{found['split']}`" if found.get("split") else ""
        seen = ", **questions it was trained on**" if found.get("trained_on") else ""
        on = folder_name(str(found["data"]))
        text += (
            f"\n`{on}`{split}, mode `{found['mode']}`{earlier}{seen}:\n\n"
            "| family | n | correct | accuracy [95 % interval] | chance | by likelihood [95 %] |\n"
            "|---|---|---|---|---|---|\n"
        )
        for row in [*found["families"], found["overall"]]:
            rate = row["accuracy"]
            text += (
                f"| {row['family']} | {rate['n']} | {rate['k']} | {_interval(rate)} | "
                f"{row['chance']:.2f} | {_counted(row.get('by_likelihood'))} |\n"
            )
        if refused := found.get("unanswerable"):
            text += (
                f"\n{len(refused)} of these questions cannot be put to this model, which refuses "
                f"their pictures or words ({listed(list(refused))}); they count as wrong.\n"
            )
    return f"## Scores\n{text}\n{_NOTES}\n" if text else ""


def _evaluations(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.rglob("scores.json")):
        try:
            yield decode_json(path.read_bytes(), dict[str, Any])
        except msgspec.DecodeError as error:
            raise BadInput(f"{path}: expected an evaluation as JSON, got {error}") from error


def _counted(rate: dict[str, Any] | None) -> str:
    """Count and interval; of open questions none are counted."""
    if rate is None or rate.get("rate") is None:
        return ""
    return f"{rate['k']}/{rate['n']}: {_interval(rate)}"


def _interval(rate: dict[str, Any]) -> str:
    if rate.get("rate") is None:
        return "none"
    return f"{100 * rate['rate']:.1f} % [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
