"""How well the nano model completes captions of scenes it has never seen; still no question.

    python training/nano/evaluate.py --card          # also writes the figures into the card

A caption is begun and the model's most likely next token among the possible ones is taken: a
character, a colour, a number. For "nearer, by its own readings" it first writes down both readings
of the depth map itself. At most one item of a kind per scene. Leaves out training.
"""

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import cv2
import samples
import torch
from batches import to_batch
from captions import sentence
from cells import nothing_known
from depth_captions import decided
from evaluate_words import NAMES, words_said_again
from export import FOLDER, read_card, write_card
from samples import Picture, Sample
from scenes import Scene, Thing, fill_cache, read_shard
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    FastVlmForConditionalGeneration,
    LlavaProcessor,
)
from vocabulary import END

from pearl_data.experts.boxes import around
from pearl_data.progress import Progress
from pearl_data.rendering import COLOURS, LABEL_CHARACTERS, PATTERNS, SHAPES
from pearl_data.sources.facts import area_share, box_words
from pearl_data.sources.nouns import plural
from pearl_data.wilson import share

COUNTS = ("0", "1", "2", "3", "4")
#: As in the toolkit's rendered source: a pair is asked about from this ratio of distances on.
_LEAST_RATIO = 1.4
#: Margins of views of a tag, in lengths of the tag.
MARGINS = (0.2, 0.8, 2.0, 4.0)
_BATCH = 20
_TRIES = 6


_READ = "own reading of a named thing within 0.1 of the map's"


class Item(NamedTuple):
    """A caption to complete: pictures, the caption's beginning, possible next tokens, the right
    one.
    """

    pictures: list[Picture]
    opening: str
    choices: tuple[str, ...]
    answer: str


Make = Callable[[random.Random, Scene], Item | None]


def tag_item(margin: float, rng: random.Random, scene: Scene) -> Item | None:
    """The character on a tag that is cut out with the same margin on every side."""
    things = samples.tagged(scene)
    if not things:
        return None
    thing = rng.choice(things)
    assert thing.tag is not None
    assert thing.tag_box is not None
    box = around(thing.tag_box, rng, least=margin, most=margin, smallest=0.02)
    cut = samples.view(scene.picture, box)
    return Item([cut], "The tag shows ", tuple(LABEL_CHARACTERS), thing.tag)


def expert_tag_item(rng: random.Random, scene: Scene, *, after: bool = False) -> Item | None:
    """The same from a view as the toolkit's expert takes it; `after` the whole picture at will."""
    things = samples.tagged(scene)
    if not things:
        return None
    thing = rng.choice(things)
    assert thing.tag is not None
    cut = samples.view(scene.picture, samples.tag_box(rng, thing), zoomed=rng.random() < 0.5)
    pictures = [scene.picture, cut] if after else [cut]
    return Item(pictures, "The tag shows ", tuple(LABEL_CHARACTERS), thing.tag)


def scene_tag_item(rng: random.Random, scene: Scene) -> Item | None:
    """The same from the whole picture, the thing being named."""
    things = [thing for thing in samples.spoken_of(scene) if thing.tag is not None]
    if not things:
        return None
    thing = rng.choice(things)
    assert thing.tag is not None
    opening = f"The {thing.name} is at {box_words(thing.box)} with the tag "
    return Item([scene.picture], opening, tuple(LABEL_CHARACTERS), thing.tag)


def thing_item(attribute: str, rng: random.Random, scene: Scene) -> Item | None:
    """Colour, shape or pattern of one thing, or the tag on it, from a view of the whole thing."""
    things = [t for t in samples.spoken_of(scene) if attribute != "tag" or t.tag is not None]
    if not things:
        return None
    thing = rng.choice(things)
    cut = samples.view(scene.picture, samples.thing_box(rng, thing))
    opening, choices = {
        "colour": ("Its colour is", [f" {colour}" for colour in COLOURS]),
        "shape": ("The shape is a", [f" {shape}" for shape in SHAPES]),
        "pattern": ("The pattern is", [f" {pattern}" for pattern in PATTERNS]),
        "tag": (f"The {thing.name} with the tag ", list(LABEL_CHARACTERS)),
    }[attribute]
    value = getattr(thing, attribute)
    return Item([cut], opening, tuple(choices), value if attribute == "tag" else f" {value}")


