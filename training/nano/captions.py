"""What is said of a view: captions in plain words, never a question.

Every function takes a generator and facts, and returns one caption, at times with a line of words
of which it uses one. Boxes have the form of the toolkit's questions. What nobody could foresee,
such as a box drawn at random, is marked `given`: it is read, not learnt. Leaves out what a
depth map says (`depth_captions.py`) and which view is shown (`samples.py`).
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from scenes import Thing

from pearl_data.rendering import COLOURS, LABEL_CHARACTERS, PATTERNS, SHAPES
from pearl_data.sources.facts import box_words
from pearl_data.sources.nouns import plural
from pearl_tools.types import Box

MARK = re.compile(
    r"⟦(?P<given>.*?)(?:¦(?P<cell>\d+))?⟧|⟪(?P<value>.*?)⟫",
    re.DOTALL,
)
"""Words of a caption that are `given`, perhaps with the number of the cell (of a 6 x 6 grid) in
which lies what they name, and values that are `read_off` a map there; no model sees the marks.
"""
_GRID = 6

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

NOTES: dict[str, tuple[str, ...]] = {
    "view": ("A closer view.", "Part of a picture.", "A crop.", "A zoomed view.", ""),
    "scene": ("The whole picture.", "A picture.", "A scene.", ""),
    "depth": ("A depth map.", "The depth map, larger is nearer.", "Brighter is nearer.", ""),
    "both": ("The picture and its depth map.", "A picture, then its depth map.", ""),
    "pair": ("A picture and a part of it.", "The whole picture, then a closer view.", ""),
}
"""Neutral lines that may stand beside the pictures of a user's turn."""

_TAG = (
    "{tag}",
    "{tag}",
    "The tag shows {tag}.",
    "The tag says {tag}.",
    "It reads {tag}.",
    "A tag with the character {tag}.",
    "The character on the tag is {tag}.",
    "The view shows the tag: {tag}.",
    "Something {colour} with the tag {tag}.",
    "The tag on the {colour} thing is {tag}.",
    "The closer look shows {tag}.",
)
_TAG_OF = (
    "{tag}",
    "The tag of the {name} is {tag}.",
    "The tag of the {name} shows {tag}.",
    "The view shows the tag of the {name}: {tag}.",
    "The {name} has the tag {tag}.",
    "Now the {name} is large: its tag reads {tag}.",
)
_THING = (
    "{one}",
    "{One}.",
    "The view shows {one}.",
    "This is {one}.",
    "In the middle is {one}.",
    "The thing is {one}.",
    "The shape is a {shape}, its colour is {colour}.",
    "Its colour is {colour}; it is {a_shape}.",
    "The {name}, close.",
)
_PATTERN = (
    "The pattern is {pattern}.",
    "The {name} is {pattern}.",
    "Its pattern is {pattern}, its colour {colour}.",
    "{One}; the pattern is {pattern}.",
)
_UNTAGGED = ("", "", " It has no tag.")
_TAGGED = (" Its tag shows {tag}.", " The tag says {tag}.", " Tag {tag}.")
_PART = (
    "The part shows {listed}.",
    "In this part there are {listed}.",
    "{Listed}.",
    "The view holds {listed}.",
    "I see {listed}.",
)
_COUNTED = (
    "There are {n} {kind} in this part.",
    "The view shows {n} {kind}.",
    "{n} {kind}",
    "In this part I count {n} {kind}.",
    "I count {n}: {which}.",
    "{N} {kind}: {which}.",
    "{Kind}: {n}.",
    "{Kind} in this part: {n}.",
)
_NONE = (
    "There are no {kind} in this part.",
    "{Kind}: 0.",
    "{Kind} in this part: 0.",
    "No {kind}.",
)
_PLACED = (
    "the {name} is at {box}",
    "at {box} is {one}",
    "{one} at {box}",
    "{box}: {name}",
)
_WORDS = ("Words: {listed}.", "{listed}", "One of {listed}.", "Either {either}.", "({listed})")
_ONE_WORD = ("{value}", "{value}", "It is {value}.", "This is {value}.")


class Told(NamedTuple):
    """A line that lists words, and a caption that uses one of them."""

    line: str
    text: str


def given(text: str, box: Box | None = None) -> str:
    """The text, marked as read but not learnt; `box` is where the thing lies that it names."""
    if box is None:
        return f"⟦{text}⟧"
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    cell = min(_GRID - 1, int(y * _GRID)) * _GRID + min(_GRID - 1, int(x * _GRID))
    return f"⟦{text}¦{cell}⟧"


def read_off(value: float) -> str:
    """A reading with two decimals, marked as what the map says where the thing lies that was last
    given with its cell.
    """
    return f"⟪{value:.2f}⟫"


def plain(text: str) -> str:
    """The text without marks."""
    return MARK.sub(lambda found: found["given"] or found["value"] or "", text)


def _vocabulary(attribute: str) -> Sequence[str]:
    return {
        "tag": LABEL_CHARACTERS,
        "colour": COLOURS,
        "shape": SHAPES,
        "pattern": PATTERNS,
    }[attribute]


