"""A few samples asked in the same words, so that only their pictures tell their answers apart.

What cannot be told apart by words cannot be learned by heart from words: whatever is before a
learned token being equal, no model does better than to give each next token its share. That is a
loss known beforehand (:func:`blind_loss`), and a model that goes well below it sees.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from pearl_data.shards import Sample
from pearl_train.doctor.lengths import Scanned
from pearl_train.doctor.patient import Patient
from pearl_train.views.batch import BranchName, EncodedSample
from pearl_train.views.encode import Dropped, encode_sample


def asked_alike(patient: Patient, most: int) -> list[EncodedSample]:
    """At most ``most`` samples, all with the question of the first and no choices, with answers as
    different as the samples have them. Those whose pictures take equally many tokens are preferred:
    a number of tokens would tell them apart. One that no longer fits is left out.
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


def blind_loss(samples: Sequence[EncodedSample]) -> float:
    """The least loss per learned token, in nats, of a model that sees no picture of ``samples``:
    the entropy of each next token given all tokens before it. 0 where words tell all of it.
    """
    following: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    learned = 0
    for sample in samples:
        span = sample.branches[written(sample)]
        before = list(sample.context.ids)
        for number, learn in zip(span.ids, span.learn, strict=True):
            if learn:
                following[tuple(before)][number] += 1
                learned += 1
            before.append(number)
    total = sum(
        -times * math.log(times / next_ones.total())
        for next_ones in following.values()
        for times in next_ones.values()
    )
    return total / max(learned, 1)


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