def named_item(rng: random.Random, scene: Scene) -> Item | None:
    """The shape of the thing in a box of the whole picture."""
    things = samples.spoken_of(scene)
    if not things:
        return None
    thing = rng.choice(things)
    opening = f"{box_words(thing.box)}: {thing.colour}"
    return Item([scene.picture], opening, tuple(f" {s}" for s in SHAPES), f" {thing.shape}")


def count_item(rng: random.Random, scene: Scene) -> Item | None:
    """How many of one kind a part of the picture holds; the number is wanted before the part."""
    wanted = rng.choice(COUNTS)
    for _ in range(_TRIES):
        part = samples.part_of(rng, scene)
        if part is None or not part[1]:
            continue
        box, things = part
        kind = rng.choice(SHAPES)
        if sum(thing.shape == kind for thing in things) == int(wanted):
            opening = f"{sentence(plural(kind))} in this part: "
            return Item([samples.view(scene.picture, box)], opening, COUNTS, wanted)
    return None


class Pair(NamedTuple):
    """Two things of different colour, the nearer first, in a scene whose map agrees."""

    scene: Scene
    near: Thing
    far: Thing
    swapped: bool

    @property
    def named(self) -> tuple[Thing, Thing]:
        """In the order in which they are named."""
        return (self.far, self.near) if self.swapped else (self.near, self.far)


def pair_of(rng: random.Random, scene: Scene, *, lower: bool) -> Pair | None:
    """A pair that the toolkit would ask about; the nearer is the `lower` one, or the higher."""
    things = samples.spoken_of(scene)
    pairs = [
        (a, b)
        for a in things
        for b in things
        if a.distance_m * _LEAST_RATIO < b.distance_m
        and a.near > b.near
        and decided(a, b)
        and a.colour != b.colour
        and (a.box[3] > b.box[3]) == lower
    ]
    return Pair(scene, *rng.choice(pairs), rng.random() < 0.5) if pairs else None


def pair_item(pair: Pair, readings: Sequence[str] = (), *, depth: bool = True) -> Item:
    """Which of the two is nearer, after readings if there are any, with or without the map."""
    a, b = (thing.name for thing in pair.named)
    opening = f"Nearer of the {a} and the {b}: the"
    if readings:
        opening = (
            f"From 0, farthest, to 1, nearest, the {a} reads {readings[0]} and the {b} "
            f"{readings[1]}. So the"
        )
    pictures = [pair.scene.picture, samples.grey(pair.scene)] if depth else [pair.scene.picture]
    choices = (f" {pair.near.colour}", f" {pair.far.colour}")
    return Item(pictures, opening, choices, choices[0])


@torch.inference_mode()
def next_logits(
    model: FastVlmForConditionalGeneration, processor: LlavaProcessor, items: Sequence[Item]
) -> torch.Tensor:
    """Logits (N, V) of the token after each item's opening."""
    rows = []
    for start in range(0, len(items), _BATCH):
        some = items[start : start + _BATCH]
        made = [
            Sample(
                item.pictures,
                [nothing_known()] * len(item.pictures),
                [
                    {"role": "user", "content": [{"type": "image"}] * len(item.pictures)},
                    samples.assistant(item.opening),
                ],
            )
            for item in some
        ]
        batch = to_batch(made, processor)
        hidden = model.model(input_ids=batch.ids, pixel_values=batch.pixels)[0]
        end = processor.tokenizer.convert_tokens_to_ids(END)
        # the last end of a turn closes the caption; what is asked for is what stands there instead
        places = [
            max(place for place, token in enumerate(ids) if token == end) - 1
            for ids in batch.ids.tolist()
        ]
        rows.append(model.lm_head(hidden[torch.arange(len(some)), places]))
    return torch.cat(rows)


