from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from trajectories import build_block, build_sample

from pearl_data.audit.reading import open_collection
from pearl_data.cli.validate import validate
from pearl_data.shards import BlockResult, DatasetReader, DatasetWriter, Sample
from pearl_data.shards.sample import sample_members
from pearl_data.trajectory import canonical_json
from pearl_data.validate import Finding, ValidationReport, validate_paths
from pearl_tools.errors import UsageError


def write(out: Path, *samples: Sample) -> Path:
    with DatasetWriter.open(out, {"seed": 0}) as writer:
        writer.add_block(0, BlockResult(len(samples), list(samples), [], []))
        writer.close()
    return out


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write(
        tmp_path / "set",
        build_sample("a", seed=1, second_crop=True),
        build_sample("b", seed=2, zoom=True),
        build_sample("c", seed=3, failed_call=True),
    )


def bare_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def members_of(sample: Sample) -> list[tuple[str, bytes]]:
    return [(f"{sample.trajectory.id}.{name}", data) for name, data in sample_members(sample)]


def places(report: ValidationReport) -> list[tuple[str, str, str]]:
    return [(each.code, each.key, each.path) for each in report.findings]


def test_a_whole_dataset_is_clean_and_its_identity_is_told(dataset: Path) -> None:
    report = validate_paths([dataset], replay=True)
    assert report.clean
    assert (report.documents, report.files) == (3, 1)
    assert "3 inputs = 3 written + 0 quarantined + 0 duplicates" in report.notes[0]
    assert report.replay
    assert {tool: count.equal for tool, count in report.replay.items()} == {"crop": 5, "zoom": 1}


def test_one_flipped_byte_is_found_with_file_key_byte_and_path(dataset: Path) -> None:
    path = dataset / "shards/000000.tar"
    slot = DatasetReader(dataset).places[1].line.members[0]
    data = bytearray(path.read_bytes())
    data[slot.offset + slot.size // 2] ^= 8
    path.write_bytes(data)
    report = validate_paths([dataset])
    assert {each.file for each in report.findings} == {str(path)}
    assert {each.key for each in report.findings} == {"b"}
    assert ("parse.checksum", "b", "") in places(report)
    assert ("result.hash_mismatch", "b", "media[0].file_sha256") in places(report)
    assert report.findings[0].offset == slot.offset


def test_one_swapped_observation_and_one_edited_box_are_found_in_a_tar(tmp_path: Path) -> None:
    one, two = build_sample("a", seed=1), build_sample("b", seed=2)
    swapped = Sample(one.trajectory, {**one.members, "o1.png": two.members["o1.png"]})
    document = msgspec.json.decode(canonical_json(two.trajectory))
    call = document["steps"][0]["calls"][0]
    call["arguments"]["bbox"][0] += 0.05
    call["arguments_raw"] = json.dumps(call["arguments"])
    edited = [*members_of(two)]
    edited[1] = ("b.json", canonical_json(document))
    path = bare_tar(tmp_path / "x.tar", [*members_of(swapped), *edited])
    report = validate_paths([path])
    assert places(report) == [
        ("result.hash_mismatch", "a", "media[1].file_sha256"),
        ("result.hash_mismatch", "a", "media[1].pixel_sha256"),
        ("result.box_mismatch", "b", "steps[0].calls[0].effective.box_px"),
        ("result.box_mismatch", "b", "steps[0].calls[0].effective.box_root"),
    ]
    assert report.documents_with_findings == 2
    assert all(each.file == str(path) for each in report.findings)


def test_a_cut_off_shard_leaves_the_samples_before_the_cut_judged(dataset: Path) -> None:
    path = dataset / "shards/000000.tar"
    path.write_bytes(path.read_bytes()[:-6000])
    report = validate_paths([dataset], replay=True)
    assert report.documents == 2
    assert [each.code for each in report.findings] == ["parse.truncated"]


def test_a_broken_header_hides_no_later_sample(dataset: Path) -> None:
    path = dataset / "shards/000000.tar"
    data = bytearray(path.read_bytes())
    data[150] ^= 1
    path.write_bytes(data)
    report = validate_paths([dataset])
    assert report.documents == 3
    assert [(each.code, each.key, each.offset) for each in report.findings] == [
        ("parse.checksum", "a", 0)
    ]


def test_a_lost_index_or_manifest_is_found_and_the_tars_still_judged(dataset: Path) -> None:
    (dataset / "index/000000.jsonl").unlink()
    report = validate_paths([dataset])
    assert report.documents == 3
    assert [(each.code, Path(each.file).name) for each in report.findings] == [
        ("parse.missing_member", "000000.jsonl")
    ]
    (dataset / "manifest.jsonl").write_text("{}\n")
    report = validate_paths([dataset], replay=True)
    assert report.documents == 3
    assert [Path(each.file).name for each in report.findings] == ["manifest.jsonl"]


def test_an_unfinished_dataset_is_not_clean(tmp_path: Path) -> None:
    with DatasetWriter.open(tmp_path, {}, samples_per_shard=2) as writer:
        writer.add_block(0, build_block(0))
    report = validate_paths([tmp_path])
    assert [each.code for each in report.findings] == ["semantic.identity"]
    assert "summary line" in report.findings[0].expected


def test_an_extra_shard_is_named(dataset: Path) -> None:
    (dataset / "shards/000001.tar").write_bytes(b"")
    report = validate_paths([dataset])
    assert [(each.code, Path(each.file).name) for each in report.findings] == [
        ("parse.misplaced", "000001.tar")
    ]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda m: m[::-1], []),
        (lambda m: [*m, ("a.json", b"{}")], [("reference.duplicate_id", "a")]),
        (lambda m: [m[0], *m[2:]], [("parse.missing_member", "a")]),
        (lambda m: [(n.replace("a.", "a.b."), d) for n, d in m], [("parse.missing_member", "a")]),
        (lambda m: [(n.replace("a.", "z."), d) for n, d in m], [("semantic.identity", "z")]),
        (lambda m: [*m, ("../a.jpg", b"")], [("parse.unsafe_member", "../a")]),
        (lambda m: [*m, ("noext", b"")], [("parse.misplaced", ""), ("parse.missing_member", "")]),
        (
            lambda m: [m[0], ("q.json", b"{}"), *m[1:]],
            [("parse.missing_member", "a"), ("parse.misplaced", "a")],
        ),
    ],
)
def test_faults_of_packing_are_named_by_key(
    tmp_path: Path, spoil: object, expected: list[tuple[str, str]]
) -> None:
    assert callable(spoil)
    path = bare_tar(tmp_path / "x.tar", spoil(members_of(build_sample("a"))))
    found = {(each.code, each.key) for each in validate_paths([path]).findings}
    assert {each for each in expected if each[1]} <= found
    assert {code for code, _ in expected} <= {code for code, _ in found}
    assert bool(found) == bool(expected)


