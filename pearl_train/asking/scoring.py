"""Whether a reply is right: a strict rule, and beside it the lenient one of the paper's release.

Strict: the reply must state one of the choices, by its exact words (case and spaces aside) or by
its letter. A reply that states none is *unparsed*, and wrong. Lenient: the right choice occurs
anywhere in the reply, so "not red but blue" is right for both; reported only for comparison.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from pearl_tools.types import Record

AnswerForm = Literal["text", "letter"]

_MARK = re.compile(r"answer\s*:", re.IGNORECASE)
#: ``(B)``, ``B)``, ``B.``, ``B:`` or ``B`` alone; what follows may repeat the choice's words.
_LETTER = re.compile(r"^\(?([A-Za-z])(?:\)|[.:]|$)\s*(.*)$", re.DOTALL)
_BRACKETED = re.compile(r"^\(([A-Za-z])\)")
_BARE = re.compile(r"^\s*[A-Za-z]\s*$")
_NUMBER = re.compile(r"^[+-]?\d+(?:\.\d+)?$")


class Verdict(Record, frozen=True, kw_only=True):
    """What was made of one reply.

    ``stated`` is the choice (or, for an open question, the words) that the reply states, None where
    it states none; ``lenient`` the verdict of the release's rule.
    """

    stated: str | None
    correct: bool
    lenient: bool


class Expected(NamedTuple):
    """What a reply is judged by: the right answer and the choices, none for an open question."""

    answer: str
    choices: Sequence[str] = ()


def judge(reply: str, expected: Expected, form: AnswerForm = "text") -> Verdict:
    """The verdict on ``reply``; ``form`` is how the question asked to be answered.

    Where choices are themselves letters and answers are words, ``B`` alone is the choice named B,
    or none; where answers are letters it is the second choice. ``(B)`` is always the second.

    >>> judge("Answer: Dark  Red.", Expected("dark red", ["blue", "dark red"])).correct
    True
    >>> judge("(B)", Expected("dark red", ["blue", "dark red"])).correct
    True
    >>> judge("either", Expected("dark red", ["blue", "dark red"])).stated is None
    True
    """
    said = stated_part(reply)
    if expected.choices:
        stated = stated_choice(said, expected.choices, form)
        correct = stated is not None and plain_words(stated) == plain_words(expected.answer)
    else:
        stated = said or None
        correct = stated is not None and same_words(stated, expected.answer)
    return Verdict(stated=stated, correct=correct, lenient=_lenient(reply, expected, form))


def stated_part(reply: str) -> str:
    r"""What a reply says the answer is: the first line after its last ``Answer:``, else all of it.

    >>> stated_part("It is far away.\nAnswer: 3")
    '3'
    """
    marks = list(_MARK.finditer(reply))
    if not marks:
        return reply.strip()
    after = reply[marks[-1].end() :].strip()
    return after.splitlines()[0].strip() if after else ""


def up_to_answer(reply: str) -> str:
    r"""A reply up to where it states its answer, its last ``Answer:`` included; empty without one.

    >>> up_to_answer("It is far away.\nAnswer: 3")
    'It is far away.\nAnswer:'
    """
    marks = list(_MARK.finditer(reply))
    return reply[: marks[-1].end()] if marks else ""


def stated_choice(said: str, choices: Sequence[str], form: AnswerForm = "text") -> str | None:
    """The one of ``choices`` that ``said`` states, or None."""
    by_words = _by_words(said, choices)
    if form == "text" and _BARE.match(said) and any(map(_BARE.match, choices)):
        return by_words
    by_letter = _by_letter(said, choices)
    if form == "letter" or (by_words is None or _BRACKETED.match(said)):
        return by_letter if by_letter is not None else by_words
    return by_words


def _by_words(said: str, choices: Sequence[str]) -> str | None:
    plain = plain_words(said)
    return next((choice for choice in choices if plain_words(choice) == plain), None)


def _by_letter(said: str, choices: Sequence[str]) -> str | None:
    found = _LETTER.match(said)
    if not found:
        return None
    number = ord(found[1].upper()) - ord("A")
    if number >= len(choices):
        return None
    repeated = found[2].strip()
    contradicts = repeated and _by_words(repeated, choices) not in (None, choices[number])
    return None if contradicts else choices[number]


def same_words(said: str, answer: str) -> bool:
    """Whether an open answer is right: the same number, or the same words."""
    a, b = plain_words(said), plain_words(answer)
    if _NUMBER.match(a) and _NUMBER.match(b):
        return float(a) == float(b)
    return a == b


def letter_of(choice: str, choices: Sequence[str]) -> str:
    """The letter of ``choice``; raises ``ValueError`` where it is none of ``choices``.

    >>> letter_of("blue", ["red", "blue"])
    'B'
    """
    return chr(ord("A") + list(choices).index(choice))


def _lenient(reply: str, expected: Expected, form: AnswerForm) -> bool:
    """Whether the right letter (answers by letter) or words (else) occur anywhere in the reply.

    The release looks for the bare letter in the whole reply; ``Answer:`` would always hold an A, so
    the marker itself is left out.
    """
    text = _MARK.sub(" ", reply)
    if form == "letter" and expected.answer in expected.choices:
        return letter_of(expected.answer, expected.choices) in text
    return plain_words(expected.answer) in plain_words(text)


def plain_words(text: str) -> str:
    """``text`` in lower case, spaces as one, without closing punctuation."""
    return " ".join(text.casefold().split()).rstrip(".!,; ")