def right_answers(
    model: FastVlmForConditionalGeneration, processor: LlavaProcessor, items: Sequence[Item]
) -> list[bool]:
    """Whether the likeliest of each item's choices is its answer."""
    logits = next_logits(model, processor, items)
    right = []
    for row, item in zip(logits, items, strict=True):
        tokens = [processor.tokenizer(choice).input_ids for choice in item.choices]
        assert all(len(token) == 1 for token in tokens), item.choices
        best = int(row[[token[0] for token in tokens]].argmax())
        right.append(item.choices[best] == item.answer)
    return right


def own_readings(
    model: FastVlmForConditionalGeneration, processor: LlavaProcessor, pairs: Sequence[Pair]
) -> list[list[str]]:
    """What the model itself reads off the map for both things of each pair, as text."""
    said: list[list[str]] = [[] for _ in pairs]
    for turn in range(2):
        texts = []
        for pair, readings in zip(pairs, said, strict=True):
            a, b = (thing.name for thing in pair.named)
            opening = f"From 0, farthest, to 1, nearest, the {a} reads "
            texts.append(f"{opening}{readings[0]} and the {b} " if turn else opening)
        begun = list(texts)
        for _ in "0.00":
            items = [
                Item([pair.scene.picture, samples.grey(pair.scene)], text, (), "")
                for pair, text in zip(pairs, texts, strict=True)
            ]
            tokens = next_logits(model, processor, items).argmax(dim=1).tolist()
            texts = [
                text + processor.tokenizer.decode([token])
                for text, token in zip(texts, tokens, strict=True)
            ]
        for readings, text, start in zip(said, texts, begun, strict=True):
            readings.append(text[len(start) :])
    return said


#: A reading is right if it is no farther from the map's than this.
_CLOSE = 0.1


def _close(readings: Sequence[str], pair: Pair) -> list[bool]:
    """Whether each of the two readings is a number and about what the map says."""
    return [
        bool(re.fullmatch(r"[01]\.\d\d?", told)) and abs(float(told) - thing.near) <= _CLOSE
        for told, thing in zip(readings, pair.named, strict=True)
    ]


def _always_the_middle(pairs: Sequence[Pair]) -> str:
    """The share of things that read about what the median thing does."""
    values = [thing.near for pair in pairs for thing in pair.named]
    close = sum(abs(value - median(values)) <= _CLOSE for value in values)
    return f"{close / len(values):.2f} (always {median(values):.2f})"


def _larger(readings: Sequence[str], pair: Pair) -> bool:
    """Whether the nearer thing's reading is a number and the larger one."""
    try:
        values = [float(reading) for reading in readings]
    except ValueError:
        return False
    near = 1 if pair.swapped else 0
    return values[near] > values[1 - near]


MAKERS: dict[str, tuple[str, Make]] = {
    **{
        f"tag, cut out with a margin of {margin:g} tags": ("1/26", partial(tag_item, margin))
        for margin in MARGINS
    },
    "tag, in a view as the expert takes it": ("1/26", expert_tag_item),
    "tag, the same view after the whole picture": ("1/26", partial(expert_tag_item, after=True)),
    "tag, in a view of the whole thing": ("1/26", partial(thing_item, "tag")),
    "tag, in the whole picture": ("1/26", scene_tag_item),
    "colour, in a view of the thing": ("1/8", partial(thing_item, "colour")),
    "shape, in a view of the thing": ("1/7", partial(thing_item, "shape")),
    "pattern, in a view of the thing": ("1/4", partial(thing_item, "pattern")),
    "shape, in a box of the whole picture": ("1/7", named_item),
    "count of a kind in a part": ("", count_item),
}


