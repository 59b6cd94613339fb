"""Learning by heart needs the pictures: without them the loss comes to what was foretold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from pearl_train.doctor.one_question import Blind, asked_alike, blind
from pearl_train.doctor.overfit import STEPS, Look, _judged, by_heart, overfit
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
    found = blind(four)
    assert found.loss == pytest.approx(math.log(4) / 2), "the end is known"
    assert found.floor == pytest.approx(math.log(4)), "of the one token that is not"
    assert found.places == (0, -1, 0, -1, 0, -1, 0, -1)
    assert found.open == 4
    told = [sample((number,), (number, 9), "**") for number in (5, 6)]
    assert blind(told) == (0, 0, (-1,) * 4), "the question says it"
    given = [sample((1,), (number, number, 9), "-**") for number in (5, 6)]
    assert blind(given).loss == 0, "a token before it, not learned, says it"
    uneven = [sample((1,), (number,), "*") for number in (5, 5, 5, 6)]
    assert blind(uneven).loss == pytest.approx((3 * math.log(4 / 3) + math.log(4)) / 4)


def test_all_are_asked_the_same_and_answer_apart(examined: Callable[..., Any]) -> None:
    _, patient = examined("llava", until="learned", samples=6)
    found = asked_alike(patient, 4)
    assert len({one.context.ids for one in found}) == 1
    assert len({one.key for one in found}) == 4
    assert len({one.branches["answer"].ids for one in found}) > 1
    assert blind(found).loss > 0


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
    assert not found.figures["apart"]


@pytest.mark.parametrize(("objective", "view"), [("tools", ""), ("sft", "chat"), ("pearl", "chat")])
def test_a_sound_model_that_writes_whole_trajectories_does_not_fail(
    objective: str, view: str, examined: Callable[..., Any]
) -> None:
    """Of a hundred tokens words leave a few open: a mean over all says nothing of pictures."""
    sets = [f"objective.view={view}"] if view else []
    found = examined("llava", *sets, objective=objective, until="overfit").report.checks[-1]
    assert found.status in {"pass", "warn"}, found.told
    assert found.figures["blind"] < 0.1
    assert found.figures["open_blind"] > 0.3
    assert found.figures["apart"]


def test_a_blind_model_that_writes_whole_trajectories_is_caught(
    examined: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Backbone.image_features

    def without(self: Backbone, images: Mapping[str, Tensor], tokens: Sequence[int]) -> Any:
        return whole(self, {name: torch.zeros_like(x) for name, x in images.items()}, tokens)

    _, patient = examined("llava", objective="tools", until="gradients")
    monkeypatch.setattr(Backbone, "image_features", without)
    found = overfit(patient)
    assert found.status == "fail", found.told
    assert not found.figures["apart"]


#: Of two samples with four tokens each, the first differs: 0.35 and 1.4 nats without pictures.
SHORT = Blind(0.35, 1.4, (0, -1, -1, -1) * 2)
#: The same in a hundred tokens.
LONG = Blind(0.014, 1.4, (0, *[-1] * 99) * 2)


@pytest.mark.parametrize(
    ("losses", "floor", "look", "status"),
    [
        ([8.0, 1.0], None, None, "pass"),
        ([8.0, 1.3], None, None, "warn"),  # above 15 % of the first
        ([0.02, 0.01], None, None, "pass"),  # known from the first
        ([8.0, 0.3], SHORT, Look(0.71, True), "warn"),  # not half of what words alone reach
        ([8.0, 0.3], SHORT, Look(0.69, True), "pass"),
        ([8.0, *[0.36] * 199], SHORT, Look(1.41, True), "fail"),  # as good as blind
        ([8.0, *[0.36] * 100], SHORT, Look(1.41, True), "warn"),  # time was up before
        ([8.0, *[0.9] * 199], SHORT, Look(3.5, True), "warn"),  # words' own shares are not learned
        ([8.0, *[0.1] * 199], LONG, Look(1.41, True), "warn"),  # so few tokens: unsure
        ([8.0, *[0.1] * 199], LONG, Look(1.41, False), "fail"),  # the picture changes nothing
        ([8.0, *[0.015] * 199], LONG, Look(1.41, False), "fail"),  # also below what counts as known
        ([8.0, 0.02], LONG, Look(0.1, True), "pass"),
        ([8.0, 7.99], SHORT, Look(5.0, True), "fail"),
    ],
)
def test_what_counts_as_learned(
    losses: list[float], floor: Blind | None, look: Look | None, status: str
) -> None:
    told = [{"vlm": loss, "loss": loss, "grad_norm": 1.0} for loss in losses]
    found = _judged(told, floor or Blind(0, 0, (-1,) * 8), look, 1e-3, ("a", "b"))
    assert found.status == status, found.told
    assert f"in {len(losses)} updates" in found.told
    assert by_heart(8.0) == pytest.approx(1.2)
    assert STEPS == 200
