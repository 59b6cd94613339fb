"""A comparison as one self-contained page and one picture of accuracies with their intervals.

Not here: rows and sentences (:mod:`pearl_train.report.comparison_table`).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pearl_data.html import Markup, data_uri, page, tag
from pearl_data.shards.files import write_whole
from pearl_train.report.comparison_table import (
    MAIN,
    RULES,
    Column,
    conclusions,
    family_tables,
    footnotes,
    main_rows,
    trained_on,
)

if TYPE_CHECKING:
    from pearl_train.comparing.compare import Comparison


def write_page(found: Comparison, out: Path, picture: Path) -> None:
    """``out`` (HTML, everything in it) and ``picture`` (PNG)."""
    image = draw(found)
    write_whole(picture, image)
    write_whole(out, render(found, image).encode())


def render(found: Comparison, picture: bytes) -> str:
    """The page: table, picture, families, what the tests show, what was compared how."""
    body = list(main_rows(found))
    about = (
        f"{found.model} trained for {found.steps} steps on {trained_on(found)}, "
        f"asked {found.test_questions} held-out questions. {found.how[:1].upper()}{found.how[1:]}."
    )
    alt = "Accuracy of each objective with 95 % intervals"
    return page(
        "Objectives compared",
        tag("h1", "Objectives compared"),
        tag("p", about, class_="soft"),
        tag("img", src=data_uri(picture, "image/png"), alt=alt, class_="chart"),
        _html_table(MAIN, body, [at for at, column in enumerate(MAIN) if not column.cost]),
        *(tag("p", line, class_="soft") for line in footnotes(found)),
        tag("h2", "What it takes"),
        _html_table(MAIN, body[RULES:], [0, *(at for at, c in enumerate(MAIN) if c.cost)]),
        tag("h2", "What the figures show"),
        _list(conclusions(found)),
        tag("h2", "By family of questions"),
        *map(_family_table, family_tables(found)),
        tag("h2", "How to read this"),
        _list(_NOTES),
        style=_STYLE,
    )


def _family_table(table: Sequence[Sequence[str]]) -> str:
    """A table whose first column is words."""
    head, *rows = table
    titles = [Column(title, number=number > 0) for number, title in enumerate(head)]
    return _html_table(titles, rows, range(len(titles)))


def draw(found: Comparison) -> bytes:
    """A PNG: one dot with its interval per row, chance and the rule without eyes as lines."""
    from matplotlib.figure import Figure

    rows = [row for row in found.rows if row.result.overall.accuracy.rate is not None]
    figure = Figure(figsize=(8, 1.1 + 0.5 * len(rows)), dpi=150, layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        accuracy = row.result.overall.accuracy
        assert accuracy.rate is not None
        assert accuracy.low is not None
        assert accuracy.high is not None
        middle = 100 * accuracy.rate
        reach = [[middle - 100 * accuracy.low], [100 * accuracy.high - middle]]
        colour = "#1f6fb2" if row.name == found.reference else "#1c2024"
        axes.errorbar(middle, place, xerr=reach, fmt="o", color=colour, capsize=4, linewidth=1.6)
        axes.annotate(
            f"{accuracy.k}/{accuracy.n}",
            (100 * accuracy.high, place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="#5b646d",
            # the lines of chance and of the rule pass behind it
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    axes.set_yticks(range(len(rows)), [row.name for row in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(0, 108)
    axes.axvline(100 * found.chance, color="#9aa4ad", linestyle=":", label="chance")
    blind = found.most_frequent.accuracy.rate
    if blind is not None:
        axes.axvline(100 * blind, color="#9aa4ad", linestyle="--", label="most frequent answer")
    axes.set_xlabel("held-out questions answered right (%), 95 % Wilson intervals")
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _html_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], shown: Iterable[int]
) -> Markup:
    """The columns whose numbers are in ``shown`` and that hold anything, in a box that scrolls."""
    used = [at for at in shown if any(row[at] for row in rows)]
    head = tag("tr", *(_cell("th", columns[at].title, columns[at]) for at in used))
    body = (tag("tr", *(_cell("td", row[at], columns[at]) for at in used)) for row in rows)
    return tag("div", tag("table", head, *body), class_="scroll")


def _cell(name: str, text: str, column: Column) -> Markup:
    """A cell; the interval of a rate stands below it, which halves the width of its column."""
    rate, bracket, interval = text.partition(" [")
    below = (
        (tag("br"), tag("span", f"[{interval}", class_="soft")) if bracket and name == "td" else ()
    )
    shown = rate if below else text
    return tag(name, shown, *below, **({"class_": "right-aligned"} if column.number else {}))


def _list(lines: Iterable[str]) -> Markup:
    return tag("ul", *(tag("li", line) for line in lines))


_NOTES = (
    (
        "All rows answer the same questions, decoded greedily. Only tools runs tools; lvr and "
        "pause tokens think in extra tokens, counted after a plus sign; all others get the "
        "pictures and the question, and decode."
    ),
    (
        "Accuracy is strict: a choice by its exact words (case aside) or its letter; a reply "
        "that states none is unparsed and wrong. Lenient counts a reply that holds the right "
        "answer anywhere, as the paper's release does."
    ),
    (
        "By likelihood: where the choice that the model holds for the likeliest, by the mean "
        "log-likelihood of its tokens, is the right one; whatever it says. A model that calls "
        "tools is read after its own last words, up to Answer:, and is wrong without an answer."
    ),
    (
        "p is the exact two-sided McNemar test on the same questions. It is not corrected for "
        "the number of rows, and says nothing about other seeds: one training run stands "
        "behind each row."
    ),
    (
        "ms/question is the median from opened pictures to the decoded reply, one question at "
        "a time, tools included; p90 is the ninetieth percentile."
    ),
    (
        "Most frequent answer: of the choices offered, the one that was right most often in "
        "training for that family."
    ),
    "Train s and ms/step are of this machine, without validation and checkpoints.",
)

_STYLE = """
.chart { display: block; max-width: min(100%, 900px); margin: 24px 0; background: #fff; }
.scroll { max-width: 100%; margin-bottom: 8px; }
.scroll :is(th, td):first-child { position: sticky; left: 0; background: var(--paper);
  min-width: 13ch; max-width: 26ch; }
.scroll th { white-space: normal; overflow-wrap: normal; vertical-align: bottom; }
.scroll td .soft { font-size: 12px; }
@media (max-width: 600px) {
  main { padding: 24px 16px 56px; }
  h1 { font-size: 26px; }
  h2 { margin-top: 40px; }
}
li { margin-bottom: 6px; max-width: 80ch; overflow-wrap: anywhere; }
"""
