"""What ties the nano model's words to places: the right cells, and losses that fall for the right
reasons.
"""

import importlib
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "training" / "nano"))
batches = importlib.import_module("batches")
captions = importlib.import_module("captions")
cells = importlib.import_module("cells")
grounding = importlib.import_module("grounding")
network = importlib.import_module("network")
samples = importlib.import_module("samples")
scenes = importlib.import_module("scenes")
vocabulary = importlib.import_module("vocabulary")

TIES = ("spoken", "letter", "shade", "place", "where", "find", "read", "value", "fetch")
LOWER_RIGHT = (0.7, 0.7, 0.9, 0.9)
"""Its middle lies in cell 4 * 6 + 4."""


def thing(near: float = 0.5) -> Any:
    return scenes.Thing(
        shape="cube", colour="red", pattern="plain", box=LOWER_RIGHT, tag=None, tag_box=None,
        distance_m=2.0, near=near, clear=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def scene() -> Any:
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    depth = np.tile(np.arange(256, dtype=np.uint8), (192, 1))
    return scenes.Scene(picture, depth, (thing(),))


@pytest.fixture(scope="module")
def processor() -> Any:
    words = [f"the {colour} {shape}" for colour in scenes.COLOURS for shape in scenes.SHAPES]
    return network.build_processor(vocabulary.train_tokenizer(words * 2, 900))


def test_a_name_points_at_its_cell_in_the_picture_and_in_the_depth_map(
    scene: Any, processor: Any
) -> None:
    rng = random.Random(0)
    sample = samples.readings(rng, scene)
    batch = batches.to_batch([samples.named(rng, scene), sample], processor)
    image_id = processor.tokenizer.convert_tokens_to_ids(vocabulary.IMAGE)
    named = grounding.named_in(batch, image_id)
    assert named.row.tolist() == [0, 1]
    assert named.cell.tolist() == [4 * 6 + 4] * 2
    assert named.in_depth[0] == cells.UNKNOWN
    starts = (batch.ids[1] == image_id).nonzero()[:, 0].tolist()[:: network.IMAGE_TOKENS]
    assert len(starts) == 2
    assert named.in_picture[1] == starts[0] + 4 * 6 + 4
    assert named.in_depth[1] == starts[1] + 4 * 6 + 4
    said = [processor.tokenizer.decode(batch.ids[r, c]) for r, c in zip(*named[:2], strict=True)]
    assert said == [" cube", " cube"]


def test_a_character_points_at_the_cells_that_show_it(scene: Any, processor: Any) -> None:
    """In every picture before it; other tags, numbers and what is not learnt point nowhere."""
    rng = random.Random(0)
    sample = samples.named(rng, scene)
    user, assistant = sample.messages[0], sample.messages[-1]
    text = {**assistant, "content": [{"type": "text", "text": "K at [0.7, 0.7]: K, not 3 or Y 7."}]}
    sample = sample._replace(messages=[user, text])
    batch = batches.to_batch([sample], processor)
    tags = scenes_tags()
    batch.cells[0, 3, [4, 5]] = tags.index("K")
    batch.cells[0, 3, 9] = tags.index("7")
    tokenizer = processor.tokenizer
    image_id = tokenizer.convert_tokens_to_ids(vocabulary.IMAGE)
    letters = [tokenizer(tag).input_ids[0] for tag in tags]
    ids = batch.ids[0].tolist()
    first = ids.index(image_id)
    point = {tokenizer(".").input_ids[0]}
    found = grounding.glances_in(batch, image_id, letters, point)
    assert found.row.tolist() == [0, 0, 0]
    assert [tokenizer.decode(ids[column]) for column in found.column.tolist()] == ["K", "K", "7"]
    shown = [row.nonzero()[:, 0].tolist() for row in found.shown]
    assert shown == [[first + 4, first + 5]] * 2 + [[first + 9]]
    batch.labels[:] = batches.IGNORED
    assert not len(grounding.glances_in(batch, image_id, letters, point).row)


def scenes_tags() -> tuple[str, ...]:
    """The characters that tags show, as the cells number them."""
    return tuple(cells.KINDS[3])


def test_looking_at_any_of_the_cells_is_looking_there() -> None:
    row, column = torch.tensor([0]), torch.tensor([3])
    attention = torch.zeros(1, 3, 4, 4)
    attention[0, 2, 3, :2] = 0.5
    targets = torch.tensor([[True, True, False, False]])

    def cost(targets: torch.Tensor) -> float:
        return float(grounding.look_among(attention, row, column, targets, head=2))

    assert cost(targets) == pytest.approx(0, abs=1e-5)
    assert cost(~targets) > 10


def test_looking_at_the_right_place_costs_nothing() -> None:
    rows, columns = torch.tensor([0, 0]), torch.tensor([3, 2])
    attention = torch.zeros(1, 2, 4, 4)
    attention[0, 0, 3, 1] = 1.0

    def cost(*targets: int) -> float:
        return float(grounding.look_at(attention, rows, columns, torch.tensor(targets)))

    assert cost(1, cells.UNKNOWN) == pytest.approx(0, abs=1e-5)
    assert cost(2, cells.UNKNOWN) > 10


def test_a_row_without_a_depth_map_says_nothing_about_reading(scene: Any, processor: Any) -> None:
    batch = batches.to_batch([samples.named(random.Random(0), scene)], processor)
    attention = torch.full((1, 6, batch.ids.shape[1], batch.ids.shape[1]), 0.01)
    states = torch.zeros(1, batch.ids.shape[1], network.WIDTH)
    model = network.build_model(processor.tokenizer)
    losses = grounding.Grounding(grounding.Readers(), processor.tokenizer, TIES).losses(
        model, torch.zeros(1, 36, network.WIDTH), [states] * 5, [attention] * 4, batch
    )
    assert set(losses) == {"spoken", "letter", "shade", "place", "where", "find"}


def test_tokens_that_resemble_the_word_for_what_they_show_cost_little(scene: Any) -> None:
    labels = torch.from_numpy(cells.cells_of(scene, (0.0, 0.0, 1.0, 1.0)))[None]
    colours = torch.eye(network.WIDTH)[:8] * 9
    tokens = torch.zeros(1, 36, network.WIDTH)
    tokens[0, 4 * 6 + 4, scenes.COLOURS.index("red")] = 1.0
    assert float(grounding.spoken(tokens, labels[:, 0], colours)) < 0.01
    assert float(grounding.spoken(tokens.roll(1, dims=1), labels[:, 0], colours)) > 2
    assert float(grounding.spoken(tokens, torch.full((1, 36), cells.UNKNOWN), colours)) == 0.0


def test_a_value_belongs_to_the_thing_named_before_it(scene: Any, processor: Any) -> None:
    rng = random.Random(3)
    near = thing(0.46)
    sample = samples.readings(rng, scene._replace(things=(near,)))
    batch = batches.to_batch([sample], processor)
    ((_, name),) = (batch.where != cells.UNKNOWN).nonzero().tolist()
    assert batch.tenth[0, name] == 4
    decimals = (batch.source[0] != cells.UNKNOWN).nonzero()[:, 0]
    assert processor.tokenizer.decode(batch.ids[0, decimals]) == "46"
    assert batch.source[0, decimals].tolist() == [name, name]
    assert (batch.labels[0, decimals] != batches.IGNORED).all()


def test_every_term_has_a_gradient(scene: Any, processor: Any) -> None:
    torch.manual_seed(0)
    model = network.build_model(processor.tokenizer)
    model.set_attn_implementation("eager")
    rng = random.Random(1)
    batch = batches.to_batch([samples.readings(rng, scene)], processor)
    batch.cells[0, 3, 4] = 0  # a tag, of which the texts say nothing
    tokens = torch.randn(2, 36, network.WIDTH, requires_grad=True)
    output = type("Seen", (), {"pooler_output": tokens})()
    read = model.model(
        input_ids=batch.ids, mm_encoder_outputs={"image": output}, use_cache=False,
        output_hidden_states=True, output_attentions=True,
    )  # fmt: skip
    readers = grounding.Readers()
    losses = grounding.Grounding(readers, processor.tokenizer, TIES).losses(
        model, tokens, read.hidden_states, read.attentions, batch
    )
    assert set(losses) == set(TIES)
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, [tokens], retain_graph=True)
        assert float(gradient.abs().sum()) > 0, name


def test_a_depth_map_says_where_a_thing_is_what_is_read_for_it(scene: Any) -> None:
    nearer = thing(0.93)
    labels = cells.cells_of_depth(scene.depth, [nearer, thing(0.41)])[4].reshape(6, 6)
    assert labels[4, 4] == 9, "of two things in a cell the nearer"
    plain = cells.cells_of_depth(scene.depth)[4].reshape(6, 6)
    assert plain[4].tolist() == [0, 2, 4, 5, 7, 9], "elsewhere the tenth of the mean"
    labels[4, 4] = plain[4, 4]
    assert (labels == plain).all()
