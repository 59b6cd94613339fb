from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from goldens import assert_golden
from hypothesis import given
from hypothesis import strategies as st
from trajectories import build_block, build_sample

from pearl_data.audit import Audit, audit_paths, render_report
from pearl_data.audit.calls import CALL_COLUMNS, box_area_share
from pearl_data.audit.records import Named
from pearl_data.audit.text import WIDTH, display_width
from pearl_data.shards import BlockResult, DatasetWriter, Quarantined
from pearl_data.trajectory import Trajectory, canonical_json
from pearl_tools.errors import tool_error


def without_calls(trajectory: Trajectory) -> Trajectory:
    roots = [medium for medium in trajectory.media if medium.parent is None]
    return msgspec.structs.replace(trajectory, steps=[], loss_mask=[], media=roots)


def with_code(trajectory: Trajectory, code: str) -> Trajectory:
    """``trajectory`` whose first call failed with ``code``."""
    step, *rest = trajectory.steps
    error = tool_error(code, "arguments.bbox", "a box", "none")
    result = msgspec.structs.replace(
        step.calls[0].result, status="error", media=[], text="", error=error
    )
    call = msgspec.structs.replace(step.calls[0], result=result)
    return msgspec.structs.replace(
        trajectory, steps=[msgspec.structs.replace(step, calls=[call]), *rest]
    )


def write_jsonl(path: Path, trajectories: list[Trajectory], *more: bytes) -> Path:
    lines = [canonical_json(trajectory) for trajectory in trajectories]
    path.write_bytes(b"\n".join([*lines, *more]) + b"\n")
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "set"
    writer = DatasetWriter.open(folder, {"seed": 0}, samples_per_shard=8)
    for block in range(8):
        writer.add_block(block, build_block(block))
    failed = build_sample("f000000", seed=100, failed_call=True)
    kept_out = Quarantined(
        key="q000000",
        reason=tool_error("semantic.unfaithful_crop", "steps[0]", "the target inside", "outside"),
        record=msgspec.to_builtins(build_sample("q000000", seed=101, failed_call=True).trajectory),
    )
    writer.add_block(8, BlockResult(2, [failed], [kept_out], []))
    writer.close()
    return folder


@pytest.fixture(scope="module")
def audited(dataset: Path) -> Audit:
    return audit_paths([dataset])


def test_text_of_a_dataset_reads_as_the_golden(audited: Audit) -> None:
    assert_golden("audit.txt", render_report(audited.report) + "\n")


def test_text_fits_100_columns(audited: Audit) -> None:
    assert max(map(display_width, render_report(audited.report).splitlines())) <= WIDTH


def test_every_record_is_read_quarantined_or_unreadable(dataset: Path, audited: Audit) -> None:
    records = audited.report.records
    assert (records.read, records.quarantined, records.unreadable) == (28, 5, 0)
    assert records.found == 33
    assert [(q.code, q.count.k) for q in audited.report.quarantine] == [
        ("semantic.ambiguous", 4),
        ("semantic.unfaithful_crop", 1),
    ]


def test_calls_of_quarantined_trajectories_count_but_apart(audited: Audit) -> None:
    (outside,) = (c for c in audited.report.by_code if c.code == "geometry.outside")
    assert (outside.written, outside.quarantined) == (1, 1)
    assert audited.report.calls.errors == 2


def test_timings_are_joined_by_key_and_call(audited: Audit) -> None:
    calls = audited.calls.lazy().collect()
    timed = calls.filter(calls["duration_ms"].is_not_null())
    assert set(timed["call_id"]) == {"c1"}
    assert set(timed["cache"]) == {"miss"}
    (durations,) = audited.report.durations
    assert (durations.tool, durations.median_ms, durations.max_ms) == ("crop", 0.5, 0.5)


