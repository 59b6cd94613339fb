"""Memory is measured tensor by tensor, and the estimate of a micro-batch is what it then takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pearl_train.doctor.memory import Need, measured, need_of, peak_of


def test_the_peak_is_the_most_that_is_held_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        first = torch.ones(1000, 1000)
        second = first + 1
        del first
        third = second + 1
        del second, third

    assert peak_of(work, torch.device("cpu")) == pytest.approx(8e6, rel=0.01)
    assert capfd.readouterr().err == ""


def test_what_was_there_before_does_not_count() -> None:
    before = torch.ones(1000, 1000)
    assert peak_of(lambda: before.mul_(2), torch.device("cpu")) < 1e5


def test_the_estimate_for_more_samples_is_what_they_take(examined: Callable[..., Any]) -> None:
    _, patient = examined("fast_vlm", until="learned", samples=2)
    sample = patient.encode(patient.scan.longest.number)
    need = need_of(patient, {n: measured(patient, [sample] * n) for n in (2, 4)})
    assert need.held + measured(patient, [sample] * 7) == pytest.approx(need.total(7), rel=0.03)
    weights = sum(p.numel() for p in patient.trainee.parameters())
    assert need.held == pytest.approx(4 * 4 * weights, rel=0.01)  # and a few buffers
    assert not any(p.grad is not None for p in patient.trainee.parameters())


def test_the_largest_micro_batch_that_fits() -> None:
    need = Need(held=100, fixed=20, each=30)
    assert need.most(available=220) == 3
    assert need.total(3) <= 220 < need.total(4)
    assert need.most(available=50) == 0
