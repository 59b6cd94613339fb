"""Latent visual reconstruction (arXiv 2509.24251): L = L_VLM + 0.1 * MSE(h_t, visual token t + 1).

After ``<|lvr_start|>`` stand as many latents as the region of interest has visual tokens, at most
``objective.lvr.max_latents``: a larger region is thinned out, and counted among what was changed.
Their inputs are those tokens (teacher forcing); the state before each is regressed to it, in
float32 and without gradient into the target. Cross-entropy ignores latents. At inference a fixed
number of states is fed back (:mod:`pearl_train.asking.answering`), so training and inference differ
in number.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pearl_train.model.backbone import Backbone, Fills
from pearl_train.objectives.base import Moment, Term, Terms
from pearl_train.objectives.next_token import next_token
from pearl_train.settings.config import ObjectiveConfig
from pearl_train.views.batch import Batch, ViewPlan


def plan(options: ObjectiveConfig) -> ViewPlan:
    """The context with latents and the answer."""
    return ViewPlan(branches=("lvr",))


def loss(
    model: Backbone,
    batch: Batch,
    options: ObjectiveConfig,
    moment: Moment,
    parts: nn.ModuleDict,
    targets: Tensor | None,
) -> Terms:
    """L_VLM and, over latents, the mean squared error per dimension of H."""
    rows = batch.context
    latents = rows.latents
    if latents is None:
        raise ValueError("expected rows with latents, as lvr.plan asks for; got none")

    # context: the region's visual tokens stand where latents are
    pictures = model.image_features(batch.images, batch.image_tokens)
    visual = pictures.flat(latents.feature)
    fills = Fills(row=latents.row, column=latents.column, values=visual)
    hidden = model.hidden(rows, pictures, fills=fills)

    # target
    target = visual.detach().float()

    # predict
    predicted = hidden[latents.row, latents.source].float()

    # compare
    squared = functional.mse_loss(predicted, target, reduction="none").mean(dim=-1).sum()
    terms = next_token(model, hidden, rows, ("lvr",))
    terms["lvr"] = Term(squared, "latents", options.lvr.weight)
    return Terms(terms)