def test_a_dataset_and_its_tars_tell_the_same(dataset: Path, audited: Audit) -> None:
    tars = audit_paths(sorted((dataset / "shards").glob("*.tar")))
    assert tars.report.trajectories == audited.report.trajectories
    assert tars.report.shortcuts == audited.report.shortcuts
    assert audit_paths([dataset / "shards"]).report.answers == audited.report.answers


def test_no_call_and_bad_call_are_never_merged(tmp_path: Path) -> None:
    good = build_sample("good").trajectory
    silent = without_calls(build_sample("silent", seed=1).trajectory)
    bad = with_code(build_sample("bad", seed=2).trajectory, "geometry.inverted")
    mute = with_code(build_sample("mute", seed=3).trajectory, "parse.no_call")
    file = write_jsonl(tmp_path / "a.jsonl", [good, silent, bad, mute])
    report = audit_paths([file]).report
    counts = report.trajectories
    assert (counts.without_call, counts.all_ok, counts.with_bad_call) == (2, 1, 1)
    assert (report.calls.calls, report.calls.errors, report.calls.no_call_entries) == (2, 1, 1)
    assert report.calls.error_share.rate == 0.5


def test_unreadable_records_are_counted_and_say_why(tmp_path: Path) -> None:
    good = build_sample().trajectory
    newer = msgspec.to_builtins(good) | {"schema_version": "9.0"}
    extra = msgspec.to_builtins(good) | {"mood": "good"}
    lines = [b"{", b"{}", b"\xff", canonical_json(newer), canonical_json(extra)]
    report = audit_paths([write_jsonl(tmp_path / "a.jsonl", [good], *lines)]).report
    assert (report.records.found, report.records.read, report.records.unreadable) == (6, 1, 5)
    assert [(fault.path, fault.code) for fault in report.unreadable] == [
        ("line 2", "parse.not_json"),
        ("line 3.schema_version", "schema.missing_field"),
        ("line 4", "parse.not_json"),
        ("line 5.schema_version", "schema.version"),
        ("line 6.mood", "schema.unknown_field"),
    ]
    assert "line 2: expected a trajectory" in render_report(report).replace("\n      ", " ")


