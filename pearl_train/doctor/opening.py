"""The first checks: the data open, the model loads, the processor takes our conversations."""

from __future__ import annotations

from pearl_train.doctor.findings import Finding
from pearl_train.doctor.patient import Patient
from pearl_train.objectives import plan_views
from pearl_train.objectives.trainee import make_trainee
from pearl_train.run.data import open_dataset
from pearl_train.training.assemble import build_trained
from pearl_train.training.loader import numbers_of
from pearl_train.training.processes import accelerator_for
from pearl_train.views.encode import Encoder


def data(patient: Patient) -> Finding:
    """Whether the data open and hold samples of the split."""
    patient.reader = open_dataset(
        patient.data, allow_unfinished=patient.config.data.allow_unfinished
    )
    split = patient.config.data.split
    patient.numbers = numbers_of(patient.reader, split)
    number, batch = len(patient.numbers), patient.config.optim.batch
    steps = patient.config.optim.steps
    epochs = steps * batch / number
    shown = f"{epochs:.2g}" if epochs < 100 else f"{epochs:,.0f}"
    told = f"{number} samples of split {split}; {steps} steps of {batch} are {shown} epochs"
    figures = {"samples": number, "epochs": round(epochs, 3)}
    if number < batch:
        return Finding(
            check="data",
            status="warn",
            told=told,
            remedy="one step holds every sample more than once: make more samples "
            "(pearl-data synth --limit) or lower optim.batch",
            figures=figures,
        )
    return Finding(check="data", status="pass", told=told, figures=figures)


def model(patient: Patient) -> Finding:
    """Whether the model loads with finite weights, and what of it is trained."""
    config = patient.config
    patient.plan = plan_views(config.objective)
    patient.backbone = build_trained(config)
    patient.accelerator = accelerator_for(config)
    patient.backbone.to(patient.device)
    patient.trainee = make_trainee(patient.backbone, config).to(patient.device)
    weights = sum(p.numel() for p in patient.backbone.parameters())
    trained = sum(p.numel() for p in patient.trainee.parameters() if p.requires_grad)
    told = (
        f"{config.model.id}: {patient.backbone.plain.config.model_type}, {_count(weights)} "
        f"weights, all finite; {_count(trained)} are trained, on {patient.device}"
    )
    figures = {"weights": weights, "trained": trained}
    if not trained:
        remedy = "unfreeze something: model.freeze_vision = false, or a [model.lora] table"
        return Finding(check="model", status="fail", told=told, remedy=remedy, figures=figures)
    return Finding(check="model", status="pass", told=told, figures=figures)


def processor(patient: Patient) -> Finding:
    """Whether the processor sees pictures and its template takes our turns."""
    config, backbone = patient.config, patient.backbone
    patient.encoder = Encoder(
        backbone.processor,
        backbone.tokens,
        data=config.data,
        objective=config.objective,
        max_pixels=config.model.max_pixels,
        model=config.model.id,
    )
    kind, image = type(backbone.processor), type(backbone.processor.image_processor)
    return Finding(
        check="processor",
        status="pass",
        told=f"{kind.__name__} with {image.__name__}; its template writes "
        f"{patient.encoder.template.placeholder!r} for a picture and ends an answer with "
        f"{patient.encoder.template.stop!r}",
    )


def _count(number: int) -> str:
    """``number`` in short.

    >>> _count(4766328)
    '4.8 M'
    """
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)