def measure(
    model: FastVlmForConditionalGeneration, processor: LlavaProcessor, scenes: Sequence[Scene]
) -> list[dict[str, Any]]:
    """All figures as rows of the card; deterministic."""
    right: dict[str, list[bool]] = defaultdict(list)
    chance: dict[str, str] = {}
    with Progress("evaluate", len(MAKERS) + 2 + len(NAMES), "kinds") as progress:
        for name, (guess, make) in MAKERS.items():
            items = [item for item in _items(name, make, scenes) if item is not None]
            right[name] = right_answers(model, processor, items)
            chance[name] = guess or _most_frequent(items)
            progress.advance()
        every: list[Pair] = []
        for lower in (True, False):
            where = f"where lower is {'right' if lower else 'wrong'}"
            made = [
                pair_of(random.Random(f"pair/{lower}/{number}"), scene, lower=lower)
                for number, scene in enumerate(scenes)
            ]
            pairs = [pair for pair in made if pair is not None]
            readings = own_readings(model, processor, pairs)
            bigger = [area_share(pair.near.box) > area_share(pair.far.box) for pair in pairs]
            both = list(zip(readings, pairs, strict=True))
            answers = {
                "nearer, with the map": right_answers(
                    model, processor, list(map(pair_item, pairs))
                ),
                "nearer, after its own readings": right_answers(
                    model,
                    processor,
                    [pair_item(pair, read) for pair, read in zip(pairs, readings, strict=True)],
                ),
                "nearer, by its own readings": [_larger(read, pair) for read, pair in both],
                "nearer, without the map": right_answers(
                    model, processor, [pair_item(pair, depth=False) for pair in pairs]
                ),
                "rule: the lower is nearer": [lower] * len(pairs),
                "rule: the bigger is nearer": bigger,
            }
            read_right = [right for read, pair in both for right in _close(read, pair)]
            right[_READ] += read_right
            every += pairs
            for name, values in answers.items():
                chance[name] = chance[f"{name}, {where}"] = "1/2"
                right[name] += values
                if not name.startswith("rule"):
                    right[f"{name}, {where}"] += values
            progress.advance()
        chance[_READ] = _always_the_middle(every)
        for name, values in words_said_again(model, processor, len(scenes)):
            right[f"without a picture: {name}"] = values
            chance[f"without a picture: {name}"] = ""
            progress.advance()
    rows = []
    for name in [*MAKERS, *sorted(set(right) - set(MAKERS))]:
        values = right[name]
        counted = share(sum(values), len(values))
        assert counted.rate is not None
        assert counted.low is not None
        assert counted.high is not None
        wilson = [round(counted.low, 4), round(counted.high, 4)]
        rows.append({"name": name, "k": sum(values), "n": len(values), "chance": chance[name],
                     "share": round(counted.rate, 4), "wilson95": wilson})  # fmt: skip
    return rows


def _items(name: str, make: Make, scenes: Sequence[Scene]) -> Iterator[Item | None]:
    for number, scene in enumerate(scenes):
        yield make(random.Random(f"{name}/{number}"), scene)


def _most_frequent(items: Sequence[Item]) -> str:
    """The share of the most frequent answer."""
    answers = [item.answer for item in items]
    best = max(sorted(set(answers)), key=answers.count)
    return f"{answers.count(best) / len(answers):.2f} (always {best})"


def main() -> None:
    """Parse, evaluate, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=FOLDER, help="an exported folder")
    parser.add_argument("--scenes", type=int, default=400, help="held-out scenes, whole hundreds")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--cache", type=Path, default=Path(".cache/nano"))
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--card", action="store_true", help="write the figures into the card")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cache, ready = fill_cache(
        options.cache, options.scenes, workers=options.workers, name="held-out"
    )
    scenes = [scene for number in range(ready) for scene in read_shard(cache, number)]
    processor = AutoProcessor.from_pretrained(options.model)
    model = AutoModelForImageTextToText.from_pretrained(options.model, dtype=torch.float32).eval()
    rows = measure(model, processor, scenes)
    if options.card:
        write_card({**read_card(), "figures": rows, "evaluated_scenes": len(scenes)})
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        low, high = row["wilson95"]
        print(f"{row['name']:58s} {row['share']:.3f}  {row['k']:3d} of {row['n']:3d}"
              f"  95 % {low:.3f}-{high:.3f}  chance {row['chance']}")  # fmt: skip


if __name__ == "__main__":
    main()
