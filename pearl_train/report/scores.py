"""The scores of one model as text."""

from __future__ import annotations

from pearl_tools.errors import listed
from pearl_train.asking.evaluate import Evaluation, Score

BY_LIKELIHOOD = "by likelihood"
"""Name of the second reading: the choice that the model holds for the likeliest."""
HEADING = f"{BY_LIKELIHOOD} [95 %]"


def scores_text(found: Evaluation) -> str:
    """A line per family with n, k, accuracy and interval; then latency, tokens and tools."""
    rows: list[tuple[str, ...]] = [
        ("family", "n", "right", "accuracy [95 %]", "chance", "lenient", "unparsed", HEADING),
        *(_row(score) for score in (*found.families, found.overall)),
    ]
    if found.overall.by_likelihood is None:
        rows = [row[:-1] for row in rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [f"{found.model} on {found.data}" + (f", split {found.split}" if found.split else "")]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells))
    if found.latency_ms_median is not None and found.latency_ms_p90 is not None:
        lines.append(
            f"latency: {found.latency_ms_median:.1f} ms median, {found.latency_ms_p90:.1f} ms p90; "
            f"tokens: {found.tokens_mean:.1f} a question"
            + (
                f" after {found.thought_tokens_mean:.0f} to think"
                if found.thought_tokens_mean
                else ""
            )
        )
    if found.tools is not None:
        made = ", ".join(f"{count} {name}" for name, count in found.tools.calls.items()) or "none"
        lines.append(
            f"tool calls: {made}; with an error: {found.tools.error_share.k} "
            f"({found.tools.error_share}); turns: {found.tools.turns_mean:.1f}; unanswered: "
            f"{found.tools.unanswered}"
        )
        lines += [f"  {count} {code}" for code, count in found.tools.by_code.items()]
    lines += [f"{count} questions: {note}" for note, count in found.notes.items()]
    if refused := [f"{key} ({why})" for key, why in found.unanswerable.items()]:
        lines.append(f"  {listed(refused)}")
    if found.trained_on:
        lines.append("the model was trained on these questions: this is no held-out accuracy")
    return "\n".join(lines)


def _row(score: Score) -> tuple[str, ...]:
    accuracy, lenient = score.accuracy, score.lenient
    return (
        score.family,
        str(accuracy.n),
        str(accuracy.k),
        str(accuracy),
        f"{100 * score.chance:.1f} %",
        "" if lenient.rate is None else f"{100 * lenient.rate:.1f} %",
        str(score.unparsed),
        by_likelihood(score),
    )


def by_likelihood(score: Score) -> str:
    """Where the likeliest choice is right: count, questions ranked, share and interval."""
    ranked = score.by_likelihood
    if ranked is None or ranked.rate is None:
        return ""
    return f"{ranked.k}/{ranked.n}: {ranked}"
