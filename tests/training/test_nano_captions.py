"""What the nano model is pre-trained on: captions that are true, and never a question."""

import importlib
import json
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pearl_tools.types import Box

sys.path.insert(0, str(Path(__file__).parents[2] / "training" / "nano"))
batches = importlib.import_module("batches")
captions = importlib.import_module("captions")
depth_captions = importlib.import_module("depth_captions")
cells = importlib.import_module("cells")
network = importlib.import_module("network")
samples = importlib.import_module("samples")
scenes = importlib.import_module("scenes")
vocabulary = importlib.import_module("vocabulary")


def thing(
    shape: str = "cube",
    colour: str = "red",
    box: Box = (0.1, 0.1, 0.3, 0.3),
    near: float = 0.5,
    tag: str | None = None,
) -> Any:
    x0, y0, x1, y1 = box
    middle = ((x0 + x1) / 2 - 0.01, (y0 + y1) / 2 - 0.01, (x0 + x1) / 2, (y0 + y1) / 2)
    return scenes.Thing(
        shape=shape,
        colour=colour,
        pattern="plain",
        box=box,
        tag=tag,
        tag_box=middle if tag else None,
        distance_m=2.0,
        near=near,
        clear=True,
    )


CUBE = thing(tag="K", near=0.3)
BALL = thing("ball", "blue", (0.6, 0.2, 0.8, 0.4), near=0.02)
EGG = thing("egg", "blue", (0.3, 0.6, 0.5, 0.9), near=0.8, tag="7")
BALLS = thing("ball", "green", (0.7, 0.6, 0.9, 0.9), near=0.31)


@pytest.fixture(scope="module")
def scene() -> Any:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (480, 640, 3), np.uint8)
    depth = np.tile(np.arange(256, dtype=np.uint8), (192, 1))
    return scenes.Scene(picture, depth, (CUBE, BALL, EGG, BALLS))


def said(sample: Any) -> list[str]:
    return [
        captions.plain(part["text"])
        for m in sample.messages
        for part in m["content"]
        if "text" in part
    ]


@pytest.mark.parametrize("kind", samples.KINDS)
def test_no_sample_asks_anything(scene: Any, kind: str) -> None:
    rng = random.Random(1)
    for _ in range(60):
        sample = samples.sample(rng, [scene], kind)
        assert not any("?" in text for text in said(sample))
        places = sum(p["type"] == "image" for m in sample.messages for p in m["content"])
        assert places == len(sample.pictures)
        assert sample.messages[-1]["role"] == "assistant"


def test_a_tag_is_always_told_and_a_tight_view_names_no_shape() -> None:
    rng = random.Random(2)
    for _ in range(50):
        text = captions.of_tag(rng, CUBE, tight=True)
        assert "K" in text
        assert "cube" not in text


@pytest.mark.parametrize("seed", range(60))
def test_counts_are_those_of_the_part(seed: int) -> None:
    text = captions.counted(random.Random(seed), "ball", [BALL, BALLS])
    assert "2" in text or "Two" in text
    assert "are 1" not in captions.counted(random.Random(seed), "egg", [EGG])


def test_an_absent_kind_is_never_one_that_is_there() -> None:
    for seed in range(200):
        text = captions.of_part(random.Random(seed), [CUBE, BALL])
        if "0" in text or "no " in text or "No " in text:
            assert "cubes" not in text.lower()
            assert "balls" not in text.lower()


def test_the_larger_reading_is_the_nearer_thing() -> None:
    for seed in range(100):
        text = captions.plain(depth_captions.of_both(random.Random(seed), CUBE, EGG))
        for wrong in (
            "the red cube is nearer",
            "So the red cube",
            "closer to the camera is the red",
        ):
            assert wrong not in text.replace("The ", "the ")
    assert not depth_captions.decided(CUBE, BALLS)


