"""What a trajectory says, and to whom: words and names of pictures, before any token."""

from __future__ import annotations

import pytest
from tiny_samples import changed, tiny_sample

from pearl_data.formats.chat import (
    ANSWER_PREFIX,
    Seen,
    Show,
    answer_text,
    answer_turns,
    call_text,
    context_turns,
    media_of,
    observation_text,
    observation_turn,
    question_text,
    target_turns,
    trajectory_turns,
)
from pearl_data.trajectory import Trajectory
from pearl_tools.dialects.dialect import ParsedCall
from pearl_tools.dialects.reading import parse_tool_calls, write_tool_call
from pearl_tools.errors import BadInput, tool_error

CROP = tiny_sample(0).trajectory
WRONG_FIRST = tiny_sample(5).trajectory
TWO_CALLS = tiny_sample(1).trajectory


def roots(trajectory: Trajectory) -> list[str]:
    return [medium.id for medium in trajectory.media if medium.parent is None]


def words(turns: object) -> str:
    return "\n".join(p for turn in turns for p in turn.content if isinstance(p, str))


def test_an_open_question_has_no_line_of_choices() -> None:
    assert question_text(" How many? ", [], "text") == "How many?"
    assert question_text("How many?", [], "letter") == "How many?"


def test_the_answer_is_words_or_the_letter_of_the_choice() -> None:
    task = CROP.task
    assert answer_text(task, "text") == "red"
    assert answer_text(task, "letter") == "(A)"
    (turn,) = answer_turns(changed(tiny_sample(0), task__answer="blue").trajectory.task, "letter")
    assert turn.content == (f"{ANSWER_PREFIX} (C)",)
    assert turn.learn


def test_an_open_answer_keeps_its_words_among_lettered_ones() -> None:
    task = changed(tiny_sample(0), task__choices=[], task__answer="seven").trajectory.task
    assert answer_text(task, "letter") == "seven"


def test_an_answer_that_is_no_choice_cannot_be_lettered() -> None:
    task = changed(tiny_sample(0), task__answer="pink").trajectory.task
    with pytest.raises(BadInput, match=r"expected one of .*'red'.*, got 'pink'.*data.answers"):
        answer_text(task, "letter")


def test_more_choices_than_letters_are_refused() -> None:
    with pytest.raises(BadInput, match=r"at most 26 to letter.*data.answers"):
        question_text("Which?", [str(n) for n in range(27)], "letter")


def test_the_context_is_system_pictures_in_order_question() -> None:
    two = tiny_sample(7).trajectory
    system, user = context_turns("Q?", ["a", "b"], roots(two), system="Be brief.")
    assert system == ("system", ("Be brief.",), False, False)
    assert user.content == (Show("i0"), Show("i1"), "Q?\nChoices: a, b")
    assert [turn.role for turn in context_turns("Q?", [], ["i0"])] == ["user"]


def test_calls_are_written_as_our_own_parser_reads_them() -> None:
    for call in (call for step in WRONG_FIRST.steps for call in step.calls):
        assert call.arguments is not None
        assert call_text(call) == write_tool_call(call.tool, call.arguments)
        (read,) = parse_tool_calls(call_text(call))
        assert isinstance(read, ParsedCall)
        assert (read.name, read.arguments) == (call.tool, call.arguments)


def test_a_call_that_was_not_understood_stands_as_it_was_written() -> None:
    import msgspec

    call = msgspec.structs.replace(
        CROP.steps[0].calls[0], arguments=None, arguments_raw='{"image": i0'
    )
    assert call_text(call) == (
        '<tool_call>\n{"name": "crop", "arguments": {"image": i0}\n</tool_call>'
    )


