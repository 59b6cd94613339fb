"""Packed views are what each would be alone, and the answer knows nothing of [PRED] tokens.

The first is measured against the model's own forward, with its own positions, mask and placing of
pictures: what it computes at inference for the same tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from itertools import accumulate

import torch
from torch import Tensor

from pearl_train.doctor.findings import Finding
from pearl_train.doctor.patient import Patient
from pearl_train.model.backbone import Backbone
from pearl_train.objectives.pictures import read_rows
from pearl_train.objectives.prediction import without_prediction
from pearl_train.views.batch import Batch, EncodedSample, Rows, Span
from pearl_train.views.collate import collate, joined

#: Largest difference, as a share of the states' root mean square, by the type they have.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.5}
_REMEDY = (
    'set model.attention = "eager"; if that changes nothing, this family or its remote code '
    "computes masks or positions of its own, and its views cannot be packed"
)


@torch.no_grad()
def packed_views(patient: Patient) -> Finding:
    """Every view in its packed row against a plain forward of the view alone."""
    samples = patient.few(2)
    backbone = patient.backbone.eval()
    with _exact(backbone):
        batch = collate(samples, pad_id=patient.encoder.pad_id).to(patient.device)
        worst, scale, where = _worst(backbone, batch, samples)
        kind = backbone.plain.get_input_embeddings().weight.dtype
    limit = TOLERANCE.get(kind, TOLERANCE[torch.bfloat16])
    views = sum(1 + len(one.branches) + (one.target is not None) for one in samples)
    told = (
        f"{views} views of {len(samples)} samples equal plain forwards to {worst:.1e} "
        f"(states of size {scale:.2g}, {str(kind).removeprefix('torch.')})"
    )
    figures = {"max_abs_difference": worst, "root_mean_square": scale, "where": where}
    if not worst <= limit * max(scale, 1.0):
        return Finding(
            check="views",
            status="fail",
            told=f"expected packed views to equal plain forwards to {limit:g} of their size, got a "
            f"difference of {worst:.2g} at states of size {scale:.2g} ({where})",
            remedy=_REMEDY,
            figures=figures,
        )
    return Finding(check="views", status="pass", told=told, figures=figures)


@torch.no_grad()
def pred_apart(patient: Patient) -> Finding:
    """Logits of what is learned, with the [PRED] branch and without."""
    if "pred" not in patient.plan.branches:
        told = "no [PRED] tokens in this configuration"
        return Finding(check="pred apart", status="skip", told=told)
    samples = patient.few()
    backbone = patient.backbone.eval()
    with _exact(backbone):
        batch = collate(samples, pad_id=patient.encoder.pad_id).to(patient.device)
        rows = batch.context
        with_it = _logits(backbone, batch, rows)
        alone = _logits(backbone, batch, without_prediction(rows))
    worst = max(float((with_it[name] - alone[name]).abs().max()) for name in with_it)
    kind = next(iter(with_it.values())).dtype
    limit = TOLERANCE.get(kind, TOLERANCE[torch.bfloat16])
    figures = {"max_abs_difference": worst}
    if not worst <= limit:
        return Finding(
            check="pred apart",
            status="fail",
            told=f"expected answers not to see [PRED] tokens, got logits that differ by {worst:.2g}"
            " with and without them",
            remedy=_REMEDY,
            figures=figures,
        )
    told = f"the logits of answers are the same without [PRED] tokens, to {worst:.1e}"
    return Finding(check="pred apart", status="pass", told=told, figures=figures)


def plain_states(backbone: Backbone, spans: Sequence[Span], sample: EncodedSample) -> Tensor:
    """(L, H) of ``spans`` one after the other, by the model's own forward."""
    core, device = backbone.plain.model, backbone.device
    ids = torch.tensor([[number for span in spans for number in span.ids]], device=device)
    is_image = torch.tensor([[flag for span in spans for flag in span.is_image]], device=device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "mm_token_type_ids" in signature(core.forward).parameters:
        inputs["mm_token_type_ids"] = is_image.int()
    shown = [sample.images[number].inputs for span in spans for number in span.images]
    pictures = {name: value.to(device) for name, value in joined(shown).items()}
    output: Tensor = core(**inputs, **pictures, use_cache=False).last_hidden_state
    return output[0]


def _worst(
    backbone: Backbone, batch: Batch, samples: Sequence[EncodedSample]
) -> tuple[float, float, str]:
    """The largest difference, the size of the states there, and which view of which sample."""
    found = []
    hidden, _ = read_rows(backbone, batch, batch.context)
    target = read_rows(backbone, batch, batch.target)[0] if batch.target else None
    for number, sample in enumerate(samples):
        spans = [sample.context, *sample.branches.values()]
        ends = list(accumulate(len(span.ids) for span in spans))
        prefix = range(ends[0])
        views: list[tuple[str, list[Span], Tensor]] = [
            ("context", [sample.context], hidden[number, : ends[0]])
        ]
        for place, (name, span) in enumerate(sample.branches.items(), start=1):
            columns = [*prefix, *range(ends[place - 1], ends[place])]
            views.append((name, [sample.context, span], hidden[number, columns]))
        if sample.target is not None and target is not None:
            views.append(("target", [sample.target], target[number, : len(sample.target.ids)]))
        for view, parts, ours in views:
            plain = plain_states(backbone, parts, sample).float()
            difference = float((ours.float() - plain).abs().max())
            size = float(plain.square().mean().sqrt())
            found.append((difference, size, f"{view} of {sample.key} in {sample.shard}"))
    return max(found, key=lambda one: math.inf if math.isnan(one[0]) else one[0])


def _logits(backbone: Backbone, batch: Batch, rows: Rows) -> dict[str, Tensor]:
    hidden, _ = read_rows(backbone, batch, rows)
    return {
        name: backbone.logits(hidden[learned.row, learned.source])
        for name, learned in rows.learned.items()
    }


@contextmanager
def _exact(backbone: Backbone) -> Iterator[None]:
    """Inside, float32 weights compute in float32, whatever training does."""
    before, backbone.autocast = backbone.autocast, None
    try:
        yield
    finally:
        backbone.autocast = before
