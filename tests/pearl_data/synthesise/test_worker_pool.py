"""Workers that die, stall or lose their parent: with real processes and real signals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from drawn import coco_set
from fragile_workers import (
    SLOTS,
    Fragile,
    Opening,
    crashed,
    hanging,
    killed,
    out_of_memory,
    refused,
    stopped,
)
from programs import ended_by, living, start, wait_for

from pearl_data.shards import DatasetReader
from pearl_data.synthesise.worker_pool import WorkerPool
from pearl_tools.errors import PearlError

WHOLE = [[10 * block + slot for slot in range(SLOTS)] for block in range(3)]


def computed(
    computer: Fragile,
    *,
    workers: int = 1,
    stall_s: float = 60,
    opens: Callable[[], None] | None = None,
) -> tuple[list[list[int | str]], list[str]]:
    """The results of three blocks and the reports on workers; all workers have ended."""
    said: list[str] = []
    opening = Opening(computer, opens)
    with WorkerPool(opening, opening, workers, stall_s=stall_s, report=said.append) as pool:
        results = pool.results(0, 3, wanted=lambda: 3, room=lambda: None, tick=lambda _: None)
        made = list(results)
        processes = [worker.process for worker in pool._workers]
    assert [index for index, _ in made] == [0, 1, 2]
    assert not any(process.is_alive() for process in processes)
    return [result for _, result in made], said


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.mark.parametrize("happens", [killed, crashed, out_of_memory])
def test_a_worker_that_dies_is_replaced_and_its_block_tried_again(
    happens: Callable[[], None], notes: Path
) -> None:
    made, said = computed(Fragile(notes, happens), workers=2)
    assert made == WHOLE
    (line,) = said
    cause = "SIGSEGV" if happens is crashed else "SIGKILL, often for lack of memory"
    assert f"({'killed by ' + cause}) at block 1, slot 2 (scene): " in line


def test_an_input_that_kills_two_workers_is_quarantined(notes: Path) -> None:
    made, said = computed(Fragile(notes, killed, times=9))
    assert made == [WHOLE[0], [10, 11, "execution.worker_died", 13], WHOLE[2]]
    assert len(notes.read_text().splitlines()) == 2
    assert len(said) == 2


def test_so_is_a_picture(notes: Path) -> None:
    made, said = computed(Fragile(notes, crashed, picture="bad.png", times=9))
    assert made[1] == [10, 11, "execution.worker_died", 13]
    assert all("at block 1, picture bad.png: " in line for line in said)


def test_among_slots_side_by_side_the_one_is_found(notes: Path) -> None:
    made, said = computed(Fragile(notes, killed, together=True, times=9))
    assert made == [WHOLE[0], [10, 11, "execution.worker_died", 13], WHOLE[2]]
    assert "at block 1, several slots: " in said[1]
    assert len(said) == 4


@pytest.mark.parametrize("happens", [stopped, hanging])
def test_a_worker_that_stands_still_is_replaced(happens: Callable[[], None], notes: Path) -> None:
    made, said = computed(Fragile(notes, happens), stall_s=2.5)
    assert made == WHOLE
    (line,) = said
    cause = "no heartbeat" if happens is stopped else "no progress"
    assert f"({cause} for 2.5 s) at block 1, slot 2 (scene): " in line


def test_an_input_that_stalls_two_workers_is_quarantined(notes: Path) -> None:
    made, _ = computed(Fragile(notes, hanging, times=9), stall_s=2)
    assert made[1] == [10, 11, "execution.timeout", 13]


def test_workers_that_never_begin_end_the_run(notes: Path) -> None:
    with pytest.raises(PearlError, match=r"the third during startup"):
        computed(Fragile(notes, killed), opens=killed)


def test_what_a_worker_raises_is_raised_here_with_its_place(notes: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        computed(Fragile(notes, killed), opens=refused)
    assert caught.value.filename == "photos"
    assert "in refused" in caught.value.__notes__[0]


def synth(folder: Path, out: str, *, workers: int = 2) -> tuple[str, ...]:
    path = folder / "set" / "set.coco.json"
    if not path.exists():
        coco_set(folder / "set", images=160)
    return (
        "synth", "--tools", "crop,zoom", "--source", f"coco:{path}", "--images",
        str(folder / "set"), "--samples-per-shard", "40", "--workers", str(workers),
        "--out", str(folder / out),
    )  # fmt: skip


def working(session: int) -> list[int]:
    """The workers of a running command."""
    found = []
    for number in living(session):
        words = Path(f"/proc/{number}/cmdline").read_bytes()
        if b"spawn_main" in words and b"resource_tracker" not in words:
            found.append(number)
    return found


@pytest.mark.slow  # two runs
def test_kill_9_of_a_worker_changes_no_byte(tmp_path: Path) -> None:
    for out in ("killed", "whole"):
        process = start(*synth(tmp_path, out))
        if out == "killed":
            wait_for((tmp_path / "killed/shards/000000.tar").exists)
            os.kill(working(process.pid)[0], signal.SIGKILL)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert ("was lost (killed by SIGKILL" in said) == (out == "killed")
    killed, whole = (tmp_path / out / "manifest.jsonl" for out in ("killed", "whole"))
    assert killed.read_bytes() == whole.read_bytes()
    assert len(DatasetReader(tmp_path / "killed")) > 200


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_of_the_parent_leaves_nobody(workers: int, tmp_path: Path) -> None:
    process = start(*synth(tmp_path, "out", workers=workers))
    wait_for((tmp_path / "out/shards/000000.tar").exists)
    assert len(working(process.pid)) == workers
    process.kill()
    process.communicate()
    wait_for(lambda: not living(process.pid), seconds=2)


@pytest.mark.parametrize("group", [True, False])
def test_ctrl_c_ends_all_within_two_seconds(group: bool, tmp_path: Path) -> None:
    process = start(*synth(tmp_path, "out"))
    wait_for((tmp_path / "out/shards/000000.tar").exists)
    seconds, said = ended_by(process, signal.SIGINT, group=group)
    assert process.returncode == 130
    assert seconds < 2
    assert said.splitlines()[-1] == "interrupted; run the same command again to resume"
    assert "Traceback" not in said
    wait_for(lambda: not living(process.pid), seconds=1)


def test_the_first_line_is_there_within_two_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    process = start("synth", "--tools", "depth", "--limit", "1", "--out", str(tmp_path / "out"))
    assert process.stderr is not None
    assert process.stderr.readline() == "synth: loading libraries for the source rendered\n"
    assert time.monotonic() - began < 2
    ended_by(process, signal.SIGKILL, group=True)
