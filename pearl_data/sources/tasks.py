"""Questions in words: from things that are known to a task with choices, answer and evidence.

Every builder takes the answer's position among the choices from its caller, who spreads the
positions evenly, so that no position is worth guessing. Left out: which things to ask about.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from pearl_data.sources.facts import Thing, box_words
from pearl_data.trajectory import AnswerSource, Evidence, Task
from pearl_tools.types import Box

_NAME_ASKED: dict[str, tuple[str, ...]] = {
    "color": ("What colour is {it}?", "Which colour does {it} have?"),
    "material": ("What is {it} made of?", "Which material is {it} made of?"),
    "shape": ("What shape is {it}?", "Which shape does {it} have?"),
    "state": ("In which state is {it}?", "What state is {it} in?"),
    "pattern": ("Which pattern does {it} have?", "What pattern is on {it}?"),
}
_ANY_NAME_ASKED = ("What is the {name} of {it}?",)
_READ = (
    "What is written on {it}?",
    "Which text can be read on {it}?",
    "What does {it} say?",
)
_READ_LETTER = (
    "Which character is printed on the tag of {it}?",
    "What character does the tag on {it} show?",
    "Read the tag on {it}: which character is it?",
)
_IDENTITY = (
    "What is the small thing in the box {box} (fractions of the picture)?",
    "Which of these is inside the box {box} (fractions of the picture)?",
    "What is shown inside the box {box} (fractions of the picture)?",
)
_PRESENCE = (
    "Is there any {name} in the box {box} (fractions of the picture)?",
    "Does the box {box} (fractions of the picture) show {a} {name}, whole or in part?",
    "Look at the box {box} (fractions of the picture): is any {name} in it?",
)
_COUNT = (
    "How many {kind} are in the region {box} (fractions of the picture)?",
    "Count the {kind} inside the region {box} (fractions of the picture). How many are there?",
)
_NEARER = (
    "Which is nearer to the camera, {a} or {b}?",
    "Which of the two is closer to the camera: {a} or {b}?",
    "{a} and {b}: which one is nearer to the viewer?",
)
_NEARER_READ = (
    "Which character is on the tag of whichever is nearer to the camera, {a} or {b}?",
    "Of {a} and {b}, take the one nearer to the camera. Which character does its tag show?",
)
_NEARER_ATTRIBUTE = (
    "Of {a} and {b}, take the one nearer to the camera. What is its {name}?",
    "What is the {name} of whichever is nearer to the camera, {a} or {b}?",
)


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
    asked = _NAME_ASKED.get(name, _ANY_NAME_ASKED)
    question = rng.choice(asked).format(it=it, name=name)
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
    wording = _READ_LETTER if name == "tag" else _READ
    question = rng.choice(wording).format(it=it)
    return _choice_task("read", question, thing.attributes[name], distractors, position,
                        source, [target(thing, it)])  # fmt: skip


def identity_task(
    thing: Thing,
    distractors: Sequence[str],
    position: int,
    source: AnswerSource,
    rng: random.Random,
) -> Task:
    """What the small thing in a given box is."""
    question = rng.choice(_IDENTITY).format(box=box_words(thing.bbox))
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
    """Whether anything called ``name`` shows in ``box``."""
    article = "an" if name[:1].lower() in "aeiou" else "a"
    question = rng.choice(_PRESENCE).format(name=name, a=article, box=box_words(box))
    it = f"the spot at {box_words(box)}"
    evidence = Evidence(media="i0", label=it, bbox=box, role="target")
    answer, other = ("yes", "no") if present else ("no", "yes")
    return _choice_task("presence", question, answer, [other], position, source, [evidence])


def count_task(
    region: Box,
    kind: str,
    counted: Sequence[Thing],
    distractors: Sequence[str],
    position: int,
    source: AnswerSource,
    rng: random.Random,
) -> Task:
    """How many ``kind`` (a plural) lie in ``region``; each counted thing is evidence."""
    question = rng.choice(_COUNT).format(kind=kind, box=box_words(region))
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
    text = rng.choice(_NEARER).format(a=choices[0], b=choices[1])
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
        text = rng.choice(_NEARER_READ).format(a=named[0], b=named[1])
    else:
        asked = "colour" if name == "color" else name
        text = rng.choice(_NEARER_ATTRIBUTE).format(a=named[0], b=named[1], name=asked)
    evidence = [*_pair(nearer, farther, words, named), target(nearer, words[0])]
    return _choice_task("nearer_read", _sentence(text), nearer.attributes[name], distractors,
                        positions[1], source, evidence)  # fmt: skip


def _pair(
    nearer: Thing, farther: Thing, words: tuple[str, str], named: Sequence[str]
) -> list[Evidence]:
    boxes = {words[0]: nearer.bbox, words[1]: farther.bbox}
    return [Evidence(media="i0", label=word, bbox=boxes[word], role="pair") for word in named]


def _choice_task(
    family: str,
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
        family=family,  # type: ignore[arg-type]  # callers above pass members of Family
        evidence=evidence,
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
