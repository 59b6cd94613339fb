"""Questions about single things: details, names, presence, wholeness, parts and counts.

Each family yields its questions about a picture; those that need a closer look come first. Yes and
no, positions and numbers take turns. A question is asked only if both answers were possible, so
that neither the sizes of boxes nor the choices give the answer away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pearl_data.sources import tasks
from pearl_data.sources.asking import HARD_TO_SEE, SAME_ANSWER, Asking, judged
from pearl_data.sources.facts import Thing, area_share, intersection_share, phrase
from pearl_data.sources.nouns import is_mass, is_plural, part_words
from pearl_data.sources.regions import (
    LARGEST,
    cut_box,
    distance_from,
    empty_box,
    free_box,
    inside,
    loose_box,
    part_box,
    region_with,
)
from pearl_data.sources.vocabulary import TEXT_ATTRIBUTE, WRONG
from pearl_data.trajectory import Task
from pearl_tools.types import Box

#: Largest number of a kind that is counted.
_LARGEST_COUNT = 6
#: Largest share of the picture that a region of a question without a tool covers.
_LARGEST_REGION = 0.9
#: Sides of the box of a part, as shares of its thing's longer side.
_PART_SHARE = (0.12, 0.25)
#: Least side of the box of a part, in pixels: keypoints are placed by hand.
_LEAST_PART_PX = 16
#: A part outside a box is at least this share of the box's side away from it.
_CLEAR = 0.5
_VISIBLE = 2
#: Keypoints may lie outside their thing's box by this share of its sides, for rounding.
_BESIDE = 0.1


def details(asking: Asking) -> Iterator[Task]:
    """Questions about attributes of things and text on them."""
    answered: Counter[tuple[str, str]] = Counter()
    for thing, hard in asking.things():
        it = phrase(thing, asking.facts.things)
        for name in sorted(thing.attributes):
            if thing.attributes[name].lower() in it.lower():
                continue  # the question would give the answer away
            wrong = asking.vocabulary.wrong_values(thing, name, asking.rng)
            answer = name, thing.attributes[name]
            if not wrong or answered[answer] == SAME_ANSWER:
                continue
            answered[answer] += 1
            read = name == TEXT_ATTRIBUTE
            builder = tasks.read_task if read else tasks.attribute_task
            turn = asking.turns.take("read" if read else "attribute")
            task = builder(thing, it, name, wrong, turn, "annotation", asking.rng)
            yield judged(task, hard=hard)


def identities(asking: Asking) -> Iterator[Task]:
    """Questions for names of things; each name is as often right as it is a wrong choice."""
    yield from _identities(asking, evenly=True)


def any_identity(asking: Asking) -> Iterator[Task]:
    """Questions for names without that balance: for pictures with no other question."""
    yield from _identities(asking, evenly=False)


def _identities(asking: Asking, *, evenly: bool) -> Iterator[Task]:
    answered: Counter[str] = Counter()
    names, turns = asking.vocabulary.names, asking.turns
    things = sorted(asking.things(), key=lambda t: (-turns.credit(t[0].name), names[t[0].name]))
    for thing, hard in things:
        if answered[thing.name] == SAME_ANSWER:
            continue
        # only the first name on a picture may be asked before it was a wrong choice
        if evenly and turns.credit(thing.name) < (WRONG if answered else 0):
            continue
        owed = turns.owed()
        wrong = asking.vocabulary.wrong_names(asking.facts, {thing.name}, asking.rng, owed)
        if wrong:
            answered[thing.name] += 1
            turn = turns.take_name(thing.name, wrong)
            task = tasks.identity_task(thing, wrong, turn, "annotation", asking.rng, small=hard)
            yield judged(task, hard=hard)


def presences(asking: Asking) -> Iterator[Task]:
    """Yes and no in turns: a box around a thing, or one of equal size without any of its kind."""
    for thing, hard in asking.things(HARD_TO_SEE):
        if thing.name not in asking.facts.complete:
            continue
        same = [other.bbox for other in asking.facts.things if other.name == thing.name]
        around = loose_box(thing.bbox, asking.rng, asking.smallest)
        beside = empty_box(thing.bbox, same, asking.rng, asking.smallest)
        if beside is None:
            continue  # only yes would be possible: the size of the box would give it away
        yes = asking.turns.wants_yes("presence")
        turn = asking.turns.take_yes_or_no("presence", yes=yes)
        box = around if yes else beside
        task = tasks.presence_task(box, thing.name, yes, turn, "annotation", asking.rng)
        yield judged(task, hard=hard)


def any_presence(asking: Asking) -> Iterator[Task]:
    """A box around a thing, answer yes: for pictures with no other question. Later turns of
    :func:`presences` restore the balance.
    """
    for thing, hard in asking.things(HARD_TO_SEE):
        turn = asking.turns.take_yes_or_no("presence", yes=True)
        most = 0.1 if hard else 0.35
        box = loose_box(thing.bbox, asking.rng, asking.smallest, most=most)
        if area_share(box) > _LARGEST_REGION and not hard:
            box = (0.0, 0.0, 1.0, 1.0)
        task = tasks.presence_task(box, thing.name, True, turn, "annotation", asking.rng)
        yield judged(task, hard=hard)


def wholes(asking: Asking) -> Iterator[Task]:
    """Yes and no in turns: a box holds the only thing of a kind whole, or cuts it."""
    for thing, hard in asking.things(HARD_TO_SEE):
        of_kind = [other for other in asking.facts.things if other.name == thing.name]
        if thing.name not in asking.facts.complete or len(of_kind) > 1 or is_plural(thing.name):
            continue
        # a narrow margin leaves room in the picture to move the box off its thing
        width, height = thing.bbox[2] - thing.bbox[0], thing.bbox[3] - thing.bbox[1]
        if width < asking.smallest[0] or height < asking.smallest[1]:
            continue  # a cut of a few pixels is not visible
        holding = loose_box(thing.bbox, asking.rng, asking.smallest, least=0.02, most=0.12)
        cutting = cut_box(holding, thing.bbox, asking.rng)
        if cutting is None or area_share(holding) > _LARGEST_REGION:
            continue
        yes = asking.turns.wants_yes("whole")
        turn = asking.turns.take_yes_or_no("whole", yes=yes)
        box = holding if yes else cutting
        task = tasks.whole_task(box, thing.name, yes, turn, "annotation", asking.rng)
        yield judged(task, hard=hard)


def parts(asking: Asking) -> Iterator[Task]:
    """Yes and no in turns: a small box around one visible part of a thing shows the part that is
    asked for, or another one.
    """
    facts, rng = asking.facts, asking.rng
    most_px = _most_part_px(asking)
    things = [thing for thing in facts.things if not thing.crowd]
    rng.shuffle(things)
    for thing in things:
        points = _named_points(thing)
        x0, y0, x1, y1 = thing.bbox
        side = max((x1 - x0) * facts.width, (y1 - y0) * facts.height)
        shown_parts = rng.sample(sorted(points), min(len(points), SAME_ANSWER))
        for shown in shown_parts if len(points) > 1 else ():
            side_px = min(rng.uniform(*_PART_SHARE) * side, most_px)
            box = part_box(points[shown], side_px, facts.width, facts.height, rng)
            if side_px < _LEAST_PART_PX or box is None:
                continue
            elsewhere = [
                part
                for part, point in sorted(points.items())
                if distance_from(box, point, facts.width, facts.height) > _CLEAR * side_px
            ]
            if not elsewhere or _others_in(box, thing, facts.things):
                continue
            yes = asking.turns.wants_yes("part")
            turn = asking.turns.take_yes_or_no("part", yes=yes)
            part = shown if yes else rng.choice(elsewhere)
            it = phrase(thing, facts.things)
            yield tasks.part_task(box, part, it, yes, turn, "annotation", rng)


def _most_part_px(asking: Asking) -> float:
    """The longest side, in pixels of the picture, that is hard to see at the model's resolution."""
    facts, settings = asking.facts, asking.settings
    scale = min(1.0, settings.model_long_side_px / max(facts.width, facts.height))
    return settings.small_px * HARD_TO_SEE / scale


