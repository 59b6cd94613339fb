"""A comparison as a text table, and its result in sentences.

Every accuracy is shown with its count and its 95 % interval; a difference is stated only if
the paired test shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pearl_data.formats.chat import ANSWER_PREFIX
from pearl_tools.errors import listed
from pearl_train.report.scores import BY_LIKELIHOOD, HEADING, by_likelihood
from pearl_train.run.folder import NOT_COMMON, OF_VALIDATION

if TYPE_CHECKING:
    from pearl_train.asking.evaluate import Score
    from pearl_train.asking.statistics import Paired, Rate
    from pearl_train.comparing.compare import Comparison, Row

ALPHA = 0.05
"""Below this p a difference is called one; with several rows compared, few such are expected by
chance, which the page says."""


class Column(NamedTuple):
    """A heading, whether its cells are numbers, and whether they say what a row costs."""

    title: str
    number: bool = True
    cost: bool = False


MAIN = (
    Column("objective", number=False),
    Column("k/n"),
    Column("accuracy [95 %]"),
    Column("vs reference"),
    Column("p"),
    Column("lenient"),
    Column("unparsed"),
    Column(HEADING),
    Column("asked", number=False, cost=True),
    Column("ms/question", cost=True),
    Column("p90", cost=True),
    Column("tokens", cost=True),
    Column("tool calls", cost=True),
    Column("errors", cost=True),
    Column("train s", cost=True),
    Column("ms/step", cost=True),
)


def table_text(found: Comparison) -> str:
    """The table as aligned text, with the rules that do not look above the models."""
    body = list(main_rows(found))
    lines = _aligned([[column.title for column in MAIN], *body])
    text = [
        (
            f"{found.test_questions} held-out questions, {trained_on(found)} to train on, "
            f"{found.steps} steps, seed {found.seed}; {found.how}"
        ),
        "",
        *lines,
        *footnotes(found),
        "",
        *(line for reading in family_tables(found) for line in (*_aligned(reading), "")),
        *conclusions(found),
    ]
    return "\n".join(text)


def trained_on(found: Comparison) -> str:
    """The number of trajectories that rows train on, and the samples that rows cannot use."""
    if not found.cannot_take:
        return f"{found.train_samples} trajectories"
    lost = ", ".join(f"{name} cannot use {n}" for name, n in found.cannot_take.items())
    which = "each row on those it can use" if found.samples == "each" else "those every row can use"
    of = f" of {found.train_of}" if found.samples == "common" else ""
    return f"{found.train_samples}{of} trajectories ({which}: {lost})"


OTHERWISE = "\N{DAGGER}"
"""Mark of rows whose prompt differs from training."""


def footnotes(found: Comparison) -> list[str]:
    """The legend of the marks in the table; empty without marks."""
    marked = [row.name for row in found.rows if row.otherwise]
    refused = {row.name: row.result.overall.unanswerable for row in found.rows}
    lines = []
    if marked:
        lines.append(
            f"{OTHERWISE} {listed(marked, len(marked))}: trained to write thoughts and calls "
            f"first, and asked to begin with {ANSWER_PREFIX!r} here, where no tool runs."
        )
    if any(refused.values()):
        counts = ", ".join(f"{name} {n}" for name, n in refused.items() if n)
        lines.append(
            f"Questions that a model refuses (picture or words), counted as wrong: {counts}."
        )
    return lines


def conclusions(found: Comparison) -> list[str]:
    """What the paired tests show, in one sentence each; then what the latents hold."""
    lines = [
        _paired_words(row.name, row.against, found.reference) for row in found.rows if row.against
    ]
    if found.shared_pictures:
        lines.append(
            f"{found.shared_pictures} test pictures occur in training with other questions: "
            "results are not about new pictures."
        )
    for row in found.rows:
        own = row.training.left_out if row.training else {}
        names = sorted(n for n in own if n != NOT_COMMON and not n.startswith(OF_VALIDATION))
        if what := ", ".join(f"{own[name]} {name}" for name in names):
            lines.append(
                f"{row.name} did not see exactly what the others saw: of its samples {what} "
                "(data.max_tokens)."
            )
    latents = found.latents
    if latents is not None:
        blank, test = latents.with_dummies, latents.dummies_against_latents
        lines.append(
            f"lvr with dummies for its {latents.latents} latents: {blank.k}/{blank.n} right, "
            f"{blank}, {_difference(test)} against the latents (p {_p(test.p)})."
        )
        lines.append(
            f"Two latents of one question have a mean cosine of {latents.mutual_cosine:.2f}; the "
            f"visual token nearest to a latent lies in the right region in {latents.right_region} "
            f"of cases, by chance in {100 * latents.right_region_chance:.1f} %."
        )
    return lines


def _paired_words(name: str, test: Paired, reference: str) -> str:
    counts = (
        f"{test.only_this} questions only {name} got right, {test.only_reference} only {reference}"
    )
    verdict = (
        "a difference at the 5 % level"
        if test.p < ALPHA
        else "no difference shown at the 5 % level"
    )
    return f"{name} against {reference}: {_difference(test)}; {counts}; p {_p(test.p)}: {verdict}."


RULES = 2
"""Rows that are rules, above the models: they cost nothing."""


def main_rows(found: Comparison) -> Iterator[list[str]]:
    """A row of cells under :data:`MAIN` for chance, the rule without eyes and every model."""
    empty = [""] * (len(MAIN) - 3)
    n = found.test_questions
    yield [
        "chance (mean 1/choices)",
        f"{found.chance * n:.1f}/{n}",
        f"{100 * found.chance:.1f} %",
        *empty,
    ]
    blind = found.most_frequent.accuracy
    yield ["most frequent answer", f"{blind.k}/{blind.n}", str(blind), *empty]
    for row in found.rows:
        yield _main_row(row, found.reference)


def _main_row(row: Row, reference: str) -> list[str]:
    result, training = row.result, row.training
    accuracy, tools = result.overall.accuracy, result.tools
    against = "reference" if row.name == reference else ""
    return [
        f"{row.name} {OTHERWISE}" if row.otherwise else row.name,
        f"{accuracy.k}/{accuracy.n}",
        str(accuracy),
        _difference(row.against) if row.against else against,
        _p(row.against.p) if row.against else "",
        _share(result.overall.lenient),
        str(result.overall.unparsed),
        by_likelihood(result.overall),
        row.asked,
        _number(result.latency_ms_median),
        _number(result.latency_ms_p90),
        f"{result.tokens_mean:.1f}" + _thoughts(result.thought_tokens_mean),
        str(sum(tools.calls.values())) if tools else "",
        str(tools.error_share) if tools else "",
        _number(training.seconds if training else None),
        _number(
            None
            if training is None or training.step_s_median is None
            else 1000 * training.step_s_median
        ),
    ]


_OF_FAMILY = ("family", "n", "chance", "most frequent")


def family_tables(found: Comparison) -> list[list[list[str]]]:
    """Head and rows by family: its questions, chance, the blind rule, then every model by what it
    says; and, where choices were ranked, another table of them by likelihood.
    """
    ranked = [row for row in found.rows if row.result.overall.by_likelihood is not None]
    said = [[*_OF_FAMILY, *(row.name for row in found.rows)]]
    likely = [[*_OF_FAMILY[:2], *(f"{row.name} {BY_LIKELIHOOD}" for row in ranked)]]
    for number, family in enumerate(found.rows[0].result.families):
        blind = found.most_frequent.by_family.get(family.family)
        scores: Sequence[Score] = [row.result.families[number] for row in found.rows]
        asked = [family.family, str(family.accuracy.n)]
        said.append(
            [
                *asked,
                f"{100 * family.chance:.1f} %",
                _share(blind) if blind else "",
                *(str(score.accuracy) for score in scores),
            ]
        )
        likely.append([*asked, *(by_likelihood(row.result.families[number]) for row in ranked)])
    return [said, likely] if ranked else [said]


def _difference(test: Paired) -> str:
    return f"{100 * test.difference:+.1f} points"


def _thoughts(mean: float) -> str:
    return f" + {mean:.0f}" if mean else ""


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _share(rate: Rate) -> str:
    return "" if rate.rate is None else f"{100 * rate.rate:.1f} %"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns aligned: the first to the left, the others to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    used = [at for at, width in enumerate(widths) if any(row[at] for row in rows[1:]) or at == 0]
    return [
        "  ".join(
            row[at].ljust(widths[at]) if at == 0 else row[at].rjust(widths[at]) for at in used
        ).rstrip()
        for row in rows
    ]
