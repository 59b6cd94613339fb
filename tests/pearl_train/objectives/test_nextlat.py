"""L_NextLat against its definition written out."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from toy_objectives import ToyBackbone, toy_batch, toy_sample

from pearl_train.objectives.nextlat import Dynamics, next_latent, token_after_next
from pearl_train.objectives.pictures import read_rows
from pearl_train.settings.config import NextLatConfig
from pearl_train.views.batch import ViewPlan

PLAN = ViewPlan(("answer", "trajectory"))
BATCH = toy_batch([toy_sample(number) for number in range(3)], PLAN)


def test_the_head_is_three_linear_layers_with_a_residual() -> None:
    head = Dynamics(8)
    kinds = [type(part) for part in head.change]
    assert kinds == [nn.LayerNorm, nn.Linear, nn.GELU, nn.Linear, nn.GELU, nn.Linear]
    nn.init.zeros_(head.change[-1].weight)
    nn.init.zeros_(head.change[-1].bias)
    state = torch.randn(5, 8)
    assert torch.equal(head(state, torch.randn(5, 8)), state)


def test_each_supervised_position_predicts_the_next_state() -> None:
    backbone, head = ToyBackbone().eval(), Dynamics(16)
    hidden, _ = read_rows(backbone, BATCH, BATCH.context)
    found = next_latent(
        backbone, head, hidden, BATCH.context, ("answer", "trajectory"), NextLatConfig(), 0.2
    )
    assert set(found) == {"nextlat", "nextlat_trajectory"}
    assert found["nextlat"].unit == "answer"
    assert found["nextlat_trajectory"].unit == "trajectory"
    assert found["nextlat"].weight == 0.2
    total = 0.0
    learned = BATCH.context.learned["answer"]
    for row, source, column, token in zip(
        learned.row, learned.source, learned.column, learned.id, strict=True
    ):
        predicted = head(hidden[row, source][None], backbone.embedding(token)[None])
        total += float(functional.smooth_l1_loss(predicted[0], hidden[row, column]).detach())
    torch.testing.assert_close(float(found["nextlat"].total.detach()), total)


def test_gradient_reaches_the_state_and_the_head_but_not_the_target() -> None:
    backbone, head = ToyBackbone().eval(), Dynamics(16)
    hidden = read_rows(backbone, BATCH, BATCH.context)[0].detach().requires_grad_()
    rows = BATCH.context
    next_latent(backbone, head, hidden, rows, ("answer",), NextLatConfig(), 1.0)[
        "nextlat"
    ].total.backward()
    learned = rows.learned["answer"]
    moved = hidden.grad.abs().sum(dim=-1) > 0
    expected = torch.zeros_like(moved)
    expected[learned.row, learned.source] = True
    assert torch.equal(moved, expected)
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


def test_the_cross_entropy_is_of_the_token_after_next_and_spares_the_lm_head() -> None:
    backbone, head = ToyBackbone().eval(), Dynamics(16)
    hidden, _ = read_rows(backbone, BATCH, BATCH.context)
    options = NextLatConfig(cross_entropy=0.5)
    found = next_latent(backbone, head, hidden, BATCH.context, ("answer",), options, 0.2)
    term = found["nextlat_ce"]
    assert (term.weight, term.unit) == (0.1, "answer")
    term.total.backward()
    assert backbone.head.weight.grad is None
    assert head.change[1].weight.grad.abs().sum() > 0
    learned = BATCH.context.learned["answer"]
    follows = token_after_next(learned)
    ends = [len(toy_sample(number).answer) for number in range(3)]
    assert int(follows.sum()) == sum(ends) - 3
    total = 0.0
    for number in follows.nonzero()[:, 0].tolist():
        state = hidden[learned.row[number], learned.source[number]][None]
        logits = backbone.head(head(state, backbone.embedding(learned.id[number])[None]))
        total += float(functional.cross_entropy(logits, learned.id[number + 1][None]).detach())
    torch.testing.assert_close(float(term.total.detach()), total)
