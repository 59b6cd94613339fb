"""Questions on an annotated picture: which of its things to ask about, and with which choices.

Asks what needs a tool: attributes, text and identity of things too small to read at the model's
resolution, counts in a region, and which of two things is nearer. Answers come from the annotation
alone. Wrong choices are drawn as often as they are right answers elsewhere in the set, so that the
most frequent answer is not worth guessing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import msgspec

from pearl_data.sources import tasks
from pearl_data.sources.base import QuestionSettings
from pearl_data.sources.facts import (
    Facts,
    Thing,
    area_share,
    intersection_share,
    long_side_px,
    phrase,
)
from pearl_data.trajectory import Task
from pearl_tools.types import Box

#: Attributes that are read rather than seen.
TEXT_ATTRIBUTE = "text"
#: Attributes whose values fit things of any kind.
_ANY_KIND = frozenset({"color", "material", "shape", TEXT_ATTRIBUTE})
#: Distractors per question where the set offers as many.
_DISTRACTORS = 3
#: A region counts only things that lie wholly in it or wholly out of it.
_COUNT_REGIONS_TRIED = 60
#: Counts of one kind in one picture, and how often one is tried.
_COUNTS_PER_KIND, _COUNTS_TRIED = 2, 6
#: A presence question may be about things up to this many times "too small to read".
_PRESENCE_SIZE = 2
_IRREGULAR = {"person": "people", "leaf": "leaves", "knife": "knives", "mouse": "mice",
              "child": "children", "tooth": "teeth", "foot": "feet", "sheep": "sheep",
              "galaxy": "galaxies"}  # fmt: skip


class Vocabulary:
    """How often each name and each attribute value occurs in the whole set."""

    def __init__(self, things: Iterable[Thing]) -> None:
        self.names: Counter[str] = Counter()
        self.values: dict[str, Counter[str]] = {}
        self.values_of: dict[tuple[str, str], Counter[str]] = {}
        for thing in things:
            self.names[thing.name] += 1
            for name, value in thing.attributes.items():
                self.values.setdefault(name, Counter())[value] += 1
                self.values_of.setdefault((thing.name, name), Counter())[value] += 1

    def rivals(self, thing: Thing, attribute: str) -> Counter[str]:
        """Values that ``attribute`` could plausibly have on ``thing``.

        Colours, materials, shapes and words fit anything; a state or a pattern fits only things of
        the same kind (``visor down`` would be no serious choice for an ear).
        """
        if attribute in _ANY_KIND:
            return self.values[attribute]
        return self.values_of[thing.name, attribute]

    def distractors(
        self, counts: Counter[str], answer: str, rng: random.Random, number: int = _DISTRACTORS
    ) -> list[str]:
        """Up to ``number`` other values, drawn by how often they occur, without repetition."""
        left = {value: count for value, count in sorted(counts.items()) if value != answer}
        drawn: list[str] = []
        while left and len(drawn) < number:
            value = rng.choices(list(left), weights=list(left.values()))[0]
            drawn.append(value)
            del left[value]
        return drawn


def ask(
    facts: Facts, vocabulary: Vocabulary, settings: QuestionSettings, rng: random.Random
) -> list[Task]:
    """All questions on one picture, mixed over families, at most ``settings.per_image``."""
    families: list[list[Task]] = []
    # a random start and then turns, so that each position of the answer occurs equally often
    position = rng.randrange(12)
    turn = iter(range(position, position + 100_000))
    if settings.can_look:
        families.append(_detail_questions(facts, vocabulary, settings, rng, turn))
        families.append(_identity_questions(facts, vocabulary, settings, rng, turn))
        families.append(_count_questions(facts, rng, turn))
        families.append(_presence_questions(facts, settings, rng, turn))
    if settings.can_measure_depth:
        families.append(_nearer_questions(facts, rng, turn))
    if settings.can_look and settings.can_measure_depth:
        families.append(_nearer_detail_questions(facts, vocabulary, rng, turn))
    return _mix(families, settings.per_image)


def small_things(facts: Facts, settings: QuestionSettings) -> list[Thing]:
    """The things too small to read once the picture is shrunk to the model's resolution."""
    return [
        thing
        for thing in facts.things
        if not thing.crowd
        and long_side_px(thing.bbox, facts.width, facts.height, settings.model_long_side_px)
        <= settings.small_px
    ]


def plural(name: str) -> str:
    """The plural of a category name."""
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    if name.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    return name + "s"


