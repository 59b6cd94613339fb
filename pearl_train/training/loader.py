"""The order of samples, and the batches of every step: all of it follows from seed and step number.

Epoch *e* is a permutation from (seed, *e*); position *p* of the run is sample *p* mod *N* of epoch
*p* div *N*; step *g* takes positions *gB* to *(g+1)B*, cut into micro-batches of which each process
takes its share. So the state of the loader is the step number alone, resuming in the middle of a
shard is exact, and the number of processes changes nothing.
Not here: what a sample becomes (:mod:`pearl_train.views.encode`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from pearl_data.randomness import rng_for
from pearl_data.shards import DatasetReader
from pearl_data.terminated import end_with_parent, leave_signals_to_parent
from pearl_tools.errors import BadInput, PearlError
from pearl_train.settings.passes import passes
from pearl_train.training.splits import numbers_of, shared_questions
from pearl_train.views.batch import Batch, EncodedSample, ViewPlan
from pearl_train.views.collate import collate, muted
from pearl_train.views.encode import Dropped, Encoder, encode_sample
from pearl_train.views.left_out import how_to_keep
from pearl_train.views.remember import Remembered
from pearl_train.views.tally import Outcome, Tally

__all__ = [
    "EncodedSamples",
    "Fault",
    "TrainingData",
    "numbers_of",
    "shared_questions",
]


class Fault(NamedTuple):
    """An error on its way from a worker to the process that reports it."""

    kind: type[PearlError]
    message: str


class Micro(NamedTuple):
    """One process's share of a micro-batch; ``batch`` is None where nothing is left of it."""

    batch: Batch | None
    dropped: tuple[Dropped, ...]
    changed: tuple[tuple[str, str], ...]
    fault: Fault | None


Item = EncodedSample | Dropped | Fault


class EncodedSamples(Dataset[Item]):
    """The samples of ``reader`` by number, encoded on demand and remembered while there is room.

    ``beforehand`` is what became of samples, by key, in a view that was read before: who has no
    cached target is left out, as who cannot be encoded is.
    """

    def __init__(
        self, reader: DatasetReader, plan: ViewPlan, encoder: Encoder, *, cache_bytes: int = 0
    ) -> None:
        self.reader, self.plan, self.encoder = reader, plan, encoder
        self.beforehand: Mapping[str, Outcome] = {}
        self._remembered = Remembered(cache_bytes)

    def __getitem__(self, number: int) -> Item:
        known = self._remembered.get(number)
        if known is not None:
            return known
        place = self.reader.places[number]
        before = self.beforehand.get(place.line.key, Outcome())
        if before.reason:
            return Dropped(place.line.key, place.shard, before.reason, before.detail)
        try:
            made = encode_sample(self.reader[number], place.shard, self.plan, self.encoder)
        except PearlError as error:
            return Fault(type(error), str(error))
        if isinstance(made, EncodedSample):
            made = replace(made, notes=tuple(dict.fromkeys((*made.notes, *before.changes))))
            self._remembered.put(number, made)
        return made

    def gather(self, items: Sequence[Item]) -> Micro:
        """One micro-batch of ``items``; the ``collate_fn`` of the torch loader."""
        good = [item for item in items if isinstance(item, EncodedSample)]
        return Micro(
            batch=collate(good, pad_id=self.encoder.pad_id) if good else None,
            dropped=tuple(item for item in items if isinstance(item, Dropped)),
            changed=tuple((item.key, note) for item in good for note in item.notes),
            fault=next((item for item in items if isinstance(item, Fault)), None),
        )


