"""Whether the network takes what its processor makes, and makes numbers of it, before anything is
measured: a few samples, one pass each.

States or logits that are no numbers are traced here, where it can still be told from what they
come: later checks would blame what they measure.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pearl_tools.errors import BadInput, listed
from pearl_train.doctor.findings import Finding
from pearl_train.doctor.patient import Patient
from pearl_train.model.load import not_finite
from pearl_train.objectives.pictures import read_rows
from pearl_train.views.batch import PADDING, Batch, EncodedSample
from pearl_train.views.collate import collate

#: What networks raise for tensors of a shape, or ids of a number, that they do not expect.
_REFUSALS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, BadInput)


@torch.no_grad()
def forward(patient: Patient) -> Finding:
    """A few samples through the network, every view of them, up to what is learned's logits."""
    backbone, broken = patient.backbone.eval(), list[EncodedSample]()
    took_s = 0.0
    samples = patient.few()
    for sample in samples:
        batch, began = _alone(patient, sample), time.monotonic()
        try:
            if not _are_numbers(patient, batch):
                broken.append(sample)
        except _REFUSALS as error:
            return Finding(
                check="forward",
                status="fail",
                told=f"sample {sample.key} ({sample.shard}): expected "
                f"{type(backbone.plain).__name__} to take what "
                f"{type(backbone.processor).__name__} makes, got {_short(error)}",
                remedy="the processor does not belong to this model: take the processor files of "
                "the same published model, of the same version",
            )
        took_s = took_s or time.monotonic() - began
    if broken:
        return _traced(patient, broken, len(samples))
    tokens = patient.scan.samples[0].tokens
    told = (
        f"{type(backbone.plain).__name__} reads {tokens} tokens of a sample in {took_s:.2f} s; all "
        "states and logits are numbers"
    )
    return Finding(check="forward", status="pass", told=told)


def _alone(patient: Patient, sample: EncodedSample) -> Batch:
    return collate([sample], pad_id=patient.encoder.pad_id).to(patient.device)


def _are_numbers(patient: Patient, batch: Batch) -> bool:
    """Whether the states of every view, and the logits of what is learned, are finite."""
    backbone = patient.backbone
    for rows in (batch.context, batch.target):
        if rows is None:
            continue
        hidden, _ = read_rows(backbone, batch, rows)
        made = [hidden[rows.branch != PADDING]]
        made += [backbone.logits(hidden[at.row, at.source]) for at in rows.learned.values()]
        if not all(bool(torch.isfinite(part).all()) for part in made):
            return False
    return True


def _traced(patient: Patient, broken: list[EncodedSample], tried: int) -> Finding:
    """Where states that are no numbers come from: weights, pixels, or what is computed of them."""
    names = listed([f"{sample.key} in {sample.shard}" for sample in broken])
    told = f"expected states and logits that are numbers, got NaN or infinity for {names}"
    if weights := not_finite(patient.backbone.plain.state_dict()):
        return Finding(
            check="forward",
            status="fail",
            told=f"{told}: the weights {listed(weights)} hold NaN or infinity",
            remedy="the weights are broken, not the data: put whole ones there",
        )
    pictures = [
        f"{image.medium} of {sample.key}"
        for sample in broken
        for image in sample.images
        if not all(
            bool(torch.isfinite(tensor).all())
            for tensor in image.inputs.values()
            if tensor.is_floating_point()
        )
    ]
    if pictures:
        return Finding(
            check="forward",
            status="fail",
            told=f"{told}: the pixels of {listed(pictures)} are no numbers",
            remedy="look for a zero in image_std, or a rescale_factor that is no number, in the "
            "model's preprocessor_config.json or processor_config.json",
        )
    with _first_broken(patient.backbone.plain) as found:
        _are_numbers(patient, _alone(patient, broken[0]))
    every = len(broken) == tried
    return Finding(
        check="forward",
        status="fail",
        told=f"{told}: weights and pixels are finite; the first module to make others is "
        f"{found[0] if found else 'none alone'}",
        remedy=_computed(patient, found, every=every),
        figures={"module": found[0] if found else ""},
    )


def _computed(patient: Patient, found: list[str], *, every: bool) -> str:
    """What to do where finite weights make no numbers of finite pixels."""
    if not every:
        return "look at the sample with pearl-data show: the others are read without fault"
    ways = []
    if patient.config.model.dtype == "bfloat16":
        ways.append('set model.dtype = "float32"')
    if patient.config.model.attention != "eager":
        ways.append('set model.attention = "eager"')
    where = f" of {found[0]}" if found else ""
    ways.append(f"compare the weights{where} with those published: they are finite, but too large")
    return "; if that changes nothing, ".join(ways)


@contextmanager
def _first_broken(network: nn.Module) -> Iterator[list[str]]:
    """Inside, the list that it yields is filled with the names of modules that make NaN or
    infinity, in the order in which they are done: what lies in another is done first.
    """
    found: list[str] = []

    def look(name: str) -> Any:
        def hook(_module: nn.Module, _given: Any, made: Any) -> None:
            parts = made if isinstance(made, tuple | list) else (made,)
            tensors = [t for t in parts if isinstance(t, Tensor) and t.is_floating_point()]
            if not all(bool(torch.isfinite(t).all()) for t in tensors):
                found.append(name)

        return hook

    hooks = [
        module.register_forward_hook(look(name)) for name, module in network.named_modules() if name
    ]
    try:
        yield found
    finally:
        for one in hooks:
            one.remove()


def _short(error: Exception, most: int = 200) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:most]}{'…' if len(text) > most else ''}"
