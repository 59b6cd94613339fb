"""Samples of a split that the model's processor or tokenizer refuses, found by every record.

The shape of every picture is read, not that of the few samples that are encoded: one strip among
thousands is met by the run, too. Only samples with a picture of an odd size, or with more choices
than letters, are tried further. Not here: refusals of words, which the samples encoded show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pearl_data.formats.chat import MOST_LETTERED
from pearl_data.trajectory import Trajectory
from pearl_tools.errors import PearlError
from pearl_train.doctor.patient import Patient
from pearl_train.errors import REFUSALS
from pearl_train.views.batch import ViewPlan
from pearl_train.views.by_size import BlankPictures, measure
from pearl_train.views.encode import Dropped

#: A picture is odd that is longer than so many times its width, or has a side of fewer pixels.
LONG, SMALL_PX = 8, 32


class Refusals(dict[str, dict[str, str]]):
    """What was refused of samples, by reason and key."""

    @property
    def keys_refused(self) -> list[str]:
        """Every key once."""
        return sorted({key for found in self.values() for key in found})

    def add(self, dropped: Iterable[Dropped]) -> None:
        """Take up those of ``dropped`` that are refusals."""
        for one in dropped:
            if one.reason in REFUSALS:
                self.setdefault(one.reason, {})[one.key] = one.detail


def refusals(patient: Patient, plan: ViewPlan, numbers: Iterable[int]) -> Refusals:
    """What the model refuses of the samples ``numbers``, read in the views of ``plan``."""
    blanks, found = BlankPictures(patient.encoder.preparer), Refusals()
    for number in numbers:
        try:
            record = patient.reader.record(number)
        except PearlError:  # whoever encodes it hears what is wrong
            continue
        if is_odd(record, patient.config.data.answers):
            shard = patient.reader.places[number].shard
            try:
                made = measure(record, shard, plan, patient.encoder, blanks)
            except PearlError:
                continue
            found.add([made] if isinstance(made, Dropped) else [])
    return found


def is_odd(record: Trajectory, answers: str) -> bool:
    """Whether a model may refuse ``record`` for what can be told without encoding it."""
    if answers == "letter" and len(record.task.choices) > MOST_LETTERED:
        return True
    sizes = [sorted((medium.width, medium.height)) for medium in record.media]
    return any(short < SMALL_PX or long > LONG * short for short, long in sizes)


def by_reason(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A line for each reason, with one sample as an example."""
    lines = []
    for reason, samples in sorted(found.items()):
        key, detail = next(iter(sorted(samples.items())))
        lines.append(f"refused by the model, {reason}: {len(samples)}, {key} for one: {detail}")
    return lines