def test_a_part_holds_its_things_whole_and_cuts_no_other(scene: Any) -> None:
    rng = random.Random(3)
    found = [samples.part_of(rng, scene) for _ in range(100)]
    assert sum(part is not None for part in found) > 50
    for box, inside in (part for part in found if part is not None):
        for each in scene.things:
            x0, y0, x1, y1 = each.box
            if each in inside:
                assert box[0] <= x0 + 1e-3
                assert box[3] >= y1 - 1e-3
            else:
                apart = x1 <= box[0] + 0.01 or x0 >= box[2] - 0.01
                assert apart or y1 <= box[1] + 0.01 or y0 >= box[3] - 0.01


def test_a_view_is_the_very_pixels_and_a_zoomed_one_has_the_zoom_tools_size(scene: Any) -> None:
    box = (0.25, 0.5, 0.5, 0.75)
    np.testing.assert_array_equal(samples.view(scene.picture, box), scene.picture[240:360, 160:320])
    assert samples.view(scene.picture, box, zoomed=True).shape == (336, 448, 3)


def test_what_is_said_of_a_depth_map_is_what_it_shows(scene: Any) -> None:
    kinds = set()
    for seed in range(80):
        text = captions.plain(depth_captions.of_depth(random.Random(seed), scene.depth, []))
        text = text.lower().rstrip(".")
        for clause in text.split("; "):
            boxes = [json.loads(box) for box in re.findall(r"\[.*?\]", clause)]
            read = [(box[0] + box[2]) / 2 for box in boxes]  # the map is a ramp to the right
            if not boxes:
                kinds.add("end")
                right = "nearest" in clause or "brightest" in clause
                assert clause.endswith("right" if right else "left")
            elif len(boxes) == 1:
                kinds.add("reading")
                (told,) = re.findall(r"\d\.\d\d", re.sub(r"\[.*?\]", "", clause))
                assert float(told) == pytest.approx(read[0], abs=0.015)
            else:
                kinds.add("order")
                named = read[1] if "farther" in clause else read[0 if len(read) == 2 else 2]
                assert named == max(read)
    assert kinds == {"end", "reading", "order"}


@pytest.fixture(scope="module")
def processor(scene: Any) -> Any:
    rng = random.Random(4)
    texts = [t for k in samples.KINDS for t in said(samples.sample(rng, [scene], k))] * 2
    texts += vocabulary.toolkit_texts()
    return network.build_processor(vocabulary.train_tokenizer(texts, 900))


@pytest.mark.parametrize(
    "text", ["K", "[0.33, 0.7, 0.388, 0.794]", "né 😀\n  two\tTABs <x>", '{"bbox":[0.1]}']
)
def test_any_text_comes_back(processor: Any, text: str) -> None:
    assert processor.tokenizer.decode(processor.tokenizer(text).input_ids) == text


def test_a_digit_and_a_lone_capital_are_always_the_same_token(processor: Any) -> None:
    ids = processor.tokenizer("The tag is K. K [0.37] K7").input_ids
    tokens = processor.tokenizer.convert_ids_to_tokens(ids)
    assert tokens.count("K") == 3
    assert tokens.count("7") == 2


def test_batches_are_what_the_exported_processor_makes_and_only_captions_are_learnt(
    scene: Any, processor: Any
) -> None:
    rng = random.Random(5)
    some = [samples.sample(rng, [scene], kind) for kind in samples.KINDS]
    batch = batches.to_batch(some, processor)
    for row, sample in enumerate(some):
        text = captions.plain(processor.apply_chat_template(sample.messages, tokenize=False))
        stock = processor(text=[text], images=sample.pictures or None, return_tensors="pt")
        length = stock.input_ids.shape[1]
        assert batch.ids[row, :length].tolist() == stock.input_ids[0].tolist()
        learnt = batch.labels[row][batch.labels[row] != batches.IGNORED]
        told = [m["content"][0]["text"] for m in sample.messages if m["role"] == "assistant"]
        end = vocabulary.END
        said = "".join(f"{text}{end}" for text in told)
        expected = captions.MARK.sub(lambda mark: mark["value"] or "", said)
        said_of_it = processor.tokenizer.decode(learnt)
        if "⟦" not in said:
            assert said_of_it == expected
        # a word with the space before it is one token, so the `the` of a given name may be learnt
        assert without_the(said_of_it) == without_the(expected)


