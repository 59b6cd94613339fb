"""What is said of a depth map: readings at boxes and at named things, and which of two is nearer.

In the words of the toolkit's expert (`pearl_data.experts.words`), and as in `captions.py`: a
generator and facts in, one caption out. Leaves out which view is shown (`samples.py`).
"""

import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from captions import Told, given, read_off, sentence, words_line
from scenes import Thing

from pearl_data.experts import words
from pearl_data.experts.depth_reading import DECISIVE_SHARE, reading
from pearl_data.experts.words import Voice
from pearl_data.rendering import COLOURS, SHAPES
from pearl_data.sources.facts import box_words
from pearl_tools.types import Box

#: Two places of a depth map are compared only if they differ by so much of its range.
_CLEAR_GAP = 0.05
_WHERE = (("upper left", "top", "upper right"),
          ("left", "middle", "right"),
          ("lower left", "bottom", "lower right"))  # fmt: skip


def told_of_both(rng: random.Random, a: Thing, b: Thing) -> Told:
    """Two things in the line, the nearer of them in the caption."""
    near, far = (a, b) if a.near > b.near else (b, a)
    line = words_line(rng, (f"the {a.name}", f"the {b.name}"))
    wording = rng.choice(("Nearer: the {near}.", "The {near} is nearer.",
                          "The {near} is nearer than the {far}."))  # fmt: skip
    return Told(line, wording.format(near=near.name, far=far.name))


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
            wording.format(box=given(box_words(box), box), value=read_off(value))
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
        each.format(a=given(f"the {thing.name}", thing.box), da=read_off(thing.near),
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
              "da": read_off(a.near), "db": read_off(b.near),
              "near": f"the {near.name}", "far": f"the {far.name}",
              "box_a": box_words(a.box), "box_b": box_words(b.box)}  # fmt: skip
    kind = rng.random()
    if kind < 0.15:
        return voice.say(_READ_ONE, **fields)
    if kind < 0.5:
        return voice.say(_NEARER, **fields)
    return voice.say(words.DEPTH_SHOWED + _READ_TWO, **fields)
