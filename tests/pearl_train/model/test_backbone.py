"""Packed rows give what the stock model gives for each view alone, in every family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import FAMILIES, MORE_FAMILIES
from tiny_rows import Row, packed, stock_inputs, view_columns
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from pearl_tools.errors import BadInput
from pearl_train.model import load
from pearl_train.model.backbone import Backbone, Fills
from pearl_train.model.tokens import add_special_tokens
from pearl_train.views.batch import PADDING

TOLERANCE = 1e-5
ROWS = (
    Row(
        "user {0}{1:100x40}Which colour is it?\nassistant\n",
        ("Answer: red\n", "I look closer.\n{2:40x90}The crop shows it.\n{0}Answer: red\n"),
    ),
    Row("user {3}How many objects?\nassistant\n", ("Answer: two\n", "Wait.\nAnswer: no\n", "{1}B")),
    Row("user Which one?\nassistant\n", ("Answer: A\n",)),
    Row("{1:100x40}The crop.\n{0}I see.\n"),
)


@cache
def backbone_of(folder: Path, attention: str) -> Backbone:
    network = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation=attention)
    processor = AutoProcessor.from_pretrained(folder)
    tokens = add_special_tokens(network, processor)
    return Backbone(network.eval(), processor, tokens)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["sdpa", "eager"])
def backbone(
    request: pytest.FixtureRequest, family: str, tiny_folder: Callable[[str], Path]
) -> Backbone:
    return backbone_of(tiny_folder(family), request.param)


def run(backbone: Backbone, pictured: Any, **more: Any) -> Tensor:
    features = backbone.image_features(pictured.images, pictured.image_tokens)
    return backbone.hidden(pictured.rows, features, **more)


def gap(ours: Tensor, stock: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((ours - stock).detach().abs().max() / stock.detach().abs().max())


@torch.no_grad()
def packing_gap(backbone: Backbone, family: str, rows: Sequence[Row]) -> float:
    """How far packed views are from plain forwards of the stock model, in states and logits."""
    pictured = packed(backbone.processor, family, rows)
    hidden = run(backbone, pictured)
    gaps = []
    for number, row in enumerate(rows):
        for branch, text in enumerate(row.branches or ("",), start=1):
            inputs = stock_inputs(backbone.processor, family, row.prefix + text)
            columns = view_columns(pictured.rows, number, branch)
            assert torch.equal(pictured.rows.ids[number, columns], inputs["input_ids"][0])
            stock = backbone.plain(**inputs, output_hidden_states=True)
            ours = hidden[number, columns]
            gaps.append(gap(ours, stock.hidden_states[-1][0]))
            gaps.append(gap(backbone.logits(ours), stock.logits[0]))
    return max(gaps)


def test_packed_views_equal_plain_forwards_of_the_stock_model(
    backbone: Backbone, family: str
) -> None:
    assert packing_gap(backbone, family, ROWS) < TOLERANCE


@pytest.mark.parametrize("relative", MORE_FAMILIES)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_close_relatives_pack_as_well(
    relative: str, attention: str, tiny_folder: Callable[[str], Path]
) -> None:
    assert packing_gap(backbone_of(tiny_folder(relative), attention), relative, ROWS) < TOLERANCE


def test_the_embedded_model_packs() -> None:
    if not (load.NANO / "config.json").is_file():
        pytest.skip("no nano model yet: make nano-model")
    assert packing_gap(backbone_of(load.NANO, "sdpa"), "fast_vlm", ROWS) < TOLERANCE


def test_every_family_said_to_work_is_tested() -> None:
    assert set(load.FAMILIES) == {*FAMILIES, *MORE_FAMILIES}


def test_rows_of_one_view_equal_plain_forwards(backbone: Backbone, family: str) -> None:
    rows = [Row(row.prefix + "".join(row.branches)) for row in ROWS]
    assert packing_gap(backbone, family, rows) < TOLERANCE


@torch.no_grad()
def test_a_batch_equals_its_rows_alone(backbone: Backbone, family: str) -> None:
    together = packed(backbone.processor, family, ROWS)
    hidden = run(backbone, together)
    for number, row in enumerate(ROWS):
        alone = packed(backbone.processor, family, [row])
        real = int((together.rows.branch[number] != PADDING).sum())
        assert gap(hidden[number, :real], run(backbone, alone)[0]) < TOLERANCE


@torch.no_grad()
def test_padding_is_inert(backbone: Backbone, family: str) -> None:
    pictured = packed(backbone.processor, family, ROWS)
    rows = pictured.rows
    other = torch.where(rows.branch == PADDING, rows.ids[0, 0], rows.ids)
    changed = run(backbone, pictured._replace(rows=replace(rows, ids=other)))
    real = rows.branch != PADDING
    assert torch.equal(run(backbone, pictured)[real], changed[real])


@torch.no_grad()
def test_the_answer_does_not_see_the_pred_branch(backbone: Backbone, family: str) -> None:
    prefix = "user {0}Which colour?\nassistant\n"
    pred = "".join(backbone.processor.tokenizer.convert_ids_to_tokens(backbone.tokens.pred))
    with_pred = packed(backbone.processor, family, [Row(prefix, ("Answer: red\n", pred))])
    without = packed(backbone.processor, family, [Row(prefix, ("Answer: red\n",))])
    length = without.rows.ids.shape[1]
    ours = run(backbone, with_pred)
    assert gap(ours[:, :length], run(backbone, without)) < TOLERANCE
    assert len(backbone.tokens.pred) == ours.shape[1] - length


@torch.no_grad()
def test_a_picture_shown_twice_is_encoded_once(backbone: Backbone, family: str) -> None:
    rows = [Row("user {0}A{0}B\n", ("{0}C", "D")), Row("{0}E")]
    pictured = packed(backbone.processor, family, rows)
    assert len(pictured.image_tokens) == 1
    assert pictured.rows.images == ((0, 0, 0), (0,))
    assert packing_gap(backbone, family, rows) < TOLERANCE


@torch.no_grad()
def test_rows_without_pictures_need_no_features(backbone: Backbone, family: str) -> None:
    rows = [Row("user Which?\n", ("A\n", "B\n"))]
    pictured = packed(backbone.processor, family, rows)
    hidden = backbone.hidden(pictured.rows, None)
    inputs = stock_inputs(backbone.processor, family, "user Which?\nB\n")
    stock = backbone.plain(**inputs).logits[0]
    assert gap(backbone.logits(hidden[0, view_columns(pictured.rows, 0, 2)]), stock) < TOLERANCE


def test_fills_overwrite_their_positions_and_carry_gradients(
    backbone: Backbone, family: str
) -> None:
    pictured = packed(backbone.processor, family, [Row("user {0}Which?\n", ("A B C", "D"))])
    row, column = torch.tensor([0, 0]), pictured.rows.branch[0].eq(1).nonzero()[:2, 0]
    ids = torch.tensor([backbone.tokens.lvr, backbone.tokens.lvr_end])
    replaced = pictured.rows.ids.clone()
    replaced[row, column] = ids
    plain = run(backbone, pictured._replace(rows=replace(pictured.rows, ids=replaced)))
    values = backbone.embed(ids).detach().requires_grad_()
    filled = run(backbone, pictured, fills=Fills(row, column, values))
    assert torch.equal(filled, plain)
    assert gap(filled, run(backbone, pictured)) > TOLERANCE  # and the hook is gone again
    filled[0, int(column[1])].sum().backward()
    assert bool((values.grad.abs().sum(dim=1) > 0).all())
    backbone.zero_grad()


def test_frozen_logits_train_the_state_and_not_the_head(backbone: Backbone, family: str) -> None:
    states = torch.randn(3, backbone.hidden_size, requires_grad=True)
    logits = backbone.frozen_logits(states)
    assert torch.equal(logits, backbone.logits(states))
    logits.square().sum().backward()
    assert states.grad is not None
    assert backbone.plain.get_output_embeddings().weight.grad is None


def test_another_processor_is_refused(backbone: Backbone, family: str) -> None:
    pictured = packed(backbone.processor, family, [Row("{0}A")])
    with pytest.raises(BadInput, match="processor does not belong to this model"):
        backbone.image_features(pictured.images, [pictured.image_tokens[0] + 1])
