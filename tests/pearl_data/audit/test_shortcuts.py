from __future__ import annotations

import msgspec
import pytest
from tasks import FAR, NEAR, choice, pair
from trajectories import build_sample

from pearl_data.audit.records import ShortcutScore
from pearl_data.audit.shortcuts import question_of, shortcut_table
from pearl_data.trajectory import Task


def rows(tasks: list[Task]) -> dict[tuple[str, str], ShortcutScore]:
    trajectory = build_sample().trajectory
    questions = [
        question_of(msgspec.structs.replace(trajectory, id=f"s{n:06d}", task=task))
        for n, task in enumerate(tasks)
    ]
    return {(row.family, row.rule): row for row in shortcut_table(questions)}


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


def test_only_rules_of_every_family_have_an_overall_row() -> None:
    numbers = [choice("3", ["2", "3", "4"])] * 3
    table = rows([*numbers, pair(NEAR, FAR, "a"), pair(NEAR, FAR, "b")])
    assert ("attribute", "middle_number") in table
    assert ("nearer", "bigger_is_nearer") in table
    everywhere = {"first_choice", "last_choice", "most_frequent_answer", "longest_choice"}
    assert {rule for family, rule in table if family == "overall"} == everywhere


def test_families_without_choices_take_no_overall_row_away() -> None:
    open_question = msgspec.structs.replace(choice("7", []), family="count")
    table = rows([choice("a", ["a", "b"]), pair(NEAR, FAR, "a"), open_question])
    assert table["overall", "first_choice"].score.n == 2
    assert all(family != "count" for family, _ in table)


def test_one_family_has_no_overall_row() -> None:
    assert {family for family, _ in rows([choice("a", ["a", "b"])])} == {"attribute"}
