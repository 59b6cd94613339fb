"""A run that stops early can be looked at: curves of all that was measured, a card saying why."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from toy_run import Toy, ToyPanel, toy_batch, toy_batches, toy_config, toy_ingredients

from pearl_tools.errors import BadInput, UsageError
from pearl_train.asking.trained import find
from pearl_train.errors import Collapsed, Diverged, RunInterrupted
from pearl_train.objectives.base import Moment, Terms
from pearl_train.objectives.target import embed_rows
from pearl_train.report.card import write_card
from pearl_train.run.environment import describe
from pearl_train.run.folder import DataFacts, RunFolder
from pearl_train.run.metrics import read_metrics
from pearl_train.settings.config import Config, TargetConfig
from pearl_train.settings.load import load_config
from pearl_train.training.checkpoint import manifests, write_checkpoint
from pearl_train.training.ingredients import Ingredients
from pearl_train.training.loop import train
from pearl_train.training.session import fit
from pearl_train.training.state import capture
from pearl_train.training.stopped import show, told_if_stopped
from pearl_train.views.batch import Batch

FACTS = DataFacts(path="/x/scenes", manifest_sha256="a" * 64, split="train", samples=12)
CONFIG = toy_config()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.create(CONFIG, FACTS)
    return made


def go(
    run: RunFolder, parts: Ingredients, config: Config = CONFIG, *, resume: bool = False
) -> None:
    """Train as :func:`pearl_train.training.loop.train` does."""

    def session(step: int) -> None:
        told.began({"from_step": step, "processes": 1, **describe()})

    with told_if_stopped(run, main=True) as told:
        fit(parts, config, run, resume=resume, progress=False, began=session)


def batches_until(step: int, happens: Callable[[], None]) -> Callable[[int], Iterator[list[Batch]]]:
    """The toy's batches; something happens before those of ``step``."""

    def batches(start: int) -> Iterator[list[Batch]]:
        for number, micro in enumerate(toy_batches(CONFIG)(start), start):
            if number == step:
                happens()
            yield micro

    return batches


def terminated() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_an_interrupted_run_shows_what_it_reached(run: RunFolder) -> None:
    with pytest.raises(RunInterrupted):
        go(run, toy_ingredients(CONFIG, batches=batches_until(4, terminated)))
    assert run.curves.is_file()
    losses = [line for line in read_metrics(run.metrics) if "loss" in line]
    assert [line["step"] for line in losses] == [3, 4], "the one since the last line as well"
    card = run.card.read_text()
    assert "**Not finished**: it stopped after step 4 of 12. Somebody interrupted it" in card
    assert "pearl-train run --resume run" in card
    assert "4 of 12 steps of 6 samples" in card
    assert "- from step 0 to 4: 1 process(es)" in card
    assert f"| vlm | {losses[-1]['vlm']:.4g} |" in card
    assert "](curves.png)" in card
    assert "## Use" not in card
    assert "## Scores" not in card


def test_who_resumes_ends_with_the_lines_of_one_that_never_stopped(tmp_path: Path) -> None:
    lines = []
    for name, at in (("whole", 99), ("halves", 4)):
        folder = RunFolder(tmp_path / name)
        folder.create(CONFIG, FACTS)
        try:
            go(folder, toy_ingredients(CONFIG, batches=batches_until(at, terminated)))
        except RunInterrupted:
            go(folder, toy_ingredients(CONFIG), resume=True)
        lines.append(folder.metrics.read_bytes())
    assert lines[0] == lines[1]


