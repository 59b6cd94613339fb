"""Small tasks whose answers lazy rules can be seen to hit or to miss."""

from __future__ import annotations

from pearl_data.trajectory import AnswerType, Evidence, Family, Task
from pearl_tools.types import Box

NEAR: Box = (0.3, 0.3, 0.7, 0.9)  # big, low, central
FAR: Box = (0.0, 0.0, 0.2, 0.2)


def choice(answer: str, choices: list[str], question: str = "Which?") -> Task:
    return Task(
        question=question,
        choices=choices,
        answer=answer,
        answer_type="choice",
        answer_source="annotation",
        family="attribute",
        evidence=[],
    )


def pair(box_a: Box, box_b: Box, nearer: str, family: Family = "nearer") -> Task:
    evidence = [
        Evidence(media="i0", label="a", bbox=box_a, role="pair"),
        Evidence(media="i0", label="b", bbox=box_b, role="pair"),
    ]
    if family == "nearer_read":
        box = box_a if nearer == "a" else box_b
        evidence.append(Evidence(media="i0", label=nearer, bbox=box, role="target"))
    kind: AnswerType = "choice"
    return Task(
        question="Which is nearer?" if family == "nearer" else "What stands on the nearer one?",
        choices=["a", "b"] if family == "nearer" else ["x", "y", "z"],
        answer=nearer if family == "nearer" else "x",
        answer_type=kind,
        answer_source="annotation",
        family=family,
        evidence=evidence,
    )
