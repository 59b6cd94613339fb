"""What a run writes: files that follow from the seed, curves and a card from files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from toy_run import toy_batches, toy_config, toy_ingredients

from pearl_tools.errors import BadInput, UsageError
from pearl_train.report.card import write_card
from pearl_train.report.curves import draw_curves, figure_of
from pearl_train.run.folder import DataFacts, RunFolder, data_sha256
from pearl_train.run.metrics import (
    Metrics,
    Window,
    last_values,
    read_metrics,
)
from pearl_train.settings.config import Config, LogConfig
from pearl_train.training.session import fit

SILENT = Config(log=LogConfig(tensorboard=False))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.path.mkdir()
    return made


def test_a_resumed_run_cuts_its_lines_back_to_the_checkpoint(folder: RunFolder) -> None:
    metrics = Metrics(folder, SILENT)
    metrics.log(1, {"loss": 2.0})
    length = metrics.durable_bytes()
    metrics.log(2, {"loss": 1.0})
    metrics.close()
    with folder.metrics.open("ab") as stream:
        stream.write(b'{"step": 3, "lo')  # torn by a kill
    again = Metrics(folder, SILENT, start=1, kept_bytes=length)
    again.log(2, {"loss": 1.5})
    again.close()
    assert read_metrics(folder.metrics) == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}]


def test_lines_that_are_gone_are_told(folder: RunFolder) -> None:
    with pytest.raises(BadInput, match="expected at least the 10 bytes"):
        Metrics(folder, SILENT, start=1, kept_bytes=10)


def test_a_torn_last_line_is_left_out_and_a_broken_one_told(folder: RunFolder) -> None:
    folder.metrics.write_bytes(b'{"step": 1}\n{"st')
    assert read_metrics(folder.metrics) == [{"step": 1}]
    folder.metrics.write_bytes(b'{"step": 1}\nnonsense\n')
    with pytest.raises(BadInput, match="line 2: expected JSON"):
        read_metrics(folder.metrics)


def test_a_value_that_is_no_number_is_null(folder: RunFolder) -> None:
    metrics = Metrics(folder, SILENT)
    metrics.log(1, {"loss": float("nan")})
    metrics.close()
    assert json.loads(folder.metrics.read_text()) == {"step": 1, "loss": None}


def test_a_term_left_out_of_some_updates_is_averaged_over_the_others() -> None:
    window = Window()
    window.add({"vlm": 1.0, "jepa": 0.5})
    window.add({"vlm": 3.0})
    assert Window(json.loads(json.dumps(window.state()))).means() == {"vlm": 2.0, "jepa": 0.5}


def test_the_same_values_go_to_tensorboard(folder: RunFolder) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = toy_config(log={"tensorboard": True})
    fit(toy_ingredients(config), config, folder, progress=False)
    events = EventAccumulator(str(folder.tensorboard))
    events.Reload()
    losses = [(event.step, event.value) for event in events.Scalars("loss")]
    lines = [line for line in read_metrics(folder.metrics) if "loss" in line]
    assert losses == [(line["step"], pytest.approx(line["loss"])) for line in lines]
    assert "panel/target_std" in events.Tags()["scalars"]


def test_wandb_that_is_not_there_names_the_way_out(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    with pytest.raises(UsageError, match=r"log\.wandb: .*pip install wandb"):
        Metrics(folder, toy_config(log={"wandb": True}))


def test_what_wandb_refuses_is_one_line_with_the_way_out(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoKeyError(Exception):
        """As wandb's own, which is no error of Python's."""

    class Refusing(FakeWandb):
        def init(self, **options: Any) -> FakeWandb:
            raise NoKeyError("api_key not configured (no-tty).\nCall wandb.login(key=[key])")

    monkeypatch.setitem(sys.modules, "wandb", Refusing())
    with pytest.raises(UsageError) as caught:
        Metrics(folder, toy_config(log={"wandb": True}))
    told = str(caught.value)
    assert told.startswith("log.wandb: ")
    assert "NoKeyError: api_key not configured" in told
    assert "wandb login" in told
    assert "\n" not in told


class FakeWandb(ModuleType):
    """Keeps what the package would send."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.begun: list[dict[str, Any]] = []
        self.sent: list[dict[str, float]] = []
        self.finished = 0

    def init(self, **options: Any) -> FakeWandb:
        self.begun.append(options)
        return self

    def log(self, values: dict[str, float]) -> None:
        self.sent.append(values)

    def finish(self) -> None:
        self.finished += 1


class Gone(Exception):
    """As if the session were killed."""


