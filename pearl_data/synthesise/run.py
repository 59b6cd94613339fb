"""Synthesis of a data set: any number of workers compute the blocks of a source.

Only this process writes, in block order, so the bytes do not depend on the number of workers. An
interrupted run resumes after its last complete shard.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pearl_data.depth_eval.selftest import Verdict, require_sign
from pearl_data.experts.base import Expert, ExpertSettings
from pearl_data.experts.grounded import GroundedExpert
from pearl_data.progress import Progress, stage
from pearl_data.shards import BlockResult, DatasetWriter, SummaryLine
from pearl_data.sources import SourceSpec, open_source
from pearl_data.sources.base import QuestionSettings, QuestionSource
from pearl_data.synthesise.block import SlotResult, run_block
from pearl_data.synthesise.current_input import CurrentInput
from pearl_data.synthesise.worker_pool import STALL_S, WorkerPool
from pearl_data.trajectory import SCHEMA_VERSION
from pearl_tools.errors import UsageError
from pearl_tools.executor import ExecutorSettings, ToolExecutor, library_version
from pearl_tools.registry import TOOLS
from pearl_tools.threads import one_thread
from pearl_tools.types import Record

#: Blocks computed ahead of the one being written, per worker: bounds memory.
_AHEAD_PER_WORKER = 2
#: Options of glibc's mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Libraries whose version can change a byte of the output; those of the depth model are added.
_LIBRARIES = ("numpy", "pillow", "opencv-python", "torch", "timm")


class SynthesisSettings(Record, frozen=True, kw_only=True):
    """All settings that affect the output; saved as the data set's configuration.

    ``limit`` is the most trajectories to write; None means all (endless sources need a limit).
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


class DepthFacts(NamedTuple):
    """Identity of a depth model, its libraries, and its verdict in the self-test, if one ran."""

    model_id: str
    weights_sha256: str
    libraries: tuple[str, ...]
    self_test: Verdict | None


