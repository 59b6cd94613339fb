from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trajectories import build_sample

from pearl_data.audit.records import ShortcutScore
from pearl_data.audit.shortcuts import RULES, Asked, question_of, shortcut_table
from pearl_data.trajectory import AnswerType, Evidence, Family, Task
from pearl_tools.types import Box

RULE = {rule.name: rule.credit for rule in RULES}
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


def asked(task: Task, **elsewhere: int) -> Asked:
    return Asked(task, {"i0": (200, 100)}, elsewhere)


def rows(tasks: list[Task]) -> dict[tuple[str, str], ShortcutScore]:
    trajectory = build_sample().trajectory
    questions = [
        question_of(msgspec.structs.replace(trajectory, id=f"s{n:06d}", task=task))
        for n, task in enumerate(tasks)
    ]
    return {(row.family, row.rule): row for row in shortcut_table(questions)}


@pytest.mark.parametrize(
    ("rule", "task", "credit"),
    [
        ("first_choice", choice("a", ["a", "b"]), 1),
        ("first_choice", choice("b", ["a", "b"]), 0),
        ("last_choice", choice("b", ["a", "b"]), 1),
        ("longest_choice", choice("blue", ["red", "blue"]), 1),
        ("longest_choice", choice("red", ["red", "tan", "be"]), 1 / 2),
        ("named_first", choice("cup", ["jar", "cup"], "Is the cup or the jar red?"), 1),
        ("named_first", choice("cup", ["jar", "cup"], "Which is red?"), None),
        ("middle_number", choice("3", ["2", "3", "4"]), 1),
        ("middle_number", choice("3", ["1", "2", "3", "4"]), 1 / 2),
        ("middle_number", choice("b", ["a", "b", "c"]), None),
        ("first_choice", choice("a", ["a"]), None),
        ("first_choice", choice("c", ["a", "b"]), None),
        ("bigger_is_nearer", choice("a", ["a", "b"]), None),
    ],
)
def test_rule_gives_the_credit_that_can_be_told_by_hand(
    rule: str, task: Task, credit: float | None
) -> None:
    assert RULE[rule](asked(task)) == credit


@pytest.mark.parametrize("family", ["nearer", "nearer_read"])
@pytest.mark.parametrize("rule", ["bigger_is_nearer", "lower_is_nearer", "more_central_is_nearer"])
def test_pair_rule_finds_the_big_low_central_thing(rule: str, family: Family) -> None:
    assert RULE[rule](asked(pair(NEAR, FAR, "a", family))) == 1
    assert RULE[rule](asked(pair(NEAR, FAR, "b", family))) == 0


def test_most_frequent_answer_counts_other_questions_only() -> None:
    task = choice("a", ["a", "b", "c"])
    assert RULE["most_frequent_answer"](asked(task, a=5, b=4)) == 1
    assert RULE["most_frequent_answer"](asked(task, a=4, b=5)) == 0
    assert RULE["most_frequent_answer"](asked(task, a=4, b=4)) == 1 / 2
    assert RULE["most_frequent_answer"](asked(task, b=2)) == 1 / 3
    assert RULE["most_frequent_answer"](asked(task)) == 1 / 3


boxes = st.tuples(*[st.integers(0, 20)] * 4).map(
    lambda v: (v[0] / 50, v[1] / 50, (v[0] + v[2] + 1) / 50, (v[1] + v[3] + 1) / 50)
)


@given(boxes, boxes, st.sampled_from(["a", "b"]))
def test_swapping_the_pair_swaps_the_verdict(box_a: Box, box_b: Box, nearer: str) -> None:
    for rule in RULES:
        if rule.among == "pair":
            credit = rule.credit(asked(pair(box_a, box_b, nearer)))
            swapped = rule.credit(asked(pair(box_b, box_a, nearer)))
            assert credit is not None
            assert swapped == 1 - credit


def test_a_set_that_can_be_gamed_is_flagged() -> None:
    table = rows([pair(NEAR, FAR, "a" if n % 10 else "b") for n in range(100)])
    assert table["nearer", "bigger_is_nearer"].flagged
    assert table["nearer", "bigger_is_nearer"].score.k == 90
    assert table["nearer", "most_frequent_answer"].flagged


def test_a_balanced_set_is_not_flagged() -> None:
    # Each box is nearer as often as the other, and each answer occurs as often as the other.
    tasks = [
        pair(*((NEAR, FAR) if n & 1 else (FAR, NEAR)), "a" if n & 2 else "b") for n in range(400)
    ]
    assert [row.rule for row in rows(tasks).values() if row.flagged] == []


def test_rare_answers_neither_reward_nor_punish_the_most_frequent_rule() -> None:
    tasks = [choice(f"w{n}", [f"w{n}", f"w{n + 1}", f"w{n + 2}"]) for n in range(300)]
    row = rows(tasks)["attribute", "most_frequent_answer"]
    assert row.difference_points == pytest.approx(0)


def test_overall_rows_sum_the_families() -> None:
    table = rows([pair(NEAR, FAR, "a"), pair(NEAR, FAR, "b", "nearer_read")])
    assert table["overall", "bigger_is_nearer"].score.k == 1
    assert table["overall", "bigger_is_nearer"].score.n == 2
    assert table["overall", "first_choice"].chance == pytest.approx((1 / 2 + 1 / 3) / 2)
