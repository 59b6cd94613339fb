"""One pre-training sample: views of a cached scene, and a chat whose assistant turns are captions.

A view is cut as the toolkit's expert cuts and zooms (`pearl_data.experts.boxes`). Leaves out
wordings (`captions.py`, `depth_captions.py`) and tensors (`batches.py`).
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import captions
import depth_captions
import numpy as np
import numpy.typing as npt
from cells import Cells, cells_of, cells_of_depth
from PIL import Image
from recalled import of_recalled
from scenes import Scene, Thing

from pearl_data.experts.boxes import around, outward
from pearl_data.sources.facts import area_share, intersection_share
from pearl_tools.types import Box

Picture = npt.NDArray[np.uint8]
Message = dict[str, Any]

#: As the expert: no view is smaller than this share of the picture's sides.
_SMALLEST_VIEW = 0.06
#: As the zoom tool: long side of a zoomed view, pixels.
_ZOOM_PX = 448
_ZOOMED = 0.25
#: A view that shows less of a thing than this is a close view of its tag only.
_TIGHT = 0.5
#: A part shows a thing whole or not at all; at most this share of a thing outside may be cut.
_WHOLE, _CUT = 0.999, 0.02
_PART_TRIES = 12
#: Share of captions that use one of the words which a line before them lists.
_TOLD = 0.35
#: What stands where nothing is to be read before words are said again.
_WORDS_ALONE = ("Words.", "A text.", "Words alone.")
_LOOKS = ("colour", "shape", "pattern")
_LARGEST_PART = 0.6
_ALL: Box = (0.0, 0.0, 1.0, 1.0)


class Sample(NamedTuple):
    """Pictures in the order of their places in the chat, what lies where in each, the messages."""

    pictures: list[Picture]
    cells: list[Cells]
    messages: list[Message]


class Shown(NamedTuple):
    """A close view of a scene, its caption, and a line of words of which that uses one, or none."""

    picture: Picture
    cells: Cells
    text: str
    line: str | None = None


def view(picture: Picture, box: Box, *, zoomed: bool = False) -> Picture:
    """The pixels of a box (fractions, rounded outward), at will enlarged as the zoom tool does."""
    height, width = picture.shape[:2]
    x0, y0 = math.floor(box[0] * width), math.floor(box[1] * height)
    x1, y1 = math.ceil(box[2] * width), math.ceil(box[3] * height)
    cut = picture[y0:y1, x0:x1]
    if not zoomed:
        return cut
    scale = _ZOOM_PX / max(cut.shape[:2])
    size = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
    return np.array(Image.fromarray(cut).resize(size, Image.Resampling.LANCZOS))


def user(
    rng: random.Random, note: str, number: int = 1, *, role: str = "user", line: str | None = None
) -> Message:
    """A turn with pictures and this line, or perhaps a neutral one of `captions.NOTES`."""
    content: list[dict[str, str]] = [{"type": "image"}] * number
    if line is None:
        line = rng.choice(captions.NOTES[note])
    if line:
        text = {"type": "text", "text": line}
        content = [*content, text] if rng.random() < 0.5 else [text, *content]
    return {"role": role, "content": content}


def assistant(text: str) -> Message:
    """A caption."""
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def tag_box(rng: random.Random, thing: Thing) -> Box:
    """A view of a tag as the expert takes it: a crop, a roomier crop, or a zoom into that."""
    assert thing.tag_box is not None
    kind = rng.random()
    if kind < 0.6:
        return around(thing.tag_box, rng, least=0.15, most=0.8, smallest=_SMALLEST_VIEW)
    if kind < 0.75:
        return around(thing.tag_box, rng, least=0.15, most=2.5, smallest=_SMALLEST_VIEW)
    return around(thing.tag_box, rng, least=0.05, most=0.3, smallest=0.02)


def thing_box(rng: random.Random, thing: Thing) -> Box:
    """A view of a thing with the expert's margins."""
    most = 1.6 if rng.random() < 0.25 else 0.8
    return around(thing.box, rng, least=0.05, most=most, smallest=_SMALLEST_VIEW)


def spoken_of(scene: Scene) -> list[Thing]:
    """The things of which enough is seen, those of one name left out."""
    names = [thing.name for thing in scene.things]
    return [thing for thing in scene.things if thing.clear and names.count(thing.name) == 1]


def tagged(scene: Scene) -> list[Thing]:
    """The things whose tag is wholly seen."""
    return [thing for thing in scene.things if thing.tag is not None]


def part_of(rng: random.Random, scene: Scene) -> tuple[Box, list[Thing]] | None:
    """A part of the picture that cuts nothing, and the things in it."""
    for _ in range(_PART_TRIES):
        box = _part_box(rng, scene)
        if area_share(box) > _LARGEST_PART:
            continue
        shares = [(thing, intersection_share(thing.box, box)) for thing in scene.things]
        inside = [thing for thing, share in shares if share > _WHOLE]
        cut = any(_CUT < share <= _WHOLE for _, share in shares)
        if not cut and all(thing.clear for thing in inside):
            return box, inside
    return None


