"""Worker processes that compute blocks, watched: none outlives the command, none takes it along.

A worker that dies, or stands still, is replaced and its block tried again; an input that was at
hand both times is kept out by name and the rest of the block computed. Each worker has a pipe of
its own, so that none can break what another one says. Results come in the order of blocks.
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

from pearl_data.synthesise.at_hand import AtHand, Avoid, Place
from pearl_data.terminated import SIGNALS, end_with_parent
from pearl_tools.errors import PearlError, tool_error

STALL_S: Final = 600.0
"""A worker that has one place at hand for longer stands still."""
SILENT_S: Final = 30.0
"""A worker that does not even report that it lives stands still: it is stopped, or hangs in C."""
OPENING_S: Final = 120.0
"""The same while it imports what it needs: the first sign of life comes after that."""
_BEAT_S: Final = 1.0
_TICK_S: Final = 0.2
_MOST_DEATHS: Final = 6
"""Deaths in one block, at places that differ, before the run ends: it is not the input."""
_LOST_MEMORY: Final = 137

Result = TypeVar("Result")
Facts = TypeVar("Facts")


Result_co = TypeVar("Result_co", covariant=True)
Facts_co = TypeVar("Facts_co", covariant=True)


class Bench(Protocol[Result_co, Facts_co]):
    """What one worker needs, opened once."""

    @property
    def facts(self) -> Facts_co:
        """Facts on what was opened."""

    def run(self, index: int, room: int | None, at_hand: AtHand) -> Result_co:
        """Block ``index``; what comes after ``room`` samples is not wanted."""


class _Job(NamedTuple):
    block: int
    room: int | None
    avoid: Avoid


class _Block:
    """A block under way: what is avoided, and the places at hand when workers were lost."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.avoid = Avoid()
        self.lost: Counter[Place | None] = Counter()

    def blame(self, place: Place | None, cause: str, code: str) -> str:
        """A worker was lost here: what happens next, in words. Raises ``PearlError`` if nothing
        can help.
        """
        key = place.key if place else None
        place = place and place._replace(key=None)
        self.lost[place] += 1
        if self.lost.total() >= _MOST_DEATHS or self._avoids(place):
            msg = (
                f"block {self.index}: {self.lost.total()} workers were lost, the last at "
                f"{place or 'several slots'} ({cause}); often memory is short: what is written "
                "stays, run the same command again with fewer --workers"
            )
            raise PearlError(msg)
        if self.lost[place] < 2:
            return "the block is tried again"
        if place is None:
            self.avoid = self.avoid._replace(one_by_one=True)
            return "the block is tried again, one slot at a time"
        error = tool_error(
            code,
            f"block {self.index}, {place}",
            "an input that a worker survives",
            f"{cause}, twice",
            "look at it by itself; if memory is short, use fewer --workers",
        )
        if place.picture is not None:
            pictures = {**self.avoid.pictures, place.picture: error}
            self.avoid = self.avoid._replace(pictures=pictures)
        elif place.slot is not None:
            slots = {**self.avoid.slots, place.slot: (key, error)}
            self.avoid = self.avoid._replace(slots=slots)
        self.lost.clear()
        return "it is kept out, and the rest of the block computed"

    def _avoids(self, place: Place | None) -> bool:
        if place is None:
            return self.avoid.one_by_one and self.lost[place] > 1
        return place.picture in self.avoid.pictures or place.slot in self.avoid.slots


class _Worker:
    """One process, its pipe, and what was last heard of it."""

    def __init__(self, open_bench: Callable[[], Bench[Any, Any]], heard: queue.Queue[Any]) -> None:
        # spawn: forking a process that holds torch's threads can deadlock
        context = multiprocessing.get_context("spawn")
        self._heard = heard
        self.pipe, self._theirs = context.Pipe()
        self.process = context.Process(
            target=_work, args=(self._theirs, os.getpid(), open_bench), daemon=True
        )
        self.block: _Block | None = None
        self.place: Place | None = None
        self.found = 0
        self.open = False
        self.silent_s = self.still_s = 0.0
        self.stood_still = ""

    def start(self) -> None:
        """Start the process; the parent alone hears Ctrl-C, and ends it."""
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
                self._heard.put((self, None))
                return
            self._heard.put((self, message))

    def give(self, block: _Block, room: int | None) -> None:
        """Let it compute ``block``."""
        self.block, self.place, self.found, self.still_s = block, None, 0, 0.0
        try:
            self.pipe.send(_Job(block.index, room, block.avoid))
        except OSError:  # it has died; its pipe says so too
            return

    def end(self) -> None:
        """End it now: a worker keeps nothing that would be lost."""
        if self.process.pid is not None:
            self.process.kill()
            self.process.join()

    def cause(self) -> str:
        """Why it is lost."""
        self.process.join()
        code = self.process.exitcode or 0
        if self.stood_still:
            return self.stood_still
        if code in (_LOST_MEMORY, -signal.SIGKILL):
            return "killed by SIGKILL, often for lack of memory"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