class TrainingData:
    """The samples of one split of ``reader`` in the order of training, as batches of ``plan``.

    ``batch`` samples make a step, ``micro_batch`` of them one pass of one process; ``rank`` is this
    process of ``world``. ``cache_bytes`` is the memory for encoded samples that are kept from one
    epoch to the next, over all ``workers``. ``without`` are keys of samples that take no part, in
    the order either. ``tally`` counts the samples dropped so far.

    Raises ``UsageError`` for a split without samples.
    """

    def __init__(
        self,
        reader: DatasetReader,
        plan: ViewPlan,
        encoder: Encoder,
        *,
        split: str | None,
        seed: int,
        batch: int,
        micro_batch: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        cache_bytes: int = 1 << 30,
        without: Collection[str] = (),
    ) -> None:
        chosen = numbers_of(reader, split)
        self.numbers = [n for n in chosen if reader.places[n].line.key not in without]
        self.seed, self.batch, self.micro_batch = seed, batch, micro_batch
        self.rank, self.world, self.workers = rank, world, workers
        self.tally = Tally()
        share = cache_bytes // max(workers, 1)
        self.samples = EncodedSamples(reader, plan, encoder, cache_bytes=share)
        self._orders: dict[int, list[int]] = {}
        self._stand_in: Batch | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which every sample comes once."""
        return len(self.numbers) / self.batch

    def order(self, epoch: int) -> list[int]:
        """The samples of one epoch, as numbers in the reader."""
        if epoch not in self._orders:
            shuffled = list(self.numbers)
            rng_for(self.seed, "order", epoch).shuffle(shuffled)
            self._orders = {**{e: o for e, o in self._orders.items() if e == epoch - 1}}
            self._orders[epoch] = shuffled
        return self._orders[epoch]

    def sample_at(self, position: int) -> int:
        """The sample at a position of the run, as its number in the reader."""
        epoch, place = divmod(position, len(self.numbers))
        return self.order(epoch)[place]

    def shares(self, step: int) -> list[list[int]]:
        """This process's samples in each micro-batch of ``step``, as numbers in the reader."""
        first = step * self.batch
        return [
            [self.sample_at(first + place) for place in one[self.rank]]
            for one in passes(self.batch, self.micro_batch, self.world)
        ]

    def batches(self, start_step: int = 0, stop_step: int | None = None) -> Iterator[list[Batch]]:
        """For each step from ``start_step`` on, this process's micro-batches.

        All processes get equally many. Where nothing is left of a share (its samples were dropped,
        or there are fewer than processes), its batch has no keys and nothing to learn: it can be
        computed, and adds nothing. Raises what was wrong with a sample, naming key and shard.
        """
        number = -(-self.batch // (self.micro_batch * self.world))
        steps = count(start_step) if stop_step is None else range(start_step, stop_step)
        micros = iter(self._loader(share for step in steps for share in self.shares(step)))
        while True:
            found = [self._heard(micro) for _, micro in zip(range(number), micros, strict=False)]
            if not found:
                return
            yield [self._quiet() if batch is None else batch for batch in found]

    def once(
        self, *, most: int | None = None, wanted: Collection[int] | None = None
    ) -> Iterator[list[Batch]]:
        """Every sample once, in the order of the shards, one micro-batch at a time: for
        validation and for what is computed beforehand. ``most`` samples at most, or those of
        ``wanted`` (numbers in the reader) with what shares a micro-batch with them: a batch is the
        same whatever else is wanted. All processes get equally many batches, none where no sample
        can be encoded. Without workers, so that what was encoded is still there next time.
        """
        numbers = self.numbers[:most]
        group = self.micro_batch * self.world
        shares = []
        for start in range(0, len(numbers), group):
            part = numbers[start : start + group]
            if wanted is not None and not any(number in wanted for number in part):
                continue
            low, high = (len(part) * r // self.world for r in (self.rank, self.rank + 1))
            shares.append(part[low:high])
        for share in shares:
            batch = self._heard(self.samples.gather([self.samples[number] for number in share]))
            if batch is None:
                batch = self._stand_in_of(numbers)
            if batch is None:
                return  # in all processes alike: they ask the same samples
            yield [batch]

    def _loader(self, shares: Iterator[list[int]]) -> DataLoader[Item]:
        if self.workers:
            # the tokenizers library warns when it is used before and after a fork
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        return DataLoader(
            self.samples,
            worker_init_fn=_as_worker,
            batch_sampler=shares,
            collate_fn=self.samples.gather,
            num_workers=self.workers,
            generator=torch.Generator().manual_seed(0),  # else it draws from the global one
        )

    def _heard(self, micro: Micro) -> Batch | None:
        return _counted(micro, self.tally)

    def _quiet(self) -> Batch:
        """A batch that adds nothing; raises ``BadInput`` if every sample was dropped."""
        batch = self._stand_in_of(self.numbers)
        if batch is None:
            raise BadInput(
                f"expected samples that can be trained on, got {len(self.numbers)} of which all "
                f"were dropped: {self.tally.counts()}; "
                f"{how_to_keep(self.tally.dropped, self.samples.encoder.data)}"
            )
        return batch

    def _stand_in_of(self, numbers: Sequence[int]) -> Batch | None:
        """A batch that adds nothing, of the first of ``numbers`` that can be encoded, if any.

        Samples that are tried for it may never come up, and do so by the number of processes: they
        count only if all of them are dropped.
        """
        if self._stand_in is None:
            tried = Tally()
            for number in numbers:
                batch = _counted(self.samples.gather([self.samples[number]]), tried)
                if batch is not None:
                    self._stand_in = muted(batch)
                    return self._stand_in
            self.tally.merge(tried)
        return self._stand_in


def end_workers() -> None:
    """Kill the workers of every loader of this process; they hold no data to save.

    In an orderly shutdown a worker could wait forever for a lock of a killed one.
    """
    workers = multiprocessing.active_children()
    if not workers:
        return
    main = threading.current_thread() is threading.main_thread()
    # torch's own handler would raise for each
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if main else None
    for worker in workers:
        worker.kill()
        worker.join()
    if main:
        signal.signal(signal.SIGCHLD, handler)


def _as_worker(number: int) -> None:
    """Make a worker end with this process, which alone handles Ctrl-C."""
    leave_signals_to_parent()
    end_with_parent()
    sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a worker's thread, unless this process has stopped the worker."""
    if not isinstance(error, EOFError | OSError | multiprocessing.AuthenticationError):
        sys.__excepthook__(kind, error, trace)


def _counted(micro: Micro, tally: Tally) -> Batch | None:
    """The batch of ``micro``, what became of its samples counted; raises what is wrong with one."""
    if micro.fault:
        raise micro.fault.kind(micro.fault.message)
    for dropped in micro.dropped:
        tally.drop(dropped)
    for key, what in micro.changed:
        tally.change(key, what)
    return micro.batch
