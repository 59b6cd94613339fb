"""A trajectory as conversations: turns of the person, the assistant and the tools.

Turns hold words and names of pictures; no tokens, no pixels. The *context* is all that exists at
inference: the root pictures and the question. The other conversations follow it, or, for the
target R, stand alone. Not here: templates and tokens, which belong to a model.

Only the roles system, user and assistant are used: many templates drop the pictures of a tool turn.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from pearl_data.trajectory import Call, Task, Trajectory
from pearl_tools.errors import BadInput, ToolError

ANSWER_PREFIX = "Answer:"
"""Start of every answer; prefilled if the model must answer at once."""
MOST_LETTERED = len(string.ascii_uppercase)
"""Most choices of a question with letters."""

UNLETTERED = "more-choices-than-letters"
"""Reason of a refused question with too many choices for letters."""

Role = Literal["system", "user", "assistant"]
Answers = Literal["text", "letter"]


class Refused(BadInput):
    """A sample that is sound, but that this model or this form of question cannot handle.

    ``reason`` is a short code; such samples are counted by it.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Show(NamedTuple):
    """A picture in a turn: the id of its medium."""

    medium: str


class Turn(NamedTuple):
    """One turn: its texts and pictures in order, and flags.

    ``learn``: the words are training targets. ``conclusion``: the last thought
    and the answer.
    """

    role: Role
    content: tuple[str | Show, ...]
    learn: bool = False
    conclusion: bool = False


class Seen(NamedTuple):
    """The result of one call, in words and pictures."""

    media: tuple[str, ...]
    text: str
    error: ToolError | None = None


def context_turns(
    question: str,
    choices: Sequence[str],
    roots: Sequence[str],
    *,
    system: str = "",
    answers: Answers = "text",
) -> tuple[Turn, ...]:
    """(I0, Q): the system message if there is one, then the pictures and the question."""
    asked = Turn("user", (*map(Show, roots), question_text(question, choices, answers)))
    return (*_system(system), asked)


def question_text(question: str, choices: Sequence[str], answers: Answers) -> str:
    """The question with its choices, if any, in one line or as lettered lines.

    >>> print(question_text("Which colour?", ["red", "blue"], "text"))
    Which colour?
    Choices: red, blue
    >>> print(question_text("Which colour?", ["red", "blue"], "letter"))
    Which colour?
    (A) red
    (B) blue
    """
    question = question.strip()
    if not choices:
        return question
    if answers == "text":
        return f"{question}\nChoices: {', '.join(choices)}"
    lines = (f"{letter(number)} {choice}" for number, choice in enumerate(choices))
    return "\n".join([question, *lines])


def letter(number: int) -> str:
    """The name of choice ``number``: ``(A)``, ``(B)`` ...; raises ``Refused`` beyond ``(Z)``."""
    if number >= MOST_LETTERED:
        raise Refused(
            f"choices: expected at most {MOST_LETTERED} to letter, got more; "
            'set data.answers = "text"',
            UNLETTERED,
        )
    return f"({string.ascii_uppercase[number]})"


def answer_text(task: Task, answers: Answers = "text") -> str:
    """The right answer as the model must write it: its words, or the letter of the choice."""
    if answers == "text" or not task.choices:
        return task.answer.strip()
    if task.answer not in task.choices:
        raise BadInput(
            f"task.answer: expected one of {task.choices}, got {task.answer!r}; "
            'run pearl-data validate, or set data.answers = "text"'
        )
    return letter(task.choices.index(task.answer))


def answer_turns(task: Task, answers: Answers = "text") -> tuple[Turn, ...]:
    """The answer alone: ``Answer: X``."""
    return (Turn("assistant", (f"{ANSWER_PREFIX} {answer_text(task, answers)}",), learn=True),)


