"""Whether the network takes what its processor makes: one pass, before anything is measured."""

from __future__ import annotations

import time

import torch

from pearl_tools.errors import BadInput
from pearl_train.doctor.findings import Finding
from pearl_train.doctor.patient import Patient
from pearl_train.objectives.pictures import read_rows
from pearl_train.views.collate import collate

#: What networks raise for tensors of a shape, or ids of a number, that they do not expect.
_REFUSALS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, BadInput)


@torch.no_grad()
def forward(patient: Patient) -> Finding:
    """One sample through the network, every view of it."""
    one = patient.scan.samples[0]
    sample = patient.encode(one.number)
    batch = collate([sample], pad_id=patient.encoder.pad_id).to(patient.device)
    backbone, began = patient.backbone.eval(), time.monotonic()
    try:
        for rows in (batch.context, batch.target):
            if rows is not None:
                read_rows(backbone, batch, rows)
    except _REFUSALS as error:
        return Finding(
            check="forward",
            status="fail",
            told=f"sample {one.key} ({one.shard}): expected {type(backbone.plain).__name__} to "
            f"take what {type(backbone.processor).__name__} makes, got {_short(error)}",
            remedy="the processor does not belong to this model: take the processor files of the "
            "same published model, of the same version",
        )
    took_s = time.monotonic() - began
    told = (
        f"{type(backbone.plain).__name__} reads {one.tokens} tokens of a sample in {took_s:.2f} s"
    )
    return Finding(check="forward", status="pass", told=told)


def _short(error: Exception, most: int = 200) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:most]}{'…' if len(text) > most else ''}"
