"""Whether the answers can be judged, and what a model would score that never looked."""

from __future__ import annotations

from collections import Counter
from statistics import mean

from pearl_tools.errors import listed
from pearl_train.doctor.findings import Finding
from pearl_train.doctor.patient import Patient

#: Share of samples that one answer may have before it is worth giving always.
LOPSIDED = 0.6
ENOUGH = 20
"""Samples below which nothing is said of that."""


def answers(patient: Patient) -> Finding:
    """Choices present, the answer among them, short enough to be decoded; and what chance is."""
    config = patient.config
    outside, long, sizes, words = [], [], [], Counter[str]()
    most = config.evaluate.max_new_tokens
    for one in patient.scan.samples:
        task = patient.reader[one.number].trajectory.task
        words[task.answer.strip()] += 1
        if task.choices:
            sizes.append(len(task.choices))
            if task.answer not in task.choices:
                outside.append(f"{one.key} in {one.shard}")
        written = one.learned.get("answer")
        if written is not None and written > most:
            long.append(f"{one.key} ({written} tokens)")
    tried = len(patient.scan.samples)
    common, times = words.most_common(1)[0]
    chance = mean(1 / size for size in sizes) if sizes else None
    told = f"{len(sizes)} of {tried} have choices"
    told += f", chance {chance:.2f}" if chance is not None else ""
    told += f"; the most common answer, {common!r}, is right in {times / tried:.0%}"
    figures = {
        "with_choices": len(sizes),
        "chance": chance,
        "most_common": common,
        "most_common_share": round(times / tried, 4),
    }
    if outside:
        return Finding(
            check="answers",
            status="fail",
            told=f"expected every answer among its choices, got others in {listed(outside)}",
            remedy="pearl-data validate names every such sample; correct the choices",
            figures=figures,
        )
    remedies = []
    if long:
        remedies.append(
            f"evaluation would cut the answers of {listed(long)}: raise evaluate.max_new_tokens "
            f"({most})"
        )
    if times / tried > LOPSIDED and len(words) > 1 and tried >= ENOUGH:
        remedies.append("always giving one answer scores well: balance the answers")
    if len(words) == 1 and tried >= ENOUGH:
        remedies.append("all answers are the same: there is nothing to learn from the pictures")
    if config.data.answers == "letter" and len(sizes) < tried:
        remedies.append(
            f"{tried - len(sizes)} samples have no choices to letter and are answered in words: "
            'set data.answers = "text"'
        )
    return Finding(
        check="answers",
        status="warn" if remedies else "pass",
        told=told,
        remedy="; ".join(remedies),
        figures=figures,
    )
