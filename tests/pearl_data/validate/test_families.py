"""The answer of a record follows from the evidence of its family, and its id from its question."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from trajectories import build_sample

from pearl_data.trajectory import Family, canonical_json, decode, identity_sha256
from pearl_data.validate import check_text
from pearl_data.validate.families import NEEDS

Task = dict[str, Any]
Edit = Callable[[Task], object]

# steps: 0 crop of i0 -> o1 around the square, 1 depth of i0
BASE: dict[str, Any] = msgspec.json.decode(canonical_json(build_sample(depth=True).trajectory))
SQUARE: dict[str, Any] = BASE["task"]["evidence"][0]
X0, Y0, X1, Y1 = SQUARE["bbox"]
MIDDLE = (X0 + X1) / 2


def box(label: str, role: str, bbox: list[float]) -> dict[str, Any]:
    return {"media": "i0", "label": label, "role": role, "bbox": bbox}


LEFT, RIGHT = [X0, Y0, MIDDLE, Y1], [MIDDLE, Y0, X1, Y1]
FAR = [0.0, 0.0, 0.05, 0.05]
TASKS: dict[str, Task] = {
    "attribute": {},
    "count": {
        "choices": ["1", "2", "3"],
        "answer": "2",
        "evidence": [
            box("the square", "region", SQUARE["bbox"]),
            box("half", "target", LEFT),
            box("half", "target", RIGHT),
        ],
    },
    "nearer": {
        "question": "The left half and the right half: which one is nearer?",
        "choices": ["the left half", "the right half"],
        "answer": "the right half",
        "evidence": [box("the left half", "pair", LEFT), box("the right half", "pair", RIGHT)],
    },
    "nearer_read": {
        "question": "Which colour has the nearer of the left half and the right half?",
        "evidence": [
            box("the left half", "pair", LEFT),
            box("the right half", "pair", RIGHT),
            box("the right half", "target", RIGHT),
        ],
    },
    "whole": {"choices": ["yes", "no"], "answer": "no", "evidence": [SQUARE]},
    "part": {"choices": ["yes", "no"], "answer": "yes", "evidence": [SQUARE]},
    "relation": {
        "question": "The left half and the right half: which one is farther to the left?",
        "choices": ["the left half", "the right half"],
        "answer": "the left half",
        "evidence": [box("the left half", "pair", LEFT), box("the right half", "pair", RIGHT)],
        "needs_tool": False,
    },
    "given": {"evidence": [SQUARE, box("the square", "region", SQUARE["bbox"])]},
}
SECOND_ROOT = {**BASE["media"][0], "id": "i1", "name_in_sample": "i1.jpg"}


def places(family: str, edit: Edit | None = None, **fields: Any) -> list[tuple[str, str]]:
    document = copy.deepcopy(BASE)
    task = document["task"]
    task.update(copy.deepcopy(TASKS[family]), family=family)
    if edit:
        edit(task)
    document["final"]["answer"] = task["answer"]
    document.update(fields)
    return [(each.code, each.path) for each in check_text(msgspec.json.encode(document))]


@pytest.mark.parametrize("family", TASKS)
def test_a_true_record_of_every_family_has_no_findings(family: str) -> None:
    assert places(family) == []


EDITS: list[tuple[str, Edit, str, str]] = [
    (
        "whole",
        lambda t: t.update(choices=["a tiger", "no"], answer="a tiger"),
        "answer_contradicts",
        "task.answer",
    ),
    ("part", lambda t: t.update(evidence=[]), "ambiguous", "task.evidence"),
    ("relation", lambda t: t.update(answer="the right half"), "answer_contradicts", "task.answer"),
    (
        "relation",
        lambda t: t.update(question=t["question"].replace("to the left", "to the right")),
        "answer_contradicts",
        "task.answer",
    ),
    ("relation", lambda t: t["evidence"].pop(), "ambiguous", "task.evidence"),
    ("count", lambda t: t.update(answer="3"), "answer_contradicts", "task.answer"),
    ("count", lambda t: t["evidence"].pop(), "answer_contradicts", "task.answer"),
    ("count", lambda t: t["evidence"][0].update(bbox=LEFT), "answer_contradicts", "task.answer"),
    ("count", lambda t: t["evidence"].pop(0), "ambiguous", "task.evidence"),
    ("count", lambda t: t["evidence"].append(t["evidence"][0]), "ambiguous", "task.evidence"),
    (
        "count",
        lambda t: t.update(choices=["0"], answer="0", evidence=[box("far", "region", FAR)]),
        "unfaithful_crop",
        "task.evidence[0].bbox",
    ),
    ("nearer", lambda t: t["evidence"].pop(), "ambiguous", "task.evidence"),
    ("nearer", lambda t: t["evidence"].append(t["evidence"][0]), "ambiguous", "task.evidence"),
    (
        "nearer",
        lambda t: t["evidence"][1].update(label="the left half"),
        "ambiguous",
        "task.evidence[1].label",
    ),
    (
        "nearer",
        lambda t: t["evidence"][1].update(media="i1"),
        "ambiguous",
        "task.evidence[1].media",
    ),
    (
        "nearer",
        lambda t: t.update(choices=["the left half", "a cup"], answer="a cup"),
        "answer_contradicts",
        "task.answer",
    ),
    (
        "nearer",
        lambda t: t.update(question="Is the left half nearer?"),
        "answer_contradicts",
        "task.question",
    ),
    ("nearer_read", lambda t: t["evidence"].pop(), "ambiguous", "task.evidence"),
    ("nearer_read", lambda t: t["evidence"].pop(0), "ambiguous", "task.evidence"),
    (
        "nearer_read",
        lambda t: t["evidence"][2].update(label="a cup"),
        "answer_contradicts",
        "task.evidence[2].label",
    ),
    (
        "nearer_read",
        lambda t: t["evidence"][2].update(bbox=LEFT),
        "answer_contradicts",
        "task.evidence[2].bbox",
    ),
    (
        "nearer_read",
        lambda t: t.update(question="Which colour has the left half?"),
        "answer_contradicts",
        "task.question",
    ),
    ("attribute", lambda t: t.update(evidence=[]), "ambiguous", "task.evidence"),
    ("attribute", lambda t: t["evidence"][0].update(role="pair"), "ambiguous", "task.evidence"),
    ("given", lambda t: t.update(evidence=[]), "ambiguous", "task.evidence"),
    (
        "given",
        lambda t: t["evidence"][1].update(bbox=FAR),
        "unfaithful_crop",
        "task.evidence[1].bbox",
    ),
    (
        "attribute",
        lambda t: t["evidence"][0].update(media="o1"),
        "answer_contradicts",
        "task.evidence[0].media",
    ),
]


@pytest.mark.parametrize(("family", "edit", "code", "path"), EDITS)
def test_what_contradicts_the_evidence_is_named(
    family: str, edit: Edit, code: str, path: str
) -> None:
    media = [*BASE["media"], SECOND_ROOT] if "media" in path and code == "ambiguous" else None
    assert places(family, edit, **({"media": media} if media else {})) == [
        (f"semantic.{code}", path)
    ]


def test_what_is_wrong_is_said_in_numbers() -> None:
    document = copy.deepcopy(BASE)
    document["task"].update(TASKS["count"], family="count", answer="3")
    document["final"]["answer"] = "3"
    (found,) = check_text(msgspec.json.encode(document))
    assert str(found) == (
        "task.answer: expected 2, the targets in the square, got 3 [semantic.answer_contradicts]"
    )


def test_every_family_says_which_tools_its_answers_need() -> None:
    assert set(NEEDS) == set(get_args(Family))


@pytest.mark.parametrize(
    ("family", "evidence", "steps", "needed"),
    [
        ("presence", [SQUARE], [1], True),
        ("presence", [SQUARE], [0], False),
        ("given", [SQUARE], [1], True),
        ("given", [SQUARE], [0], False),
        ("given", [{**SQUARE, "role": "region"}], [1], True),
        ("given", [{**SQUARE, "role": "pair"}], [0], True),
        ("given", [{**SQUARE, "role": "pair"}], [1], False),
        ("given", [SQUARE, {**SQUARE, "role": "pair"}], [1], True),
        ("other", [SQUARE], [1], False),
    ],
)
def test_an_answer_needs_the_tools_of_its_family(
    family: str, evidence: list[Any], steps: list[int], needed: bool
) -> None:
    document = copy.deepcopy(BASE)
    document["task"].update(family=family, evidence=evidence)
    document["steps"] = [document["steps"][index] for index in steps]
    document["media"] = [BASE["media"][0], *(BASE["media"][index + 1] for index in steps)]
    document["loss_mask"] = [1]
    found = [each.code for each in check_text(msgspec.json.encode(document))]
    assert found == (["semantic.insufficient_calls"] if needed else [])


def named_after_its_question() -> dict[str, Any]:
    document = copy.deepcopy(BASE)
    document["id"] = f"s-{identity_sha256(build_sample().trajectory)[:10]}"
    return document


STOLEN: list[Callable[[dict[str, Any]], object]] = [
    lambda d: d["task"].update(question="Which colour has the square? (picture 7)"),
    lambda d: d["task"]["choices"].append("purple"),
    lambda d: d["media"][0].update(pixel_sha256="0" * 64),
]


@pytest.mark.parametrize("steal", STOLEN)
def test_a_question_choices_or_picture_of_another_record_show_in_the_id(
    steal: Callable[[dict[str, Any]], object],
) -> None:
    document = named_after_its_question()
    assert check_text(msgspec.json.encode(document)) == []
    steal(document)
    (found,) = check_text(msgspec.json.encode(document))
    assert (found.code, found.path) == ("semantic.identity", "id")
    assert found.expected.startswith("an id that ends in ")
    assert check_text(msgspec.json.encode({**document, "origin": "imported"})) == []
    assert check_text(msgspec.json.encode({**document, "id": "s-0123"})) == []


@pytest.mark.parametrize("verdict", ["supported", "unverified"])
@pytest.mark.parametrize(
    ("needs_tool", "codes"), [(True, ["semantic.insufficient_calls"]), (False, [])]
)
def test_only_what_needs_a_tool_must_have_called_one(
    verdict: str, needs_tool: bool, codes: list[str]
) -> None:
    document = copy.deepcopy(BASE)
    document["task"]["needs_tool"] = needs_tool
    document["final"]["verdict"] = verdict
    if verdict == "unverified":
        document["task"]["answer_source"] = "tool"
    document["media"] = document["media"][:1]
    document.update(steps=[], loss_mask=[])
    assert [each.code for each in check_text(msgspec.json.encode(document))] == codes


def test_a_record_that_does_not_say_needs_a_tool() -> None:
    document = copy.deepcopy(BASE)
    document["task"].pop("needs_tool", None)
    assert check_text(msgspec.json.encode(document)) == []
    assert decode(msgspec.json.encode(document)).task.needs_tool is True


@pytest.mark.parametrize(
    ("source", "verdict", "wrong"),
    [
        ("tool", "supported", True),
        ("tool", "unverified", False),
        ("annotation", "unverified", True),
        ("annotation", "supported", False),
        ("tool", "unchecked", False),
    ],
)
def test_an_expert_calls_unverified_what_only_a_tool_says(
    source: str, verdict: str, wrong: bool
) -> None:
    document = copy.deepcopy(BASE)
    document["task"]["answer_source"] = source
    document["final"]["verdict"] = verdict
    found = [(each.code, each.path) for each in check_text(msgspec.json.encode(document))]
    assert found == [("semantic.answer_contradicts", "final.verdict")] * wrong
