"""The loop on a toy: determinism, exact gradients, stops that say what to do."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor, nn
from toy_run import (
    Toy,
    ToyPanel,
    toy_batch,
    toy_batches,
    toy_config,
    toy_ingredients,
    toy_moment,
)

from pearl_train.errors import Collapsed, Diverged, RunInterrupted
from pearl_train.objectives.base import Moment, Terms
from pearl_train.run.folder import RunFolder
from pearl_train.run.metrics import read_metrics
from pearl_train.settings.config import OptimConfig
from pearl_train.training.checkpoint import Checkpoint, whole
from pearl_train.training.collapse import FEWEST, Panel
from pearl_train.training.optim import learning_rate, make_optimizer
from pearl_train.training.session import fit
from pearl_train.views.batch import Batch


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    weights, lines = [], []
    for name in ("a", "b"):
        folder, toy = RunFolder(tmp_path / name), Toy()
        fit(toy_ingredients(toy_config(), trainee=toy), toy_config(), folder, progress=False)
        weights.append(toy.state_dict())
        lines.append(folder.metrics.read_bytes())
    assert lines[0] == lines[1]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_another_seed_draws_another_dropout(tmp_path: Path) -> None:
    lines = []
    for seed in (0, 1):
        folder = RunFolder(tmp_path / str(seed))
        config = msgspec.structs.replace(toy_config(), seed=seed)
        fit(toy_ingredients(config), config, folder, progress=False)
        lines.append(folder.metrics.read_bytes())
    assert lines[0] != lines[1]


def test_the_losses_fall_and_every_term_is_written_apart(run: RunFolder) -> None:
    config = toy_config(optim={"steps": 60})
    result = fit(toy_ingredients(config), config, run, progress=False)
    lines = [line for line in read_metrics(run.metrics) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(3, 61, 3))
    assert lines[-1]["vlm"] < lines[0]["vlm"]
    assert {"loss", "vlm", "jepa", "grad_norm", "lr", "samples", "tokens"} <= set(lines[0])
    assert lines[-1]["samples"] == 60 * 6
    assert result.losses["vlm"] == lines[-1]["vlm"]


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_accumulation_changes_nothing_but_speed(tmp_path: Path, micro_batch: int) -> None:
    """Tokens fall unevenly over the micro-batches; the gradient is that of the whole batch."""
    found = []
    for size in (6, micro_batch):
        config = toy_config(optim={"micro_batch": size})
        toy = Toy(dropout=0.0)
        folder = RunFolder(tmp_path / str(size))
        fit(toy_ingredients(config, trainee=toy), config, folder, progress=False)
        found.append(toy.state_dict())
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-5, atol=1e-6)


def test_the_panel_is_read_from_step_0_to_the_last(run: RunFolder) -> None:
    fit(toy_ingredients(toy_config()), toy_config(), run, progress=False)
    panels = [line for line in read_metrics(run.metrics) if "panel/target_std" in line]
    assert [line["step"] for line in panels] == [0, 4, 8, 11]


def test_a_small_first_batch_still_gives_a_baseline_and_the_training_stays_the_same(
    run: RunFolder, tmp_path: Path
) -> None:
    """The samples of the next steps are read as well, before anything is trained."""
    config = toy_config(optim={"batch": 2, "micro_batch": 2})
    plain, watched, panel = Toy(), Toy(), Panel(config.objective)
    fit(toy_ingredients(config, trainee=plain, panel=None), config, run, progress=False)
    beside = RunFolder(tmp_path / "watched")
    fit(toy_ingredients(config, trainee=watched, panel=panel), config, beside, progress=False)
    for name, weight in plain.state_dict().items():
        assert torch.equal(watched.state_dict()[name], weight)
    untrained, expected = Toy().eval(), Panel(config.objective)
    for micro_batches in islice(toy_batches(config)(0), FEWEST // 2):
        for batch in micro_batches:
            expected.see(untrained(batch, toy_moment(0), None))
    first, line = expected.read(), read_metrics(beside.metrics)[0]
    assert first is not None
    assert line["step"] == 0
    assert line["panel/samples"] == FEWEST
    assert line["panel/target_std"] == pytest.approx(first.target_std)
    assert panel.first is not None
    assert panel.first.target_std == pytest.approx(first.target_std)


@pytest.mark.parametrize(("batch", "begun"), [(FEWEST, [0]), (FEWEST - 1, [0, 1])])
def test_samples_are_read_beforehand_only_where_the_first_step_has_too_few(
    run: RunFolder, batch: int, begun: list[int]
) -> None:
    config, asked = toy_config(optim={"batch": batch}), []

    def batches(start: int) -> Iterator[list[Batch]]:
        asked.append(start)
        return toy_batches(config)(start)  # type: ignore[no-any-return]

    fit(toy_ingredients(config, batches=batches), config, run, progress=False)
    assert asked == begun


def test_gradients_are_measured_by_the_units_of_the_micro_batch_they_come_from(
    run: RunFolder,
) -> None:
    """Divided by those of the whole step, they would shrink with the size of the micro-batch."""
    units = []

    class Counting(ToyPanel):
        def look(
            self, terms: Terms, counts: Mapping[str, float], trained: Sequence[nn.Parameter]
        ) -> None:
            units.append(counts["samples"])
            super().look(terms, counts, trained)

    config = toy_config(optim={"micro_batch": 2})
    fit(toy_ingredients(config, panel=Counting()), config, run, progress=False)
    assert units == [2, 2, 2, 2]


def test_a_collapse_warns_once(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    parts = toy_ingredients(toy_config(), panel=ToyPanel("collapsed; set objective.stop_gradient"))
    result = fit(parts, toy_config(), run, progress=False)
    assert capsys.readouterr().err.count("set objective.stop_gradient") == 1
    assert result.warnings == ["collapsed; set objective.stop_gradient"]


def test_a_collapse_stops_if_asked(run: RunFolder) -> None:
    config = toy_config(log={"on_collapse": "stop"})
    parts = toy_ingredients(config, panel=ToyPanel("collapsed; set objective.stop_gradient"))
    with pytest.raises(Collapsed, match=r"step 0: collapsed; set objective\.stop_gradient"):
        fit(parts, config, run, progress=False)


class Poisoned(Toy):
    """Breaks on one sample."""

    def forward(self, batch: Batch, moment: Moment, targets: Tensor | None) -> Terms:
        terms = super().forward(batch, moment, targets)
        if "sample-12" not in batch.keys:
            return terms
        broken = terms.losses["vlm"]._replace(total=terms.losses["vlm"].total * float("nan"))
        return terms._replace(losses={**terms.losses, "vlm": broken})


def test_a_loss_that_is_no_number_names_step_samples_and_shards(run: RunFolder) -> None:
    config, toy = toy_config(), Poisoned()
    with pytest.raises(Diverged, match=r"step 3: .*got loss nan, vlm nan") as caught:
        fit(toy_ingredients(config, trainee=toy), config, run, progress=False)
    told = str(caught.value)
    assert "; broken by itself: sample-12 in shards/000001.tar. This update changed no" in told
    assert told.count(" in shards/") == 4, "its micro-batch, not the other, and it by itself"
    assert told.endswith(
        "Resuming makes the same choices and comes to the same point: train anew with a lower "
        "optim.lr or optim.clip: pearl-train run --data DIR --config "
        f"{run.path}/config.toml --set optim.lr=0.001 --out OTHER"
    )
    assert all(bool(p.isfinite().all()) for p in toy.parameters())


def test_weights_that_are_no_numbers_are_in_no_checkpoint(run: RunFolder) -> None:
    config, toy = toy_config(), Toy()
    parts = toy_ingredients(config, trainee=toy)

    def ruin() -> None:
        parts.after_update()
        if len(seen) == 7:
            toy.mix.weight.data[0, 0] = torch.inf
        seen.append(None)

    seen: list[None] = []
    ruined = replace(parts, after_update=ruin)
    with pytest.raises(Diverged, match=r"step 8: expected finite weights .* mix.weight; no check"):
        fit(ruined, config, run, progress=False)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-000004"]


@pytest.mark.parametrize(
    ("break_alone", "told"),
    [
        (True, "the weights rather than a sample, as they were before training"),
        (False, "each of them by itself, dropout off"),
    ],
)
def test_of_many_samples_the_first_are_named(break_alone: bool, told: str, run: RunFolder) -> None:
    class Broken(Toy):
        def forward(self, batch: Batch, moment: Moment, targets: Tensor | None) -> Terms:
            terms = super().forward(batch, moment, targets)
            whole = terms.losses["vlm"].total
            share = torch.nan if break_alone or len(batch.keys) > 1 else 1.0
            vlm = terms.losses["vlm"]._replace(total=whole * share)
            return terms._replace(losses={**terms.losses, "vlm": vlm})

    config = toy_config(optim={"batch": 40, "micro_batch": 40})
    with pytest.raises(Diverged) as caught:
        fit(toy_ingredients(config, trainee=Broken()), config, run, progress=False)
    assert str(caught.value).count(" in shards/") == 3
    assert "sample-14 in shards/000001.tar and 37 more; " in str(caught.value)
    assert told in str(caught.value)


def test_a_sample_whose_gradient_alone_is_no_number_is_named(run: RunFolder) -> None:
    class Broken(Toy):
        def forward(self, batch: Batch, moment: Moment, targets: Tensor | None) -> Terms:
            terms = super().forward(batch, moment, targets)
            if "sample-12" not in batch.keys:
                return terms
            if terms.losses["vlm"].total.requires_grad:
                terms.losses["vlm"].total.register_hook(lambda gradient: gradient * torch.inf)
            return terms

    config, toy = toy_config(), Broken()
    with pytest.raises(Diverged, match="every loss is finite, the gradient is not") as caught:
        fit(toy_ingredients(config, trainee=toy), config, run, progress=False)
    assert "; broken by itself: sample-12 in shards/000001.tar. " in str(caught.value)
    assert all(bool(p.isfinite().all()) for p in toy.parameters())
    assert toy.training


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(run: RunFolder) -> None:
    config = toy_config()
    before = signal.getsignal(signal.SIGINT)  # a shell's background job ignores it

    def batches(start: int) -> Iterator[list[Batch]]:
        for step, micro in enumerate(toy_batches(config)(start), start):
            if step == 5:
                os.kill(os.getpid(), signal.SIGINT)
            yield micro

    with pytest.raises(RunInterrupted, match=r"pearl-train run --resume .*run"):
        fit(toy_ingredients(config, batches=batches), config, run, progress=False)
    assert isinstance(whole(run.checkpoints / "step-000005"), Checkpoint), "the last whole update"
    assert signal.getsignal(signal.SIGINT) is before


def test_the_best_checkpoint_outlives_the_newest(run: RunFolder) -> None:
    config = toy_config(
        optim={"steps": 12, "lr": 3.0, "clip": None}, checkpoint={"every": 2, "keep_last": 1}
    )

    def validation() -> Iterator[list[Batch]]:
        yield [toy_batch([40, 41, 42])]

    result = fit(toy_ingredients(config, validation=validation), config, run, progress=False)
    scores = {
        int(line["step"]): line["validation/loss"]
        for line in read_metrics(run.metrics)
        if "validation/loss" in line
    }
    best = min(scores, key=lambda step: scores[step])
    assert result.validation == scores[best]
    kept = {path.name for path in run.checkpoints.iterdir()}
    assert kept == {f"step-{best:06d}", "step-000012"}


def test_validation_does_not_change_the_training(tmp_path: Path) -> None:
    def validation() -> Iterator[list[Batch]]:
        yield [toy_batch([40, 41, 42])]

    found = []
    for name, some in (("with", validation), ("without", None)):
        toy = Toy()
        parts = toy_ingredients(toy_config(), trainee=toy, validation=some)
        fit(parts, toy_config(), RunFolder(tmp_path / name), progress=False)
        found.append(toy.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    options = OptimConfig(steps=100, warmup=0.1, lr=1.0)
    assert learning_rate(options, 0) == pytest.approx(0.1)
    assert learning_rate(options, 9) == 1.0
    assert learning_rate(options, 55) == pytest.approx(0.5)
    assert learning_rate(options, 99) < 0.001
    assert learning_rate(OptimConfig(schedule="constant", lr=1.0), 299) == 1.0


def test_vectors_do_not_decay() -> None:
    toy = Toy()
    matrices, vectors = make_optimizer(toy, OptimConfig()).param_groups
    assert {p.ndim for p in vectors["params"]} == {1}
    assert vectors["weight_decay"] == 0.0
    assert all(p is not q for p in toy.frozen.parameters() for q in matrices["params"])