def keep_freed_memory() -> None:
    """From now on glibc reuses freed arrays of up to 16 MiB instead of returning each to the
    system, and keeps at most 32 MiB unused at the end of the heap. Elsewhere nothing changes.

    A renderer frees many arrays of some MB; to be given each page anew took a third of its time.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 16 << 20)
        mallopt(_M_TRIM_THRESHOLD, 32 << 20)


class BlockComputer:
    """Computes blocks in one process: holds the source, the expert and the executor.

    ``test`` runs the self-test of the depth model when it is loaded.
    """

    def __init__(
        self, settings: SynthesisSettings, source: QuestionSource | None = None, *, test: bool
    ) -> None:
        self._settings, self._test = settings, test
        one_thread(depth=settings.questions.can_measure_depth)
        keep_freed_memory()
        self._source = source or open_source(settings.source, settings.questions)
        self._executor = ToolExecutor(settings.executor)
        self._expert: Expert = _expert(settings)

    @cached_property
    def facts(self) -> DepthFacts | None:
        """Facts about the depth model, which is loaded now; None if no tool needs one."""
        if not self._settings.questions.can_measure_depth:
            return None
        model = self._executor.depth_model()
        verdict = require_sign(model) if self._test else None
        return DepthFacts(model.model_id, model.weights_sha256, model.libraries, verdict)

    def run(
        self, index: int, room: int | None = None, current: CurrentInput | None = None
    ) -> list[SlotResult]:
        """The results of block ``index``, or of its first slots if these have ``room`` samples."""
        return run_block(
            self._source,
            index,
            self._expert,
            self._executor,
            seed=self._settings.seed,
            val_share=self._settings.val_share,
            room=room,
            current=current,
        )


def synthesise(
    out: Path, settings: SynthesisSettings, *, workers: int = 0, stall_s: float = STALL_S
) -> SummaryLine:
    """Write the data set of ``settings`` to ``out`` and return its summary.

    ``workers`` processes compute the blocks; one that dies, or makes no progress for ``stall_s``
    seconds, is replaced. With 0 workers this process computes, and a crash ends it.
    Resumes an interrupted run of the same settings. Raises ``UsageError`` for settings that
    cannot work, ``BadInput`` for an unusable source, folder or depth model.
    """
    _check(settings, workers)
    stage("synth", f"opening the source {settings.source.path or settings.source.kind}")
    source = open_source(settings.source, settings.questions)
    for note in source.notes:
        stage("synth", note)
    blocks = source.blocks()
    with ExitStack() as stack:
        computer: BlockComputer | WorkerPool[list[SlotResult], DepthFacts | None]
        if workers:
            spec = msgspec.structs.replace(settings.source, prepared=source.prepared)
            handed = msgspec.structs.replace(settings, source=spec)
            computer = stack.enter_context(
                WorkerPool(
                    partial(BlockComputer, handed, test=True),
                    partial(BlockComputer, handed, test=False),
                    workers,
                    stall_s=stall_s,
                    report=partial(stage, "synth"),
                )
            )
        else:
            computer = BlockComputer(settings, source, test=True)
        depth = None
        if settings.questions.can_measure_depth:
            stage("synth", f"loading the depth model {settings.executor.depth_model}")
            depth = computer.facts
        writer = stack.enter_context(
            DatasetWriter.open(
                out,
                configuration(settings, source, depth),
                samples_per_shard=settings.samples_per_shard,
            )
        )
        for line in writer.dropped:
            stage("synth", f"writing again: {line}")
        if writer.summary is not None:
            if not writer.dropped:
                stage("synth", f"{out} is already finished; nothing to do")
            return writer.summary
        limit = settings.limit
        total, unit = (blocks, "blocks") if limit is None else (limit, "trajectories")
        done = writer.next_block if limit is None else writer.written
        stage("synth", f"computing block {writer.next_block}")
        progress = stack.enter_context(Progress("synth", total, unit, done=done))
        need = _Need(limit, lambda: writer.written, source.most_in_block())
        end = blocks if blocks is not None else 2**31
        for index, results in _in_order(computer, writer.next_block, end, workers, need, progress):
            need.saw(results)
            written, room = writer.written, need.room()
            if room is not None and room <= 0:
                break
            writer.add_block(index, _block_result(results, room))
            progress.advance(1 if limit is None else writer.written - written)
            if limit is not None and writer.written >= limit:
                break
        return writer.close()


def _expert(settings: SynthesisSettings) -> GroundedExpert:
    questions = settings.questions
    return GroundedExpert(
        ExpertSettings(tools=questions.tools, model_long_side_px=questions.model_long_side_px)
    )


def configuration(
    settings: SynthesisSettings, source: QuestionSource, depth: DepthFacts | None
) -> dict[str, Any]:
    """Everything that affects the bytes of a data set, as JSON: settings, source content, tools,
    libraries.
    """
    config: dict[str, Any] = msgspec.to_builtins(settings)
    # a path says nothing about the content: its hash is recorded instead
    config["source"] = source.config()
    config["schema_version"] = SCHEMA_VERSION
    config["tools"] = {name: TOOLS[name].spec.version for name in settings.questions.tools}
    config["expert"] = _expert(settings).name
    libraries: tuple[str, ...] = _LIBRARIES
    if depth:
        libraries += depth.libraries
        config["depth"] = {"model_id": depth.model_id, "weights_sha256": depth.weights_sha256}
        if depth.self_test:
            config["depth"]["self_test"] = depth.self_test
    config["libraries"] = {name: library_version(name) for name in libraries}
    return config


def _check(settings: SynthesisSettings, workers: int) -> None:
    unknown = sorted(set(settings.questions.tools) - set(TOOLS))
    if unknown or not settings.questions.tools:
        msg = f"--tools: expected some of {', '.join(TOOLS)}, got {', '.join(unknown) or 'none'}"
        raise UsageError(msg)
    if workers < 0:
        msg = f"--workers: expected 0 or more, got {workers}"
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
    """The number of blocks that may still be needed: samples beyond the limit are discarded."""

    def __init__(
        self, limit: int | None, written: Callable[[], int], most_in_block: int | None = None
    ) -> None:
        self._limit, self._written, self._most = limit, written, most_in_block
        self._largest = 0

    def room(self) -> int | None:
        """The number of samples still needed; None without a limit."""
        return None if self._limit is None else self._limit - self._written()

    def saw(self, results: list[SlotResult]) -> None:
        """Take the yield of a finished block into account."""
        self._largest = max(self._largest, sum(result.sample is not None for result in results))

    def blocks(self, workers: int) -> int:
        """The number of blocks to keep in progress: the missing samples divided by the best yield
        so far, at first by the highest possible yield, or one per worker if that is unknown.
        """
        ahead = workers * _AHEAD_PER_WORKER
        if self._limit is None:
            return ahead
        a_block = self._largest or self._most
        if not a_block:
            return workers
        return max(1, min(ahead, math.ceil((self._limit - self._written()) / a_block)))


def _in_order(
    computer: BlockComputer | WorkerPool[list[SlotResult], DepthFacts | None],
    first: int,
    end: int,
    workers: int,
    need: _Need,
    progress: Progress,
) -> Iterator[tuple[int, list[SlotResult]]]:
    """(index, results) of blocks ``first`` to ``end`` - 1, in order; computes ahead no more blocks
    than ``need`` asks for.
    """
    if isinstance(computer, WorkerPool):
        yield from computer.results(
            first,
            end,
            wanted=lambda: need.blocks(workers),
            room=need.room,
            tick=progress.under_way,
        )
        return
    for index in range(first, end):
        yield index, computer.run(index, need.room())
