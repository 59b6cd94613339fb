from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearl_train.asking.scoring import Expected, judge, letter_of, stated_part

COLOURS = ["red", "dark blue", "green"]


@pytest.mark.parametrize(
    "reply",
    [
        " dark blue",
        "Answer: dark blue",
        "ANSWER : Dark  Blue.",
        "It was hard to see.\nAnswer: dark blue\nThat is all.",
        "(B)",
        "(b) dark blue",
        "B",
        "B.",
        "B: dark blue",
        "Answer: first I thought red. Answer: dark blue",
    ],
)
def test_a_choice_may_be_stated_by_words_or_letter(reply: str) -> None:
    verdict = judge(reply, Expected("dark blue", COLOURS))
    assert verdict.stated == "dark blue"
    assert verdict.correct


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Answer:",
        "blue",
        "red or dark blue",
        "Be careful",
        "D",
        "(D)",
        "B red",
        "(B) red",
        "the dark blue one",
    ],
)
def test_a_reply_that_states_no_single_choice_is_unparsed_and_wrong(reply: str) -> None:
    verdict = judge(reply, Expected("dark blue", COLOURS))
    assert verdict.stated is None
    assert not verdict.correct


def test_a_wrong_choice_is_parsed() -> None:
    verdict = judge("red", Expected("dark blue", COLOURS))
    assert (verdict.stated, verdict.correct, verdict.lenient) == ("red", False, False)


def test_the_lenient_rule_is_kept_apart() -> None:
    verdict = judge("not red but dark blue", Expected("red", COLOURS))
    assert not verdict.correct
    assert verdict.lenient


def test_the_marker_itself_holds_no_letter_a() -> None:
    assert not judge("Answer: (B)", Expected("red", COLOURS), "letter").lenient
    assert judge("Answer: (A)", Expected("red", COLOURS), "letter").lenient


def test_choices_that_are_letters_are_words_unless_letters_were_asked_for() -> None:
    tags = ["K", "A", "B"]
    assert judge("A", Expected("A", tags), "text").correct
    assert judge("A", Expected("K", tags), "letter").correct
    assert judge("(A)", Expected("K", tags), "text").correct
    assert judge("K", Expected("K", tags), "letter").correct
    # a tag that was not offered is no choice, and not the second one either
    assert judge("B", Expected("X", ["T", "X", "7"]), "text").stated is None
    assert judge("B) X", Expected("X", ["T", "X", "7"]), "text").correct


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("3", "3", True),
        ("3.0", "3", True),
        ("three", "3", False),
        ("On the Table.", "on the table", True),
    ],
)
def test_open_answers_are_the_same_number_or_the_same_words(
    reply: str, answer: str, right: bool
) -> None:
    assert judge(reply, Expected(answer)).correct is right


def test_an_empty_open_answer_is_unparsed() -> None:
    assert judge("Answer: ", Expected("3")).stated is None


def test_only_the_line_after_the_marker_counts() -> None:
    assert stated_part("Answer: red\nor blue") == "red"


@given(
    st.lists(
        st.text("abcdefg ", min_size=2, max_size=6).map(str.strip).filter(lambda s: len(s) > 1),
        min_size=2,
        max_size=6,
        unique=True,
    ),
    st.data(),
)
def test_every_choice_is_understood_in_both_forms(choices: list[str], data: st.DataObject) -> None:
    choices = list(dict.fromkeys(" ".join(c.split()) for c in choices))
    answer = data.draw(st.sampled_from(choices))
    assert judge(f" {answer.upper()}", Expected(answer, choices)).correct
    assert judge(f"({letter_of(answer, choices)})", Expected(answer, choices), "letter").correct
