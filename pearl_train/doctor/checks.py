"""The table of checks, in the order in which they build on one another, and how it is run.

    data       opens, and has samples of the split
    model      loads, with finite weights; something is trained
    processor  sees pictures; its template takes our turns
    tokens     each of ours is one id, there and back
    samples    can be read and encoded; those dropped or made smaller
    validation the same of the split whose loss is measured at every checkpoint
    reload     the processor, saved and loaded again, makes the same ids
    lengths    tokens of pictures and samples; the longest sample
    learned    every sample has tokens to learn
    sees       one sample, token by token
    pictures   a few samples' pictures as the model gets them
    answers    can be judged; what chance is
    forward    the network takes what the processor makes
    views      packed, they equal plain forwards
    pred apart answers do not see [PRED] tokens
    targets    differ before training
    gradients  reach what is to learn, and nothing else
    memory     of the longest sample and of a micro-batch
    overfit    one batch can be learned by heart, pictures and all; it changes the weights, so it is
               the last

An error of ours inside a check is its finding; what broke the doctor itself keeps its trace.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from pearl_data.shards import Unfinished
from pearl_tools.errors import PearlError, UsageError
from pearl_train.doctor.answers import answers
from pearl_train.doctor.contact_sheet import pictures
from pearl_train.doctor.findings import Finding, Report
from pearl_train.doctor.forward import forward
from pearl_train.doctor.gradients import gradients, targets
from pearl_train.doctor.lengths import learned, lengths, samples
from pearl_train.doctor.memory import memory
from pearl_train.doctor.opening import data, model, processor
from pearl_train.doctor.overfit import overfit
from pearl_train.doctor.patient import Patient
from pearl_train.doctor.tokens import reload, special_tokens
from pearl_train.doctor.validation import validation
from pearl_train.doctor.views import packed_views, pred_apart
from pearl_train.doctor.what_it_sees import what_it_sees
from pearl_train.settings.config import Config


class Check(NamedTuple):
    """A row of the table: ``needs`` are the checks that must not have failed before it; ``remedy``
    says what to do where it ends in an error because of what was asked for, ``damaged`` where that
    is right and what lies there is broken. ``{data}`` and ``{model}`` stand for what is examined.
    """

    name: str
    run: Callable[[Patient], Finding]
    needs: tuple[str, ...] = ()
    remedy: str = ""
    damaged: str = ""

    def failed(self, error: PearlError | OSError, patient: Patient) -> Finding:
        """The finding that ``error`` is."""
        misuse = isinstance(error, UsageError)
        remedy = self.remedy if misuse or not self.damaged else self.damaged
        if isinstance(error, Unfinished):
            remedy = ""  # the error says it
        told = str(error)
        if isinstance(error, OSError):
            told = f"{error.filename}: " if error.filename else ""
            told += str(error.strerror or error)
        return Finding(
            check=self.name,
            status="fail",
            told=told,
            remedy=remedy.format(data=patient.data, model=patient.config.model.id),
            misuse=misuse,
        )


CHECKS: tuple[Check, ...] = (
    Check(
        "data",
        data,
        (),
        "name, with --data, a folder that pearl-data synth wrote, and a split that it holds",
        "run pearl-data validate {data}: it names every fault",
    ),
    Check(
        "model",
        model,
        (),
        "take a published image-text-to-text model with its processor",
        "the weights of {model} are broken, not the data: put whole ones there, from where the "
        "model was published or from an earlier checkpoint of its run",
    ),
    Check("processor", processor, ("model",), "take the processor of the published model"),
    Check("tokens", special_tokens, ("model",)),
    Check("samples", samples, ("data", "processor")),
    Check("validation", validation, ("data", "processor")),
    Check("reload", reload, ("encoded",)),
    Check("lengths", lengths, ("encoded",)),
    Check("learned", learned, ("encoded",)),
    Check("sees", what_it_sees, ("encoded",)),
    Check("pictures", pictures, ("encoded",)),
    Check("answers", answers, ("encoded",)),
    Check("forward", forward, ("encoded",)),
    Check("views", packed_views, ("forward",)),
    Check("pred apart", pred_apart, ("forward",)),
    Check("targets", targets, ("forward",)),
    Check("gradients", gradients, ("forward", "learned")),
    Check("memory", memory, ("forward", "learned")),
    Check("overfit", overfit, ("learned", "gradients")),
)
"""``encoded`` stands for one sample at least that could be encoded, whatever befell others."""


class Examination(NamedTuple):
    """The report, and what it was made from."""

    report: Report
    patient: Patient


def examine(
    data: Path,
    config: Config,
    *,
    samples: int = 200,
    checks: tuple[Check, ...] = CHECKS,
    tell: Callable[[Finding], None] = lambda _: None,
) -> Examination:
    """Every check of ``config`` on the dataset in ``data``, ``samples`` of it at most.

    ``tell`` hears each finding as it is made. Nothing is written, and no weight is kept.
    """
    began = time.monotonic()
    patient = Patient(config=config, data=data, samples=samples)
    findings: list[Finding] = []
    passed: set[str] = set()
    for check in checks:
        found = _run(check, patient, passed)
        findings.append(found)
        tell(found)
        if found.status in {"pass", "warn"}:
            passed.add(check.name)
        if check.name == "samples" and found.status != "skip" and patient.scan.samples:
            passed.add("encoded")
    return Examination(_report(patient, findings, time.monotonic() - began), patient)


def _run(check: Check, patient: Patient, passed: set[str]) -> Finding:
    """The finding of ``check``, with the time it took."""
    if lacking := [need for need in check.needs if need not in passed]:
        told = f"not tried: it builds on what did not pass ({', '.join(lacking)})"
        return Finding(check=check.name, status="skip", told=told)
    began = time.monotonic()
    try:
        found = check.run(patient)
    except (PearlError, OSError) as error:
        found = check.failed(error, patient)
    return msgspec.structs.replace(found, seconds=round(time.monotonic() - began, 2))


def _report(patient: Patient, findings: list[Finding], seconds: float) -> Report:
    shown = next((f.figures["sample"] for f in findings if "sample" in f.figures), "")
    return Report(
        data=str(patient.data),
        model=patient.config.model.id,
        objective=patient.config.objective.name,
        device=str(patient.device) if hasattr(patient, "accelerator") else "none",
        checks=findings,
        sample=shown,
        pieces=patient.pieces,
        seconds=round(seconds, 1),
    )
