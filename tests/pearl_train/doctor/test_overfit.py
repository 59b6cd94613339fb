"""Learning by heart needs the pictures: without them the loss comes to what was foretold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from pearl_train.doctor.one_question import asked_alike, blind_loss
from pearl_train.doctor.overfit import OF_BLIND, SHARE, Goal, _judged, overfit
from pearl_train.model.backbone import Backbone
from pearl_train.views.batch import EncodedSample, Span


def sample(context: tuple[int, ...], ids: tuple[int, ...], learn: str) -> EncodedSample:
    def span(ids: tuple[int, ...], learn: tuple[bool, ...]) -> Span:
        return Span(ids=ids, learn=learn, is_image=(False,) * len(ids))

    answer = span(ids, tuple(sign == "*" for sign in learn))
    asked = span(context, (False,) * len(context))
    return EncodedSample(key="k", shard="s", images=(), context=asked, branches={"answer": answer})


def test_the_blind_loss_is_the_entropy_of_what_words_leave_open() -> None:
    four = [sample((1, 2), (number, 9), "**") for number in (5, 6, 7, 8)]
    assert blind_loss(four) == pytest.approx(math.log(4) / 2), "the end is known"
    told = [sample((number,), (number, 9), "**") for number in (5, 6)]
    assert blind_loss(told) == 0, "the question says it"
    given = [sample((1,), (number, number, 9), "-**") for number in (5, 6)]
    assert blind_loss(given) == 0, "a token before it, not learned, says it"
    uneven = [sample((1,), (number,), "*") for number in (5, 5, 5, 6)]
    assert blind_loss(uneven) == pytest.approx((3 * math.log(4 / 3) + math.log(4)) / 4)


def test_all_are_asked_the_same_and_answer_apart(examined: Callable[..., Any]) -> None:
    _, patient = examined("llava", until="learned", samples=6)
    found = asked_alike(patient, 4)
    assert len({one.context.ids for one in found}) == 1
    assert len({one.key for one in found}) == 4
    assert len({one.branches["answer"].ids for one in found}) > 1
    assert blind_loss(found) > 0


def test_a_network_that_does_not_see_is_caught(
    examined: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Backbone.image_features

    def blind(self: Backbone, images: Mapping[str, Tensor], tokens: Sequence[int]) -> Any:
        return whole(self, {name: torch.zeros_like(x) for name, x in images.items()}, tokens)

    seeing = examined("llava", until="overfit", samples=6).report.checks[-1]
    assert seeing.status == "pass", seeing.told
    _, patient = examined("llava", until="gradients", samples=6)
    monkeypatch.setattr(Backbone, "image_features", blind)
    found = overfit(patient)
    assert found.status == "fail", found.told
    assert "pictures were not" in found.told
    assert min(found.figures["vlm"]) > 0.9 * found.figures["blind"]


@pytest.mark.parametrize(
    ("losses", "blind", "status"),
    [
        ([8.0, 1.0], 0.0, "pass"),
        ([8.0, 1.3], 0.0, "warn"),  # above 15 % of the first
        ([8.0, 0.5], 0.7, "warn"),  # words alone reach 0.7, which is not half of it
        ([8.0, 0.3], 0.7, "pass"),
        ([0.02, 0.01], 0.0, "pass"),  # known from the first
        ([8.0, *[0.71] * 199], 0.7, "fail"),  # all updates, and as good as blind
        ([8.0, 7.99], 0.7, "fail"),
    ],
)
def test_what_counts_as_learned(losses: list[float], blind: float, status: str) -> None:
    told = [{"vlm": loss, "loss": loss, "grad_norm": 1.0} for loss in losses]
    found = _judged(told, blind, 1e-3, ("a", "b"))
    assert found.status == status, found.told
    assert f"in {len(losses)} updates" in found.told
    assert Goal(8.0, 0.0).by_heart == SHARE * 8
    assert Goal(8.0, 0.7).by_heart == OF_BLIND * 0.7