def test_wandb_gets_one_run_and_no_step_twice_of_a_run_that_was_killed_and_resumed(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in step 10, the run goes on from the checkpoint at 8, and line 9 comes again."""
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    config = toy_config(log={"wandb": True})

    def until_ten(start: int) -> Iterator[Any]:
        for number, micro_batches in enumerate(toy_batches(config)(start), start):
            if number == 10:
                raise Gone
            yield micro_batches

    with pytest.raises(Gone):
        fit(toy_ingredients(config, batches=until_ten), config, folder, progress=False)
    before = len(fake.sent)
    fit(toy_ingredients(config), config, folder, resume=True, progress=False)
    assert len(fake.sent) > before
    first, second = fake.begun
    assert first["id"] == second["id"] != ""
    assert second["resume"] == "allow"
    assert first["dir"] == str(folder.path)
    assert first["config"]["optim"]["steps"] == 12
    assert fake.finished == 2
    given = [(values["step"], name) for values in fake.sent for name in values if name != "step"]
    assert len(given) == len(set(given)), "each value once per step"
    lines = {(line["step"], name) for line in read_metrics(folder.metrics) for name in line}
    assert {(step, name) for step, name in lines if name != "step"} <= set(given)
    assert {step for step, name in given if name == "loss"} == {3, 6, 9, 10, 12}
    assert {step for step, name in given if name == "panel/target_std"} == {0, 4, 8, 11}
    assert any(name.startswith("timing/") for _, name in given)


def test_a_record_of_wandb_that_cannot_be_read_is_told(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb())
    folder.wandb.write_text("{")
    with pytest.raises(BadInput, match=r"wandb\.json: expected Given as JSON"):
        Metrics(folder, toy_config(log={"wandb": True}))


def test_curves_show_every_term_and_are_the_same_twice(folder: RunFolder) -> None:
    fit(toy_ingredients(toy_config()), toy_config(), folder, progress=False)
    first = draw_curves(folder.metrics, folder.curves, "run")
    assert first is not None
    before = folder.curves.read_bytes()
    assert before.startswith(b"\x89PNG")
    draw_curves(folder.metrics, folder.curves, "run")
    assert folder.curves.read_bytes() == before
    folder.metrics.write_bytes(b"")
    assert draw_curves(folder.metrics, folder.path / "none.png") is None


def test_the_panel_s_chart_has_all_five_figures_and_every_axis_a_name() -> None:
    """The effective rank counts dimensions: on the others' axis it would flatten them."""
    names = ("target_std", "predicted_std", "effective_rank", "cosine", "retrieval")
    panel = {f"panel/{name}": 0.5 for name in names} | {"panel/effective_rank": 24.0}
    figure = figure_of([{"step": 0, **panel}, {"step": 5, "loss": 1.0, "lr": 0.1}])
    chart, right = figure.axes[-2:]
    words = [name.replace("_", " ") for name in names]
    assert {text.get_text() for text in chart.get_legend().get_texts()} == set(words)
    assert [line.get_label() for line in right.lines] == ["effective rank"]
    assert len(chart.lines) == 4
    assert all(axes.get_ylabel() for axes in figure.axes)
    figure.canvas.draw()
    legend = chart.get_legend().get_window_extent()
    assert legend.y1 < chart.get_window_extent().y0, "under the chart, where no line runs"


FACTS = DataFacts(path="/x/scenes", manifest_sha256="a" * 64, split="train", samples=12)


def test_the_card_says_what_was_trained_on_what_and_how_it_scored(folder: RunFolder) -> None:
    folder.path.rmdir()
    folder.create(toy_config(), FACTS)
    fit(toy_ingredients(toy_config()), toy_config(), folder, progress=False)
    folder.model.mkdir()
    card = write_card(folder).read_text()
    assert "tags:\n- pearl\n---" in card, "each tag once"
    assert "12 trajectories of split `train` of `scenes`" in card
    assert "a" * 64 in card
    assert "12 steps of 6 samples; AdamW, learning rate 0.01" in card
    assert f"| vlm | {last_values(read_metrics(folder.metrics))['vlm']:.4g} |" in card
    assert "Not evaluated yet" in card
    rate = {"k": 3, "n": 4, "rate": 0.75, "low": 0.3, "high": 0.95}
    row = {
        "family": "read",
        "accuracy": rate,
        "chance": 0.25,
        "by_likelihood": {**rate, "k": 2, "rate": 0.5},
    }
    scores = {"data": "/x/test", "split": "test", "mode": "direct", "families": [row],
              "overall": {**row, "family": "all", "by_likelihood": None}}  # fmt: skip
    (folder.path / "eval").mkdir()
    (folder.path / "eval" / "scores.json").write_text(json.dumps(scores))
    card = write_card(folder).read_text()
    assert "| read | 4 | 3 | 75.0 % [30.0, 95.0] | 0.25 | 2/4: 50.0 % [30.0, 95.0] |" in card
    assert "| all | 4 | 3 | 75.0 % [30.0, 95.0] | 0.25 |  |" in card
    assert "Not evaluated yet" not in card


def test_a_folder_holds_one_run(folder: RunFolder) -> None:
    folder.create(toy_config(), FACTS)
    assert folder.read_config() == toy_config()
    assert folder.read_data() == FACTS
    with pytest.raises(UsageError, match=r"one that holds a run; .*--resume"):
        folder.must_be_free()
    other = RunFolder(folder.path.parent / "other")
    other.path.mkdir()
    (other.path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="other files"):
        other.must_be_free()
    with pytest.raises(UsageError, match=r"no config\.toml in it"):
        other.read_config()
    with pytest.raises(UsageError, match=r"a dataset folder with manifest\.jsonl"):
        data_sha256(other.path)
