"""What the latents of the reconstruction baseline hold: three questions put to a trained model.

They were trained to be the visual tokens of the region that a tool would have cut out. So: does
accuracy change when dummies stand in their place? Are the latents of one question different from
each other? Is the visual token nearest to a latent one of that region? Published latents fail all
three (arXiv 2605.18445: mutual cosine 0.8 to 0.98, the right region in 3.3 %).

Dimensions: n latents of one question, N visual tokens of its root pictures, H hidden size.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from pearl_data.progress import Progress
from pearl_data.shards import DatasetReader, Sample
from pearl_tools.types import Record
from pearl_train.asking.answering import Answerer, Thought
from pearl_train.asking.questions import item_of
from pearl_train.asking.statistics import Paired, Rate, rate
from pearl_train.errors import Refused
from pearl_train.views.batch import EncodedSample, ViewPlan
from pearl_train.views.encode import Encoder, encode_sample

_ALL_TOKENS = 1_000_000


class LatentDiagnosis(Record, frozen=True, kw_only=True):
    """The three answers.

    ``with_dummies`` is the accuracy with the token ``<|lvr|>`` itself in every latent's place,
    ``dummies_against_latents`` its paired test against the latents. ``mutual_cosine`` is the mean
    cosine of two latents of one question. ``right_region`` counts latents whose nearest visual
    token (by cosine) lies in the region of interest; ``right_region_chance`` is the share of the
    tokens that lie there.
    """

    latents: int
    questions: int
    with_dummies: Rate
    dummies_against_latents: Paired
    mutual_cosine: float
    right_region: Rate
    right_region_chance: float


class Looked(NamedTuple):
    """What was counted over some questions."""

    mutual_cosine: float
    hits: int
    latents: int
    chance: float
    questions: int


def look(model: Answerer, reader: DatasetReader, numbers: list[int]) -> Looked:
    """Cosines and nearest tokens of the latents on the samples ``numbers``.

    Samples with an unknown region (dropped by the encoder), and those that the model refuses, are
    skipped.
    """
    thoughts: list[Thought] = []
    one_token = msgspec.structs.replace(model.config.evaluate, max_new_tokens=1)
    config = msgspec.structs.replace(model.config, evaluate=one_token)
    watching = replace(model, config=config, watch=thoughts.append)
    encoder = _unthinned(model)
    cosines: list[float] = []
    chances: list[float] = []
    hits = latents = 0
    with Progress("latents", len(numbers), "questions") as progress:
        for number in numbers:
            sample, shard = reader[number], reader.places[number].shard
            region = region_of(sample, shard, encoder)
            progress.advance()
            if region is None:
                continue
            with suppress(Refused):
                watching.answer(item_of(sample, shard).question)
            if not thoughts:
                continue
            thought = thoughts.pop()
            cosines.append(mutual_cosine(thought.latents))
            found = nearest(thought)
            hits += sum(int(token) in region for token in found)
            latents += len(found)
            chances.append(len(region) / len(thought.visual))
    questions = len(cosines)
    return Looked(
        mutual_cosine=sum(cosines) / max(questions, 1),
        hits=hits,
        latents=latents,
        chance=sum(chances) / max(questions, 1),
        questions=questions,
    )


def diagnosis(looked: Looked, model: Answerer, dummies: Rate, against: Paired) -> LatentDiagnosis:
    """The three answers as one record."""
    return LatentDiagnosis(
        latents=model.config.objective.lvr.latents,
        questions=looked.questions,
        with_dummies=dummies,
        dummies_against_latents=against,
        mutual_cosine=looked.mutual_cosine,
        right_region=rate(looked.hits, looked.latents),
        right_region_chance=looked.chance,
    )


def mutual_cosine(latents: Tensor) -> float:
    """Mean cosine of every two different ones of ``latents`` (n, H); 1 for a single one."""
    n = len(latents)
    if n < 2:
        return 1.0
    unit = functional.normalize(latents.float(), dim=-1)
    cosines = unit @ unit.T
    return float((cosines.sum() - cosines.diagonal().sum()) / (n * (n - 1)))


def nearest(thought: Thought) -> Tensor:
    """(n,) the visual token nearest to each latent, by cosine."""
    latents = functional.normalize(thought.latents.float(), dim=-1)
    visual = functional.normalize(thought.visual.float(), dim=-1)
    return torch.argmax(latents @ visual.T, dim=-1)


def region_of(sample: Sample, shard: str, encoder: Encoder) -> set[int] | None:
    """The region's tokens, as numbers into the visual tokens of all root pictures in order."""
    encoded = encode_sample(sample, shard, ViewPlan(branches=("lvr",)), encoder)
    if not isinstance(encoded, EncodedSample):
        return None
    starts = [0]
    for image in encoded.images:
        starts.append(starts[-1] + image.tokens)
    return {starts[place.image] + place.token for place in encoded.region}


def _unthinned(model: Answerer) -> Encoder:
    """The model's encoder, telling all tokens of a region however large it is."""
    known = model.encoder
    lvr = msgspec.structs.replace(known.objective.lvr, max_latents=_ALL_TOKENS)
    data = msgspec.structs.replace(known.data, max_tokens=_ALL_TOKENS)
    return Encoder(
        known.processor,
        known.tokens,
        data=data,
        objective=msgspec.structs.replace(known.objective, lvr=lvr),
        max_pixels=known.max_pixels,
        model=known.model,
    )