def _mix(families: list[list[Task]], most: int) -> list[Task]:
    mixed: list[Task] = []
    while any(families) and len(mixed) < most:
        for family in families:
            if family and len(mixed) < most:
                mixed.append(family.pop(0))
    return mixed


def _detail_questions(
    facts: Facts,
    vocabulary: Vocabulary,
    settings: QuestionSettings,
    rng: random.Random,
    turn: Iterator[int],
) -> list[Task]:
    out: list[Task] = []
    for thing in small_things(facts, settings):
        it = phrase(thing, facts.things)
        for name in sorted(thing.attributes):
            value = thing.attributes[name]
            if value.lower() in it.lower():
                continue  # the question would give the answer away
            wrong = vocabulary.distractors(vocabulary.rivals(thing, name), value, rng)
            if not wrong:
                continue
            builder = tasks.read_task if name == TEXT_ATTRIBUTE else tasks.attribute_task
            out.append(builder(thing, it, name, wrong, next(turn), "annotation", rng))
    rng.shuffle(out)
    return out


def _identity_questions(
    facts: Facts,
    vocabulary: Vocabulary,
    settings: QuestionSettings,
    rng: random.Random,
    turn: Iterator[int],
) -> list[Task]:
    out: list[Task] = []
    for thing in small_things(facts, settings):
        others = [other for other in facts.things if other.id != thing.id]
        if any(intersection_share(other.bbox, thing.bbox) > 0.3 for other in others):
            continue  # another thing lies in the same box
        touching = {o.name for o in others if intersection_share(thing.bbox, o.bbox) > 0}
        wrong = _other_names(facts, vocabulary, touching | {thing.name}, rng)
        if wrong:
            out.append(tasks.identity_task(thing, wrong, next(turn), "annotation", rng))
    rng.shuffle(out)
    return out


def _other_names(
    facts: Facts, vocabulary: Vocabulary, excluded: set[str], rng: random.Random
) -> list[str]:
    """Wrong names: first some that occur elsewhere in the picture, then any of the set."""
    here = sorted({thing.name for thing in facts.things} - excluded)
    rng.shuffle(here)
    near = here[: _DISTRACTORS - 1]
    left = Counter(
        {n: c for n, c in vocabulary.names.items() if n not in excluded and n not in near}
    )
    wrong = near + vocabulary.distractors(left, "", rng, _DISTRACTORS - len(near))
    rng.shuffle(wrong)
    return wrong


def _count_questions(facts: Facts, rng: random.Random, turn: Iterator[int]) -> list[Task]:
    out: list[Task] = []
    for name in sorted(facts.complete):
        things = [thing for thing in facts.things if thing.name == name]
        if len(things) < 2 or any(thing.crowd for thing in things):
            continue
        made = 0
        for _ in range(_COUNTS_TRIED):
            # the choices come first and the answer is drawn among them: no number is likelier
            start = rng.randrange(1, max(2, min(len(things), 6)))
            choices = list(range(start, start + _DISTRACTORS + 1))
            position = next(turn) % len(choices)
            region = region_with(things, choices[position], rng)
            if region is None:
                continue
            counted = [t for t in things if intersection_share(t.bbox, region) > 0.999]
            wrong = [str(c) for c in choices if c != choices[position]]
            out.append(
                tasks.count_task(region, plural(name), counted, wrong, position, "annotation", rng)
            )
            made += 1
            if made == _COUNTS_PER_KIND:
                break
    rng.shuffle(out)
    return out


