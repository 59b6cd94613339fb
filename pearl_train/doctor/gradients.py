"""What learns from which term: one backward pass of a small batch, judged part by part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pearl_tools.errors import listed
from pearl_train.doctor.findings import Finding
from pearl_train.doctor.patient import Patient
from pearl_train.model.backbone import Backbone, language_model
from pearl_train.objectives.base import Terms
from pearl_train.training.collapse import Panel, judge
from pearl_train.training.gradient_norms import term_gradient_norms
from pearl_train.training.update import weighted
from pearl_train.views.batch import Batch, EncodedSample


def gradients(patient: Patient) -> Finding:
    """Whether losses are finite, and each part learns or stays as the configuration says."""
    samples = patient.few()
    batch, targets = patient.batch(samples)
    trainee = patient.trainee.train()
    terms: Terms = trainee(batch, patient.moment(), targets)
    losses = {
        name: float(term.total.detach()) / max(batch.counts[term.unit], 1)
        for name, term in terms.losses.items()
    }
    told = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
    if broken := [name for name, value in losses.items() if not math.isfinite(value)]:
        return Finding(
            check="gradients",
            status="fail",
            told=f"expected finite losses, got {told}: {_culprits(patient, samples, broken)}",
            remedy="look at the sample with pearl-data show; if it is every sample, set "
            'model.dtype = "float32" and model.attention = "eager"',
            figures={"losses": {name: str(value) for name, value in losses.items()}},
        )
    norms = term_gradient_norms(terms, batch.counts, trainee.parameters())
    wrong = _pred_rows(patient, terms, batch)
    weighted(terms, batch.counts).backward()  # type: ignore[no-untyped-call]
    parts, told_parts = _parts(patient), []
    for name, (expected, parameters) in parts.items():
        norm = _norm(parameters)
        told_parts.append(f"{name} {norm:.2g}" if expected else f"{name} frozen")
        if not math.isfinite(norm):
            wrong.append(f"{name}: expected a finite gradient, got {norm}")
        elif expected and not norm:
            wrong.append(f"{name}: expected a gradient, got none")
        elif not expected and norm:
            wrong.append(f"{name}: expected no gradient, since it is frozen, got {norm:.2g}")
    trainee.zero_grad(set_to_none=True)
    figures = {"losses": losses, "terms": norms}
    lines = [
        "gradient of each term: " + ", ".join(f"{name} {n:.2g}" for name, n in norms.items()),
        "gradient of each part: " + ", ".join(told_parts),
    ]
    if rows := _pred_told(patient):
        lines.append(rows)
    silent = [name for name, term in terms.losses.items() if not norms.get(name) and term.weight]
    if silent:
        wrong.append(f"{listed(silent)}: expected a gradient, got none; the term teaches nothing")
    if wrong:
        return Finding(
            check="gradients",
            status="fail",
            told="; ".join(wrong),
            remedy="compare objective.pred, model.freeze_vision and model.lora.targets with what "
            "is meant to learn",
            lines=lines,
            figures=figures,
        )
    words = patient.backbone.plain.config.get_text_config().vocab_size
    told = f"losses {told}; a blind guess of the next token is {math.log(words):.3g}"
    return Finding(check="gradients", status="pass", told=told, lines=lines, figures=figures)


@torch.no_grad()
def targets(patient: Patient) -> Finding:
    """Whether the embeddings to be predicted differ at all, before anything is trained."""
    if patient.config.objective.name != "pearl" or not patient.config.objective.weight:
        return Finding(check="targets", status="skip", told="nothing is predicted but tokens")
    panel = Panel(patient.config.objective)
    trainee = patient.trainee.eval()
    samples = patient.few(16)
    for start in range(0, len(samples), 4):
        batch, cached = patient.batch(samples[start : start + 4])
        terms = trainee(batch, patient.moment(), cached)
        if terms.views is not None and not bool(torch.isfinite(terms.views.target).all()):
            return Finding(
                check="targets",
                status="fail",
                told=f"expected finite target embeddings; others came of {listed([*batch.keys])}",
                remedy="mend what the checks before this one name: pictures, weights",
            )
        panel.see(terms)
    reading = panel.read()
    if reading is None:
        told = f"too few samples to compare: {len(samples)}"
        return Finding(check="targets", status="skip", told=told)
    figures = {name: float(value) for name, value in reading._asdict().items()}
    told = (
        f"before training: target std {reading.target_std:.2f}, effective rank "
        f"{reading.effective_rank:.1f}, cosine {reading.cosine:.2f}, retrieval "
        f"{reading.retrieval:.2f} (chance {reading.chance:.2f}) over {reading.samples} samples"
    )
    verdict = judge(reading, patient.config.objective, reading)
    return Finding(
        check="targets",
        status="pass" if verdict.level == "healthy" else "warn",
        told=told,
        remedy=verdict.text,
        figures=figures,
    )


def embedding_rows(backbone: Backbone, ids: Sequence[int]) -> tuple[nn.Parameter, list[int]] | None:
    """The trained matrix that holds the embeddings of ``ids`` and their rows in it; None if they
    are not trained. Under LoRA that is peft's small matrix of trained rows.
    """
    embedding: Any = backbone.plain.get_input_embeddings()
    adapter = getattr(embedding, "token_adapter", None)
    if adapter is None:
        weight: nn.Parameter = embedding.weight
        return (weight, list(ids)) if weight.requires_grad else None
    known = list(adapter.token_indices["default"])
    if any(number not in known for number in ids):
        return None
    return adapter.trainable_tokens_delta["default"], [known.index(number) for number in ids]


def _pred_rows(patient: Patient, terms: Terms, batch: Batch) -> list[str]:
    """What is wrong with the gradient that L_JEPA alone gives the [PRED] rows. L_VLM reaches them
    too where embedding and LM head are one matrix, which would say nothing.
    """
    options, count = patient.config.objective, patient.plan.pred_tokens
    if not count or "jepa" not in terms.losses:
        return []
    names = patient.backbone.processor.tokenizer.convert_ids_to_tokens
    ids = patient.backbone.tokens.pred[:count]
    found = embedding_rows(patient.backbone, ids)
    norms = [0.0] * count
    if found is not None:
        weight, rows = found
        term = terms.losses["jepa"]
        part = term.weight * term.total / max(batch.counts[term.unit], 1)
        (gradient,) = torch.autograd.grad(part, [weight], retain_graph=True, allow_unused=True)
        if gradient is not None:
            norms = gradient[rows].float().norm(dim=1).tolist()
    patient.pred_gradients = norms
    if options.pred == "frozen":
        moved = [names(number) for number, norm in zip(ids, norms, strict=True) if norm]
        return [f"{listed(moved)}: expected no gradient, since they are frozen"] if moved else []
    still = [names(number) for number, norm in zip(ids, norms, strict=True) if not norm]
    return [f"{listed(still)}: expected a gradient from L_JEPA, got none"] if still else []


def _pred_told(patient: Patient) -> str:
    norms = patient.pred_gradients
    if not norms:
        return ""
    if patient.config.objective.pred == "frozen":
        return "[PRED] rows: frozen, no gradient"
    return "gradient of [PRED] rows from L_JEPA: " + ", ".join(f"{norm:.2g}" for norm in norms)


def _parts(patient: Patient) -> dict[str, tuple[bool, list[nn.Parameter]]]:
    """Parameters by part, and whether the configuration trains that part."""
    plain = patient.backbone.plain
    config = patient.config.model
    language = list(language_model(plain)[1].parameters())
    known = {id(p) for p in language}
    vision = [p for p in plain.model.parameters() if id(p) not in known]
    adapted = config.lora is not None and config.lora.targets is not None
    learns = any(p.requires_grad for p in vision) if adapted else config.lora is None
    parts = {
        "vision": (learns and not config.freeze_vision, vision),
        "language": (True, language),
    }
    known |= {id(p) for p in vision}
    if head := [p for p in plain.parameters() if id(p) not in known]:
        parts["head"] = (any(p.requires_grad for p in head), head)
    if "nextlat" in patient.trainee.parts:
        parts["nextlat"] = (True, list(patient.trainee.parts["nextlat"].parameters()))
    return parts


def _norm(parameters: Iterable[nn.Parameter]) -> float:
    norms: list[Tensor] = [p.grad.float().norm() for p in parameters if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


@torch.no_grad()
def _culprits(patient: Patient, samples: Sequence[EncodedSample], broken: Sequence[str]) -> str:
    """Which samples break the losses when each is alone."""
    named = []
    for sample in samples:
        batch, cached = patient.batch([sample])
        terms: Terms = patient.trainee(batch, patient.moment(), cached)
        if not all(math.isfinite(float(terms.losses[name].total)) for name in broken):
            named.append(f"{sample.key} in {sample.shard}")
    return listed(named) or "only in a batch with others"