def _named_points(thing: Thing) -> dict[str, tuple[float, float]]:
    """The visible keypoints of ``thing`` that name parts, by their words. Empty if many lie outside
    the thing's box: they are then in another unit or belong to another thing.
    """
    points: dict[str, tuple[float, float]] = {}
    beside = 0
    x0, y0, x1, y1 = thing.bbox
    dx, dy = _BESIDE * (x1 - x0), _BESIDE * (y1 - y0)
    for name, (x, y, visibility) in thing.keypoints.items():
        words = part_words(name)
        if words is None or visibility != _VISIBLE:
            continue
        if x0 - dx <= x <= x1 + dx and y0 - dy <= y <= y1 + dy:
            points[words] = (x, y)
        else:
            beside += 1
    return points if beside * 4 <= len(points) else {}


def _others_in(box: Box, thing: Thing, things: list[Thing]) -> bool:
    """True if another thing of the same or a related kind reaches into ``box``: a part in it may
    belong to that thing.
    """
    alike = {thing.name, *thing.kin}
    return any(
        other is not thing and other.name in alike and intersection_share(box, other.bbox) > 0
        for other in things
    )


def counts(asking: Asking) -> Iterator[Task]:
    """Questions for the number of things of a completely annotated kind in a region.

    The picture has a region for each number among the choices, and each is equally often right.
    """
    turns, rng = asking.turns, asking.rng
    for name in rng.sample(asking.facts.complete, len(asking.facts.complete)):
        if is_mass(name):
            continue  # one of several patches of grass is no grass that is counted
        things = [thing for thing in asking.facts.things if thing.name == name]
        regions = _regions(asking, things)
        asked: set[int] = set()
        while len(regions) > 1 and len(asked) < SAME_ANSWER:
            first = rng.randint(0, max(0, len(regions) - WRONG - 1))
            choices = sorted(regions)[first : first + WRONG + 1]
            turn = turns.peek("count")
            number = choices[turn % len(choices)]
            if number in asked:
                break
            asked.add(number)
            turns.take("count")
            region, hard = regions[number]
            wrong = [str(choice) for choice in choices if choice != number]
            rng.shuffle(wrong)
            # shifted by one each round, so that numbers and positions meet in every combination
            place = turn + turn // len(choices)
            counted = inside(things, region)
            task = tasks.count_task(region, name, counted, wrong, place, "annotation", rng)
            yield judged(task, hard=hard)


def _regions(asking: Asking, things: list[Thing]) -> dict[int, tuple[Box, bool]]:
    """Numbers of ``things`` (two or more of one kind) that some region of the picture holds, each
    with such a region and True if it needs a tool.
    """
    if len(things) < 2 or any(thing.crowd for thing in things):
        return {}
    rng = asking.rng
    largest = LARGEST if asking.only_hard else _LARGEST_REGION
    small = {id(thing) for thing in things if asking.is_small(thing, HARD_TO_SEE)}
    found: dict[int, tuple[Box, bool]] = {}
    for number in range(1, min(len(things), _LARGEST_COUNT) + 1):
        region = region_with(things, number, rng, largest=largest)
        if region is not None:
            hard = any(id(thing) in small for thing in inside(things, region))
            found[number] = region, hard and area_share(region) <= LARGEST
    if found:
        like, hard = found[rng.choice(sorted(found))]
        size = like[2] - like[0], like[3] - like[1]
        empty = free_box(size, [thing.bbox for thing in things], rng, decimals=2)
        if empty is not None:
            found[0] = empty, hard
    return {n: (box, hard) for n, (box, hard) in found.items() if hard or not asking.only_hard}
