from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from trajectories import build_block, build_sample

from pearl_data.shards import BlockResult, DatasetReader, DatasetWriter, SummaryLine, read_manifest
from pearl_data.shards.files import file_sha256
from pearl_tools.errors import BadInput, ToolBug

BLOCKS = 6
CONFIG = {"seed": 7, "tools": {"crop": True}}


def write(out: Path, blocks: int = BLOCKS, *, close: bool = True) -> SummaryLine | None:
    with DatasetWriter.open(out, CONFIG, samples_per_shard=6, tools={"crop": "1.0"}) as writer:
        for index in range(writer.next_block, blocks):
            writer.add_block(index, build_block(index))
        return writer.close() if close else None


def contents(out: Path) -> dict[str, str]:
    return {
        path.relative_to(out).as_posix(): file_sha256(path)
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "set"
    write(out)
    return out


def test_equal_input_gives_equal_bytes(whole: Path, tmp_path: Path) -> None:
    write(tmp_path / "set")
    assert contents(tmp_path / "set") == contents(whole)


def test_every_input_is_written_quarantined_or_a_duplicate(whole: Path) -> None:
    manifest = read_manifest(whole)
    summary = manifest.summary
    assert summary
    assert (summary.inputs, summary.written, summary.quarantined, summary.duplicates) == (
        24,
        20,
        3,
        1,
    )
    assert str(summary).startswith("24 inputs = 20 written + 3 quarantined + 1 duplicates, in 3")
    assert len(DatasetReader(whole)) == summary.written
    kept = [
        json.loads(line)
        for path in sorted((whole / "quarantine").iterdir())
        for line in path.read_text().splitlines()
    ]
    assert [record["key"] for record in kept] == ["s000006", "s000013", "s000020"]
    assert kept[0]["reason"]["code"] == "semantic.ambiguous"
    assert summary.quarantined_by_code == {"semantic.ambiguous": 3}
    twice = json.loads((whole / "duplicates/000001.jsonl").read_text())
    assert (twice["key"], twice["duplicate_of"]) == ("s000010", "s000009")


def test_shard_borders_are_block_borders(whole: Path) -> None:
    shards = read_manifest(whole).shards
    assert [(s.first_block, s.next_block, s.samples) for s in shards] == [
        (0, 2, 7),
        (2, 4, 6),
        (4, 6, 7),
    ]


@pytest.mark.parametrize("stop", range(BLOCKS + 1))
def test_a_resumed_run_ends_with_the_bytes_of_a_whole_one(
    whole: Path, tmp_path: Path, stop: int
) -> None:
    out = tmp_path / "set"
    write(out, stop, close=False)
    assert write(out) == read_manifest(whole).summary
    assert contents(out) == contents(whole)


@pytest.mark.parametrize(
    "leave",
    [
        ("shards/.000002.tar.tmp", b"half"),
        ("shards/000002.tar", b"no manifest line"),
        ("index/000002.jsonl", b"{}\n"),
        ("timings/.000001.jsonl.tmp", b""),
    ],
)
def test_left_overs_of_a_crash_are_removed(
    whole: Path, tmp_path: Path, leave: tuple[str, bytes]
) -> None:
    out = tmp_path / "set"
    write(out, 4, close=False)
    (out / leave[0]).write_bytes(leave[1])
    write(out)
    assert contents(out) == contents(whole)


def test_a_torn_manifest_line_is_dropped(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    write(out)
    lines = (out / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (out / "manifest.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:40])
    write(out)
    assert contents(out) == contents(whole)


@pytest.mark.parametrize("hurt", ["shards/000001.tar", "index/000001.jsonl"])
def test_an_altered_shard_and_what_follows_is_written_again(
    whole: Path, tmp_path: Path, hurt: str
) -> None:
    out = tmp_path / "set"
    write(out)
    data = bytearray((out / hurt).read_bytes())
    data[700] ^= 1
    (out / hurt).write_bytes(data)
    with DatasetWriter.open(out, CONFIG, samples_per_shard=6, tools={"crop": "1.0"}) as writer:
        assert writer.next_block == 2
        assert hurt in writer.dropped[0]
        assert "sha256" in writer.dropped[0]
    write(out)
    assert contents(out) == contents(whole)


def test_a_finished_dataset_is_verified_and_left_alone(whole: Path) -> None:
    before = contents(whole)
    with DatasetWriter.open(whole, CONFIG, samples_per_shard=6, tools={"crop": "1.0"}) as writer:
        assert writer.next_block == BLOCKS
        assert writer.summary == writer.close() == read_manifest(whole).summary
        with pytest.raises(ToolBug, match="finished dataset"):
            writer.add_block(BLOCKS, build_block(BLOCKS))
    assert contents(whole) == before


def test_another_configuration_is_refused_by_the_names_of_its_keys(whole: Path) -> None:
    other = {"seed": 8, "tools": {"crop": True, "depth": True}}
    with pytest.raises(BadInput) as caught:
        DatasetWriter.open(whole, other, samples_per_shard=6, tools={"crop": "1.1"})
    assert "seed: 7 there, 8 asked" in str(caught.value)
    assert "tools.depth: 'absent' there, True asked" in str(caught.value)
    assert "tools.crop: '1.0'" not in str(caught.value)


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(BadInput, match=r"a folder with thesis\.tex; choose another folder"):
        DatasetWriter.open(tmp_path, CONFIG, tools={})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_writers_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    with (
        DatasetWriter.open(tmp_path, CONFIG, tools={}),
        pytest.raises(BadInput, match="another process is writing there"),
    ):
        DatasetWriter.open(tmp_path, CONFIG, tools={})


def test_blocks_out_of_order_or_with_wrong_counts_stop_the_run(tmp_path: Path) -> None:
    with DatasetWriter.open(tmp_path, CONFIG, tools={}) as writer:
        with pytest.raises(ToolBug, match="got block 1, expected block 0 next"):
            writer.add_block(1, build_block(1))
        with pytest.raises(ToolBug, match="expected inputs = samples"):
            writer.add_block(0, build_block(0)._replace(inputs=5))


def test_a_key_that_is_taken_is_refused(tmp_path: Path) -> None:
    two = [build_sample("same", seed=1), build_sample("same", seed=2)]
    with (
        DatasetWriter.open(tmp_path, CONFIG, tools={}) as writer,
        pytest.raises(BadInput, match="sample same: expected a key of its own"),
    ):
        writer.add_block(0, BlockResult(2, two, [], []))


def test_a_member_that_no_medium_names_is_refused(tmp_path: Path) -> None:
    sample = build_sample()
    sample.members["o9.png"] = b""
    with (
        DatasetWriter.open(tmp_path, CONFIG, tools={}) as writer,
        pytest.raises(BadInput, match=r"unnamed \['o9.png'\]"),
    ):
        writer.add_block(0, BlockResult(1, [sample], [], []))


def test_facts_of_one_run_are_refused_in_a_record(tmp_path: Path) -> None:
    sample = build_sample()
    replace = msgspec.structs.replace
    step = sample.trajectory.steps[0]
    call = step.calls[0]
    assert call.exec
    timed = replace(call, exec=replace(call.exec, duration_ms=1.0))
    record = replace(sample.trajectory, steps=[replace(step, calls=[timed])])
    block = BlockResult(1, [sample._replace(trajectory=record)], [], [])
    with (
        DatasetWriter.open(tmp_path, CONFIG, tools={}) as writer,
        pytest.raises(BadInput, match="call c1: expected null cache, attempts and duration_ms"),
    ):
        writer.add_block(0, block)


def test_a_run_of_only_quarantined_inputs_has_no_tar(tmp_path: Path) -> None:
    block = build_block(1)
    with DatasetWriter.open(tmp_path, CONFIG, tools={}) as writer:
        writer.add_block(0, BlockResult(len(block.quarantined), [], block.quarantined, []))
        summary = writer.close()
    assert (summary.inputs, summary.quarantined, summary.shards) == (1, 1, 0)
    assert list((tmp_path / "shards").iterdir()) == []
    reader = DatasetReader(tmp_path)
    assert (len(reader), reader.verify()) == (0, [])


def test_kill_9_at_any_time_then_resume_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from trajectories import build_block\n"
        "from pearl_data.shards import DatasetWriter\n"
        f"with DatasetWriter.open(Path(sys.argv[1]), {CONFIG!r}, samples_per_shard=6,"
        " tools={'crop': '1.0'}) as writer:\n"
        f"    for index in range(writer.next_block, {BLOCKS}):\n"
        "        writer.add_block(index, build_block(index))\n"
        "        print(index, flush=True)\n"
        "        time.sleep(0.01)\n"
        "    writer.close()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    kills = 0
    for blocks_seen in (1, 2, 1, BLOCKS + 1):
        process = subprocess.Popen(
            [sys.executable, str(script), str(out)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        seen = [process.stdout.readline() for _ in range(blocks_seen)]
        if all(seen):
            time.sleep(0.004 * kills)
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.stdout.close()
        assert process.wait() in (0, -signal.SIGKILL)
    write(out)
    assert kills >= 2
    assert contents(out) == contents(whole)
