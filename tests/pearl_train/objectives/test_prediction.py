"""Rows without their [PRED] tokens are the rows that would have been packed without them."""

from __future__ import annotations

import random

import pytest
import torch
from toy_objectives import toy_batch, toy_sample

from pearl_train.objectives.prediction import without_prediction
from pearl_train.views.batch import ViewPlan


@pytest.mark.parametrize("branches", [("pred", "answer"), ("answer", "pred"),
                                      ("answer", "pred", "trajectory")])  # fmt: skip
def test_rows_are_packed_anew(branches: tuple[str, ...]) -> None:
    samples = [toy_sample(number) for number in random.Random(0).sample(range(50), 5)]
    without = tuple(name for name in branches if name != "pred")
    rows = without_prediction(toy_batch(samples, ViewPlan(branches, pred_tokens=3)).context)
    expected = toy_batch(samples, ViewPlan(without)).context
    real = expected.branch >= 0
    assert torch.equal(rows.branch >= 0, real)
    assert torch.equal(rows.ids[real], expected.ids[real])
    assert torch.equal(rows.is_image, expected.is_image)
    for name, learned in expected.learned.items():
        for part in ("row", "source", "column", "id"):
            assert torch.equal(getattr(rows.learned[name], part), getattr(learned, part))
    assert torch.equal(
        rows.reads["end-of-question"].column, expected.reads["end-of-question"].column
    )
    assert "last-pred" not in rows.reads


def test_rows_without_such_a_branch_stay() -> None:
    rows = toy_batch([toy_sample(1)], ViewPlan(("answer",))).context
    assert without_prediction(rows) is rows