def _part_box(rng: random.Random, scene: Scene) -> Box:
    if rng.random() < 0.6:
        # a shape is drawn as often as it occurs, so that many of a kind are often together
        shape = rng.choice(scene.things).shape
        return _around_some(rng, [thing.box for thing in scene.things if thing.shape == shape])
    width, height = rng.uniform(0.25, 0.8), rng.uniform(0.25, 0.8)
    x0, y0 = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return outward((x0, y0, x0 + width, y0 + height))


def _around_some(rng: random.Random, boxes: Sequence[Box]) -> Box:
    some = rng.sample(list(boxes), rng.randint(1, len(boxes)))
    margin = rng.uniform(0.005, 0.06)
    return outward(
        (
            max(0.0, min(box[0] for box in some) - margin),
            max(0.0, min(box[1] for box in some) - margin),
            min(1.0, max(box[2] for box in some) + margin),
            min(1.0, max(box[3] for box in some) + margin),
        )
    )


def _shown(rng: random.Random, scene: Scene) -> Shown | None:
    """A close view of a tag, a thing or a part."""
    kind, line = rng.random(), None
    if kind < 0.45 and tagged(scene):
        thing = rng.choice(tagged(scene))
        box = tag_box(rng, thing)
        tight = intersection_share(thing.box, box) < _TIGHT
        text = captions.of_tag(rng, thing, tight=tight)
        if rng.random() < _TOLD:
            line, text = captions.told_of_thing(rng, thing, ["tag"])
    elif kind < 0.72 and spoken_of(scene):
        thing = rng.choice(spoken_of(scene))
        box, text = thing_box(rng, thing), captions.of_thing(rng, thing)
        if rng.random() < _TOLD:
            line, text = captions.told_of_thing(rng, thing, _LOOKS)
    else:
        part = part_of(rng, scene)
        if part is None:
            return None
        box, text = part[0], captions.of_part(rng, part[1])
    zoomed = rng.random() < _ZOOMED
    return Shown(view(scene.picture, box, zoomed=zoomed), cells_of(scene, box), text, line)


def close_view(rng: random.Random, scene: Scene) -> Sample | None:
    """One close view."""
    shown = _shown(rng, scene)
    if shown is None:
        return None
    messages = [user(rng, "view", line=shown.line), assistant(shown.text)]
    return Sample([shown.picture], [shown.cells], messages)


def whole(rng: random.Random, scene: Scene) -> Sample | None:
    """A whole picture: some things with boxes, or all by name."""
    things = spoken_of(scene)
    if not things:
        return None
    every, line = all(thing.clear for thing in scene.things), None
    if rng.random() < _TOLD:
        line, text = captions.told_of_thing(rng, rng.choice(things), _LOOKS, at=True)
    elif every and rng.random() < 0.2:
        text = captions.of_scene_counts(rng, scene.things)
    else:
        text = captions.of_scene(rng, things)
    messages = [user(rng, "scene", line=line), assistant(text)]
    return Sample([scene.picture], [cells_of(scene, _ALL)], messages)


def grey(scene: Scene) -> Picture:
    """The depth map as the depth tool stores it for a model's eyes."""
    return np.repeat(scene.depth[..., None], 3, axis=2)


def depth_cells(scene: Scene) -> Cells:
    """What lies where in a depth map, by what is read off it for things that are spoken of."""
    return cells_of_depth(scene.depth, spoken_of(scene))


def depth_alone(rng: random.Random, scene: Scene) -> Sample | None:
    """A depth map without its picture."""
    text = depth_captions.of_depth(rng, scene.depth, spoken_of(scene))
    messages = [user(rng, "depth"), assistant(text)]
    return Sample([grey(scene)], [depth_cells(scene)], messages)


def with_depth(rng: random.Random, scene: Scene) -> Sample | None:
    """A picture with its depth map: two things read and compared, twice where it can be."""
    things = spoken_of(scene)
    rng.shuffle(things)
    pairs = [(a, b) for a, b in zip(things[::2], things[1::2], strict=False)]
    pairs = [pair for pair in pairs if depth_captions.decided(*pair)][:2]
    if not pairs:
        return None
    text, line = " ".join(depth_captions.of_both(rng, *pair) for pair in pairs), None
    if rng.random() < _TOLD:
        line, text = depth_captions.told_of_both(rng, *pairs[0])
    pictures = [scene.picture, grey(scene)]
    cells = [cells_of(scene, _ALL), depth_cells(scene)]
    if rng.random() < 0.5:
        return Sample(pictures, cells, [user(rng, "both", 2, line=line), assistant(text)])
    first = captions.of_scene(rng, things, most=1)
    later = user(rng, "depth", role=rng.choice(("user", "tool")))
    messages = [user(rng, "scene", line=line), assistant(first), later, assistant(text)]
    return Sample(pictures, cells, messages)