def test_gz_tars_are_read(tmp_path: Path, dataset: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress((dataset / "shards/000000.tar").read_bytes()))
    report = validate_paths([path], replay=True)
    assert (report.clean, report.documents) == (True, 3)
    path.write_bytes(path.read_bytes()[:-20])
    assert [each.code for each in validate_paths([path]).findings] == ["parse.truncated"]


def test_bare_records_are_judged_line_by_line(tmp_path: Path) -> None:
    texts = [canonical_json(build_sample(key, seed=1).trajectory) for key in ("a", "b", "a")]
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join([texts[0], b"{", texts[1], b"", texts[2]]) + b"\n")
    report = validate_paths([path])
    assert report.documents == 4
    assert [(each.code, each.key, each.offset) for each in report.findings] == [
        ("parse.not_json", "line 2", len(texts[0]) + 1),
        ("reference.duplicate_id", "a", None),
    ]
    assert "3 bare records without pictures beside them" in report.notes[0]
    one = tmp_path / "one.json"
    one.write_bytes(json.dumps(json.loads(texts[0]), indent=2).encode())
    assert validate_paths([one]).clean


def unpacked(folder: Path, *samples: Sample, file: str) -> Path:
    """Records in one file with their pictures beside it, as ``tar -x`` leaves them."""
    for sample in samples:
        for name, data in sample.members.items():
            (folder / f"{sample.trajectory.id}.{name}").write_bytes(data)
    texts = [canonical_json(sample.trajectory) for sample in samples]
    path = folder / file
    path.write_bytes(b"\n".join(texts) if file.endswith("l") else b"[%s]" % b",".join(texts))
    return path


@pytest.mark.parametrize("file", ["x.json", "x.jsonl"])
def test_records_are_replayed_from_the_pictures_beside_them(tmp_path: Path, file: str) -> None:
    samples = [build_sample("a", seed=1), build_sample("b", seed=2)]
    path = unpacked(tmp_path, *samples, file=file)
    report = validate_paths([path], replay=True)
    assert (report.clean, report.documents, report.notes) == (True, 2, [])
    assert report.replay
    assert report.replay["crop"].equal == 2
    (tmp_path / "a.o1.png").write_bytes(samples[1].members["o1.png"])
    assert places(validate_paths([path])) == [
        ("result.hash_mismatch", "a", "media[1].file_sha256"),
        ("result.hash_mismatch", "a", "media[1].pixel_sha256"),
    ]


def test_roots_that_are_not_there_cannot_be_replayed_and_that_is_a_finding(tmp_path: Path) -> None:
    path = unpacked(tmp_path, build_sample("a"), build_sample("b", seed=1), file="x.jsonl")
    for file in ("a.i0.jpg", "a.o1.png", "b.o1.png"):
        (tmp_path / file).unlink()
    assert validate_paths([path]).clean
    result = CliRunner().invoke(validate, [str(path), "--replay", "--json"])
    assert result.exit_code == 1
    report = msgspec.json.decode(result.stdout, type=ValidationReport)
    assert places(report) == [("parse.missing_member", "a", "media[0].name_in_sample")]
    assert report.replay
    assert (report.replay["crop"].equal, report.replay["crop"].skipped) == (1, 1)


