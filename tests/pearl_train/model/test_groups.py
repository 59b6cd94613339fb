"""Rows of about one length go together; which goes with which changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FAMILIES
from tiny_rows import Row, packed
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from pearl_train.model import backbone as backbone_module
from pearl_train.model.backbone import Backbone, Fills
from pearl_train.model.groups import length_groups
from pearl_train.model.tokens import add_special_tokens
from pearl_train.views.batch import PADDING

LENGTHS = st.lists(st.integers(1, 2000), min_size=1, max_size=12)
ROWS = (
    Row("user {0}Which?\nassistant\n", ("Answer: red\n", "Closer.\n{1:40x90}It is {2:90x40}red\n")),
    Row("user How many?\nassistant\n", ("two\n", "Wait.\nno\n")),
    Row("user {2:90x40}Which one of all these many things is it?\n", ("A\n", "B " * 40)),
    Row("user Which one?\n", ("B\n", "A " * 44)),
)


def cost(groups: list[list[int]], lengths: list[int], worth: int) -> int:
    return sum(max(lengths[row] for row in group) * len(group) + worth for group in groups)


@given(LENGTHS, st.integers(0, 500))
def test_every_row_is_in_one_group_and_no_cut_in_two_is_cheaper(
    lengths: list[int], worth: int
) -> None:
    groups = length_groups(lengths, worth=worth)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    found = cost(groups, lengths, worth)
    assert found <= cost([list(range(len(lengths)))], lengths, worth)
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    for cut in range(1, len(order)):
        assert found <= cost([order[:cut], order[cut:]], lengths, worth)


def test_rows_of_one_length_stay_together() -> None:
    assert length_groups([700] * 9) == [list(range(9))]


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_gradients_are_those_of_one_padded_pass(
    family: str, tiny_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = AutoModelForImageTextToText.from_pretrained(tiny_folder(family))
    processor = AutoProcessor.from_pretrained(tiny_folder(family))
    tokens = add_special_tokens(network, processor)
    pictured = packed(processor, family, ROWS)
    real = pictured.rows.branch != PADDING
    last = real.sum(dim=1) - 1
    fill_rows, fill_columns = torch.arange(len(ROWS)), last - 1
    passes: list[int] = []

    def states(*, by_length: bool) -> tuple[Tensor, list[Tensor]]:
        backbone = Backbone(network.eval(), processor, tokens, by_length=by_length)
        counted = Backbone._pass
        passes.append(0)

        def count(self: Backbone, *arguments: object) -> Tensor:
            passes[-1] += 1
            return counted(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(backbone_module.Backbone, "_pass", count)
        values = backbone.embed(torch.full((len(ROWS),), tokens.lvr)).detach().requires_grad_()
        fills = Fills(fill_rows, fill_columns, values)
        features = backbone.image_features(pictured.images, pictured.image_tokens)
        hidden = backbone.hidden(pictured.rows, features, fills=fills)
        monkeypatch.setattr(backbone_module.Backbone, "_pass", counted)
        weights = [w for w in backbone.parameters() if w.requires_grad]
        # not the squares: their sum is the same whatever a normalised state is
        direction = torch.randn(hidden.shape[-1], generator=torch.Generator().manual_seed(0))
        loss = (hidden[fill_rows, last] @ direction).sum()
        made = torch.autograd.grad(loss, [values, *weights], allow_unused=True)
        return hidden.detach()[real], [grad for grad in made if grad is not None]

    monkeypatch.setattr("pearl_train.model.groups.PASS_TOKENS", 0)
    whole, expected = states(by_length=False)
    parts, grads = states(by_length=True)
    assert passes[0] == 1 < passes[1]
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)
    assert len(grads) == len(expected)
    for ours, theirs in zip(grads, expected, strict=True):
        gap = float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-3))
        assert gap < 1e-4, (tuple(theirs.shape), gap)