class Crew(Generic[Result, Facts]):
    """At most ``number`` workers, started as they are needed, each with a bench: ``open_first``
    opens that of the first, ``open_others`` those of the others.

    ``stall_s`` is how long a worker may have one place at hand; ``say`` gets what happens to
    workers, ``tick`` the number of samples in unfinished blocks, a few times a second. A context
    manager: at its end no worker lives.
    """

    def __init__(
        self,
        open_first: Callable[[], Bench[Result, Facts]],
        open_others: Callable[[], Bench[Result, Facts]],
        number: int,
        *,
        stall_s: float = STALL_S,
        say: Callable[[str], None],
    ) -> None:
        self._open_first, self._open_others, self._number = open_first, open_others, number
        self._stall_s, self._say = stall_s, say
        self._heard: queue.Queue[tuple[_Worker, Any]] = queue.Queue()
        self._workers: list[_Worker] = []
        self._todo: list[_Block] = []
        self._done: dict[int, Result] = {}
        self._facts: Facts | None = None
        self._opened = False
        self._unopened = 0
        self._looked_s = time.monotonic()

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
        """The facts of the first worker's bench; starts it. Raises what opening it raised."""
        while not self._opened:
            if not self._workers:
                self._start()
            self._hear()
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
        """(index, result) of blocks ``first`` to ``end``, in order. ``wanted`` is how many blocks
        to have under way now, ``room`` how many samples can still be used.
        """
        coming, turn = iter(range(first, end)), first
        while True:
            under_way = len(self._todo) + len(self._done) + len(self._busy())
            while under_way < wanted() and (index := next(coming, None)) is not None:
                self._todo.append(_Block(index))
                under_way += 1
            if not under_way:
                return
            self._hand_out(room())
            while turn not in self._done:
                self._hear()
                self._hand_out(room())
                tick(sum(worker.found for worker in self._busy()))
            yield turn, self._done.pop(turn)
            turn += 1

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.block is not None]

    def _start(self) -> _Worker:
        open_bench = self._open_others if self._opened else self._open_first
        worker = _Worker(open_bench, self._heard)
        self._workers.append(worker)
        worker.start()
        return worker

    def _hand_out(self, room: int | None) -> None:
        """Blocks to workers that have none, the lowest first."""
        self._todo.sort(key=lambda block: block.index)
        while self._todo:
            idle = next((worker for worker in self._workers if worker.block is None), None)
            if idle is None:
                if len(self._workers) >= self._number:
                    return
                idle = self._start()
            idle.give(self._todo.pop(0), room)

    def _hear(self) -> None:
        """One message, or the passing of time."""
        try:
            worker, message = self._heard.get(timeout=_TICK_S)
        except queue.Empty:
            self._age()
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

    def _age(self) -> None:
        """Counts the time in which nothing was heard; only what this process was awake for."""
        now = time.monotonic()
        passed, self._looked_s = min(now - self._looked_s, 2 * _TICK_S), now
        for worker in self._workers:
            worker.silent_s += passed
            worker.still_s += passed if worker.block is not None and worker.open else 0.0
            if worker.stood_still:
                continue
            most = min(SILENT_S, self._stall_s) if worker.open else OPENING_S
            if worker.silent_s > most:
                worker.stood_still = f"no sign of life for {most:g} s"
            elif worker.still_s > self._stall_s:
                worker.stood_still = f"no progress for {self._stall_s:g} s"
            if worker.stood_still:
                worker.process.kill()  # its pipe then says that it is lost

    def _lost(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        cause, block = worker.cause(), worker.block
        what = f"worker {worker.process.pid} is lost ({cause})"
        if not worker.open:
            self._unopened += 1
            if self._unopened > 2:
                msg = f"{what}, the third before it could begin: is there enough memory?"
                raise PearlError(msg)
        next_ = "another one takes its place"
        if block is not None:
            if worker.open:
                code = "execution.timeout" if worker.stood_still else "execution.worker_died"
                next_ = block.blame(worker.place, cause, code)
            what += f" at block {block.index}, {worker.place or 'several slots'}"
            self._todo.append(block)
        self._say(f"{what}: {next_}")


def _work(pipe: Connection, parent: int, open_bench: Callable[[], Bench[Any, Any]]) -> None:
    """The life of a worker."""
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
        bench = open_bench()
        tell("open", bench.facts)
        while True:
            job: _Job = pipe.recv()
            at_hand = AtHand(job.avoid, lambda place, found: tell("at", (place, found)))
            tell("done", bench.run(job.block, job.room, at_hand))
    except MemoryError:
        os._exit(_LOST_MEMORY)
    except (EOFError, BrokenPipeError):  # the parent has ended
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent raises it
        tell("failed", _portable(error))


def _portable(error: BaseException) -> BaseException:
    """``error`` with where it was raised, as something that can be sent."""
    error.add_note("in a worker:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes, just made
    except Exception:  # noqa: BLE001 - whatever keeps it from being sent
        return PearlError(f"{type(error).__name__}: {error}")
    return error
