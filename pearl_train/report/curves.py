"""``curves.png``: the losses, the rate and the collapse panel of a run, as small multiples."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from pearl_data.shards.files import write_whole
from pearl_train.run.metrics import PANEL, read_metrics

#: Colours of the terms in the order of their names; legible in grey and to the colour-blind.
COLOURS = ("#0b5d8a", "#c65a11", "#2f7d4f", "#8a3ffc", "#b0344a", "#6b6b00")
_FAINT = "#c9ced3"
_APART = "#55606a"


class Chart(NamedTuple):
    """One small multiple: its title, what its axis counts, its lines by name, whether its axis is
    logarithmic, and a line that needs an axis of its own.
    """

    title: str
    axis: str
    names: Sequence[str]
    logarithmic: bool = False
    apart: str | None = None


def import_matplotlib() -> None:
    """Import matplotlib early, since the import takes longer than drawing at the end of a run."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401


def draw_curves(metrics: Path, out: Path, title: str = "") -> Path | None:
    """Draw the lines of a ``metrics.jsonl`` to ``out``; None if it holds nothing to draw."""
    figure = figure_of(read_metrics(metrics), title)
    if figure is None:
        return None
    drawn = BytesIO()
    figure.savefig(drawn, metadata={"Software": None})  # no version: the same data, the same bytes
    write_whole(out, drawn.getvalue())
    return out


def figure_of(lines: Sequence[dict[str, float]], title: str = "") -> Any | None:
    """The charts for which ``lines`` have values, as one matplotlib figure; None without any."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

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
    return figure


def _charts(lines: Sequence[dict[str, float]]) -> list[Chart]:
    """The charts for which there are values."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    panel = [name for name in names if name.startswith(PANEL)]
    spread = [n for n in panel if n.endswith(("_std", "cosine", "retrieval"))]
    gradients = [n for n in panel if n.startswith(f"{PANEL}gradient/")]
    other = {"step", "loss", "lr", "grad_norm", "samples", "tokens"}
    terms = [name for name in names if "/" not in name and name not in other]
    rank = f"{PANEL}effective_rank"
    wanted = [
        Chart(
            "loss", "per token or sample", [n for n in ("loss", "validation/loss") if n in names]
        ),
        Chart("terms, unweighted", "per token or sample", terms),
        Chart("learning rate", "rate", [n for n in ("lr",) if n in names]),
        Chart("gradient norm", "norm", [n for n in ("grad_norm",) if n in names]),
        Chart(
            "collapse panel: views",
            "std, cosine, share",
            spread,
            apart=rank if rank in names else None,
        ),
        Chart("collapse panel: gradient norm of each term", "norm", gradients, logarithmic=True),
    ]
    return [chart for chart in wanted if chart.names]


def _draw(axes: Any, chart: Chart, lines: Sequence[dict[str, float]]) -> None:
    from matplotlib.ticker import MaxNLocator

    drawn = []
    for number, name in enumerate(chart.names):
        drawn += _line(axes, name, lines, COLOURS[number % len(COLOURS)])
    if chart.apart:  # a count of dimensions: on the axis of the others it would flatten them
        right = axes.twinx()
        drawn += _line(right, chart.apart, lines, _APART, linestyle="--")
        right.set_ylabel(f"{_label(chart.apart)}, centred", fontsize=8, color=_APART)
        right.tick_params(labelsize=8, colors=_APART)
        right.set_ylim(bottom=0)
        right.spines[["top", "left"]].set_visible(False)
    axes.set_title(chart.title, fontsize=10, loc="left")
    axes.set_xlabel("step", fontsize=8)
    axes.set_ylabel(chart.axis, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=8, which="both")
    axes.grid(color=_FAINT, lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    if chart.logarithmic and any((line.get(n) or 0) > 0 for line in lines for n in chart.names):
        axes.set_yscale("log")
    if len(drawn) > 1:
        # under the chart, where no line runs
        axes.legend(
            handles=drawn, fontsize=8, frameon=False, loc="upper left",
            bbox_to_anchor=(-0.02, -0.2), ncols=3, columnspacing=1.2, handlelength=1.4,
        )  # fmt: skip


def _line(
    axes: Any, name: str, lines: Sequence[dict[str, float]], colour: str, linestyle: str = "-"
) -> list[Any]:
    """Draw the values of ``name``; what the legend needs of it, nothing if there are none."""
    points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
    if not points:
        return []
    steps, values = zip(*points, strict=True)
    mark = "o" if len(points) < 12 else None
    return axes.plot(  # type: ignore[no-any-return]  # matplotlib is not typed
        steps, values, color=colour, lw=1.6, linestyle=linestyle, marker=mark, ms=3,
        label=_label(name),
    )  # fmt: skip


def _label(name: str) -> str:
    """``panel/target_std`` as people read it."""
    return name.removeprefix(PANEL).removeprefix("gradient/").replace("_", " ")
