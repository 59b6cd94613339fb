"""All blocks of a source, over any number of workers, in order, into a data set.

Workers compute blocks; this process alone writes, in block order, so the bytes do not depend on the
number of workers. Interrupted runs go on where the last whole shard ends.
"""

from __future__ import annotations

import math
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import msgspec

from pearl_data.depth_eval.selftest import Verdict, require_sign
from pearl_data.experts.base import Expert, ExpertSettings
from pearl_data.experts.grounded import GroundedExpert
from pearl_data.progress import Progress
from pearl_data.shards import BlockResult, DatasetWriter, SummaryLine
from pearl_data.sources import SourceSpec, open_source
from pearl_data.sources.base import QuestionSettings, QuestionSource
from pearl_data.synthesise.block import SlotResult, run_block
from pearl_data.terminal import say
from pearl_data.trajectory import SCHEMA_VERSION
from pearl_tools.errors import PearlError, ToolBug, UsageError
from pearl_tools.executor import ExecutorSettings, ToolExecutor, library_version
from pearl_tools.registry import TOOLS
from pearl_tools.threads import one_thread
from pearl_tools.types import Record

#: Blocks computed ahead of the one being written, per worker: bounds memory.
_AHEAD_PER_WORKER = 2
#: Libraries whose version can change a byte of the output; those of the depth model are added.
_LIBRARIES = ("numpy", "pillow", "opencv-python", "torch", "timm")


class SynthesisSettings(Record, frozen=True, kw_only=True):
    """Everything that decides what is written. Saved as the data set's configuration.

    ``limit`` bounds the trajectories written; None means all (sources without end need one).
    ``val_share`` is the share 0..1 of pictures whose trajectories get the split ``val``.
    """

    source: SourceSpec
    questions: QuestionSettings
    executor: ExecutorSettings
    limit: int | None = None
    val_share: float = 0.0
    samples_per_shard: int = 256

    @property
    def seed(self) -> int:
        """The one seed of the run."""
        return self.questions.seed


class _Bench:
    """What one worker needs, opened once: source, expert and executor with its depth model."""

    def __init__(self, settings: SynthesisSettings) -> None:
        self.settings = settings
        self.self_test: Verdict | None = None
        self.source: QuestionSource = open_source(settings.source, settings.questions)
        self.executor = ToolExecutor(settings.executor)
        self.expert: Expert = GroundedExpert(
            ExpertSettings(
                tools=settings.questions.tools,
                model_long_side_px=settings.questions.model_long_side_px,
            )
        )

    def run(self, index: int) -> list[SlotResult]:
        """Block ``index``, computed here."""
        return run_block(
            self.source,
            index,
            self.expert,
            self.executor,
            seed=self.settings.seed,
            val_share=self.settings.val_share,
        )


def synthesise(out: Path, settings: SynthesisSettings, *, workers: int = 1) -> SummaryLine:
    """Writes the data set of ``settings`` to ``out`` and returns its summary.

    Goes on with an interrupted run of the same settings. Raises ``UsageError`` for settings that
    ask for something impossible, ``BadInput`` for sources, folders or depth models that cannot be
    used.
    """
    _check(settings, workers)
    one_thread(depth=settings.questions.can_measure_depth)
    bench = _Bench(settings)
    if settings.questions.can_measure_depth:
        bench.self_test = require_sign(bench.executor.depth_model())
    blocks = bench.source.blocks()
    writer = DatasetWriter.open(
        out, configuration(settings, bench), samples_per_shard=settings.samples_per_shard
    )
    if writer.summary is not None:
        say(f"{out}: finished before, nothing was done", err=True)
        return writer.summary
    for line in writer.dropped:
        say(f"writing again: {line}", err=True)
    limit = settings.limit
    total, unit = (blocks, "blocks") if limit is None else (limit, "trajectories")
    done = writer.next_block if limit is None else writer.written
    end = blocks if blocks is not None else 2**31
    with writer, Progress("synth", total, unit, done=done) as progress:
        need = _Need(limit, lambda: writer.written, bench.source.most_in_block())
        for index, results in _in_order(bench, settings, writer.next_block, end, workers, need):
            need.saw(results)
            written = writer.written
            room = None if limit is None else limit - written
            if room is not None and room <= 0:
                break
            writer.add_block(index, _block_result(results, room))
            progress.advance(1 if limit is None else writer.written - written)
            if limit is not None and writer.written >= limit:
                break
        return writer.close()


