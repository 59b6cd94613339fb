"""Worker processes that compute blocks. Workers never outlive the command, nor end it by dying.

A worker that dies or stalls is replaced and its block retried. An input that costs two workers is
quarantined, and the rest of the block is computed. Each worker has its own pipe, so a dying worker
cannot corrupt the messages of another. Results arrive in block order.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Generic, NamedTuple, Protocol, Self, TypeVar, cast

from pearl_data.synthesise.current_input import CurrentInput, InputPlace, Skip
from pearl_data.terminated import SIGNALS, end_with_parent
from pearl_tools.errors import PearlError, tool_error

STALL_S: Final = 600.0
"""A worker that processes one input for longer is stalled."""
SILENT_S: Final = 30.0
"""A worker without a heartbeat for longer is stalled: it is stopped, or hangs in C code."""
OPENING_S: Final = 120.0
"""The same limit for a worker that starts: the first heartbeat follows its imports."""
_BEAT_S: Final = 1.0
_TICK_S: Final = 0.2
_MOST_DEATHS: Final = 6
"""The run ends after so many losses in one block at different inputs: no input is at fault."""
_LOST_MEMORY: Final = 137

Result = TypeVar("Result")
Facts = TypeVar("Facts")


Result_co = TypeVar("Result_co", covariant=True)
Facts_co = TypeVar("Facts_co", covariant=True)


class Computer(Protocol[Result_co, Facts_co]):
    """Computes blocks in one worker; opened once."""

    @property
    def facts(self) -> Facts_co:
        """Facts about the opened source and model."""

    def run(self, index: int, room: int | None, current: CurrentInput) -> Result_co:
        """The result of block ``index``; samples after the first ``room`` are not needed."""


class _Job(NamedTuple):
    block: int
    room: int | None
    skip: Skip


class _Block:
    """A block in progress: the inputs to skip, and the losses of workers by input."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.skip = Skip()
        self.lost: Counter[InputPlace | None] = Counter()

    def record_loss(self, place: InputPlace | None, cause: str, code: str) -> str:
        """Record that a worker was lost at ``place``; returns the next step as text.

        Raises ``PearlError`` if a retry cannot help.
        """
        key = place.key if place else None
        place = place and place._replace(key=None)
        self.lost[place] += 1
        if self.lost.total() >= _MOST_DEATHS or self._skips(place):
            msg = (
                f"block {self.index}: {self.lost.total()} workers were lost, the last at "
                f"{place or 'several slots'} ({cause}), often for lack of memory; finished shards "
                "are kept: run the same command again with fewer --workers"
            )
            raise PearlError(msg)
        if self.lost[place] < 2:
            return "the block is retried"
        if place is None:
            self.skip = self.skip._replace(one_by_one=True)
            return "the block is retried, one slot at a time"
        error = tool_error(
            code,
            f"block {self.index}, {place}",
            "an input that does not end its worker",
            f"{cause}, twice",
            "open the input alone; if memory is short, use fewer --workers",
        )
        if place.picture is not None:
            pictures = {**self.skip.pictures, place.picture: error}
            self.skip = self.skip._replace(pictures=pictures)
        elif place.slot is not None:
            slots = {**self.skip.slots, place.slot: (key, error)}
            self.skip = self.skip._replace(slots=slots)
        self.lost.clear()
        return "the input is quarantined, the rest of the block is computed"

    def _skips(self, place: InputPlace | None) -> bool:
        if place is None:
            return self.skip.one_by_one and self.lost[place] > 1
        return place.picture in self.skip.pictures or place.slot in self.skip.slots


