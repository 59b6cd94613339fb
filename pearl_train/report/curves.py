"""``curves.png``: the losses, the rate and the collapse panel of a run, as small multiples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pearl_train.run.metrics import read_metrics

#: Colours of the terms in the order of their names; legible in grey and to the colour-blind.
COLOURS = ("#0b5d8a", "#c65a11", "#2f7d4f", "#8a3ffc", "#b0344a", "#6b6b00")
_FAINT = "#c9ced3"


class Chart(NamedTuple):
    """One small multiple: its title, its lines by name, whether its axis is logarithmic."""

    title: str
    names: Sequence[str]
    logarithmic: bool = False


def draw_curves(metrics: Path, out: Path, title: str = "") -> Path | None:
    """Draw the lines of a ``metrics.jsonl`` to ``out``; None if it holds nothing to draw."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read_metrics(metrics)
    charts = _charts(lines)
    if not charts:
        return None
    columns = min(len(charts), 3)
    rows = -(-len(charts) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.9 * rows + 0.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for place, chart in enumerate(charts):
        _draw(figure.add_subplot(rows, columns, place + 1), chart, lines)
    if title:
        figure.suptitle(title, fontsize=11)
    figure.savefig(out, metadata={"Software": None})  # no version: the same data, the same bytes
    return out


def _charts(lines: Sequence[dict[str, float]]) -> list[Chart]:
    """The charts for which there are values."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    panel = [name for name in names if name.startswith("panel/")]
    spread = [n for n in panel if n.endswith(("_std", "cosine", "retrieval"))]
    gradients = [n for n in panel if n.startswith("panel/gradient/")]
    other = {"step", "loss", "lr", "grad_norm", "samples", "tokens"}
    terms = [name for name in names if "/" not in name and name not in other]
    wanted = [
        Chart("loss", [n for n in ("loss", "validation/loss") if n in names]),
        Chart("terms, unweighted", terms),
        Chart("learning rate", [n for n in ("lr",) if n in names]),
        Chart("gradient norm", [n for n in ("grad_norm",) if n in names]),
        Chart("views: spread and retrieval", spread),
        Chart("gradient norm of each term", gradients, logarithmic=True),
    ]
    return [chart for chart in wanted if chart.names]


def _draw(axes: Any, chart: Chart, lines: Sequence[dict[str, float]]) -> None:
    for number, name in enumerate(chart.names):
        points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
        if not points:
            continue
        steps, values = zip(*points, strict=True)
        label = name.removeprefix("panel/").removeprefix("gradient/")
        mark = "o" if len(points) < 12 else None
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(steps, values, color=colour, lw=1.6, marker=mark, ms=3, label=label)
    axes.set_title(chart.title, fontsize=10, loc="left")
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(color=_FAINT, lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    if chart.logarithmic and any((line.get(n) or 0) > 0 for line in lines for n in chart.names):
        axes.set_yscale("log")
    if len(chart.names) > 1:
        # under the chart, where no line runs
        axes.legend(
            fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(-0.02, -0.2), ncols=3,
            columnspacing=1.2, handlelength=1.4,
        )  # fmt: skip