def test_a_trajectory_alternates_and_ends_with_the_answer() -> None:
    turns = trajectory_turns(WRONG_FIRST)
    assert [turn.role for turn in turns] == ["assistant", "user"] * 3 + ["assistant"]
    assert turns[0].content[0].startswith("I crop what I think is the square.\n<tool_call>\n{")
    assert turns[-1].content == (f"The crop shows a blue square.\n{ANSWER_PREFIX} blue",)
    assert [turn.conclusion for turn in turns] == [False] * 6 + [True]
    assert media_of(turns) == ("o1", "o2")


def test_wrong_steps_are_context_but_not_learned() -> None:
    learned = [turn.learn for turn in trajectory_turns(WRONG_FIRST) if turn.role == "assistant"]
    assert learned == [False, True, True, True]


def test_nothing_that_tools_say_is_learned() -> None:
    for trajectory in (CROP, WRONG_FIRST, TWO_CALLS):
        assert not any(t.learn for t in trajectory_turns(trajectory) if t.role != "assistant")


def test_each_observation_comes_with_its_picture() -> None:
    (observed,) = [turn for turn in trajectory_turns(TWO_CALLS) if turn.role == "user"]
    first, show_1, second, show_2 = observed.content
    assert (show_1, show_2) == (Show("o1"), Show("o2"))
    assert str(first).startswith("o1 is a crop of i0")
    assert str(second).startswith("\no2 is a crop of o1")


def test_an_observation_names_its_media_where_its_text_does_not() -> None:
    assert observation_text(Seen(("o1",), "Here is the crop.")) == "o1: Here is the crop."
    assert observation_text(Seen(("o1",), "o1 is a crop.")) == "o1 is a crop."
    assert observation_text(Seen((), "nothing found")) == "nothing found"


def test_an_error_is_told_by_its_code_and_what_to_do() -> None:
    error = tool_error("geometry.outside", "arguments.bbox", "x in 0..1", "1.2", "move the box")
    turn = observation_turn([Seen((), "", error)])
    assert turn.content == ("Error geometry.outside: move the box",)
    bare = tool_error("geometry.outside", "arguments.bbox", "x in 0..1", "1.2")
    assert observation_text(Seen((), "", bare)) == (
        "Error geometry.outside: expected x in 0..1, got 1.2"
    )


def test_the_target_holds_neither_question_nor_its_picture() -> None:
    turns = target_turns(CROP, roots(CROP))
    assert CROP.task.question not in words(turns)
    assert media_of(turns) == ("o1",)
    assert f"{ANSWER_PREFIX} red" in words(turns)


def test_the_target_may_begin_with_the_picture_and_end_before_the_answer() -> None:
    turns = target_turns(CROP, roots(CROP), include_image=True, include_answer=False, system="S")
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "user"]
    assert media_of(turns) == ("i0", "o1")
    assert CROP.final.thought not in words(turns)


def test_wrong_steps_and_what_they_returned_are_in_the_target_only_if_asked_for() -> None:
    without = target_turns(WRONG_FIRST, roots(WRONG_FIRST))
    with_them = target_turns(WRONG_FIRST, roots(WRONG_FIRST), wrong_steps=True)
    assert "Error geometry.outside" not in words(without)
    assert "I crop what I think" not in words(without)
    assert "Error geometry.outside" in words(with_them)
    assert len(with_them) == len(without) + 2


def test_nothing_in_the_target_is_learned() -> None:
    for trajectory in (CROP, WRONG_FIRST, TWO_CALLS):
        assert not any(t.learn for t in target_turns(trajectory, ["i0"]))


def test_a_step_without_a_thought_or_without_calls_leaves_no_empty_line_or_turn() -> None:
    import msgspec

    step = CROP.steps[0]
    silent = msgspec.structs.replace(step, thought=" ")
    idle = msgspec.structs.replace(step, calls=[])
    trajectory = changed(tiny_sample(0), steps=[silent, idle], loss_mask=[1, 1]).trajectory
    turns = trajectory_turns(trajectory)
    assert [turn.role for turn in turns] == ["assistant", "user", "assistant", "assistant"]
    assert str(turns[0].content[0]).startswith("<tool_call>")
    assert turns[2].content == (step.thought,)
