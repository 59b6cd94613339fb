"""Builders of tasks: from known things to a question with choices, answer and evidence.

Every builder takes the answer's position among the choices from its caller, which balances the
positions, so that guessing does not pay. The things to ask about are chosen in
:mod:`pearl_data.sources.looking` and :mod:`pearl_data.sources.comparing`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from pearl_data.sources import wordings
from pearl_data.sources.facts import Thing, area_share, box_words
from pearl_data.sources.nouns import attribute_words, is_there, one, plural
from pearl_data.trajectory import AnswerSource, Evidence, Family, Task
from pearl_tools.types import Box

#: A box with at least this share of the picture counts as the whole picture.
_WHOLE_PICTURE = 0.98


def arrange(answer: str, distractors: Sequence[str], position: int) -> list[str]:
    """The choices with ``answer`` at ``position`` (modulo their number)."""
    choices = list(distractors)
    choices.insert(position % (len(choices) + 1), answer)
    return choices


def target(thing: Thing, label: str, media: str = "i0") -> Evidence:
    """The evidence that ``thing`` must be seen closely."""
    return Evidence(media=media, label=label, bbox=thing.bbox, role="target")


def attribute_task(
    thing: Thing,
    it: str,
    name: str,
    distractors: Sequence[str],
    position: int,
    source: AnswerSource,
    rng: random.Random,
) -> Task:
    """What ``name`` (colour, material, ...) the thing called ``it`` has."""
    asked = wordings.NAME_ASKED.get(name, wordings.ANY_NAME_ASKED)
    question = rng.choice(asked).format(it=it, name=attribute_words(name))
    return _choice_task("attribute", question, thing.attributes[name], distractors, position,
                        source, [target(thing, it)])  # fmt: skip


def read_task(
    thing: Thing,
    it: str,
    name: str,
    distractors: Sequence[str],
    position: int,
    source: AnswerSource,
    rng: random.Random,
) -> Task:
    """What is written on the thing called ``it``; ``name`` is ``text`` or ``tag``."""
    wording = wordings.READ_LETTER if name == "tag" else wordings.READ
    question = rng.choice(wording).format(it=it)
    return _choice_task("read", question, thing.attributes[name], distractors, position,
                        source, [target(thing, it)])  # fmt: skip


def identity_task(
    thing: Thing,
    distractors: Sequence[str],
    position: int,
    source: AnswerSource,
    rng: random.Random,
    *,
    small: bool = True,
) -> Task:
    """Name of the thing in a given box; ``small`` if it is hard to see there."""
    wording = wordings.IDENTITY if small else wordings.IDENTITY_LARGE
    question = rng.choice(wording).format(box=box_words(thing.bbox))
    it = f"the thing at {box_words(thing.bbox)}"
    return _choice_task("identity", question, thing.name, distractors, position,
                        source, [target(thing, it)])  # fmt: skip


def presence_task(
    box: Box,
    name: str,
    present: bool,
    position: int,
    source: AnswerSource,
    rng: random.Random,
) -> Task:
    """Yes or no: ``box`` shows anything called ``name``; a full box means the picture."""
    everywhere = area_share(box) >= _WHOLE_PICTURE
    there = is_there(name)
    question = rng.choice(wordings.PRESENCE_ANYWHERE if everywhere else wordings.PRESENCE).format(
        is_there=there, Is_there=_sentence(there), one=one(name), box=box_words(box)
    )
    it = "the picture" if everywhere else f"the spot at {box_words(box)}"
    return _yes_or_no("presence", question, it, box, present, position, source)


def whole_task(
    box: Box,
    name: str,
    held: bool,
    position: int,
    source: AnswerSource,
    rng: random.Random,
) -> Task:
    """Yes or no: ``box`` holds the only thing called ``name`` uncut."""
    question = rng.choice(wordings.WHOLE).format(name=name, box=box_words(box))
    return _yes_or_no("whole", question, f"the box {box_words(box)}", box, held, position, source)


def part_task(
    box: Box,
    part: str,
    it: str,
    there: bool,
    position: int,
    source: AnswerSource,
    rng: random.Random,
) -> Task:
    """Yes or no: the ``part`` of the thing called ``it`` is in ``box``."""
    question = rng.choice(wordings.PART).format(part=part, it=it, box=box_words(box))
    return _yes_or_no(
        "part", question, f"the spot at {box_words(box)}", box, there, position, source
    )


def count_task(
    region: Box,
    name: str,
    counted: Sequence[Thing],
    distractors: Sequence[str],
    position: int,
    source: AnswerSource,
    rng: random.Random,
) -> Task:
    """The number of things called ``name`` in ``region``; each counted one is evidence."""
    question = rng.choice(wordings.COUNT).format(kind=plural(name), box=box_words(region))
    evidence = [
        Evidence(media="i0", label=f"the region {box_words(region)}", bbox=region, role="region"),
        *(target(thing, thing.name) for thing in counted),
    ]
    return _choice_task(
        "count", question, str(len(counted)), distractors, position, source, evidence
    )


def nearer_task(
    nearer: Thing,
    farther: Thing,
    words: tuple[str, str],
    position: int,
    source: AnswerSource,
    rng: random.Random,
) -> Task:
    """Which of two things is nearer; ``words`` are the phrases for (nearer, farther).

    The order in which the two are named is that of the choices.
    """
    choices = arrange(words[0], [words[1]], position)
    text = rng.choice(wordings.NEARER).format(a=choices[0], b=choices[1])
    return _choice_task("nearer", _sentence(text), words[0], [words[1]], position, source,
                        _pair(nearer, farther, words, choices))  # fmt: skip


def nearer_read_task(
    nearer: Thing,
    farther: Thing,
    words: tuple[str, str],
    name: str,
    distractors: Sequence[str],
    positions: tuple[int, int],
    source: AnswerSource,
    rng: random.Random,
) -> Task:
    """What is to be read (``name``) on the nearer of two things: order and detail in one question.

    ``positions`` are that of the nearer thing in the sentence and of the answer in the choices.
    """
    named = arrange(words[0], [words[1]], positions[0])
    if name == "tag":
        text = rng.choice(wordings.NEARER_READ).format(a=named[0], b=named[1])
    else:
        asked = "colour" if name == "color" else attribute_words(name)
        text = rng.choice(wordings.NEARER_ATTRIBUTE).format(a=named[0], b=named[1], name=asked)
    evidence = [*_pair(nearer, farther, words, named), target(nearer, words[0])]
    return _choice_task("nearer_read", _sentence(text), nearer.attributes[name], distractors,
                        positions[1], source, evidence)  # fmt: skip


def tool_nearer_task(a: Thing, b: Thing, words: tuple[str, str], rng: random.Random) -> Task:
    """The nearer of two things, by the tool alone: the answer is empty until the call."""
    text = rng.choice(wordings.NEARER).format(a=words[0], b=words[1])
    return Task(
        question=_sentence(text),
        choices=list(words),
        answer="",
        answer_type="choice",
        answer_source="tool",
        family="nearer",
        evidence=_pair(a, b, words, words),
    )


def relation_task(
    answer: Thing,
    other: Thing,
    words: tuple[str, str],
    relation: str,
    position: int,
    rng: random.Random,
) -> Task:
    """The one of two things that is farther to the left, larger, ...: a control without a tool.

    ``words`` are the phrases for (answer, other), ``relation`` is one of
    :data:`pearl_data.sources.wordings.RELATIONS`.
    """
    named = arrange(words[0], [words[1]], position)
    says = is_relation(relation)
    text = rng.choice(wordings.RELATION).format(a=named[0], b=named[1], is_relation=says)
    task = _choice_task("relation", _sentence(text), words[0], [words[1]], position, "annotation",
                        _pair(answer, other, words, named))  # fmt: skip
    return plain_to_see(task)


def is_relation(relation: str) -> str:
    """The phrase with its verb: ``is farther to the left``."""
    phrase = wordings.RELATIONS[relation]
    return phrase if phrase.startswith("takes") else f"is {phrase}"


def plain_to_see(task: Task) -> Task:
    """``task``, marked as answerable from the whole picture without a tool."""
    return msgspec.structs.replace(task, needs_tool=False)


def _yes_or_no(
    family: Family,
    question: str,
    it: str,
    box: Box,
    yes: bool,
    position: int,
    source: AnswerSource,
) -> Task:
    evidence = Evidence(media="i0", label=it, bbox=box, role="target")
    answer, other = ("yes", "no") if yes else ("no", "yes")
    return _choice_task(family, question, answer, [other], position, source, [evidence])


def _pair(
    one_: Thing, other: Thing, words: tuple[str, str], named: Sequence[str]
) -> list[Evidence]:
    boxes = {words[0]: one_.bbox, words[1]: other.bbox}
    return [Evidence(media="i0", label=word, bbox=boxes[word], role="pair") for word in named]


def _choice_task(
    family: Family,
    question: str,
    answer: str,
    distractors: Sequence[str],
    position: int,
    source: AnswerSource,
    evidence: list[Evidence],
) -> Task:
    return Task(
        question=question,
        choices=arrange(answer, distractors, position) if distractors else [],
        answer=answer,
        answer_type="choice" if distractors else "text",
        answer_source=source,
        family=family,
        evidence=evidence,
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