def test_a_list_of_records_and_a_folder_of_tars_are_read(tmp_path: Path) -> None:
    one, two = build_sample("a", seed=1), build_sample("b", seed=2)
    folder = tmp_path / "tars"
    folder.mkdir()
    bare_tar(folder / "1.tar", members_of(one))
    (folder / "2.tar.gz").write_bytes(
        gzip.compress(bare_tar(tmp_path / "2.tar", members_of(two)).read_bytes())
    )
    report = validate_paths([folder], replay=True)
    assert (report.clean, report.documents, report.files) == (True, 2, 2)
    path = tmp_path / "list.json"
    texts = [canonical_json(one.trajectory), b"3", b'{"id":"c"}', canonical_json(one.trajectory)]
    path.write_bytes(b"[%s]" % b",".join(texts))
    report = validate_paths([path])
    assert report.documents == 4
    codes = {(each.code, each.key) for each in report.findings}
    assert {("parse.not_an_object", "[1]"), ("reference.duplicate_id", "a")} < codes
    assert codes - {("schema.missing_field", "c")} < codes


@pytest.mark.parametrize("name", ["folder", "no.jsonl", "no.json", "no.tar", "set"])
def test_an_input_without_records_is_a_finding(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "no.jsonl").write_bytes(b"\n\n")
    (tmp_path / "no.json").write_bytes(b"[]")
    bare_tar(tmp_path / "no.tar", [])
    write(tmp_path / "set")
    (found,) = validate_paths([tmp_path / name]).findings
    assert str(found) == (
        f"{tmp_path / name}: expected at least one record, got none [parse.missing_member]"
    )


def test_validate_and_audit_agree_on_what_a_path_is(tmp_path: Path, dataset: Path) -> None:
    listed = unpacked(tmp_path, build_sample("a"), file="LIST.JSON")
    for path in (listed, dataset, dataset / "shards", dataset / "shards/000000.tar"):
        documents = validate_paths([path]).documents
        assert documents == len(list(open_collection(path).entries())) > 0
    for path in (tmp_path / "none", dataset / "README.md"):
        for read in (open_collection, lambda path: validate_paths([path])):
            with pytest.raises(UsageError, match=f"{path.name}: expected a dataset folder"):
                read(path)


def test_a_dataset_without_its_shards_is_a_finding(dataset: Path) -> None:
    shutil.rmtree(dataset / "shards")
    (found,) = validate_paths([dataset]).findings
    assert (found.code, found.file) == ("parse.missing_member", str(dataset / "shards/000000.tar"))


def test_messages_are_words_not_reprs(dataset: Path) -> None:
    (dataset / "manifest.jsonl").write_text("{}\n")
    index = dataset / "index/000000.jsonl"
    index.write_bytes(b"{}\n")
    for each in validate_paths([dataset]).findings:
        assert "Error(" not in each.got
        assert "BadInput" not in each.got


@pytest.mark.parametrize("name", ["absent.tar", "picture.jpg"])
def test_other_paths_are_misuse(tmp_path: Path, name: str) -> None:
    (tmp_path / "picture.jpg").touch()
    with pytest.raises(UsageError, match=f"{name}: expected"):
        validate_paths([tmp_path / name])


def test_the_command_prints_a_verdict_and_leaves_with_0_or_1(dataset: Path) -> None:
    result = CliRunner().invoke(validate, [str(dataset), "--replay"])
    assert result.exit_code == 0
    assert "replay crop: 5 calls: 5 equal (100.0 %)" in result.stdout
    assert "3 documents in 1 file: no findings" in result.stdout
    (dataset / "shards/000000.tar").unlink()
    result = CliRunner().invoke(validate, [str(dataset)])
    assert result.exit_code == 1
    assert "parse.missing_member" in result.stdout


def test_json_is_one_document_that_converts_back(dataset: Path) -> None:
    path = dataset / "shards/000000.tar"
    path.write_bytes(path.read_bytes()[:4000])
    result = CliRunner().invoke(validate, [str(dataset), "--json"])
    assert result.exit_code == 1
    report = msgspec.json.decode(result.stdout, type=ValidationReport)
    assert report.by_code == {"parse.truncated": 1}
    assert isinstance(report.findings[0], Finding)


def test_help_ends_with_an_example() -> None:
    text = CliRunner().invoke(validate, ["--help"]).stdout
    assert "Example: pearl-data validate scenes --replay" in text
    assert CliRunner().invoke(validate, []).exit_code == 2


def test_a_lost_manifest_is_named_where_shards_lie(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "000000.tar").write_bytes(bytes(1024))
    (found,) = validate_paths([tmp_path]).findings
    assert "manifest.jsonl is lost" in (found.hint or "")
