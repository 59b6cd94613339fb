"""Finds the samples of a split that the model's processor or tokenizer refuses.

It reads the shape of every picture from the records, since the run meets every sample. It encodes
only samples with a picture of an unusual shape, or with more choices than letters. Not here:
refusals of words, which show in the encoded samples.
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

#: A picture is unusual if the ratio of its sides is higher, or a side has fewer pixels.
LONG, SMALL_PX = 8, 32


class Refusals(dict[str, dict[str, str]]):
    """Refused samples, by reason and key."""

    @property
    def keys_refused(self) -> list[str]:
        """Every key once."""
        return sorted({key for found in self.values() for key in found})

    def add(self, dropped: Iterable[Dropped]) -> None:
        """Add those of ``dropped`` that are refusals."""
        for one in dropped:
            if one.reason in REFUSALS:
                self.setdefault(one.reason, {})[one.key] = one.detail


def refusals(patient: Patient, plan: ViewPlan, numbers: Iterable[int]) -> Refusals:
    """The samples of ``numbers`` that the model refuses in the views of ``plan``."""
    blanks, found = BlankPictures(patient.encoder.preparer), Refusals()
    for number in numbers:
        try:
            record = patient.reader.record(number)
        except PearlError:  # reported when it is encoded
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
    """True if a model may refuse ``record``, judged without encoding it."""
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
