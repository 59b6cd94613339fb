"""Every objective with real networks of every family: forward, backward, save, reload; and Pearl's
promises once more where adapters, processors and pictures are real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES
from tiny_samples import changed
from torch import Tensor
from toy_objectives import loss_of

from pearl_data.shards import DatasetReader, Sample
from pearl_train.model.build import build_backbone
from pearl_train.objectives import needs, plan_views
from pearl_train.objectives.pearl import target_plan
from pearl_train.objectives.schedule import moment
from pearl_train.objectives.target import embed_target
from pearl_train.objectives.target_cache import TargetCache, fill, target_identity
from pearl_train.objectives.trainee import Trainee, make_trainee
from pearl_train.settings.config import (
    Config,
    LoraConfig,
    ModelConfig,
    NextLatConfig,
    ObjectiveConfig,
    TargetConfig,
)
from pearl_train.training.state import kept_names
from pearl_train.views.batch import Batch
from pearl_train.views.collate import collate
from pearl_train.views.encode import Encoder, encode_sample

LORA = LoraConfig(rank=4, alpha=8, dropout=0.2)
OBJECTIVES: dict[str, dict[str, Any]] = {
    "sft": {"name": "sft"},
    "sft, pause": {"name": "sft", "pause_tokens": 4},
    "sft, trajectory": {"name": "sft", "view": "trajectory"},
    "sft, chat": {"name": "sft", "view": "chat"},
    "tools": {"name": "tools"},
    "lvr": {"name": "lvr"},
    "pearl": {"name": "pearl"},
    "pearl, release": {
        "name": "pearl",
        "view": "trajectory",
        "pred_position": "end-of-question",
        "nextlat": NextLatConfig(cross_entropy=1.0),
        "target": TargetConfig(include_image=True),
    },
    "pearl, chat": {"name": "pearl", "view": "chat"},
    "pearl, LoRA": {"name": "pearl", "lora": LORA},
    "pearl, ema": {"name": "pearl", "target": TargetConfig(source="ema", read="mean")},
}
WRONG = 3
"""The sample of the tiny data whose first step failed and is marked as a mistake."""


class Made(NamedTuple):
    """A trainee and a batch of what it asks for."""

    trainee: Trainee
    batch: Batch
    config: Config

    def loss(self, step: int = 0, targets: Tensor | None = None) -> Tensor:
        return loss_of(
            self.trainee(self.batch, moment(self.config, step), targets), self.batch.counts
        )


Make = Callable[..., Made]


@pytest.fixture(scope="module")
def samples(tiny_data: Path) -> Iterator[list[Sample]]:
    with DatasetReader(tiny_data) as reader:
        yield [reader[number] for number in (0, 2, WRONG)]


@pytest.fixture
def make(tiny_folder: Callable[[str], Path], samples: list[Sample]) -> Make:
    def make(
        family: str,
        *,
        lora: LoraConfig | None = None,
        of: list[Sample] | None = None,
        plan: Any = None,
        **options: Any,
    ) -> Made:
        objective = ObjectiveConfig(**options)
        config = Config(
            model=ModelConfig(id=str(tiny_folder(family)), lora=lora), objective=objective
        )
        backbone = build_backbone(config.model, train_pred=objective.pred == "trained")
        encoder = Encoder(backbone.processor, backbone.tokens, objective=objective)
        views = plan or plan_views(objective)
        encoded = [encode_sample(sample, "tiny", views, encoder) for sample in of or samples]
        batch = collate(encoded, pad_id=encoder.pad_id)  # type: ignore[arg-type]
        return Made(make_trainee(backbone, config).train(), batch, config)

    return make


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("family", FAMILIES)
def test_forward_backward_save_reload(
    family: str, objective: str, make: Make, tmp_path: Path
) -> None:
    made = make(family, **OBJECTIVES[objective])
    pred = torch.tensor(made.trainee.backbone.tokens.pred)
    untrained = made.trainee.backbone.embed(pred).detach().clone()
    trained = [p for p in made.trainee.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    first = made.loss()
    first.backward()
    assert torch.isfinite(first)
    layers = made.trainee.backbone.plain.get_decoder().layers.parameters()
    language = [p for p in layers if p.requires_grad]
    assert language
    assert all(p.grad is not None and p.grad.isfinite().all() for p in language)
    assert any(p.grad.any() for p in trained if p.grad is not None)
    optimizer.step()
    made.trainee.after_update()

    names = kept_names(made.trainee)
    state = made.trainee.state_dict()
    save_file({name: state[name].contiguous() for name in names}, tmp_path / "weights.safetensors")
    again = make(family, **OBJECTIVES[objective])
    again.trainee.load_state_dict(load_file(tmp_path / "weights.safetensors"), strict=False)
    rows = made.trainee.backbone.embed(pred)
    assert torch.equal(again.trainee.backbone.embed(pred), rows)
    if made.config.objective.name == "pearl":
        assert (rows != untrained).any(dim=1).all(), "every [PRED] row has learned"
    torch.manual_seed(1)
    expected = made.loss(step=1)
    torch.manual_seed(1)
    assert torch.equal(again.loss(step=1), expected)
    assert not torch.equal(expected, first)


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("family", ["qwen2_5_vl", "idefics3"])
def test_with_lambda_0_pearl_is_its_control_bit_for_bit(
    family: str, lora: LoraConfig | None, make: Make
) -> None:
    losses, states = [], []
    for name in ("pearl", "sft"):
        made = make(family, lora=lora, name=name, weight=0.0)
        trained = [p for p in made.trainee.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-3)
        course = []
        for step in range(4):
            torch.manual_seed(step)
            loss = made.loss(step)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            course.append(float(loss.detach()))
        losses.append(course)
        states.append(made.trainee.state_dict())
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 4
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("pred", ["trained", "frozen"])
@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("family", ["qwen3_vl", "llava"])
def test_pred_rows_learn_or_stay(
    family: str, lora: LoraConfig | None, pred: str, make: Make
) -> None:
    made = make(family, lora=lora, pred=pred)
    backbone = made.trainee.backbone
    ids = torch.tensor(backbone.tokens.pred)
    before = backbone.embed(ids).detach().clone()
    trained = [p for p in made.trainee.parameters() if p.requires_grad]
    made.loss().backward()
    torch.optim.AdamW(trained, lr=1e-2).step()
    made.trainee.after_update()
    moved = (backbone.embed(ids).detach() != before).any(dim=1)
    assert moved.all() if pred == "trained" else not moved.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_frozen_base_under_lora_is_the_network_before_training(family: str, make: Make) -> None:
    frozen = TargetConfig(source="frozen-base")
    made = make(family, lora=LORA)
    backbone, parts = made.trainee.backbone, made.trainee.parts
    options = ObjectiveConfig(target=frozen)
    before = embed_target(backbone, made.batch, made.config.objective, parts)
    with torch.no_grad():
        for name, weight in backbone.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    with backbone.base_weights():
        base = embed_target(backbone, made.batch, made.config.objective, parts)
    assert torch.equal(embed_target(backbone, made.batch, options, parts), base)
    torch.testing.assert_close(base, before, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(
        embed_target(backbone, made.batch, made.config.objective, parts), before, atol=1e-2
    )


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("family", ["qwen2_5_vl", "internvl"])
def test_cached_targets_are_the_computed_ones_and_spare_the_trajectory_s_pictures(
    family: str, lora: LoraConfig | None, make: Make, tmp_path: Path
) -> None:
    options = {"target": TargetConfig(source="frozen-base", read="before-conclusion")}
    training = make(family, lora=lora, **options)
    assert needs(training.config.objective) == {"cache", "nextlat"}
    beforehand = make(family, lora=lora, plan=target_plan(training.config.objective), **options)
    backbone = training.trainee.backbone
    records = dict.fromkeys(training.batch.keys, "hash")
    cache = TargetCache(tmp_path, target_identity(backbone, training.config), records)
    assert fill(cache, backbone, [beforehand.batch], training.config) == 3
    computed = embed_target(
        backbone, beforehand.batch, training.config.objective, training.trainee.parts
    )
    assert torch.equal(cache(training.batch), computed)
    assert training.batch.target is None
    roots = len({number for row in training.batch.context.images for number in row})
    assert len(training.batch.image_tokens) == roots
    training.loss(targets=cache(training.batch)).backward()
    again = make(family, lora=lora, **options)
    found = target_identity(again.trainee.backbone, again.config)
    assert found == target_identity(backbone, training.config)


def test_lora_or_not_is_the_same_base(make: Make) -> None:
    """Its targets can be shared."""
    plain, adapted = (make("qwen3_vl", lora=lora) for lora in (None, LORA))
    assert target_identity(plain.trainee.backbone, plain.config) == target_identity(
        adapted.trainee.backbone, adapted.config
    )


def test_wrong_steps_are_neither_learned_nor_part_of_the_target(
    make: Make, samples: list[Sample]
) -> None:
    sample = samples[2]
    assert sample.trajectory.loss_mask[0] == 0
    first, *rest = sample.trajectory.steps
    other = changed(
        sample, steps=[type(first)(thought="Another thought.", calls=first.calls), *rest]
    )

    made = [
        make("qwen2_5_vl", of=[one], name="pearl", view="trajectory") for one in (sample, other)
    ]
    targets = [
        embed_target(one.trainee.backbone, one.batch, one.config.objective, one.trainee.parts)
        for one in made
    ]
    assert torch.equal(*targets)
    learned = [one.batch.context.learned["trajectory"].id for one in made]
    assert torch.equal(*learned)
    assert not torch.equal(made[0].batch.context.ids, made[1].batch.context.ids)

    options = {"target": TargetConfig(wrong_steps=True)}
    kept = [make("qwen2_5_vl", of=[one], **options) for one in (sample, other)]
    ids = [one.batch.target.ids for one in kept]
    assert ids[0].shape != ids[1].shape or not torch.equal(*ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_encoded_apart_give_the_terms_of_pictures_encoded_together(
    family: str, make: Make
) -> None:
    """Leaving the trajectory's pictures out of the gradient's pass changes no term."""
    made = make(family, target=TargetConfig(include_image=True))
    made.trainee.eval()
    apart = made.trainee(made.batch, moment(made.config, 0)).losses
    from dataclasses import replace

    together = made.trainee(replace(made.batch, image_sizes={}), moment(made.config, 0)).losses
    for name, term in apart.items():
        torch.testing.assert_close(term.total, together[name].total, rtol=1e-4, atol=1e-5)
