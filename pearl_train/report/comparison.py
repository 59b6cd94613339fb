"""A comparison as one self-contained page and one picture of accuracies with their intervals.

Left out: rows and sentences (:mod:`pearl_train.report.comparison_table`).
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pearl_data.shards.files import write_whole
from pearl_train.report.comparison_table import (
    MAIN,
    Column,
    conclusions,
    family_rows,
    main_rows,
)

if TYPE_CHECKING:
    from pearl_train.comparing.compare import Comparison


def write_page(found: Comparison, page: Path, picture: Path) -> None:
    """``page`` (HTML, everything in it) and ``picture`` (PNG)."""
    image = draw(found)
    write_whole(picture, image)
    write_whole(page, render(found, image).encode())


def render(found: Comparison, picture: bytes) -> str:
    """The page: table, picture, families, what the tests show, what was compared how."""
    uri = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    families = family_rows(found)
    titles = [Column(title, number=number > 0) for number, title in enumerate(families[0])]
    body = [
        "<h1>Objectives compared</h1>",
        (
            f"<p class=soft>{_e(found.model)} trained for {found.steps} steps on "
            f"{found.train_samples} trajectories, asked {found.test_questions} held-out questions. "
            f"{_e(found.how[:1].upper() + found.how[1:])}.</p>"
        ),
        f'<img src="{uri}" alt="Accuracy of each objective with 95 % intervals">',
        _html_table(MAIN, list(main_rows(found))),
        "<h2>What the figures show</h2>",
        "<ul>" + "".join(f"<li>{_e(line)}</li>" for line in conclusions(found)) + "</ul>",
        "<h2>By family of questions</h2>",
        _html_table(titles, families[1:]),
        "<h2>How to read this</h2>",
        "<ul>" + "".join(f"<li>{_e(line)}</li>" for line in _NOTES) + "</ul>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>Objectives compared</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


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


def _html_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    used = [at for at in range(len(columns)) if any(row[at] for row in rows)]
    head = "".join(_cell("th", columns[at].title, columns[at]) for at in used)
    body = "".join(
        "<tr>" + "".join(_cell("td", row[at], columns[at]) for at in used) + "</tr>" for row in rows
    )
    return f"<div class=scroll><table><tr>{head}</tr>{body}</table></div>"


def _cell(tag: str, text: str, column: Column) -> str:
    return f"<{tag}{' class=number' if column.number else ''}>{_e(text)}</{tag}>"


def _e(text: str) -> str:
    return html.escape(text)


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
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1c2024;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 32px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 22px; margin: 48px 0 12px; }
.soft { color: #5b646d; }
img { display: block; max-width: min(100%, 900px); margin: 24px 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 16px 4px 0; border-bottom: 1px solid #dde1e5;
  white-space: nowrap; }
th { color: #5b646d; font-weight: 500; }
.number { text-align: right; }
li { margin-bottom: 6px; max-width: 80ch; }
"""