def without_the(text: str) -> str:
    return re.sub(r"\bthe\b|\s", "", text, flags=re.IGNORECASE)


def test_what_nobody_could_foresee_is_read_but_not_learnt(scene: Any, processor: Any) -> None:
    turn = {"role": "user", "content": [{"type": "image"}]}
    box = (0.1, 0.2, 0.3, 0.4)
    text = f"At {captions.given('[0.1, 0.2, 0.3, 0.4]', box)} the map reads 0.25."
    sample = samples.Sample(
        [scene.picture], [cells.nothing_known()], [turn, samples.assistant(text)]
    )
    batch = batches.to_batch([sample], processor)
    read = processor.tokenizer.decode(batch.ids[0])
    assert captions.plain(text) in read
    assert not set("⟦¦⟧⟪⟫") & set(read)
    learnt = processor.tokenizer.decode(batch.labels[0][batch.labels[0] != batches.IGNORED])
    assert learnt == f"At  the map reads 0.25.{vocabulary.END}"
    # the middle of the box lies in the second row and column; its last token says so
    ((place, cell),) = [(int(p), int(batch.where[0, p])) for p in (batch.where[0] >= 0).nonzero()]
    assert cell == 1 * 6 + 1
    assert processor.tokenizer.decode(batch.ids[0, place]).endswith("]")


def test_the_findings_of_comparisons_are_learnt_and_right() -> None:
    for seed in range(60):
        marked, places = batches.unmarked(depth_captions.of_numbers(random.Random(seed), times=3))
        ends = [*(place.first for place in places[1:]), len(marked)]
        assert len(places) == 3
        for (first, last, *_), end in zip(places, ends, strict=True):
            values = [float(value) for value in re.findall(r"\d\.\d\d", marked[first:last])]
            names = re.findall(r"the (\w+ \w+)", marked[first:last].lower())
            nearer = names[values.index(max(values))]
            assert marked[last:end].strip().lower().startswith(f"the {nearer}")


def test_readings_of_all_name_the_nearest_of_them() -> None:
    ends = 0
    for seed in range(60):
        text = captions.plain(depth_captions.of_all(random.Random(seed), [CUBE, BALL, EGG])).lower()
        for each in (CUBE, BALL, EGG):
            told = re.search(rf"{each.name}(?: reads|: | is at)? ?(\d\.\d+)", text)
            assert told is not None
            assert float(told[1]) == pytest.approx(each.near, abs=0.051)
        for near in re.findall(r"nearest is (the \w+ \w+)|(the \w+ \w+) is nearest", text):
            ends += 1
            assert "the blue egg" in near
        for far in re.findall(r"farthest (the \w+ \w+)|(the \w+ \w+) is farthest", text):
            assert "the blue ball" in far
    assert ends > 5


def test_a_cell_is_named_after_the_thing_whose_middle_it_holds(scene: Any) -> None:
    labels = cells.cells_of(scene, (0.0, 0.0, 1.0, 1.0)).reshape(-1, 6, 6)
    colour, shape, _, tag, near, row, column = labels
    assert row[4, 2] == 4
    assert column[4, 2] == 2
    assert colour[1, 1] == scenes.COLOURS.index("red")
    assert shape[1, 1] == scenes.SHAPES.index("cube")
    assert shape[5, 0] == len(scenes.SHAPES)
    assert (tag == cells.UNKNOWN).all()
    assert shape[1, 4] == scenes.SHAPES.index("ball")
    assert (near == cells.UNKNOWN).all()


def test_a_cell_of_a_depth_map_says_its_tenth_of_the_range() -> None:
    ramp = np.repeat(np.linspace(0, 255, 60, dtype=np.uint8)[:, None], 80, axis=1)
    labels = cells.cells_of_depth(ramp).reshape(-1, 6, 6)
    assert (labels[:4] == cells.UNKNOWN).all()
    assert labels[4, :, 0].tolist() == [0, 2, 4, 5, 7, 9]
    assert (labels[4] == labels[4, :, :1]).all()