def configuration(settings: SynthesisSettings, bench: _Bench) -> dict[str, Any]:
    """What decides the bytes of a data set, as JSON: settings, source content, tools, libraries."""
    config: dict[str, Any] = msgspec.to_builtins(settings)
    # paths are where things lie, not what they are: the content's hash stands for them
    config["source"] = bench.source.config()
    config["schema_version"] = SCHEMA_VERSION
    config["tools"] = {name: TOOLS[name].spec.version for name in settings.questions.tools}
    config["expert"] = bench.expert.name
    libraries: tuple[str, ...] = _LIBRARIES
    if settings.questions.can_measure_depth:
        model = bench.executor.depth_model()
        libraries += model.libraries
        config["depth"] = {"model_id": model.model_id, "weights_sha256": model.weights_sha256}
        if bench.self_test:
            config["depth"]["self_test"] = bench.self_test
    config["libraries"] = {name: library_version(name) for name in libraries}
    return config


def _check(settings: SynthesisSettings, workers: int) -> None:
    unknown = sorted(set(settings.questions.tools) - set(TOOLS))
    if unknown or not settings.questions.tools:
        msg = f"--tools: expected some of {', '.join(TOOLS)}, got {', '.join(unknown) or 'none'}"
        raise UsageError(msg)
    if workers < 1:
        msg = f"--workers: expected 1 or more, got {workers}"
        raise UsageError(msg)
    if settings.source.endless and settings.limit is None:
        msg = "--limit: expected a number, since rendered scenes never end"
        raise UsageError(msg)


def _block_result(results: list[SlotResult], room: int | None) -> BlockResult:
    """The block's result, cut after the slot that fills ``room`` (None: all of it)."""
    taken: list[SlotResult] = []
    samples = 0
    for result in results:
        if room is not None and samples >= room:
            break
        taken.append(result)
        samples += result.sample is not None
    return BlockResult(
        inputs=sum(result.inputs for result in taken),
        samples=[result.sample for result in taken if result.sample is not None],
        quarantined=[entry for result in taken for entry in result.quarantined],
        timings=[timing for result in taken for timing in result.timings],
    )


class _Need:
    """How many blocks may still be needed: what is computed beyond a limit is thrown away."""

    def __init__(
        self, limit: int | None, written: Callable[[], int], most_in_block: int | None = None
    ) -> None:
        self._limit, self._written, self._most = limit, written, most_in_block
        self._largest = 0

    def saw(self, results: list[SlotResult]) -> None:
        """A block has come out like this."""
        self._largest = max(self._largest, sum(result.sample is not None for result in results))

    def blocks(self, workers: int) -> int:
        """Blocks to have under way now: what is missing by the best yield so far, at first by what
        a block can yield at most, or one for each worker where that is unknown.
        """
        ahead = workers * _AHEAD_PER_WORKER
        if self._limit is None:
            return ahead
        a_block = self._largest or self._most
        if not a_block:
            return workers
        return max(1, min(ahead, math.ceil((self._limit - self._written()) / a_block)))


def _in_order(
    bench: _Bench,
    settings: SynthesisSettings,
    first: int,
    end: int,
    workers: int,
    need: _Need,
) -> Iterator[tuple[int, list[SlotResult]]]:
    """(index, results) of blocks ``first`` to ``end``, computed by ``workers``, in order; no more
    of them ahead than are thought to be needed.
    """
    if workers == 1:
        for index in range(first, end):
            yield index, bench.run(index)
        return
    # spawn: forking a process that holds torch's threads can deadlock
    context = multiprocessing.get_context("spawn")
    spec = msgspec.structs.replace(settings.source, prepared=bench.source.prepared)
    settings = msgspec.structs.replace(settings, source=spec)
    pool = ProcessPoolExecutor(workers, context, initializer=_open_bench, initargs=(settings,))
    ahead: deque[tuple[int, Future[list[SlotResult]]]] = deque()
    coming = iter(range(first, end))
    try:
        while True:
            most = need.blocks(workers)
            while len(ahead) < most and (i := next(coming, None)) is not None:
                ahead.append((i, pool.submit(_run_in_worker, i)))
            if not ahead:
                return
            index, future = ahead.popleft()
            yield index, future.result()
    except BrokenProcessPool as error:
        msg = (
            "a worker process died (often for lack of memory); what is written stays: run the same"
            " command again to go on, with fewer --workers"
        )
        raise PearlError(msg) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_bench_of_worker: _Bench | None = None


def _open_bench(settings: SynthesisSettings) -> None:
    global _bench_of_worker  # noqa: PLW0603 - a worker process holds exactly one bench
    one_thread(depth=settings.questions.can_measure_depth)
    _bench_of_worker = _Bench(settings)


def _run_in_worker(index: int) -> list[SlotResult]:
    if _bench_of_worker is None:
        raise ToolBug("worker used before it was initialised")
    return _bench_of_worker.run(index)