class _Worker:
    """One process, its pipe, and its last reported state."""

    def __init__(
        self, open_computer: Callable[[], Computer[Any, Any]], messages: queue.Queue[Any]
    ) -> None:
        # spawn: forking a process that holds torch's threads can deadlock
        context = multiprocessing.get_context("spawn")
        self._messages = messages
        self.pipe, self._theirs = context.Pipe()
        self.process = context.Process(
            target=_work, args=(self._theirs, os.getpid(), open_computer), daemon=True
        )
        self.block: _Block | None = None
        self.place: InputPlace | None = None
        self.found = 0
        self.open = False
        self.silent_s = self.still_s = 0.0
        self.stalled = ""

    def start(self) -> None:
        """Start the process. Only the parent handles Ctrl-C; it ends the worker."""
        resource_tracker.ensure_running()  # it unblocks signals when it starts
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self.process.start()
            self._theirs.close()
            threading.Thread(target=self._listen, daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _listen(self) -> None:
        while True:
            try:
                message = self.pipe.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                self._messages.put((self, None))
                return
            self._messages.put((self, message))

    def assign(self, block: _Block, room: int | None) -> None:
        """Send ``block`` to the worker."""
        self.block, self.place, self.found, self.still_s = block, None, 0, 0.0
        try:
            self.pipe.send(_Job(block.index, room, block.skip))
        except OSError:  # the worker has died; the listener reports it too
            return

    def end(self) -> None:
        """Kill the worker: it holds nothing that must be saved."""
        if self.process.pid is not None:
            self.process.kill()
            self.process.join()

    def cause(self) -> str:
        """The cause of the loss, as text."""
        self.process.join()
        code = self.process.exitcode or 0
        if self.stalled:
            return self.stalled
        if code in (_LOST_MEMORY, -signal.SIGKILL):
            return "killed by SIGKILL, often for lack of memory"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


class WorkerPool(Generic[Result, Facts]):
    """At most ``number`` workers, started on demand. Each opens a computer: the first worker with
    ``open_first``, the others with ``open_others``.

    ``stall_s`` is the longest time in seconds that a worker may spend on one input; ``report`` gets
    a line for each lost worker. On exit the context manager ends all workers.
    """

    def __init__(
        self,
        open_first: Callable[[], Computer[Result, Facts]],
        open_others: Callable[[], Computer[Result, Facts]],
        number: int,
        *,
        stall_s: float = STALL_S,
        report: Callable[[str], None],
    ) -> None:
        self._open_first, self._open_others, self._number = open_first, open_others, number
        self._stall_s, self._report = stall_s, report
        self._messages: queue.Queue[tuple[_Worker, Any]] = queue.Queue()
        self._workers: list[_Worker] = []
        self._todo: list[_Block] = []
        self._done: dict[int, Result] = {}
        self._facts: Facts | None = None
        self._opened = False
        self._unopened = 0
        self._checked_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.end()

    @property
    def facts(self) -> Facts:
        """The facts of the first worker's computer; starts it. Raises the error of its opening."""
        while not self._opened:
            if not self._workers:
                self._start()
            self._receive()
        return cast("Facts", self._facts)

    def results(
        self,
        first: int,
        end: int,
        *,
        wanted: Callable[[], int],
        room: Callable[[], int | None],
        tick: Callable[[int], None],
    ) -> Iterator[tuple[int, Result]]:
        """(index, result) of blocks ``first`` to ``end`` - 1, in order.

        ``wanted`` returns the number of blocks to keep in progress, ``room`` the number of samples
        still needed; ``tick`` gets the samples found in unfinished blocks, a few times a second.
        """
        coming, turn = iter(range(first, end)), first
        while True:
            under_way = len(self._todo) + len(self._done) + len(self._busy())
            while under_way < wanted() and (index := next(coming, None)) is not None:
                self._todo.append(_Block(index))
                under_way += 1
            if not under_way:
                return
            self._assign(room())
            while turn not in self._done:
                self._receive()
                self._assign(room())
                tick(sum(worker.found for worker in self._busy()))
            yield turn, self._done.pop(turn)
            turn += 1

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.block is not None]

    def _start(self) -> _Worker:
        open_computer = self._open_others if self._opened else self._open_first
        worker = _Worker(open_computer, self._messages)
        self._workers.append(worker)
        worker.start()
        return worker

    def _assign(self, room: int | None) -> None:
        """Assign waiting blocks to idle workers, the lowest index first."""
        self._todo.sort(key=lambda block: block.index)
        while self._todo:
            idle = next((worker for worker in self._workers if worker.block is None), None)
            if idle is None:
                if len(self._workers) >= self._number:
                    return
                idle = self._start()
            idle.assign(self._todo.pop(0), room)

    def _receive(self) -> None:
        """Handle one message; without one, check for stalled workers."""
        try:
            worker, message = self._messages.get(timeout=_TICK_S)
        except queue.Empty:
            self._check_stalls()
            return
        if message is None:
            self._lost(worker)
            return
        kind, content = message
        worker.silent_s = 0.0
        if kind == "beat":
            return
        worker.still_s = 0.0
        if kind == "open":
            worker.open, self._unopened = True, 0
            if not self._opened:
                self._opened, self._facts = True, content
        elif kind == "at":
            worker.place, worker.found = content
        elif kind == "done":
            assert worker.block is not None
            self._done[worker.block.index] = content
            worker.block, worker.place, worker.found = None, None, 0
        else:
            raise content

    def _check_stalls(self) -> None:
        """Kill stalled workers; time in which this process was suspended does not count."""
        now = time.monotonic()
        passed, self._checked_s = min(now - self._checked_s, 2 * _TICK_S), now
        for worker in self._workers:
            worker.silent_s += passed
            worker.still_s += passed if worker.block is not None and worker.open else 0.0
            if worker.stalled:
                continue
            most = min(SILENT_S, self._stall_s) if worker.open else OPENING_S
            if worker.silent_s > most:
                worker.stalled = f"no heartbeat for {most:g} s"
            elif worker.still_s > self._stall_s:
                worker.stalled = f"no progress for {self._stall_s:g} s"
            if worker.stalled:
                worker.process.kill()  # the listener then reports the loss

    def _lost(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        cause, block = worker.cause(), worker.block
        what = f"worker {worker.process.pid} was lost ({cause})"
        if not worker.open:
            self._unopened += 1
            if self._unopened > 2:
                msg = f"{what}, the third during startup: is there enough memory?"
                raise PearlError(msg)
        next_ = "a new worker replaces it"
        if block is not None:
            if worker.open:
                code = "execution.timeout" if worker.stalled else "execution.worker_died"
                next_ = block.record_loss(worker.place, cause, code)
            what += f" at block {block.index}, {worker.place or 'several slots'}"
            self._todo.append(block)
        self._report(f"{what}: {next_}")


def _work(pipe: Connection, parent: int, open_computer: Callable[[], Computer[Any, Any]]) -> None:
    """The main function of a worker process."""
    end_with_parent(parent)
    lock = threading.Lock()

    def tell(kind: str, content: Any = None) -> None:
        with lock:
            pipe.send((kind, content))

    def beat() -> None:
        while True:
            time.sleep(_BEAT_S)
            try:
                tell("beat")
            except OSError:  # the parent has ended
                os._exit(1)

    threading.Thread(target=beat, daemon=True).start()
    try:
        computer = open_computer()
        tell("open", computer.facts)
        while True:
            job: _Job = pipe.recv()
            current = CurrentInput(job.skip, lambda place, found: tell("at", (place, found)))
            tell("done", computer.run(job.block, job.room, current))
    except MemoryError:
        os._exit(_LOST_MEMORY)
    except (EOFError, BrokenPipeError):  # the parent has ended
        return
    except Exception as error:  # noqa: BLE001 - the parent raises it
        tell("failed", _portable(error))


def _portable(error: BaseException) -> BaseException:
    """``error`` with its traceback as a note, in a form that can be pickled."""
    error.add_note("in a worker:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes, just made
    except Exception:  # noqa: BLE001 - any failure of pickling
        return PearlError(f"{type(error).__name__}: {error}")
    return error