def test_a_flipped_byte_costs_one_sample_and_is_named(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for file in dataset.rglob("*"):
        if file.is_file():
            copy = tmp_path / "set" / file.relative_to(dataset)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    tar = tmp_path / "set" / "shards" / "000001.tar"
    data = bytearray(tar.read_bytes())
    place = data.index(b"Which colour")
    data[place] ^= 1
    tar.write_bytes(data)
    report = audit_paths([tmp_path / "set"]).report
    (fault,) = report.unreadable
    assert (fault.code, fault.file) == ("parse.checksum", "shards/000001.tar")
    assert report.records.read == 27


def test_json_file_with_one_or_many_trajectories(tmp_path: Path) -> None:
    one, two = build_sample("s1").trajectory, build_sample("s2", seed=1).trajectory
    (tmp_path / "one.json").write_bytes(canonical_json(one))
    (tmp_path / "two.json").write_bytes(canonical_json([one, two]))
    report = audit_paths([tmp_path / "one.json", tmp_path / "two.json"]).report
    assert report.records.read == 3


def test_nothing_at_all_is_still_a_report(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    result = audit_paths([tmp_path / "a.jsonl"])
    assert result.report.calls.error_share.rate is None
    assert "0 found" in render_report(result.report)
    assert result.calls.lazy().collect().columns == list(CALL_COLUMNS)


def test_a_family_lists_five_answers_and_sums_the_rest(tmp_path: Path) -> None:
    trajectory = build_sample().trajectory
    made = [
        msgspec.structs.replace(
            trajectory, task=msgspec.structs.replace(trajectory.task, answer=answer)
        )
        for answer in "aaabbccddeefg"
    ]
    answers = audit_paths([write_jsonl(tmp_path / "a.jsonl", made)]).report.answers
    told = [(a.answer, a.count.k) for a in answers]
    assert told == [("a", 3), ("b", 2), ("c", 2), ("d", 2), ("e", 2), ("(other)", 2)]


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    trajectory = build_sample().trajectory
    source = msgspec.structs.replace(trajectory.source, dataset="evil\x1b[2J\n")
    evil = msgspec.structs.replace(trajectory, source=source)
    text = render_report(audit_paths([write_jsonl(tmp_path / "a.jsonl", [evil])]).report)
    assert "\x1b" not in text
    assert "evil\\x1b[2J" in text


@pytest.mark.parametrize(
    ("arguments", "area"),
    [
        ({"bbox": [0, 0, 1, 1]}, 1.0),
        ({"bbox": [0.5, 0.5, 1.5, 1.0]}, 0.25),
        ({"bbox": [0.5, 0.5, 0.4, 1.0]}, None),
        ({"bbox": [0.1, 0.2, 0.3]}, None),
        ({"bbox": "all"}, None),
        ({"bbox": [True, 0, 1, 1]}, None),
        ({}, None),
        (None, None),
    ],
)
def test_box_area_is_known_only_for_proper_boxes(
    arguments: dict[str, object] | None, area: float | None
) -> None:
    assert box_area_share(arguments) == area


codes = st.sampled_from(["ok", "geometry.outside", "schema.type", "execution.timeout"])


@given(st.lists(codes, max_size=12))
def test_counts_add_up(tmp_path_factory: pytest.TempPathFactory, outcomes: list[str]) -> None:
    trajectory = build_sample().trajectory
    made = [trajectory if code == "ok" else with_code(trajectory, code) for code in outcomes]
    file = write_jsonl(tmp_path_factory.mktemp("sum") / "a.jsonl", made)
    report = audit_paths([file]).report
    calls, counts = report.calls, report.trajectories
    assert calls.ok + calls.errors == calls.calls == len(outcomes)
    assert sum(c.count.k for c in report.by_code) == calls.calls
    assert sum(o.count.k for o in report.by_fault_owner) == calls.errors
    assert sum(t.errors for t in report.by_tool) == calls.errors
    assert counts.without_call + counts.all_ok + counts.with_bad_call == counts.read
    assert sum(b.trajectories for b in report.calls_per_trajectory.histogram) == counts.read


def test_what_needs_no_tool_and_what_only_a_tool_says_stand_apart(tmp_path: Path) -> None:
    plain = without_calls(build_sample("s1", seed=1).trajectory)
    lost = without_calls(build_sample("s2", seed=2).trajectory)
    measured = build_sample("s3", seed=3).trajectory
    replace = msgspec.structs.replace
    plain = replace(plain, task=replace(plain.task, needs_tool=False))
    measured = replace(
        measured,
        task=replace(measured.task, answer_source="tool", family="nearer"),
        final=replace(measured.final, verdict="unverified"),
    )
    ranked = replace(build_sample("s4", seed=4).trajectory, id="s4")
    ranked = replace(ranked, task=replace(ranked.task, family="nearer"))
    path = write_jsonl(tmp_path / "a.jsonl", [plain, lost, measured, ranked])
    report = audit_paths([path]).report
    counts = report.trajectories
    assert (counts.without_call, counts.needing_no_call, counts.all_ok) == (2, 1, 2)

    def named(rows: list[Named]) -> dict[str, int]:
        return {row.name: int(row.count.k) for row in rows}

    assert named(report.needs_tool) == {"yes": 3, "no": 1}
    assert named(report.answer_sources) == {"annotation": 3, "tool": 1}
    assert named(report.verdicts) == {"supported": 3, "unverified": 1}
    assert named(report.families) == {"attribute": 2, "nearer": 1, "nearer (unverified)": 1}
    apart = {"nearer", "nearer (unverified)"}
    assert {row.family for row in report.answers} >= apart
    assert {row.family for row in report.shortcuts} >= apart
    assert "2 without any call (1 of them need none)" in render_report(report)
