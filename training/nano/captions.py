"""What is said of a view: captions in plain words, never a question.

Every function takes a generator and facts, and returns one caption, at times with a line of words
of which it uses one. Readings of a depth map are
told in the words of the toolkit's expert (`pearl_data.experts.words`), boxes in the form of its
questions. What nobody could foresee, such as a box drawn at random, stands in `GIVEN` marks: it is
read, not learnt. Leaves out which view is shown (`samples.py`).
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scenes import Thing

from pearl_data.experts import words
from pearl_data.experts.depth_reading import DECISIVE_SHARE, reading
from pearl_data.experts.words import Voice
from pearl_data.rendering import COLOURS, LABEL_CHARACTERS, PATTERNS, SHAPES
from pearl_data.sources.facts import box_words
from pearl_data.sources.questions import plural
from pearl_tools.types import Box

GIVEN = re.compile(r"⟦(.*?)(?:¦(\d+))?⟧", re.DOTALL)
"""Words of a caption that are read but not learnt, and perhaps the number of the cell (of a 6 x 6
grid) in which lies what they name; no model sees the marks themselves.
"""
_GRID = 6

#: Two places of a depth map are compared only if they differ by so much of its range.
_CLEAR_GAP = 0.05
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
_WHERE = (("upper left", "top", "upper right"),
          ("left", "middle", "right"),
          ("lower left", "bottom", "lower right"))  # fmt: skip


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


def plain(text: str) -> str:
    """The text without marks."""
    return GIVEN.sub(r"\1", text)


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


def told_of_both(rng: random.Random, a: Thing, b: Thing) -> Told:
    """Two things in the line, the nearer of them in the caption."""
    near, far = (a, b) if a.near > b.near else (b, a)
    line = words_line(rng, (f"the {a.name}", f"the {b.name}"))
    wording = rng.choice(("Nearer: the {near}.", "The {near} is nearer.",
                          "The {near} is nearer than the {far}."))  # fmt: skip
    return Told(line, wording.format(near=near.name, far=far.name))


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


def place_words(x: float, y: float) -> str:
    """One of nine places: `lower left`; x and y in 0..1."""
    return _WHERE[min(2, int(y * 3))][min(2, int(x * 3))]


_READ_AT = (
    "at {box} the map reads {value}",
    "{box}: {value}",
    "{box} reads {value}",
    "the part at {box} is at {value} of the range",
)
_NEARER_AT = (
    "of ⟦{far} and {near}⟧, {near} is nearer",
    "of ⟦{near} and {far}⟧, {near} is nearer",
)


def of_depth(rng: random.Random, depth: npt.NDArray[np.uint8], things: Sequence[Thing]) -> str:
    """A depth map alone: readings at boxes, of two boxes the nearer, or where its ends lie."""
    kind = rng.random()
    if kind < 0.25:
        return _ends(rng, depth)
    boxes = [_any_box(rng) for _ in range(5)]
    read = [(box, reading(depth.astype(np.float32), box) / 255) for box in boxes]
    read += [(thing.box, thing.near) for thing in rng.sample(list(things), min(len(things), 3))]
    rng.shuffle(read)
    if kind < 0.7:
        wording = rng.choice(_READ_AT)
        said = [
            wording.format(box=given(box_words(box), box), value=f"{value:.2f}")
            for box, value in read[: rng.randint(4, 8)]
        ]
        return sentence("; ".join(said)) + "."
    said = []
    for (box, value), (other, second) in zip(read[::2], read[1::2], strict=False):
        if abs(value - second) < _CLEAR_GAP:
            continue
        near, far = (box, other) if value > second else (other, box)
        wording = rng.choice(_NEARER_AT)
        said.append(wording.format(near=box_words(near), far=box_words(far)))
    return sentence("; ".join(said[:2])) + "." if said else _ends(rng, depth)


def _any_box(rng: random.Random) -> Box:
    width, height = rng.uniform(0.06, 0.35), rng.uniform(0.06, 0.35)
    x0, y0 = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return (x0, y0, x0 + width, y0 + height)


def _ends(rng: random.Random, depth: npt.NDArray[np.uint8]) -> str:
    height, width = depth.shape
    # the means of nine tiles decide, so that the place is that of a part and not of one pixel
    tiles = depth[: height // 3 * 3, : width // 3 * 3].reshape(3, height // 3, 3, width // 3)
    means = tiles.mean(axis=(1, 3))
    ends = {"nearest": int(means.argmax()), "farthest": int(means.argmin())}
    shown = {
        word: place_words((tile % 3 + 0.5) / 3, (tile // 3 + 0.5) / 3)
        for word, tile in ends.items()
    }
    near = rng.choice(
        ("the nearest part is at the {}", "nearest is the part at the {}", "brightest at the {}")
    ).format(shown["nearest"])
    far = rng.choice(
        ("the farthest part is at the {}", "farthest is the part at the {}", "darkest at the {}")
    ).format(shown["farthest"])
    both = rng.sample([near, far], rng.randint(1, 2))
    return sentence("; ".join(both)) + "."


_NEARER = (
    "Of {a} and {b}, {near} is nearer.",
    "{Near} is nearer than {far}.",
    "{Far} is farther than {near}.",
    "{Near} is closer to the camera than {far}.",
    "Nearer of {a} and {b}: {near}.",
)
_READ_ONE = (
    "{A} reads {da} of the map's range.",
    "{A} is at {da} of the range.",
    "{A} is at {box_a}; there the map reads {da}.",
)
_READ_ALL = (
    ("From 0, farthest, to 1, nearest, ", "{a} reads {da}", ", "),
    ("Of the map's range, ", "{a} is at {da}", ", "),
    ("Reading the map, scaled to 0..1: ", "{a} {da}", ", "),
    ("", "{A}: {da}", ". "),
    ("", "{a} reads {da}", "; "),
)
_LAST_OF_ALL = (" {Near} is nearest.", " Nearest is {near}, farthest {far}.", " {Far} is farthest.")
_READ_TWO = (
    "{A} reads {da} and {b} {db} of the map's range, so {near} is nearer.",
    "{A}: {da}. {B}: {db}. {Near} is nearer.",
    "{A} at {box_a} reads {da}, {b} at {box_b} reads {db}. {Near} is nearer.",
)


def of_all(rng: random.Random, things: Sequence[Thing]) -> str:
    """A picture with its depth map: what many named things read, perhaps the nearest of them."""
    opening, each, between = rng.choice(_READ_ALL)
    said = [
        each.format(a=given(f"the {thing.name}", thing.box), da=f"{thing.near:.2f}",
                    A=given(f"The {thing.name}", thing.box))
        for thing in things
    ]  # fmt: skip
    text = given(opening) * bool(opening) + between.join(said) + "."
    order = sorted(things, key=lambda thing: thing.near)
    if len(order) > 1 and decided(order[-1], order[-2]) and decided(order[0], order[1]):
        near, far = f"the {order[-1].name}", f"the {order[0].name}"
        text += rng.choice((*_LAST_OF_ALL, "", "")).format(
            near=near, Near=sentence(near), far=far, Far=sentence(far)
        )
    return text


def of_numbers(rng: random.Random, *, times: int = 6) -> str:
    """No picture at all: which of two things is nearer if they read so and so, several times.

    That larger numbers are larger is what a real base model knows from all it has read.
    """
    return " ".join(_compared(rng) for _ in range(times))


def _compared(rng: random.Random) -> str:
    a, b = (f"the {colour} {rng.choice(SHAPES)}" for colour in rng.sample(COLOURS, 2))
    first = round(rng.random(), 2)
    second = round(rng.random(), 2)
    if rng.random() < 0.3:  # the tenths alike, so that the hundredths decide
        second = int(first * 10) / 10 + rng.randint(0, 9) / 100
    if abs(first - second) < DECISIVE_SHARE:
        return _compared(rng)
    near = a if first > second else b
    text = Voice(rng).say(
        words.DEPTH_SHOWED[:3] + _READ_TWO[:2], a=a, b=b, da=f"{first:.2f}", db=f"{second:.2f}",
        near="\0", Near="\1",
    )  # fmt: skip
    finding = min(place for place in (text.find("\0"), text.find("\1")) if place >= 0)
    text = given(text[:finding]) + text[finding:]
    return text.replace("\0", near).replace("\1", sentence(near))


def decided(a: Thing, b: Thing) -> bool:
    """Whether the two readings are far enough apart to say which is nearer."""
    return abs(a.near - b.near) >= _CLEAR_GAP


def of_both(rng: random.Random, a: Thing, b: Thing) -> str:
    """A picture with its depth map: which of two things reads nearer, mostly with the readings."""
    voice = Voice(rng)
    near, far = (a, b) if a.near > b.near else (b, a)
    fields = {"a": given(f"the {a.name}", a.box), "A": given(f"The {a.name}", a.box),
              "b": given(f"the {b.name}", b.box), "B": given(f"The {b.name}", b.box),
              "da": f"{a.near:.2f}", "db": f"{b.near:.2f}",
              "near": f"the {near.name}", "far": f"the {far.name}",
              "box_a": box_words(a.box), "box_b": box_words(b.box)}  # fmt: skip
    kind = rng.random()
    if kind < 0.15:
        return voice.say(_READ_ONE, **fields)
    if kind < 0.5:
        return voice.say(_NEARER, **fields)
    return voice.say(words.DEPTH_SHOWED + _READ_TWO, **fields)
