"""The recipe of the depth network: what may still change while a stage is trained."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from scripts import load_script

recipe = load_script("training/depth/recipe.py", neighbours=True)
train = load_script("training/depth/train.py", neighbours=True)

STAGE = recipe.Recipe(
    name="stage", mixed=250, clean=250, steps=1_000, settle=800, cool=300, rate=1e-3, seed=0
)
SHORTER = replace(STAGE, steps=900, settle=650, cool=200)


@pytest.mark.parametrize(("step", "goes_on"), [(0, True), (650, True), (651, False), (900, False)])
def test_a_stage_may_be_shortened_until_it_cools_or_settles(step: int, *, goes_on: bool) -> None:
    saved = {"recipe": asdict(STAGE), "step": step}
    assert recipe.continues(saved, STAGE)
    assert recipe.continues(saved, SHORTER) is goes_on


def test_a_stage_of_other_scenes_or_rate_is_another_one() -> None:
    saved = {"recipe": asdict(STAGE), "step": 10}
    assert not recipe.continues(saved, replace(STAGE, rate=2e-3))
    assert not recipe.continues(saved, replace(STAGE, mixed=500))


def test_what_is_kept_of_the_initial_weights_is_open_until_the_end() -> None:
    saved = {"recipe": asdict(STAGE), "step": 990}
    assert recipe.continues(saved, replace(STAGE, kept=0.5))
    average = {"weight": torch.ones(2), "counter": torch.tensor(7)}
    initial = {"weight": torch.zeros(2, dtype=torch.float16)}
    blended = train.blended(average, initial, 0.25)
    assert blended["weight"].tolist() == [0.75, 0.75]
    assert blended["counter"] == 7
    assert train.blended(average, {}, 0.0) == average


def test_every_stage_draws_whole_shards_and_settles_before_it_ends() -> None:
    for stage in recipe.STAGES:
        assert not any(number % recipe.SHARD for number in stage.first), stage.name
        assert 0 < stage.settle < stage.steps, stage.name
        assert stage.cool < stage.steps, stage.name
        assert recipe.learning_rate(stage, 0) < stage.rate
        assert recipe.learning_rate(stage, stage.steps - 1) < 0.02 * stage.rate


def test_a_finished_stage_hands_on_the_middle_that_it_keeps(tmp_path: Path) -> None:
    """Its checkpoint says where it ended, `initial` where it began."""
    network = train.DepthNetwork()
    initial = {name: value.clone() for name, value in network.state_dict().items()}
    ended = {
        name: value + 1 if value.dtype.is_floating_point else value
        for name, value in initial.items()
    }
    stage = train.Recipe(**{**asdict(STAGE), "kept": 0.25})
    saved = {
        "recipe": asdict(stage),
        "network": initial,
        "average": ended,
        "optimiser": torch.optim.AdamW(network.parameters()).state_dict(),
        "step": stage.steps,
    }
    torch.save(saved, tmp_path / "checkpoint.pt")
    made = train.train(stage, None, tmp_path / "checkpoint.pt", initial=initial)
    for name, value in initial.items():
        expected = value + 0.75 if value.dtype.is_floating_point else value
        torch.testing.assert_close(made[name], expected)
    other = replace(stage, rate=2e-3)
    with pytest.raises(SystemExit, match="made by another recipe"):
        train.train(other, None, tmp_path / "checkpoint.pt", initial=initial)


def test_all_stages_are_trained_in_turn_and_exported_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each from what the one before hands on: of twins, the mean."""
    begun: list[tuple[str, Any]] = []
    exported: list[Any] = []
    ends: dict[str, float] = {}

    def scenes(_: Path, stage: Any) -> Any:
        rendered = [f"toolkit-{stage.name}", "worlds-0"]
        return train.Scenes([], [], [], [], [], [], rendered, {})

    def trained(stage: Any, _: Any, checkpoint: Path, *, initial: Any, device: str) -> Any:
        begun.append((checkpoint.stem, initial and float(initial["weight"])))
        ends[checkpoint.stem] = (end := stage.seed + stage.lower)
        return {"weight": torch.tensor(end), "counter": torch.tensor(len(begun))}

    monkeypatch.setattr(train, "read_scenes", scenes)
    monkeypatch.setattr(train, "train", trained)
    monkeypatch.setattr(train, "export", lambda *given, **more: exported.append((given, more)))
    monkeypatch.setattr(sys, "argv", ["train.py", "--cache", str(tmp_path), "--device", "cpu"])
    train.main()
    assert exported == []
    expected, handed_on = [], None
    for stage in train.STAGES:
        twins = [f"checkpoint-{stage.name}-twin{number + 1}" for number in range(len(stage.twins))]
        trained_for_it = [f"checkpoint-{stage.name}", *twins]
        expected += [(name, handed_on) for name in trained_for_it]
        assert [ends[name] - stage.seed for name in trained_for_it] == pytest.approx(
            [stage.lower, *stage.twins]
        )
        handed_on = pytest.approx(sum(ends[name] for name in trained_for_it) / len(trained_for_it))
    assert begun == expected
    assert begun[-1][1] is not None

    monkeypatch.setattr(sys, "argv", [*sys.argv, "--export"])
    train.main()
    ((average, stages), more) = exported[0]
    assert average["weight"] == handed_on
    assert average["counter"].dtype == torch.int64
    names = [stage.name for stage in train.STAGES]
    assert [stage["name"] for stage in stages] == names
    assert more["renderers"] == [
        "toolkit-objects",
        "worlds-0",
        *(f"toolkit-{n}" for n in names[1:]),
    ]
    assert more["notes"] == ""


def test_one_twin_is_trained_alone_so_that_another_core_may_do_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = next(stage for stage in train.STAGES if len(stage.twins) == 1)
    trained: list[tuple[str, float]] = []

    def one(stage: Any, _: Any, checkpoint: Path, **_more: Any) -> Any:
        trained.append((checkpoint.stem, stage.lower))
        return {"weight": torch.zeros(())}

    monkeypatch.setattr(
        train, "read_scenes", lambda *_: train.Scenes([], [], [], [], [], [], [], {})
    )
    monkeypatch.setattr(train, "train", one)
    weights = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(1)}, weights)
    argv = ["train.py", "--cache", str(tmp_path), "--initial", str(weights), "--stage", pair.name]
    monkeypatch.setattr(sys, "argv", [*argv, "--twin", "1"])
    train.main()
    assert trained == [(f"checkpoint-{pair.name}-twin1", pair.twins[0])]
    for more, said in (
        (["--twin", "2"], "expected 0 to 1, got 2"),
        (["--twin", "1", "--export"], "goes without --export"),
    ):
        monkeypatch.setattr(sys, "argv", [*argv, *more])
        with pytest.raises(SystemExit):
            train.main()
        assert said in capsys.readouterr().err
    assert len(trained) == 1
