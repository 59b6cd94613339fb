"""Questions on rendered scenes, with exact truth and without shortcuts.

Nothing of one's own is needed. Each slot fixes beforehand what a lazy rule could exploit: where the
answer stands among the choices, the choices of a count before its number, and for a pair whether
the bigger, the lower and the more central thing is the nearer one. Scenes are then drawn until one
fits and the expert's depth call agrees with it, so that every rule scores as chance over the whole
set. Not here: how scenes are drawn (:mod:`pearl_data.rendering`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import permutations
from typing import Any, NamedTuple, TypeVar

import cv2
import msgspec

from pearl_data.randomness import derived_seed, rng_for
from pearl_data.rendering import (
    LABEL_CHARACTERS,
    ObjectBrief,
    Rendered,
    RenderedObject,
    SceneBrief,
    SceneNotFoundError,
    render_brief,
)
from pearl_data.rendering.vocabulary import COLOURS, PATTERNS, SHAPES, Shape
from pearl_data.sources import tasks
from pearl_data.sources.asking import small_things
from pearl_data.sources.base import Candidate, QuestionSettings, Slot
from pearl_data.sources.facts import (
    Facts,
    Thing,
    area_share,
    box_words,
    centre_distance,
    intersection_share,
)
from pearl_data.sources.regions import inside, region_with
from pearl_data.trajectory import Source, Task
from pearl_tools.media import open_image
from pearl_tools.types import Medium

NAME = "rendered"
_LICENCE = "CC0-1.0"
_WIDTH, _HEIGHT = 640, 480
_JPEG_QUALITY = 95
#: Scenes drawn for one block; all families ask about each of them.
_SCENES_PER_BLOCK = 4
#: Scenes tried for one slot before it is left empty.
_ATTEMPTS = 24
_LEAST_DEPTH_RATIO = 1.4
#: Choices of a question with more than two.
_CHOICES = 4
#: Ways in which three yes-or-no rules can hold: each is asked for equally often.
_STRATA = 8
#: A pair fits a rule only clearly: size, height and centrality must differ by this share.
_CLEAR_SHARE = 0.04


_Word = TypeVar("_Word", bound=str)


class _Drawn(NamedTuple):
    """One rendered scene: its things (tags apart), its file, its name."""

    facts: Facts
    tags: dict[str, Thing]
    root: Medium


_Ask = Callable[[_Drawn, int, random.Random], Task | None]


class RenderedSource:
    """An endless source of rendered scenes; see the module."""

    name = NAME
    prepared: str | None = None

    def __init__(self, settings: QuestionSettings) -> None:
        self._settings = settings
        self.notes: list[str] = []
        self._families: list[tuple[str, _Ask]] = []
        if settings.can_look:
            self._families += [
                ("read", _read),
                ("attribute", partial(_attribute, settings)),
                ("count", _count),
                ("identity", partial(_identity, settings)),
            ]
        if settings.can_measure_depth:
            self._families.append(("nearer", _nearer))
        if settings.can_look and settings.can_measure_depth:
            self._families += [("nearer", _nearer), ("nearer_read", _nearer_read)]

    def blocks(self) -> None:
        """No end."""

    def most_in_block(self) -> int:
        """A slot per family on each scene."""
        return _SCENES_PER_BLOCK * len(self._families)

    def config(self) -> dict[str, Any]:
        """The generator's picture size; its version is the package's."""
        return {"kind": "rendered", "width": _WIDTH, "height": _HEIGHT}

    def block(self, index: int) -> list[Slot]:
        """Four scenes, one slot per family on each; further scenes where one does not fit."""
        scenes: dict[tuple[int, int], _Drawn | None] = {}
        turns: dict[str, int] = {}
        slots: list[Slot] = []
        per_block = {name: 0 for name, _ in self._families}
        for name, _ in self._families:
            per_block[name] += _SCENES_PER_BLOCK
        for group in range(_SCENES_PER_BLOCK):
            for name, ask in self._families:
                turn = index * per_block[name] + turns.get(name, 0)
                turns[name] = turns.get(name, 0) + 1
                slots.append(self._slot(index, group, name, turn, ask, scenes))
        return slots

    def _slot(
        self,
        index: int,
        group: int,
        family: str,
        turn: int,
        ask: _Ask,
        scenes: dict[tuple[int, int], _Drawn | None],
    ) -> Iterator[Candidate]:
        for attempt in range(_ATTEMPTS):
            if (group, attempt) not in scenes:
                scenes[group, attempt] = _draw(self._settings.seed, index, group, attempt)
            drawn = scenes[group, attempt]
            if drawn is None:
                continue
            rng = rng_for(self._settings.seed, NAME, family, turn, attempt)
            task = ask(drawn, turn, rng)
            if task is not None:
                source = Source(dataset=NAME, row=drawn.facts.row, licence=_LICENCE)
                yield Candidate(f"scene-{family}", task, [drawn.root], source)


def _draw(seed: int, block: int, group: int, attempt: int) -> _Drawn | None:
    place = (NAME, "scene", block, group, attempt)
    # the one identity question of this group has its answer before there is a scene
    wanted = _choices_first(seed, "identity", block * _SCENES_PER_BLOCK + group, SHAPES)[0]
    brief = _brief(rng_for(seed, *place), wanted)
    try:
        rendered = render_brief(
            derived_seed(seed, *place) % 2**63, brief, width=_WIDTH, height=_HEIGHT, tries=6
        )
    except SceneNotFoundError:
        return None
    row = f"{seed}/{block}/{group}/{attempt}"
    return _facts(rendered, row)


def _choices_first(
    seed: int, family: str, turn: int, values: Sequence[_Word]
) -> tuple[_Word, list[_Word]]:
    """The answer and the wrong choices of a turn, drawn before any scene.

    Whatever scenes are then passed over, no value is the answer more often than it is a choice.
    """
    rng = rng_for(seed, NAME, family, turn, "choices")
    answer, *wrong = rng.sample(list(values), _CHOICES)
    return answer, wrong


def _brief(rng: random.Random, wanted: Shape) -> SceneBrief:
    """A scene for every family: many of one shape to count, tags to read, one of shape ``wanted``,
    the rest random.
    """
    shape = rng.choice(SHAPES)
    repeated = rng.sample(COLOURS, 5)
    others = [(s, c) for s in SHAPES if s != shape for c in COLOURS]
    first = [rng.choice([pair for pair in others if pair[0] == wanted])] if wanted != shape else []
    rest = first + rng.sample([pair for pair in others if pair not in first], 3 - len(first))
    objects = [ObjectBrief(shape=shape, colour=c, label=rng.random() < 0.5) for c in repeated]
    objects += [ObjectBrief(shape=s, colour=c, label=rng.random() < 0.7) for s, c in rest]
    rng.shuffle(objects)
    return SceneBrief(n_objects=len(objects), objects=tuple(objects))


def _facts(rendered: Rendered, row: str) -> _Drawn:
    height, width = rendered.image.shape[:2]
    things: list[Thing] = []
    tags: dict[str, Thing] = {}
    for item in rendered.objects:
        thing = _thing(item, width, height)
        things.append(thing)
        if item.label is not None and item.label_bbox_px is not None and item.label_visible:
            x0, y0, x1, y1 = item.label_bbox_px
            tags[thing.id] = Thing(
                id=f"{thing.id}-tag",
                name="tag",
                bbox=(x0 / width, y0 / height, x1 / width, y1 / height),
                attributes={"tag": item.label},
            )
    done, data = cv2.imencode(
        ".jpg", rendered.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    assert done
    facts = Facts(
        dataset=NAME,
        row=row,
        licence=_LICENCE,
        width=width,
        height=height,
        things=things,
        complete=sorted({thing.name for thing in things}),
    )
    name = f"scene-{row.replace('/', '-')}.jpg"
    return _Drawn(facts, tags, open_image(data.tobytes(), id="i0", name=name))


def _thing(item: RenderedObject, width: int, height: int) -> Thing:
    x0, y0, x1, y1 = item.bbox_px
    attributes: dict[str, str] = {"color": item.colour, "pattern": item.pattern}
    if item.label is not None:
        attributes["tag"] = item.label
    return Thing(
        id=str(item.id),
        name=item.shape,
        bbox=(x0 / width, y0 / height, x1 / width, y1 / height),
        description=item.description,
        attributes=attributes,
        distance=item.distance_m,
    )


def _it(thing: Thing) -> str:
    return f"the {thing.description}"


def _read(drawn: _Drawn, turn: int, rng: random.Random) -> Task | None:
    """The character on the tag of one thing."""
    tagged = [thing for thing in drawn.facts.things if thing.id in drawn.tags]
    if not tagged:
        return None
    thing = rng.choice(tagged)
    tag = drawn.tags[thing.id]
    wrong = _other_characters(drawn, tag.attributes["tag"], 3, rng)
    task = tasks.read_task(tag, _it(thing), "tag", wrong, turn, "scene", rng)
    (evidence,) = task.evidence
    named = tasks.target(tag, f"the tag of {_it(thing)}", evidence.media)
    return _with_evidence(task, [named])


def _attribute(
    settings: QuestionSettings, drawn: _Drawn, turn: int, rng: random.Random
) -> Task | None:
    """The pattern or colour of a small thing, which the question names by shape and box."""
    # alternate by fours, so that each attribute sees every position of the answer
    name = ("color", "pattern")[(turn // _CHOICES) % 2]
    values: Sequence[str] = COLOURS if name == "color" else PATTERNS
    answer, wrong = _choices_first(settings.seed, "attribute", turn, values)
    small = small_things(drawn.facts, settings)
    fitting = [thing for thing in small if thing.attributes[name] == answer]
    if not fitting:
        return None
    thing = rng.choice(fitting)
    it = f"the {thing.name} at {box_words(thing.bbox)}"
    if name == "pattern":
        it = _it(thing)
    return tasks.attribute_task(thing, it, name, wrong, turn, "scene", rng)


def _identity(
    settings: QuestionSettings, drawn: _Drawn, turn: int, rng: random.Random
) -> Task | None:
    """The shape of a small thing in a given box."""
    answer, wrong = _choices_first(settings.seed, "identity", turn, SHAPES)
    alone = [
        thing
        for thing in small_things(drawn.facts, settings)
        if thing.name == answer
        and all(
            other is thing or intersection_share(thing.bbox, other.bbox) == 0
            for other in drawn.facts.things
        )
    ]
    if not alone:
        return None
    thing = rng.choice(alone)
    return tasks.identity_task(thing, wrong, turn, "scene", rng)


def _count(drawn: _Drawn, turn: int, rng: random.Random) -> Task | None:
    """How many of the repeated shape lie in a region; the choices are fixed before the number."""
    things = drawn.facts.things
    shape = max(sorted({t.name for t in things}), key=lambda n: sum(t.name == n for t in things))
    same = [thing for thing in things if thing.name == shape]
    start = 1 + (turn // 4) % 2
    choices = list(range(start, start + 4))
    number = choices[turn % 4]
    region = region_with(same, number, rng)
    if region is None:
        return None
    counted = inside(same, region)
    wrong = [str(choice) for choice in choices if choice != number]
    return tasks.count_task(region, shape, counted, wrong, turn, "scene", rng)


def _nearer(drawn: _Drawn, turn: int, rng: random.Random) -> Task | None:
    """Which of two things is nearer, for a pair that fits this turn's rules."""
    pair = _pair(drawn, turn % _STRATA, drawn.facts.things, rng)
    if pair is None:
        return None
    words = (_it(pair[0]), _it(pair[1]))
    return tasks.nearer_task(*pair, words, turn + turn // _STRATA, "scene", rng)


def _nearer_read(drawn: _Drawn, turn: int, rng: random.Random) -> Task | None:
    """The tag of the nearer of two tagged things, for a pair that fits this turn's rules."""
    tagged = [thing for thing in drawn.facts.things if thing.id in drawn.tags]
    pair = _pair(drawn, turn % _STRATA, tagged, rng)
    if pair is None:
        return None
    answer, other = (thing.attributes["tag"] for thing in pair)
    if answer == other:
        return None
    words = (_it(pair[0]), _it(pair[1]))
    wrong = [other, *_other_characters(drawn, answer, 2, rng, without=other)]
    rng.shuffle(wrong)
    # shifted by one each round, so that positions and strata meet in every combination
    positions = (turn + turn // _STRATA, turn + turn // _STRATA)
    return tasks.nearer_read_task(*pair, words, "tag", wrong, positions, "scene", rng)


def _pair(
    drawn: _Drawn, stratum: int, things: Sequence[Thing], rng: random.Random
) -> tuple[Thing, Thing] | None:
    """(nearer, farther) for which the three rules hold or fail as the bits of ``stratum`` say."""
    wanted = tuple(bool(stratum >> bit & 1) for bit in range(3))
    fitting = [
        (near, far)
        for near, far in permutations(things, 2)
        if near.distance is not None
        and far.distance is not None
        and near.distance * _LEAST_DEPTH_RATIO < far.distance
        and _rules(near, far, drawn.facts) == wanted
    ]
    return rng.choice(fitting) if fitting else None


def _rules(near: Thing, far: Thing, facts: Facts) -> tuple[bool, ...] | None:
    """Whether the bigger, the lower, the more central of the two is the nearer; None if unclear."""
    a, b = near.bbox, far.bbox
    size = area_share(a) / area_share(b)
    lower = a[3] - b[3]
    central = [
        centre_distance(b, width, height) / max(width, height)
        - centre_distance(a, width, height) / max(width, height)
        for width, height in ((facts.width, facts.height), (1, 1))
    ]
    if (
        abs(size - 1) < _CLEAR_SHARE
        or abs(lower) < _CLEAR_SHARE
        or min(map(abs, central)) < _CLEAR_SHARE
        or (central[0] > 0) != (central[1] > 0)
    ):
        return None
    return size > 1, lower > 0, central[0] > 0


def _other_characters(
    drawn: _Drawn, answer: str, number: int, rng: random.Random, without: str = ""
) -> list[str]:
    """Wrong characters: first those on other tags of the scene, then any."""
    seen = sorted({tag.attributes["tag"] for tag in drawn.tags.values()} - {answer, without})
    rng.shuffle(seen)
    anything = [c for c in LABEL_CHARACTERS if c not in {answer, without, *seen}]
    return (seen[: number - 1] + rng.sample(anything, number))[:number]


def _with_evidence(task: Task, evidence: list[Any]) -> Task:
    return msgspec.structs.replace(task, evidence=evidence)