def test_a_tag_is_named_once_it_is_large_enough_to_be_read(scene: Any) -> None:
    assert CUBE.tag_box is not None
    x0, y0, x1, y1 = CUBE.tag_box
    tag = cells.cells_of(scene, (x0 - 0.02, y0 - 0.02, x1 + 0.02, y1 + 0.02))[3]
    (named,) = set(tag[tag != cells.UNKNOWN].tolist())
    assert cells.KINDS[3][named] == "K"


def test_a_line_of_words_holds_the_one_that_the_caption_uses() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        told = captions.told_of_thing(rng, CUBE, ["tag", "colour", "shape", "pattern"], at=True)
        (used,) = [word for word in ("K", "red", "cube", CUBE.pattern) if word in told.text.split()
                   or f"{word}." in told.text.split()]  # fmt: skip
        assert re.search(rf"\b{used}\b", told.line.split("]. ")[1])
        both = depth_captions.told_of_both(rng, CUBE, BALL)
        assert "the red cube" in both.line
        near = CUBE if CUBE.near > BALL.near else BALL
        assert re.match(rf"(Nearer: the|The) {near.name}( is nearer|\.)", both.text)


def test_captions_read_in_groups_have_the_loss_of_one_pass(
    scene: Any, processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(6)
    kinds = ["numbers", *samples.KINDS, "depth_alone", "whole"]
    batch = batches.to_batch([samples.sample(rng, [scene], kind) for kind in kinds], processor)
    pretrain = importlib.import_module("pretrain")
    model = network.build_model(processor.tokenizer)

    def loss_and_gradients() -> tuple[float, dict[str, torch.Tensor]]:
        model.zero_grad()
        eyes = pretrain.RestingEyes(model)
        found = pretrain.caption_loss(model, eyes, batch, grounding=None, bfloat16=False)
        found["caption"].backward()
        learning = model.named_parameters()
        return float(found["caption"].detach()), {
            name: value.grad.clone() for name, value in learning if value.grad is not None
        }

    assert len(set(batch.lengths)) > 3
    assert len(pretrain.length_groups(batch.lengths)) > 1
    grouped, gradients = loss_and_gradients()
    longest_first = sorted(range(len(kinds)), key=lambda row: -batch.lengths[row])
    monkeypatch.setattr(pretrain, "length_groups", lambda _: [longest_first])
    whole, expected = loss_and_gradients()
    assert grouped == pytest.approx(whole, rel=1e-5)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)


def test_a_part_of_a_batch_is_the_batch_of_those_samples(scene: Any, processor: Any) -> None:
    rng = random.Random(7)
    kinds = ["numbers", "readings", "close_view", "with_depth", "named"]
    made = [samples.sample(rng, [scene], kind) for kind in kinds]
    whole = batches.to_batch(made, processor)
    for rows in ([3, 1], [0], [4, 2, 0]):
        part, pictures = batches.part_of(whole, rows)
        alone = batches.to_batch([made[row] for row in rows], processor)
        assert len(pictures) == sum(alone.shown)
        for name in batches.Batch._fields:
            found, expected = getattr(part, name), getattr(alone, name)
            if isinstance(found, torch.Tensor):
                torch.testing.assert_close(found, expected, msg=f"{name} of rows {rows}")
            else:
                assert found == expected


def test_a_pattern_is_asked_only_where_it_can_be_seen(scene: Any) -> None:
    whole = cells.cells_of(scene, (0.0, 0.0, 1.0, 1.0)).reshape(-1, 6, 6)
    small = thing("cone", "red", (0.1, 0.1, 0.2, 0.3))  # 19 pixels wide
    few = scenes.Scene(scene.picture, scene.depth, (small,))
    unseen = cells.cells_of(few, (0.0, 0.0, 1.0, 1.0)).reshape(-1, 6, 6)
    close = cells.cells_of(few, (0.0, 0.0, 0.5, 0.5)).reshape(-1, 6, 6)
    assert (whole[2] != cells.UNKNOWN).sum() == 4  # .2 of 192 pixels and more
    assert (unseen[1] == cells.SHAPES.index("cone")).sum() == 1
    assert (unseen[2] == cells.UNKNOWN).all()
    assert (close[2] == cells.PATTERNS.index("plain")).sum() == 1
