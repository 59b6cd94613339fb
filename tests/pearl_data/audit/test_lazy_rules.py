from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tasks import FAR, NEAR, choice, pair

from pearl_data.audit.lazy_rules import RULES, Asked
from pearl_data.trajectory import Family, Task
from pearl_tools.types import Box

RULE = {rule.name: rule.credit for rule in RULES}


def asked(task: Task, **elsewhere: int) -> Asked:
    return Asked(task, {"i0": (200, 100)}, elsewhere)


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
