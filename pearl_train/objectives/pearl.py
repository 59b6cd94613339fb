"""Pearl (arXiv 2604.08065): from (I0, Q) alone, predict the embedding of what the tools would show.

    L = L_VLM + lambda * (L_JEPA + L_NextLat)        L_JEPA = D(h_hat_R, stop_gradient(h_R))

One network makes all three: it answers, it predicts h_hat_R from the question with K [PRED] tokens
behind it, and it embeds the expert's trajectory R. Answer and prediction share one row, in which
neither sees the other, so that inference is ordinary decoding without [PRED] tokens. With lambda 0
it asks for the same views as its control :mod:`~pearl_train.objectives.sft` and computes the same
bits.
"""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor, nn

from pearl_train.model.backbone import Backbone
from pearl_train.objectives.base import Moment, Term, Terms, Views
from pearl_train.objectives.distance import DISTANCES, comparable
from pearl_train.objectives.next_token import next_token
from pearl_train.objectives.nextlat import Dynamics, next_latent
from pearl_train.objectives.pictures import read_rows
from pearl_train.objectives.prediction import predict, without_prediction
from pearl_train.objectives.regularise import keep_apart
from pearl_train.objectives.sft import written_branches
from pearl_train.objectives.target import embed_target
from pearl_train.settings.config import ObjectiveConfig
from pearl_train.views.batch import Batch, ViewPlan


def plan(options: ObjectiveConfig) -> ViewPlan:
    """The context with what is to be written and the [PRED] tokens; R, unless it is cached."""
    written = written_branches(options)
    if not options.weight:
        return ViewPlan(branches=written)
    count = options.pred_tokens
    return ViewPlan(
        branches=(*written, "pred") if count else written,
        pred_tokens=count,
        target=options.target.source != "frozen-base",
        pred_in_question=count > 0 and options.pred_position == "end-of-question",
    )


def target_plan(options: ObjectiveConfig) -> ViewPlan:
    """R alone: for the pass that computes targets before the first step."""
    return ViewPlan(branches=(), target=True)


def needs(options: ObjectiveConfig) -> frozenset[Literal["nextlat", "teacher", "cache"]]:
    """What there must be besides the network; nothing with lambda 0."""
    if not options.weight:
        return frozenset()
    wanted: set[Literal["nextlat", "teacher", "cache"]] = set()
    if options.nextlat:
        wanted.add("nextlat")
    if options.target.source == "ema":
        wanted.add("teacher")
    if options.target.source == "frozen-base":
        wanted.add("cache")
    return frozenset(wanted)


def loss(
    model: Backbone,
    batch: Batch,
    options: ObjectiveConfig,
    moment: Moment,
    parts: nn.ModuleDict,
    targets: Tensor | None,
) -> Terms:
    """L_VLM, and at the steps that have them L_NextLat and L_JEPA."""
    predicting = moment.jepa_weight > 0
    rows = batch.context if predicting else without_prediction(batch.context)
    written = written_branches(options)

    # context
    hidden, pictures = read_rows(model, batch, rows)
    losses = next_token(model, hidden, rows, written)
    if options.nextlat and moment.nextlat_weight:
        dynamics = cast("Dynamics", parts["nextlat"])
        losses |= next_latent(
            model, dynamics, hidden, rows, written, options.nextlat, moment.nextlat_weight
        )
    if not predicting:
        return Terms(losses)

    # target
    h_r = embed_target(model, batch, options, parts, pictures) if targets is None else targets

    # predict
    h_hat_r = predict(hidden, rows, options)

    # compare
    predicted, target = comparable(h_hat_r, h_r, options.target)
    distance = DISTANCES[options.distance](predicted, target)
    losses["jepa"] = Term(distance.sum(), "samples", moment.jepa_weight)
    losses |= keep_apart((h_hat_r, h_r), options, moment.jepa_weight, moment.step)
    views = Views(predicted.detach(), target.detach(), batch.keys, moment.step)
    return Terms(losses, views)