def readings(rng: random.Random, scene: Scene) -> Sample | None:
    """A picture with its depth map, in one turn or in two: what all things of a name read."""
    things = spoken_of(scene)
    if not things:
        return None
    rng.shuffle(things)
    text = depth_captions.of_all(rng, things[: rng.randint(2, 7)])
    pictures = [scene.picture, grey(scene)]
    cells = [cells_of(scene, _ALL), depth_cells(scene)]
    if rng.random() < 0.3:
        return Sample(pictures, cells, [user(rng, "both", 2), assistant(text)])
    first = captions.of_scene(rng, things, most=1)
    later = user(rng, "depth", role=rng.choice(("user", "tool")))
    return Sample(pictures, cells, [user(rng, "scene"), assistant(first), later, assistant(text)])


def named(rng: random.Random, scene: Scene) -> Sample | None:
    """A whole picture and the names of its things, none of them to be foreseen: where is each?"""
    things = spoken_of(scene)
    if not things:
        return None
    rng.shuffle(things)
    text = ", ".join(captions.given(f"the {thing.name}", thing.box) for thing in things)
    messages = [user(rng, "scene"), assistant(text)]
    return Sample([scene.picture], [cells_of(scene, _ALL)], messages)


def numbers(rng: random.Random, scene: Scene) -> Sample:
    """Two numbers compared, without a picture."""
    turn = {"role": "user", "content": [{"type": "text", "text": "Brighter is nearer."}]}
    return Sample([], [], [turn, assistant(depth_captions.of_numbers(rng))])


def recalled(rng: random.Random, scene: Scene) -> Sample:
    """Words said again, without a picture."""
    line, text = of_recalled(rng)
    return words_alone(line or rng.choice(_WORDS_ALONE), assistant(text))


def words_alone(line: str, caption: Message) -> Sample:
    """A line of a user, a caption, and no picture."""
    return Sample([], [], [{"role": "user", "content": [{"type": "text", "text": line}]}, caption])


def nearer_view(rng: random.Random, scene: Scene) -> Sample | None:
    """A picture, its depth map, then a close view of the nearer of two: turn after turn."""
    things = spoken_of(scene)
    pairs = [
        (a, b)
        for a in things
        for b in things
        if a.near > b.near and a.tag is not None and depth_captions.decided(a, b)
    ]
    if not pairs:
        return None
    near, far = rng.choice(pairs)
    box = tag_box(rng, near)
    cut = view(scene.picture, box, zoomed=rng.random() < _ZOOMED)
    tight = intersection_share(near.box, box) < _TIGHT
    compared = depth_captions.of_both(rng, *rng.sample([near, far], 2))
    role = rng.choice(("user", "tool"))
    messages = [
        user(rng, "scene"), assistant(captions.of_scene(rng, [near, far], most=2)),
        user(rng, "depth", role=role), assistant(compared),
        user(rng, "view", role=role), assistant(captions.of_tag(rng, near, tight=tight)),
    ]  # fmt: skip
    cells = [cells_of(scene, _ALL), depth_cells(scene), cells_of(scene, box)]
    return Sample([scene.picture, grey(scene), cut], cells, messages)


def with_view(rng: random.Random, scene: Scene) -> Sample | None:
    """A picture and then a close view of it, in one turn or in two."""
    shown = _shown(rng, scene)
    if shown is None:
        return None
    pictures = [scene.picture, shown.picture]
    cells = [cells_of(scene, _ALL), shown.cells]
    things = spoken_of(scene)
    if rng.random() < 0.5 or not things:
        told = user(rng, "pair", 2, line=shown.line)
        return Sample(pictures, cells, [told, assistant(shown.text)])
    first = captions.of_scene(rng, things, most=1)
    later = user(rng, "view", role=rng.choice(("user", "tool")))
    messages = [user(rng, "scene", line=shown.line), assistant(first), later, assistant(shown.text)]
    return Sample(pictures, cells, messages)


KINDS: dict[str, Callable[[random.Random, Scene], Sample | None]] = {
    "close_view": close_view,
    "whole": whole,
    "depth_alone": depth_alone,
    "with_depth": with_depth,
    "with_view": with_view,
    "readings": readings,
    "nearer_view": nearer_view,
    "numbers": numbers,
    "recalled": recalled,
    "named": named,
}


def sample(rng: random.Random, scenes: Sequence[Scene], kind: str) -> Sample:
    """A sample of one kind from a random scene."""
    while True:
        made = KINDS[kind](rng, rng.choice(scenes))
        if made is not None:
            return made
