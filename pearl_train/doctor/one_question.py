"""A few samples with the same question, so that only their pictures distinguish the answers.

Equal words cannot be memorised with different answers: after equal prefixes, the best text-only
model predicts the frequencies of the next tokens. Its loss is known beforehand (:func:`blind`); a
model with a clearly lower loss uses the pictures.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from pearl_data.shards import Sample
from pearl_train.doctor.lengths import Scanned
from pearl_train.doctor.patient import Patient
from pearl_train.views.batch import BranchName, EncodedSample
from pearl_train.views.encode import Dropped, encode_sample


def asked_alike(patient: Patient, most: int) -> list[EncodedSample]:
    """At most ``most`` samples, all with the question of the first and no choices, with answers as
    different as the samples have them. Those whose pictures take equally many tokens are preferred:
    a number of tokens would tell them apart. One that no longer fits is dropped.
    """
    chosen = _chosen(patient, most)
    question = patient.reader.record(chosen[0].number).task.question
    found = []
    for one in chosen:
        sample = patient.reader[one.number]
        record = sample.trajectory
        task = msgspec.structs.replace(record.task, question=question, choices=[])
        same = Sample(msgspec.structs.replace(record, task=task), sample.members)
        made = encode_sample(same, one.shard, patient.full_plan, patient.encoder)
        if not isinstance(made, Dropped):
            found.append(made)
    return found


class Blind(NamedTuple):
    """The best text-only score: ``loss`` is the least loss per learned token, in nats, without
    pictures; ``floor`` the same per ambiguous token; both 0 without ambiguous tokens. ``places``
    gives for every learned token, sample by sample, the number of its prefix if the token is
    ambiguous, else -1.
    """

    loss: float
    floor: float
    places: tuple[int, ...]

    @property
    def open(self) -> int:
        """The number of learned tokens that the text leaves ambiguous."""
        return sum(place >= 0 for place in self.places)


def blind(samples: Sequence[EncodedSample]) -> Blind:
    """The best score of a text-only model on ``samples``: it predicts the frequency of each next
    token after the same prefix.
    """
    following: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    places: list[tuple[int, ...]] = []
    for sample in samples:
        span = sample.branches[written(sample)]
        before = list(sample.context.ids)
        for number, learn in zip(span.ids, span.learn, strict=True):
            if learn:
                places.append(tuple(before))
                following[places[-1]][number] += 1
            before.append(number)
    total = sum(
        -times * math.log(times / next_ones.total())
        for next_ones in following.values()
        for times in next_ones.values()
    )
    known = {place: n for n, (place, ends) in enumerate(following.items()) if len(ends) > 1}
    found = Blind(total / max(len(places), 1), 0.0, tuple(known.get(p, -1) for p in places))
    return found._replace(floor=total / max(found.open, 1))


def written(sample: EncodedSample) -> BranchName:
    """The branch whose loss is called ``vlm``."""
    order: tuple[BranchName, ...] = ("answer", "lvr", "trajectory")
    return next(name for name in order if name in sample.branches)


def _chosen(patient: Patient, most: int) -> list[Scanned]:
    """Different answers first, of the size of pictures that has the most of them."""
    by_size: defaultdict[tuple[int, ...], dict[str, Scanned]] = defaultdict(dict)
    for one in patient.scan.samples:
        record = patient.reader.record(one.number)
        roots = [medium.id for medium in record.media if medium.parent is None]
        size = tuple(one.images[name] for name in roots if name in one.images)
        by_size[size].setdefault(record.task.answer, one)
    best = list(max(by_size.values(), key=len).values())
    rest = [one for one in patient.scan.samples if one not in best]
    return [*best, *rest][:most]
