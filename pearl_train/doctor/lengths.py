"""Reads and encodes samples as training does: lengths, dropped samples, faults.

Of a large split it takes evenly spaced samples, and those that are probably the longest by their
records (:mod:`pearl_train.doctor.ranking`). It checks every record for pictures that the model
refuses (:mod:`pearl_train.doctor.refusals`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from pearl_data.randomness import rng_for
from pearl_tools.errors import listed
from pearl_train.doctor.even import spread
from pearl_train.doctor.findings import Finding
from pearl_train.doctor.patient import Patient
from pearl_train.doctor.ranking import likely_longest
from pearl_train.doctor.refusals import by_reason as lines_of
from pearl_train.doctor.refusals import refusals
from pearl_train.training.loader import EncodedSamples, Fault
from pearl_train.views.batch import EncodedSample, ViewPlan
from pearl_train.views.encode import Dropped
from pearl_train.views.left_out import how_to_keep, how_to_leave, too_many_refused

#: Changes that the run's settings lead to, as the doctor tells them.
_CHANGES = {
    "downscaled": "with smaller pictures",
    "latents-thinned": "with fewer latents than region tokens",
}


class Scanned(NamedTuple):
    """A sample that can be trained on: its number in the reader and its tokens.

    ``row`` counts context and branches, ``target`` the row of R, ``images`` the tokens of each
    picture by medium, ``learned`` the tokens learned by branch.
    """

    key: str
    shard: str
    number: int
    row: int
    target: int
    images: Mapping[str, int]
    learned: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def tokens(self) -> int:
        """What the network reads for this sample."""
        return self.row + self.target


@dataclass
class Scan:
    """What came of the samples that were tried; ``faults`` name key and shard.

    ``long`` are samples tried besides for being long, which no count or distribution is of;
    ``among`` says behind "longest sample" of how many it is that, nothing of all.
    """

    samples: list[Scanned] = field(default_factory=list)
    long: list[Scanned] = field(default_factory=list)
    among: str = ""
    dropped: list[Dropped] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """How many samples were read."""
        return len(self.samples) + len(self.dropped) + len(self.faults)

    @property
    def longest(self) -> Scanned:
        """The sample with the most tokens."""
        return max([*self.samples, *self.long], key=lambda one: (one.tokens, one.key))


def samples(patient: Patient) -> Finding:
    """The finding on readable and encodable samples, with those changed or dropped."""
    numbers = spread(patient.numbers, patient.samples)
    scan = patient.scan = scan_of(patient, patient.full_plan, numbers)
    untried = sorted(set(patient.numbers) - set(numbers))
    if scan.samples and untried:
        _add_longest(patient, scan, untried)
    rng_for(patient.config.seed, "doctor").shuffle(scan.samples)
    reasons = by_reason(scan)
    refused = refusals(patient, patient.full_plan, patient.numbers)
    refused.add(scan.dropped)
    told = f"{scan.tried} of {len(patient.numbers)} encoded"
    lines = [*lines_of(refused), *told_of(reasons)]
    figures = {
        "tried": scan.tried,
        "refused": refused.keys_refused,
        **{reason: len(keys) for reason, keys in reasons.items()},
    }
    if wrong := too_many_refused(refused, len(patient.numbers), patient.config.data):
        told, _, remedy = wrong.rpartition("; ")
        return Finding(
            check="samples", status="fail", told=told, remedy=remedy, lines=lines, figures=figures
        )
    if scan.faults:
        told = f"{len(scan.faults)} of {scan.tried} cannot be used: {scan.faults[0]}"
        return Finding(
            check="samples",
            status="fail",
            told=told,
            remedy="a run stops at the first of them: mend or remove it (pearl-data validate "
            f"{patient.data} names every fault)",
            lines=[*scan.faults[1:5], *lines],
            figures=figures,
        )
    if len(scan.dropped) > scan.tried / 2:
        reason = scan.dropped[0]
        return Finding(
            check="samples",
            status="fail",
            told=f"{len(scan.dropped)} of {scan.tried} are dropped, {reason.key} in "
            f"{reason.shard} for one: {reason.reason} ({reason.detail})",
            remedy=how_to_keep(reasons_of(scan), patient.config.data),
            lines=lines,
            figures=figures,
        )
    data, objective = patient.config.data, patient.config.objective
    counts = {change: sum(change in one.notes for one in scan.samples) for change in _CHANGES}
    many = [change for change, number in counts.items() if number > scan.tried / 20]
    if scan.dropped or many or refused:
        why = reasons_of(scan) | refused.keys()
        kept = [how_to_keep(why, data), how_to_leave(many, data, objective)]
        remedy = f"{'; '.join(filter(None, kept))}; or accept it: the run counts them too"
        changed = [f"{n} {_CHANGES[name]}" for name, n in counts.items() if n]
        every = f"{len(refused.keys_refused)} of all are refused by the model and dropped"
        changed += [every] * bool(refused)
        told += "; " + ", ".join([f"{len(scan.dropped)} dropped", *changed])
        return Finding(
            check="samples", status="warn", told=told, remedy=remedy, lines=lines, figures=figures
        )
    told += ", none dropped" + ("" if lines else ", none changed")
    return Finding(check="samples", status="pass", told=told, lines=lines, figures=figures)


def _add_longest(patient: Patient, scan: Scan, untried: Sequence[int]) -> None:
    """Try those of ``untried`` that are likely the longest."""
    known = {one.number: one.tokens for one in scan.samples}
    of_pixels = patient.config.model.max_pixels
    ranked = likely_longest(patient.reader, untried, known, of_pixels)
    further = scan_of(patient, patient.full_plan, ranked.first)
    scan.long = further.samples
    scan.faults += further.faults
    scan.among = f" of {ranked.records} by their records"
    if further.dropped:
        scan.among += f", {len(further.dropped)} that are dropped aside"


def scan_of(patient: Patient, plan: ViewPlan, numbers: Sequence[int]) -> Scan:
    """What comes of samples ``numbers`` of the reader, read in the views of ``plan``."""
    source = EncodedSamples(patient.reader, plan, patient.encoder)
    scan = Scan()
    for number in numbers:
        made = source[number]
        if isinstance(made, Fault):
            scan.faults.append(made.message)
        elif isinstance(made, Dropped):
            scan.dropped.append(made)
        else:
            scan.samples.append(scanned(made, number))
    return scan


def lengths(patient: Patient) -> Finding:
    """Tokens of pictures and of samples, and the longest sample."""
    found = patient.scan.samples
    longest = patient.scan.longest
    pictures = [count for one in found for count in one.images.values()]
    rows, targets = [one.row for one in found], [one.target for one in found]
    limit = patient.config.data.max_tokens
    lines = [
        f"tokens per picture   {_spread(pictures)}",
        f"tokens per sample    {_distribution([one.tokens for one in found])}",
        f"  question + {_branches(patient)}   {_distribution(rows)}",
    ]
    if any(targets):
        cached = " (read once, before the first step)" if patient.cached else ""
        lines.append(f"  trajectory view R   {_distribution(targets)}{cached}")
    return Finding(
        check="lengths",
        status="pass",
        told=f"longest sample{patient.scan.among} {longest.key}: {longest.row} + "
        f"{longest.target} tokens; at most {limit} in a view",
        lines=lines,
        figures={
            "longest": longest.key,
            "tokens_per_picture": _figures(pictures),
            "tokens_per_sample": _figures([one.tokens for one in found]),
            "tokens_of_question_and_branches": _figures(rows),
            "tokens_of_target": _figures(targets),
        },
    )


def learned(patient: Patient) -> Finding:
    """Whether every sample has tokens to learn in every branch that is written."""
    found = patient.scan.samples
    empty = [
        f"{one.key} in {one.shard} ({branch})"
        for one in found
        for branch, count in one.learned.items()
        if not count
    ]
    totals = [sum(one.learned.values()) for one in found]
    if empty or not any(totals):
        return Finding(
            check="learned",
            status="fail",
            told="expected tokens to learn in every written branch, got none in "
            f"{listed(empty) or 'any sample: no branch is written'}: the loss would be a mean over "
            "nothing",
            remedy="look at the sample with pearl-data show: its answer is empty, or every step is "
            "marked as a mistake (loss_mask)",
            figures={"without": len(empty)},
        )
    share = sum(totals) / sum(one.row for one in found)
    by_branch = {
        branch: _figures([one.learned[branch] for one in found]) for branch in found[0].learned
    }
    lines = [f"{branch}: {_spread([one.learned[branch] for one in found])}" for branch in by_branch]
    return Finding(
        check="learned",
        status="pass",
        told=f"{_spread(totals)} tokens learned per sample, {share:.1%} of its row",
        lines=lines if len(lines) > 1 else [],
        figures={"learned_per_sample": by_branch, "share": round(share, 5)},
    )


def scanned(encoded: EncodedSample, number: int) -> Scanned:
    """The tokens of an encoded sample; what teaches nothing by design is not among ``learned``."""
    row = [encoded.context, *encoded.branches.values()]
    return Scanned(
        key=encoded.key,
        shard=encoded.shard,
        number=number,
        row=sum(len(span.ids) for span in row),
        target=len(encoded.target.ids) if encoded.target else 0,
        images={image.medium: image.tokens for image in encoded.images},
        learned={
            name: sum(span.learn) for name, span in encoded.branches.items() if name != "pred"
        },
        notes=encoded.notes,
    )


def by_reason(scan: Scan) -> dict[str, list[str]]:
    """Keys of what was dropped or changed, by reason."""
    found: dict[str, list[str]] = {}
    for dropped in scan.dropped:
        found.setdefault(f"left out, {dropped.reason}", []).append(dropped.key)
    for one in scan.samples:
        for note in one.notes:
            found.setdefault(f"changed, {note}", []).append(one.key)
    return found


def told_of(reasons: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each of :func:`by_reason`."""
    return [f"{reason}: {len(keys)} ({listed(keys)})" for reason, keys in reasons.items()]


def reasons_of(scan: Scan) -> set[str]:
    """The reasons for dropped samples."""
    return {dropped.reason for dropped in scan.dropped}


def percentile(values: Sequence[int], share: float) -> int:
    """The smallest value that at least ``share`` of ``values`` do not exceed.

    >>> percentile([1, 2, 3, 4], 0.5)
    2
    """
    ordered = sorted(values)
    return ordered[max(-int(-share * len(ordered) // 1) - 1, 0)]


def _branches(patient: Patient) -> str:
    return " + ".join(patient.plan.branches) or "nothing"


def _spread(values: Sequence[int]) -> str:
    if not values:
        return "none"
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"min {low}, median {median(values):g}, max {high}"


def _distribution(values: Sequence[int]) -> str:
    return f"median {median(values):g}, p95 {percentile(values, 0.95)}, max {max(values)}"


def _figures(values: Sequence[int]) -> dict[str, float]:
    if not values:
        return {}
    return {
        "min": min(values),
        "median": median(values),
        "p95": percentile(values, 0.95),
        "max": max(values),
    }