def test_a_second_ctrl_c_leaves_the_same_without_a_checkpoint(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        save = write_checkpoint
        saved: list[int] = []

        def captured(*arguments: Any) -> Any:
            if saved == [4]:
                terminated()  # while the checkpoint of the stop is made
            return capture(*arguments)

        def written(folder: Path, snapshot: Any, *more: Any) -> Any:
            saved.append(snapshot.step)
            return save(folder, snapshot, *more)

        patch.setattr("pearl_train.training.session.capture", captured)
        patch.setattr("pearl_train.training.session.write_checkpoint", written)
        with pytest.raises(RunInterrupted, match=r"at once: .*pearl-train run --resume .*run$"):
            go(run, toy_ingredients(CONFIG, batches=batches_until(6, terminated)))
    assert run.curves.is_file()
    card = run.card.read_text()
    assert "after step 6 of 12. Somebody interrupted it (Ctrl-C or SIGTERM), at once" in card
    assert [line["step"] for line in read_metrics(run.metrics) if "loss" in line] == [3, 6]
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-000004"]
    go(run, toy_ingredients(CONFIG), resume=True)


class Signalling(Toy):
    """Somebody asks to stop in the middle of an update."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def forward(self, batch: Batch, moment: Moment, targets: Tensor | None) -> Terms:
        terms = super().forward(batch, moment, targets)
        if moment.step == self.step:
            terminated()
        return terms


def test_the_update_at_hand_is_given_up_and_done_again(tmp_path: Path) -> None:
    weights = []
    for name, at in (("whole", 99), ("halves", 7)):
        folder = RunFolder(tmp_path / name)
        folder.create(CONFIG, FACTS)
        trainee: Toy = Signalling(at)
        try:
            go(folder, toy_ingredients(CONFIG, trainee=trainee))
        except RunInterrupted:
            assert manifests(folder.checkpoints).keys() >= {folder.checkpoints / "step-000007"}
            trainee = Toy()
            go(folder, toy_ingredients(CONFIG, trainee=trainee), resume=True)
        weights.append([p.detach().clone() for p in trainee.parameters()])
        assert [line["step"] for line in read_metrics(folder.metrics) if "loss" in line][-1] == 12
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))


def test_before_the_first_step_there_is_nothing_to_keep(run: RunFolder) -> None:
    with pytest.raises(
        RunInterrupted, match=r"before the first step: nothing is lost. Resume with"
    ):
        go(run, toy_ingredients(CONFIG, trainee=Signalling(0)))
    assert not list(run.checkpoints.iterdir())


def test_a_validation_that_is_interrupted_is_made_up_for(tmp_path: Path) -> None:
    found = []
    for name, at in (("whole", 99), ("halves", 1)):
        folder = RunFolder(tmp_path / name)
        folder.create(CONFIG, FACTS)
        measured = 0

        def validation(at: int = at) -> Iterator[list[Batch]]:
            nonlocal measured
            measured += 1
            if measured == at:
                terminated()
            yield [toy_batch([40, 41, 42])]

        try:
            go(folder, toy_ingredients(CONFIG, validation=validation))
        except RunInterrupted:
            (kept,) = manifests(folder.checkpoints).values()
            assert (kept.step, kept.validation) == (4, None)
            go(folder, toy_ingredients(CONFIG, validation=validation), resume=True)
        scores = {path.name: m.validation for path, m in manifests(folder.checkpoints).items()}
        found.append((folder.metrics.read_bytes(), scores))
    assert found[0] == found[1]
    assert all(value is not None for value in found[0][1].values())


def test_a_second_ctrl_c_while_curves_are_drawn_leaves_the_card(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def again(*args: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("pearl_train.training.stopped.draw_curves", again)
    with pytest.raises(RunInterrupted, match=r"a checkpoint is written. Resume with: "):
        go(run, toy_ingredients(CONFIG, batches=batches_until(4, terminated)))
    assert "stopped after step 4 of 12. Somebody interrupted it" in run.card.read_text()
    assert "the curves were not drawn" in capsys.readouterr().err


class Ruined(Toy):
    """Breaks on every sample from some moment on."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def forward(self, batch: Batch, moment: Moment, targets: Tensor | None) -> Terms:
        terms = super().forward(batch, moment, targets)
        share = torch.nan if moment.step >= self.step else 1.0
        vlm = terms.losses["vlm"]._replace(total=terms.losses["vlm"].total * share)
        return terms._replace(losses={**terms.losses, "vlm": vlm})


def test_who_diverged_is_told_to_train_anew_and_not_to_resume(tmp_path: Path) -> None:
    run, config = RunFolder(tmp_path / "run"), toy_config(optim={"clip": None})
    run.create(config, FACTS)
    with pytest.raises(Diverged) as caught:
        go(run, toy_ingredients(config, trainee=Ruined(5)), config)
    told = str(caught.value)
    assert "an update before this one ruined them, and a checkpoint since then holds them" in told
    command = "--config {}/config.toml --set optim.lr=0.001 --set optim.clip=1 --out OTHER"
    here = f"pearl-train run --data /x/scenes {command.format(run.path)}"
    same = "comes to the same point: train anew with a lower optim.lr and gradients clipped: "
    assert told.endswith(f"{same}{here}")
    card = run.card.read_text()
    assert f"{same}`pearl-train run --data scenes {command.format('run')}`." in card
    assert "--resume" not in card
    assert str(tmp_path) not in card
    with pytest.raises(UsageError) as unfinished:
        find(str(run.path))
    assert str(unfinished.value).endswith(f"{same}{here}")
    again = load_config([run.config], ["optim.lr=0.001", "optim.clip=1"])
    assert again.optim == msgspec.structs.replace(config.optim, lr=0.001, clip=1.0)


def test_before_any_update_the_learning_rate_is_not_blamed(run: RunFolder) -> None:
    with pytest.raises(Diverged, match=r"look at model and data with pearl-train doctor --data /x"):
        go(run, toy_ingredients(CONFIG, trainee=Ruined(0)))
    assert "stopped before the first of 12 steps" in run.card.read_text()
    assert "optim.lr=" not in run.card.read_text()


def trained_and_interrupted(run: RunFolder, written: tuple[str, ...]) -> None:
    """Ctrl-C after the last step, when so much was written."""

    def session(step: int) -> None:
        told.began({"from_step": step, "processes": 1, **describe()})

    with told_if_stopped(run, main=True) as told:
        fit(toy_ingredients(CONFIG), CONFIG, run, progress=False, began=session)
        told.has_trained()
        if "model" in written:
            run.model.mkdir()
            (run.model / "config.json").write_text("{}")
            save_file({"weight": torch.ones(1)}, run.model / "model.safetensors")
        if "card" in written:
            show(run)
        raise KeyboardInterrupt


@pytest.mark.parametrize("written", [(), ("model",), ("model", "curves", "card")])
def test_ctrl_c_after_the_last_step_says_that_all_is_trained(
    written: tuple[str, ...], run: RunFolder
) -> None:
    with pytest.raises(RunInterrupted) as caught:
        trained_and_interrupted(run, written)
    card, said = run.card.read_text(), str(caught.value)
    if "card" in written:
        assert said.startswith("interrupted when all was done: ")
    else:
        assert said.startswith("interrupted after the last step: everything is trained and in a")
        assert said.endswith(f"pearl-train run --resume {run.path}")
    assert run.curves.is_file()
    assert ("Not finished" in card) == (not written)
    if not written:
        assert "stopped after step 12 of 12. Somebody interrupted it" in card
        assert "`pearl-train run --resume run` writes what is missing; no step is left" in card


def test_a_card_without_its_curves_does_not_call_a_run_finished(run: RunFolder) -> None:
    with pytest.raises(RunInterrupted):
        go(run, toy_ingredients(CONFIG, batches=batches_until(4, terminated)))
    run.model.mkdir()
    write_card(run)
    assert "Not finished" not in run.card.read_text()
    run.curves.unlink()
    write_card(run)
    assert "what was reached by then; there are no curves yet." in run.card.read_text()


def test_a_collapse_is_in_the_card(run: RunFolder) -> None:
    config = toy_config(log={"on_collapse": "stop"})
    shutil.rmtree(run.path)
    run.create(config, FACTS)
    with pytest.raises(Collapsed):
        go(run, toy_ingredients(config, panel=ToyPanel("the targets have collapsed")), config)
    assert run.curves.is_file()
    card = run.card.read_text()
    assert "stopped after step 1 of 12. The reason: step 0: the targets have collapsed." in card
    assert "A collapse stops it there again: begin a new run with a remedy" in card
    assert "| collapse panel, last reading | |\n|---|---|\n| target_std | " in card


def test_so_is_what_nobody_foresaw(run: RunFolder) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        go(run, toy_ingredients(CONFIG, batches=batches_until(2, broken)))
    assert "stopped after step 2 of 12. The reason: ZeroDivisionError: a bug." in (
        run.card.read_text()
    )


def test_a_run_without_a_step_leaves_nothing_to_show(run: RunFolder) -> None:
    def broken() -> None:
        raise BadInput("the first shard is gone")

    with pytest.raises(BadInput):
        go(run, toy_ingredients(CONFIG, batches=batches_until(0, broken)))
    assert not run.card.exists()
    assert not run.curves.exists()


def test_a_card_that_cannot_be_written_hides_no_error(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    run.card.mkdir()
    with pytest.raises(RunInterrupted):
        go(run, toy_ingredients(CONFIG, batches=batches_until(4, terminated)))
    assert "curves and card cannot be written: " in capsys.readouterr().err


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_while_targets_are_made_keeps_them(
    signals: int,
    tmp_path: Path,
    tiny_folder: Callable[[str], Path],
    tiny_data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []

    def embedded(model: Any, batch: Batch, options: TargetConfig) -> Any:
        made.append(len(batch.keys))
        for _ in range(signals if len(made) == 2 else 0):
            terminated()
        return embed_rows(model, batch, options)

    monkeypatch.setattr("pearl_train.objectives.target_cache.embed_rows", embedded)
    sets = ["optim.steps=1", "optim.batch=2", "optim.micro_batch=2", "objective.name=pearl",
            "objective.target.source=frozen-base", "log.tensorboard=false"]  # fmt: skip
    config = load_config([], sets, {"model.id": str(tiny_folder("llava"))})
    run = RunFolder(tmp_path / "run")
    with pytest.raises(RunInterrupted, match=r"Resume with: pearl-train run --resume .*run$"):
        train(config, tiny_data, run.path, progress=False)
    kept = 2  # the batch at hand is given up
    card = run.card.read_text()
    assert "**Not finished**: it stopped before the first of 1 steps. Somebody interrupted" in card
    if signals == 1:
        assert f"while targets were made: 2 of {run.read_data().samples} targets are kept." in card

    made.clear()
    signals = 0
    train(config, tiny_data, run.path, resume=True, progress=False)
    assert sum(made) == run.read_data().samples - kept, "those that were kept are not made again"
    assert "Not finished" not in run.card.read_text()


def test_a_real_run_that_stops_has_both(
    tmp_path: Path,
    tiny_folder: Callable[[str], Path],
    tiny_data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pearl_train.training.collapse.COLLAPSED_STD", 10.0)
    sets = ["optim.steps=3", "optim.batch=4", "optim.micro_batch=4", "log.on_collapse=stop",
            "log.tensorboard=false", "objective.name=pearl"]  # fmt: skip
    config = load_config([], sets, {"model.id": str(tiny_folder("llava"))})
    run = RunFolder(tmp_path / "run")
    with pytest.raises(Collapsed):
        train(config, tiny_data, run.path, progress=False)
    assert run.curves.is_file()
    card = run.card.read_text()
    assert "it stopped after step 1 of 3. The reason: step 0: the targets have collapsed" in card
    assert "| effective_rank | " in card
