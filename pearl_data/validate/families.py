"""Rules of the question families: required evidence, an answer that follows from it, and the tools
that can support the answer.

The rules use the record alone: a count is the number of boxes in its region, the nearer of a pair
is one of the pair. Not here: checks of pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from pearl_data.findings import Finding, finding
from pearl_data.sources.comparing import more, relation_of
from pearl_data.sources.tasks import is_relation
from pearl_data.trajectory import Evidence, Family, Task
from pearl_tools.registry import TOOLS
from pearl_tools.types import Box

Role = Literal["target", "pair", "region"]

VIEWS = frozenset(name for name, tool in TOOLS.items() if tool.shows == "view")
DEPTH = frozenset(name for name, tool in TOOLS.items() if tool.shows == "depth")
#: What the answers of a family rest on: of each set of tools one must have succeeded. ``None``:
#: what the roles of its evidence ask for.
NEEDS: dict[Family, tuple[frozenset[str], ...] | None] = {
    "attribute": (VIEWS,),
    "identity": (VIEWS,),
    "presence": (VIEWS,),
    "whole": (VIEWS,),
    "part": (VIEWS,),
    "relation": (),
    "read": (VIEWS,),
    "count": (VIEWS,),
    "nearer": (DEPTH,),
    "nearer_read": (DEPTH, VIEWS),
    "given": None,
    "other": (),
}
ROLE_NEEDS: dict[Role, frozenset[str]] = {"target": VIEWS, "region": VIEWS, "pair": DEPTH}
#: A thing lies in a region from this share of its area on: annotated boxes have rounded corners.
INSIDE_SHARE = 0.999


def needed_tools(task: Task) -> tuple[frozenset[str], ...]:
    """Sets of tools; of each, one call must have succeeded for the answer to count as supported."""
    if not task.needs_tool:
        return ()
    needs = NEEDS[task.family]
    if needs is None:
        return tuple(dict.fromkeys(ROLE_NEEDS[evidence.role] for evidence in task.evidence))
    return needs


def check_family(task: Task) -> Iterator[Finding]:
    """Evidence that is not that of the family, and answers that do not follow from it."""
    if task.family == "other":
        return
    if not task.evidence:
        expected = "at least one box that the answer rests on"
        yield finding("semantic.ambiguous", "task.evidence", expected, "none")
        return
    rule = _RULES.get(task.family)
    if rule:
        yield from rule(task)


def _looked_at(task: Task) -> Iterator[Finding]:
    for evidence in task.evidence:
        if evidence.role == "target":
            return
    yield _not_one("the target that is asked about", 0)


def _yes_or_no(task: Task) -> Iterator[Finding]:
    yield from _looked_at(task)
    if task.answer.strip().casefold() not in ("yes", "no"):
        yield finding("semantic.answer_contradicts", "task.answer", "yes or no", task.answer)


def _relation(task: Task) -> Iterator[Finding]:
    """The answer is one of the pair, and the right one by the boxes if the wording is ours."""
    yield from _pair(task)
    pair = _of(task, "pair")
    relation = relation_of(task)
    if len(pair) != 2 or relation is None:
        return
    (_, one), (_, other) = pair
    right = one if more(relation, one.bbox) > more(relation, other.bbox) else other
    if task.answer != right.label:
        expected = f"{right.label}, which {is_relation(relation)}"
        yield finding("semantic.answer_contradicts", "task.answer", expected, task.answer)


def _count(task: Task) -> Iterator[Finding]:
    regions = _of(task, "region")
    if len(regions) != 1:
        yield _not_one("one region to count in", len(regions))
        return
    ((_, region),) = regions
    counted = sum(
        target.media == region.media and _share_inside(target.bbox, region.bbox) >= INSIDE_SHARE
        for _, target in _of(task, "target")
    )
    if task.answer.strip() != str(counted):
        expected = f"{counted}, the targets in {region.label}"
        yield finding("semantic.answer_contradicts", "task.answer", expected, task.answer)


def _nearer(task: Task) -> Iterator[Finding]:
    yield from _pair(task)
    labels = [evidence.label for _, evidence in _of(task, "pair")]
    if len(set(labels)) == 2 and task.answer not in labels:
        expected = f"one of the pair: {', '.join(labels)}"
        yield finding("semantic.answer_contradicts", "task.answer", expected, task.answer)


def _nearer_read(task: Task) -> Iterator[Finding]:
    yield from _pair(task)
    targets = _of(task, "target")
    if len(targets) != 1:
        yield _not_one("one target, the nearer of the pair", len(targets))
        return
    ((place, target),) = targets
    pair = {evidence.label: evidence for _, evidence in _of(task, "pair")}
    meant = pair.get(target.label)
    where = f"task.evidence[{place}]"
    if meant is None:
        expected = f"one of the pair: {', '.join(pair)}"
        yield finding("semantic.answer_contradicts", f"{where}.label", expected, target.label)
    elif (meant.media, meant.bbox) != (target.media, target.bbox):
        expected = f"{list(meant.bbox)} of {meant.media}, where the pair has {target.label}"
        got = f"{list(target.bbox)} of {target.media}"
        yield finding("semantic.answer_contradicts", f"{where}.bbox", expected, got)


def _pair(task: Task) -> Iterator[Finding]:
    """Two things of one picture with names of their own, both named by the question."""
    pair = _of(task, "pair")
    if len(pair) != 2:
        yield _not_one("a pair, two things to compare", len(pair))
        return
    (_, one), (place, other) = pair
    if one.media != other.media:
        expected = f"{one.media}, the picture of {one.label}"
        path = f"task.evidence[{place}].media"
        yield finding("semantic.ambiguous", path, expected, other.media)
    if one.label == other.label:
        path = f"task.evidence[{place}].label"
        yield finding("semantic.ambiguous", path, "labels that differ", other.label)
    question = task.question.casefold()
    for _, evidence in pair:
        if evidence.label.casefold() not in question:
            expected = f"a question about {evidence.label}"
            yield finding("semantic.answer_contradicts", "task.question", expected, task.question)


_RULES: dict[Family, Callable[[Task], Iterator[Finding]]] = {
    "attribute": _looked_at,
    "identity": _looked_at,
    "presence": _looked_at,
    "whole": _yes_or_no,
    "part": _yes_or_no,
    "relation": _relation,
    "read": _looked_at,
    "count": _count,
    "nearer": _nearer,
    "nearer_read": _nearer_read,
}


def _of(task: Task, role: Role) -> list[tuple[int, Evidence]]:
    return [(place, each) for place, each in enumerate(task.evidence) if each.role == role]


def _not_one(expected: str, got: int) -> Finding:
    return finding("semantic.ambiguous", "task.evidence", expected, f"{got} of this role")


def _share_inside(box: Box, region: Box) -> float:
    """The share of ``box``'s area that lies in ``region``; 0 for a box without area."""
    width = max(0.0, min(box[2], region[2]) - max(box[0], region[0]))
    height = max(0.0, min(box[3], region[3]) - max(box[1], region[1]))
    area = (box[2] - box[0]) * (box[3] - box[1])
    return width * height / area if area > 0 else 0.0