def trajectory_turns(trajectory: Trajectory, answers: Answers = "text") -> tuple[Turn, ...]:
    """All steps with the results of their calls, then the conclusion. Steps that the record marks
    as mistakes are included as context, but not learned.
    """
    turns = []
    for step, mask in zip(trajectory.steps, trajectory.loss_mask, strict=True):
        turns.append(Turn("assistant", (step_text(step.thought, step.calls),), learn=bool(mask)))
        if step.calls:
            turns.append(observation_turn(_seen(step.calls)))
    return (*turns, _conclusion(trajectory, answers))


def target_turns(
    trajectory: Trajectory,
    roots: Sequence[str],
    *,
    system: str = "",
    answers: Answers = "text",
    include_image: bool = False,
    include_answer: bool = True,
    wrong_steps: bool = False,
) -> tuple[Turn, ...]:
    """R: the trajectory alone, without the question and, unless asked for, without I0.

    Steps marked as mistakes are dropped with their results, unless ``wrong_steps``.
    """
    turns = [*_system(system)]
    if include_image:
        turns.append(Turn("user", tuple(map(Show, roots))))
    for step, mask in zip(trajectory.steps, trajectory.loss_mask, strict=True):
        if mask or wrong_steps:
            turns.append(Turn("assistant", (step_text(step.thought, step.calls),)))
            if step.calls:
                turns.append(observation_turn(_seen(step.calls)))
    if include_answer:
        turns.append(_conclusion(trajectory, answers)._replace(learn=False))
    return tuple(turns)


def step_text(thought: str, calls: Iterable[Call]) -> str:
    """A thought and its calls, as the assistant writes them."""
    return "\n".join([*filter(None, [thought.strip()]), *map(call_text, calls)])


def call_text(call: Call) -> str:
    """One call in the tags of Hermes and Qwen templates, as our own parser reads it.

    A call that could not be parsed is given as written.
    """
    if call.arguments is None:
        name = json.dumps(call.tool, ensure_ascii=False)
        body = f'{{"name": {name}, "arguments": {call.arguments_raw}}}'
    else:
        body = json.dumps({"name": call.tool, "arguments": call.arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"


def observation_turn(seen: Iterable[Seen]) -> Turn:
    """The results of a step's calls, each with its words before its pictures; the same in
    training and at inference with tools.
    """
    content: list[str | Show] = []
    for one in seen:
        words = observation_text(one)
        if content:
            words = f"\n{words}"
        content += [words, *map(Show, one.media)]
    return Turn("user", tuple(content))


def observation_text(seen: Seen) -> str:
    """The words of one observation: the new media and their descriptions, or the error.

    >>> observation_text(Seen(("o1",), "the crop (Image Size: 64x48)"))
    'o1: the crop (Image Size: 64x48)'
    """
    if seen.error is not None:
        error = seen.error
        hint = error.hint or f"expected {error.expected}, got {error.got}"
        return f"Error {error.code}: {hint}"
    text = seen.text.strip()
    if not seen.media or text.startswith(f"{seen.media[0]} "):
        return text
    return f"{', '.join(seen.media)}: {text}"


def media_of(turns: Iterable[Turn]) -> tuple[str, ...]:
    """The pictures that ``turns`` show, in order of appearance."""
    return tuple(part.medium for turn in turns for part in turn.content if isinstance(part, Show))


def _system(text: str) -> tuple[Turn, ...]:
    return (Turn("system", (text.strip(),)),) if text.strip() else ()


def _seen(calls: Iterable[Call]) -> Iterable[Seen]:
    for call in calls:
        result = call.result
        yield Seen(tuple(result.media), result.text, result.error)


def _conclusion(trajectory: Trajectory, answers: Answers) -> Turn:
    thought = trajectory.final.thought.strip()
    answer = f"{ANSWER_PREFIX} {answer_text(trajectory.task, answers)}"
    words = f"{thought}\n{answer}" if thought else answer
    return Turn("assistant", (words,), learn=True, conclusion=True)
