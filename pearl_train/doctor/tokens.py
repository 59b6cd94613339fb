"""Our tokens are one id each and come back as they went in; so does the processor from a folder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from pearl_tools.errors import listed
from pearl_train.doctor.findings import Finding
from pearl_train.doctor.patient import Patient
from pearl_train.views.batch import EncodedSample
from pearl_train.views.encode import Dropped, Encoder, encode_sample


def special_tokens(patient: Patient) -> Finding:
    """Whether each [PRED], pause and latent token is one id, in any surroundings."""
    tokenizer = patient.backbone.processor.tokenizer
    ids = patient.backbone.tokens.all
    names = tokenizer.convert_ids_to_tokens(list(ids))
    rows = patient.backbone.plain.get_input_embeddings().weight.shape[0]
    broken = [
        name
        for name, number in zip(names, ids, strict=True)
        if not (
            tokenizer(name, add_special_tokens=False)["input_ids"] == [number]
            and number in _inside(tokenizer, name)
            and tokenizer.decode([number]) == name
            and number < rows
        )
    ]
    if broken or len(set(ids)) != len(ids):
        return Finding(
            check="tokens",
            status="fail",
            told=f"expected one id for each of our tokens, there and back, got otherwise for "
            f"{listed(broken) or 'tokens that share an id'}",
            remedy="take the tokenizer.json of the published model: a slow or a rebuilt tokenizer "
            "may split added tokens",
        )
    return Finding(
        check="tokens",
        status="pass",
        told=f"{len(ids)} tokens of ours, {names[0]} = {ids[0]} to {names[-1]} = {ids[-1]}: one id "
        "each, there and back",
        figures={"ids": dict(zip(names, ids, strict=True))},
    )


def reload(patient: Patient) -> Finding:
    """Whether the processor, saved and loaded again, makes the same ids and pixels of a sample."""
    from transformers import AutoProcessor

    auto: Any = AutoProcessor
    one = patient.scan.samples[0]
    ours = patient.encode(one.number)
    with tempfile.TemporaryDirectory() as folder:
        patient.backbone.processor.save_pretrained(Path(folder))
        again = auto.from_pretrained(Path(folder))
        config = patient.config
        encoder = Encoder(
            again,
            patient.backbone.tokens,
            data=config.data,
            objective=config.objective,
            max_pixels=config.model.max_pixels,
            model=config.model.id,
        )
        theirs = encode_sample(patient.reader[one.number], one.shard, patient.full_plan, encoder)
    differences = ["what fits"] if isinstance(theirs, Dropped) else _differences(ours, theirs)
    if differences:
        return Finding(
            check="reload",
            status="fail",
            told=f"sample {one.key} ({one.shard}): expected the saved processor to make the same "
            f"of it, got other {', '.join(differences)}",
            remedy="an exported model would not see what was trained: take the processor files of "
            "the published model, all of one version",
        )
    return Finding(
        check="reload",
        status="pass",
        told=f"{type(again).__name__} saved and loaded again makes the same ids and pixels",
    )


def _inside(tokenizer: Any, name: str) -> list[int]:
    """The ids of ``name`` between letters, where a word could swallow it."""
    ids: list[int] = tokenizer(f"a{name}b", add_special_tokens=False)["input_ids"]
    return ids


def _differences(ours: EncodedSample, theirs: EncodedSample) -> list[str]:
    """Which views or pictures are not the same."""
    found = [] if ours.context.ids == theirs.context.ids else ["context"]
    found += [name for name, span in ours.branches.items() if span != theirs.branches[name]]
    if ours.target != theirs.target:
        found.append("target")
    for one, other in zip(ours.images, theirs.images, strict=True):
        same = one.inputs.keys() == other.inputs.keys() and all(
            torch.equal(one.inputs[name], other.inputs[name]) for name in one.inputs
        )
        if not same:
            found.append(f"pixels of {one.medium}")
    return found
