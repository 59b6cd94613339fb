"""What is sound passes every check; the findings say what they found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tiny_models import FAMILIES

from pearl_train.doctor import CHECKS, Finding, Report
from pearl_train.doctor.findings import summary, told


def finding(report: Report, check: str) -> Finding:
    return next(found for found in report.checks if found.check == check)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sound_model_of_every_family_passes_every_check(
    examined: Callable[..., Any], family: str
) -> None:
    report = examined(family, samples=4).report
    assert [(f.check, f.status, f.told) for f in report.checks if f.status != "pass"] == []
    assert [f.check for f in report.checks] == [check.name for check in CHECKS]
    assert {piece.branch for piece in report.pieces} == {"context", "answer", "pred", "target"}


@pytest.mark.parametrize(
    ("objective", "choice", "branches"),
    [
        ("lvr", "", {"lvr"}),
        ("tools", "", {"trajectory"}),
        ("sft", "objective.view=trajectory", {"answer", "trajectory"}),
        ("pearl", "objective.target.source=frozen-base", {"answer", "pred", "target"}),
    ],
)
def test_every_view_that_an_objective_reads_is_shown(
    examined: Callable[..., Any], objective: str, choice: str, branches: set[str]
) -> None:
    sets = [choice] if choice else []
    report = examined("llava", *sets, objective=objective, until="sees", samples=2).report
    assert report.ok
    assert {piece.branch for piece in report.pieces} == {"context", *branches}


def test_frozen_base_targets_take_part_without_a_row_of_their_own(
    examined: Callable[..., Any],
) -> None:
    choices = ("objective.target.source=frozen-base", "objective.loss_dropout=0.5")
    report, patient = examined("llava", *choices, until="gradients", samples=4)
    assert patient.plan.target is False
    assert finding(report, "gradients").status == "pass"
    assert set(finding(report, "gradients").figures["losses"]) == {"vlm", "jepa", "nextlat"}


@pytest.mark.parametrize("lora", [False, True])
def test_frozen_pred_rows_get_no_gradient(examined: Callable[..., Any], lora: bool) -> None:
    choices = ["objective.pred=frozen", *(["model.lora.rank=2"] if lora else [])]
    report, patient = examined("qwen2_5_vl", *choices, until="gradients", samples=4)
    found = finding(report, "gradients")
    assert found.status == "pass", found.told
    assert patient.pred_gradients == [0.0] * 4
    assert any("frozen" in line for line in found.lines)
    assert ("vision frozen" in found.lines[1]) is lora


def test_the_gradient_of_pred_rows_is_that_of_the_prediction_alone(
    examined: Callable[..., Any],
) -> None:
    """Qwen's LM head is its embedding: L_VLM gives every row a gradient, read or not."""
    report, patient = examined("qwen2_5_vl", "model.lora.rank=2", until="gradients", samples=4)
    assert finding(report, "gradients").status == "pass"
    assert all(norm > 0 for norm in patient.pred_gradients)


def test_without_pred_tokens_there_is_nothing_to_hold_apart(examined: Callable[..., Any]) -> None:
    report = examined("llava", "objective.pred_tokens=0", until="pred apart", samples=2).report
    assert finding(report, "pred apart").status == "skip"
    assert report.ok


def test_a_finding_is_told_with_its_remedy_and_details() -> None:
    found = Finding(check="memory", status="fail", told="too big", remedy="less", lines=["16 x 1"])
    assert [line.strip() for line in told(found)] == [
        "fail  memory     too big",
        "-> less",
        "16 x 1",
    ]


def test_the_summary_counts_what_failed() -> None:
    checks = [
        Finding(check=name, status=status, told="")
        for name, status in (("a", "pass"), ("b", "warn"), ("c", "fail"))
    ]
    report = Report(data="d", model="m", objective="sft", device="cpu", checks=checks, seconds=2.0)
    assert summary(report) == "not ready to train: 1 failed, 1 warning, 1 passed in 2 s"
    assert not report.ok


@pytest.mark.slow
def test_nano_passes_on_the_tiny_data(examined: Callable[..., Any]) -> None:
    from pearl_train.model.load import NANO

    assert examined(NANO, "optim.lr=1e-3").report.ok
