"""The held-out frames picture by picture, with intervals: a model, FastDepth and the rule.

Middlebury's motorcycle and five frames of redwood, from `data/depth` of PEARL_SHARED, measured by
what `pearl-data tools eval depth` runs. They take no part in training, and in no choice since the
fifth stage; the card says how it was before. FastDepth needs the extra `tflite` and is left out,
with a word, where it cannot be loaded.
Leaves out rendered scenes (`evaluate.py`).
"""

import sys
from pathlib import Path
from typing import Any

import msgspec

from pearl_data.depth_eval.calibration import Calibration
from pearl_data.depth_eval.evaluate import Options, evaluate
from pearl_data.depth_eval.records import Estimate, Row
from pearl_tools.depth import DepthModel, load_depth_model
from pearl_tools.errors import ModelUnavailable, UsageError

MOTORCYCLE = Calibration(focal_px=994.978, baseline_mm=193.001, offset_px=31.086)
FAST_DEPTH = "models/fast_depth_224.tflite"


def measure(model: DepthModel, shared: Path) -> list[dict[str, Any]]:
    """A row per picture and method, and per set and method: set, picture (None for the set) and the
    fields of `records.Row`.
    """
    folder = shared / "data" / "depth"
    models = [model]
    try:
        models.append(load_depth_model(str(shared / "data" / FAST_DEPTH)))
    except (ModelUnavailable, UsageError) as error:
        print(f"without FastDepth: {error}", file=sys.stderr)
    report = evaluate(
        [folder, folder / "redwood_rendered"], models, Options(calibration=MOTORCYCLE)
    )
    rows = []
    for found, name in zip(report.sets, ("motorcycle", "redwood"), strict=True):
        named = [(picture.name, picture.rows) for picture in found.pictures]
        if len(named) > 1:
            named.append((None, found.rows))
        rows += [
            {"set": name, "picture": picture, **msgspec.to_builtins(row)}
            for picture, measured in named
            for row in measured
        ]
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Those rows as Markdown."""
    lines = [
        "| picture | method | ordinal | less the rule's | Spearman | AbsRel | delta-1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for stored in rows:
        place = " ".join(dict.fromkeys((stored["set"], stored["picture"] or "all")))
        row = msgspec.convert(
            {name: value for name, value in stored.items() if name not in ("set", "picture")}, Row
        )
        cells = (
            _cell(row.ordinal),
            _cell(row.over_rule, signed=True),
            *(_cell(value) for value in (row.spearman, row.abs_rel, row.delta_1)),
        )
        lines.append(f"| {place} | {row.method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(estimate: Estimate | None, *, signed: bool = False) -> str:
    if estimate is None:
        return ""
    sign = "+" if signed else ""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{sign}.3f}"
    low, high = f"{estimate.low:{sign}.2f}", f"{estimate.high:{sign}.2f}"
    return f"{estimate.value:{sign}.3f} [{low}, {high}]"
