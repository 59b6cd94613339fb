"""The training that makes the embedded weights: its losses, and that the command resumes."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from scripts import load_script

TRAINING = Path(__file__).parents[3] / "training" / "depth"


@pytest.fixture(scope="module")
def losses() -> ModuleType:
    module: ModuleType = load_script("training/depth/losses.py")
    return module


@pytest.fixture
def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Log inverse depth (2, 32, 32) with two objects, 10 times nearer one than the other."""
    target = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.1 - 3
    instance = torch.zeros(2, 32, 32, dtype=torch.int64)
    instance[:, 2:12, 2:12], instance[:, 18:28, 18:28] = 1, 2
    target[instance == 1] += 2.5
    target[instance == 2] += 0.2
    return target, instance


def test_a_perfect_prediction_costs_nothing_whatever_its_scale(
    losses: ModuleType, scene: tuple[torch.Tensor, torch.Tensor]
) -> None:
    target, _ = scene
    for name in ("scale_log", "scale_shift", "gradients"):
        assert float(getattr(losses, name)(target + 1.5, target)) == pytest.approx(0, abs=1e-5)
        assert float(getattr(losses, name)(target * 0.5, target)) > 1e-3


def test_order_terms_prefer_the_right_order(
    losses: ModuleType, scene: tuple[torch.Tensor, torch.Tensor]
) -> None:
    target, instance = scene
    generator = torch.Generator()
    right = float(losses.object_order(target, target, instance))
    level = float(losses.object_order(target * 0, target, instance))
    wrong = float(losses.object_order(-target, target, instance))
    assert right < 0.01 < level < wrong
    pixels = [float(losses.pixel_order(p, target, generator)) for p in (target, -target)]
    assert pixels[0] < pixels[1]


def test_a_picture_without_objects_still_has_a_gradient(losses: ModuleType) -> None:
    predicted = torch.zeros(1, 32, 32, requires_grad=True)
    empty = torch.zeros(1, 32, 32, dtype=torch.int64)
    terms = losses.objective(predicted, torch.rand(1, 32, 32), empty, torch.Generator())
    torch.stack(list(terms.values())).sum().backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()


@pytest.mark.slow
def test_one_command_renders_trains_every_stage_and_resumes(tmp_path: Path) -> None:
    root = TRAINING.parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'tools'}{os.pathsep}{root}"}
    command = [sys.executable, str(TRAINING / "train.py"), "--cache", str(tmp_path), "--trial"]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=root, env=environment
        )

    first = run()
    assert first.returncode == 0, first.stderr
    stages = load_script("training/depth/recipe.py", neighbours=True).STAGES
    names = [
        f"{stage.name}{'' if number == 0 else f'-twin{number}'}"
        for stage in stages
        for number in range(1 + len(stage.twins))
    ]
    kept = [tmp_path / f"checkpoint-{name}-trial.pt" for name in names]
    before = [torch.load(path, weights_only=True) for path in kept]
    assert [saved["step"] for saved in before] == [4] * len(names)
    assert run().returncode == 0
    for path, saved in zip(kept, before, strict=True):
        after = torch.load(path, weights_only=True)["average"]
        assert all(torch.equal(saved["average"][name], after[name]) for name in after)
    # The second stage goes on from the first: a few steps do not carry it far.
    stem = next(name for name, value in before[0]["average"].items() if value.ndim == 4)
    drift = (before[1]["average"][stem] - before[0]["average"][stem]).abs().max()
    assert 0 < float(drift) < 0.01

    before[1]["recipe"]["rate"] = 0.1
    torch.save(before[1], kept[1])
    other = run()
    assert other.returncode == 1
    assert "made by another recipe" in other.stderr