def _presence_questions(
    facts: Facts, settings: QuestionSettings, rng: random.Random, turn: Iterator[int]
) -> list[Task]:
    """Yes and no in turns: a box around a thing, or one of equal size where none of its kind is."""
    larger = msgspec.structs.replace(settings, small_px=settings.small_px * _PRESENCE_SIZE)
    out: list[Task] = []
    for thing in small_things(facts, larger):
        if thing.name not in facts.complete:
            continue
        number = next(turn)
        present = number % 2 == 0
        same = [other.bbox for other in facts.things if other.name == thing.name]
        box = _loose_box(thing.bbox, rng) if present else _empty_box(thing.bbox, same, rng)
        if box is not None:
            out.append(
                tasks.presence_task(box, thing.name, present, number // 2, "annotation", rng)
            )
    rng.shuffle(out)
    return out


def _loose_box(box: Box, rng: random.Random) -> Box:
    """A box around ``box``, on thousandths, with some room on every side."""
    unit = max(box[2] - box[0], box[3] - box[1])
    left, top, right, bottom = (rng.uniform(0.05, 0.35) * unit for _ in range(4))
    return (
        max(0.0, round(box[0] - left, 3)),
        max(0.0, round(box[1] - top, 3)),
        min(1.0, round(box[2] + right, 3)),
        min(1.0, round(box[3] + bottom, 3)),
    )


def _empty_box(like: Box, taken: Sequence[Box], rng: random.Random) -> Box | None:
    """A box about as large as ``like`` that touches none of ``taken``, or None."""
    loose = _loose_box(like, rng)
    width, height = loose[2] - loose[0], loose[3] - loose[1]
    for _ in range(_COUNT_REGIONS_TRIED):
        x0 = round(rng.uniform(0, 1 - width), 3)
        y0 = round(rng.uniform(0, 1 - height), 3)
        box = (x0, y0, min(1.0, round(x0 + width, 3)), min(1.0, round(y0 + height, 3)))
        if all(intersection_share(box, other) == 0 for other in taken):
            return box
    return None


def region_with(things: Sequence[Thing], number: int, rng: random.Random) -> Box | None:
    """A region that holds exactly ``number`` of ``things`` whole and none in part, or None.

    Its sides lie on hundredths of the picture, so that the question can name it exactly, and it
    covers at most 60 % of it, so that cropping it enlarges what is counted.
    """
    if number > len(things):
        return None
    for _ in range(_COUNT_REGIONS_TRIED):
        seedling = rng.choice(list(things)).bbox
        centre = ((seedling[0] + seedling[2]) / 2, (seedling[1] + seedling[3]) / 2)
        near = sorted(
            things,
            key=lambda t: max(
                abs((t.bbox[0] + t.bbox[2]) / 2 - centre[0]),
                abs((t.bbox[1] + t.bbox[3]) / 2 - centre[1]),
            ),
        )[:number]
        margin = rng.uniform(0.005, 0.06)
        region = (
            max(0.0, int((min(t.bbox[0] for t in near) - margin) * 100) / 100),
            max(0.0, int((min(t.bbox[1] for t in near) - margin) * 100) / 100),
            min(1.0, int((max(t.bbox[2] for t in near) + margin) * 100 + 1) / 100),
            min(1.0, int((max(t.bbox[3] for t in near) + margin) * 100 + 1) / 100),
        )
        shares = [intersection_share(t.bbox, region) for t in things]
        whole = sum(share > 0.999 for share in shares)
        none_cut = all(share == 0 or share > 0.999 for share in shares)
        if whole == number and none_cut and area_share(region) <= 0.6:
            return region
    return None


def _nearer_pairs(facts: Facts) -> list[tuple[Thing, Thing]]:
    """(nearer, farther) pairs of things whose order is annotated and which do not coincide."""
    ranked = [thing for thing in facts.things if thing.distance is not None and not thing.crowd]
    pairs: list[tuple[Thing, Thing]] = []
    for a, b in combinations(ranked, 2):
        assert a.distance is not None
        assert b.distance is not None
        if (
            a.distance == b.distance
            or max(intersection_share(a.bbox, b.bbox), intersection_share(b.bbox, a.bbox)) > 0.5
        ):
            continue
        pairs.append((a, b) if a.distance < b.distance else (b, a))
    return pairs


def _nearer_questions(facts: Facts, rng: random.Random, turn: Iterator[int]) -> list[Task]:
    out = [
        tasks.nearer_task(
            a, b, (phrase(a, facts.things), phrase(b, facts.things)), next(turn), "annotation", rng
        )
        for a, b in _nearer_pairs(facts)
    ]
    rng.shuffle(out)
    return out


def _nearer_detail_questions(
    facts: Facts, vocabulary: Vocabulary, rng: random.Random, turn: Iterator[int]
) -> list[Task]:
    out: list[Task] = []
    for a, b in _nearer_pairs(facts):
        words = (phrase(a, facts.things), phrase(b, facts.things))
        for name in sorted(set(a.attributes) & set(b.attributes) - {TEXT_ATTRIBUTE}):
            value, other = a.attributes[name], b.attributes[name]
            if value == other or value.lower() in " ".join(words).lower():
                continue
            counts = Counter(vocabulary.rivals(a, name))
            counts.pop(other, None)
            wrong = [other, *vocabulary.distractors(counts, value, rng, _DISTRACTORS - 1)]
            rng.shuffle(wrong)
            positions = (next(turn), next(turn))
            out.append(
                tasks.nearer_read_task(a, b, words, name, wrong, positions, "annotation", rng)
            )
    rng.shuffle(out)
    return out