def words_line(rng: random.Random, words: Sequence[str]) -> str:
    """A line that lists some words in random order."""
    words = rng.sample(list(words), len(words))
    either = f"{', '.join(words[:-1])} or {words[-1]}"
    listed = ", ".join(words)
    return rng.choice(_WORDS).format(listed=listed, either=either)


def told_of_thing(
    rng: random.Random, thing: Thing, attributes: Sequence[str], *, at: bool = False
) -> Told:
    """One attribute of a thing, its word among others in the line; `at` says where the thing is.

    That words given before can be used is what a real base model knows from all it has read.
    """
    attribute = rng.choice([name for name in attributes if getattr(thing, name) is not None])
    value = getattr(thing, attribute)
    others = [word for word in _vocabulary(attribute) if word != value]
    words = [value, *rng.sample(others, min(len(others), rng.randint(1, 4)))]
    line = words_line(rng, words)
    if at:
        line = f"At {box_words(thing.box)}. {line}"
    text = rng.choice(_ONE_WORD).format(value=value)
    return Told(line, text)


def with_a(noun: str) -> str:
    """The noun with `a` or `an`."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def joined(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _fields(thing: Thing, *, pattern: bool = False) -> dict[str, str]:
    noun = f"{thing.pattern} {thing.name}" if pattern else thing.name
    one = with_a(noun)
    return {
        "one": one,
        "One": sentence(one),
        "name": thing.name,
        "shape": thing.shape,
        "a_shape": with_a(thing.shape),
        "colour": thing.colour,
        "pattern": thing.pattern,
        "tag": thing.tag or "",
    }


def of_tag(rng: random.Random, thing: Thing, *, tight: bool) -> str:
    """A view of a tag; a `tight` one shows little of the thing, so its shape is not named."""
    return rng.choice(_TAG if tight else _TAG + _TAG_OF).format(**_fields(thing))


def of_thing(rng: random.Random, thing: Thing) -> str:
    """A view of one thing: colour, shape, at times pattern, and mostly its tag."""
    if rng.random() < 0.3:
        text = rng.choice(_PATTERN).format(**_fields(thing))
    else:
        text = rng.choice(_THING).format(**_fields(thing, pattern=rng.random() < 0.3))
    if thing.tag is None:
        return text + (rng.choice(_UNTAGGED) if text.endswith(".") else "")
    if rng.random() < 0.3:
        return text
    if not text.endswith("."):
        return f"{text} with the tag {thing.tag}"
    return text + rng.choice(_TAGGED).format(tag=thing.tag)


def number_of(kind: str, number: int, rng: random.Random) -> str:
    """`three balls`, `3 balls` or `a ball`."""
    if number == 1:
        return with_a(kind)
    many = NUMBERS[number] if rng.random() < 0.7 else str(number)
    return f"{many} {plural(kind)}"


def of_part(rng: random.Random, things: Sequence[Thing]) -> str:
    """A view that holds exactly these things (none cut): their kinds counted, or all by name."""
    if not things:
        return rng.choice(("There is nothing in this part.", "An empty part.", "No things."))
    shapes = Counter(thing.shape for thing in things)
    if rng.random() < 0.1:
        absent = plural(rng.choice([shape for shape in SHAPES if shape not in shapes]))
        return rng.choice(_NONE).format(kind=absent, Kind=sentence(absent))
    if rng.random() < 0.6:
        kind = rng.choice(sorted(shapes))
        if max(shapes.values()) > 1 and rng.random() < 0.6:
            kind = max(sorted(shapes), key=lambda shape: shapes[shape])
        return counted(rng, kind, [thing for thing in things if thing.shape == kind])
    if rng.random() < 0.5:
        kinds = sorted(shapes)
        rng.shuffle(kinds)
        listed = joined([number_of(kind, shapes[kind], rng) for kind in kinds])
    else:
        listed = joined([with_a(thing.name) for thing in things])
    return rng.choice(_PART).format(listed=listed, Listed=sentence(listed))


def counted(rng: random.Random, kind: str, things: Sequence[Thing]) -> str:
    """How many things of one kind there are, at times with their colours."""
    number = len(things)
    return sentence(
        rng.choice(_COUNTED).format(
            n=number,
            N=sentence(NUMBERS[number]),
            kind=kind if number == 1 else plural(kind),
            Kind=sentence(plural(kind)),
            which=joined([with_a(thing.name) for thing in things]),
        )
    ).replace("There are 1 ", "There is 1 ")


def of_scene(rng: random.Random, things: Sequence[Thing], *, most: int = 3) -> str:
    """Some things of a whole picture with their boxes, at times with tags."""
    some = rng.sample(list(things), min(len(things), rng.randint(1, most)))
    wording = rng.choice(_PLACED)
    said = []
    for thing in some:
        text = wording.format(box=box_words(thing.box), **_fields(thing))
        if thing.tag and thing.tag_box and rng.random() < 0.3:
            text += rng.choice(
                (f" with the tag {thing.tag}", f", its tag at {box_words(thing.tag_box)}")
            )
        said.append(text)
    return sentence("; ".join(said)) + "."


def of_scene_counts(rng: random.Random, things: Sequence[Thing]) -> str:
    """All things of a whole picture, by name."""
    names = [thing.name for thing in things]
    rng.shuffle(names)
    return f"The picture shows {joined([with_a(name) for name in names])}."
