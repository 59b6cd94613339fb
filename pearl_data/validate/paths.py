"""Validation of what lies on disk: dataset folders, tar shards, ``.json`` and ``.jsonl`` files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec

from pearl_data.findings import Finding, finding
from pearl_data.progress import Progress
from pearl_data.shards.files import file_sha256
from pearl_data.shards.manifest import MANIFEST, ShardLine, read_manifest
from pearl_data.shards.records import (
    Kind,
    junk_note,
    kind_of,
    members_beside,
    no_records,
    read_documents,
    tars_in,
    unfinished_around,
)
from pearl_data.shards.sample import RECORD_NAME, Sample
from pearl_data.shards.verify import unfinished, verify_dataset, verify_index
from pearl_data.trajectory import Trajectory, identity_sha256
from pearl_data.validate.members import check_member_bytes
from pearl_data.validate.reading import Stored, disagreements, read_indexed, read_tar
from pearl_data.validate.record import check_members, check_trajectory
from pearl_data.validate.replay import Replayer, recorded_settings
from pearl_data.validate.report import ReplayCount, ValidationReport
from pearl_data.validate.schema import read_record
from pearl_tools.errors import BadInput
from pearl_tools.executor import ExecutorSettings
from pearl_tools.files import is_regular_inside

#: Samples whose chains run side by side, so that depth calls share batches.
REPLAY_GROUP = 8


def validate_paths(
    paths: Sequence[Path],
    *,
    replay: bool = False,
    depth_model: str | None = None,
    allow_unfinished: bool = False,
    progress: bool = False,
) -> ValidationReport:
    """All findings on ``paths``: dataset folders, tars (also gz) or folders of them,
    ``.json`` (one record or a list), ``.jsonl``.

    In datasets and tars the stored bytes are checked too: file hashes, and the pixels of views and
    depth maps; of bare records those pictures that lie beside the file as ``{key}.{name}``.
    ``replay`` runs all calls again, which needs every root; ``depth_model`` is the present path
    of the depth model if it has moved since. A path without a record is a
    finding, and so is a dataset whose run has not ended, unless ``allow_unfinished``. Raises
    ``UsageError`` for a path that is none of these.
    """
    run = _Run(replay=replay, depth_model=depth_model, allow_unfinished=allow_unfinished)
    kinds = [(path, kind_of(path)) for path in map(Path, paths)]
    with Progress("validate", None, "documents") if progress else nullcontext() as line:
        run.progress = line
        for path, kind in kinds:
            run.path(path, kind)
    return run.report([str(path) for path in paths])


class _Id(msgspec.Struct):
    """All that is read of a record to name it in messages."""

    id: str


class _Run:
    """One validation: what has been found and counted so far."""

    def __init__(self, *, replay: bool, depth_model: str | None, allow_unfinished: bool) -> None:
        self.replay, self.allow_unfinished = replay, allow_unfinished
        self._depth_model = depth_model
        self.progress: Progress | None = None
        self.files = self.documents = self.with_findings = 0
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.keys: dict[str, str] = {}
        self.replayers: list[Replayer] = []
        self._group: list[tuple[Sample, str]] = []

    def path(self, path: Path, kind: Kind) -> None:
        """Whatever lies at ``path``; that nothing does is a finding, unless more is wrong."""
        before = (self.documents, len(self.findings))
        if kind == "dataset":
            self.dataset(path)
        elif kind in ("tar", "tars"):
            self.keys = {} if kind == "tars" else self.keys
            whole = None if self.allow_unfinished else unfinished_around(path)
            for each in unfinished(whole) if whole else ():
                self.found(each, path.parent / each.file)
            for tar in tars_in(path) if kind == "tars" else [path]:
                self.files += 1
                self.tar(tar, self._replayer())
        else:
            self.files += 1
            self.records(path, kind)
        if (self.documents, len(self.findings)) == before:
            self.found(no_records(path), path)

    def _replayer(self, settings: ExecutorSettings | None = None) -> Replayer | None:
        """One more for samples made with ``settings``, if they are to be replayed."""
        if not self.replay:
            return None
        self.replayers.append(Replayer(settings, depth_model=self._depth_model))
        return self.replayers[-1]

    def dataset(self, folder: Path) -> None:
        """A dataset folder: the bytes of all its files, then every sample."""
        self.keys = {}
        try:
            manifest = read_manifest(folder)
        except BadInput as error:
            self.found(finding("parse.checksum", "", "a whole manifest", error), folder / MANIFEST)
            for path in tars_in(folder / "shards") if (folder / "shards").is_dir() else ():
                self.files += 1
                self.tar(path, self._replayer())
            return
        for each in verify_dataset(folder, manifest, allow_unfinished=self.allow_unfinished):
            self.found(each, folder / each.file)
        replayer = self._replayer(recorded_settings(manifest.header.config))
        for shard in manifest.shards:
            if shard.name and is_regular_inside(folder, shard.name):
                self.files += 1
                self._shard(folder, shard, replayer)
        if manifest.summary:
            self.notes.append(f"{folder}: {manifest.summary}")

    def tar(self, path: Path, replayer: Replayer | None) -> None:
        """A bare tar: its packing, then every sample."""
        faults, junk = list[Finding](), list[str]()
        try:
            for stored in read_tar(path, faults, junk):
                self.sample(stored, path, replayer)
        except BadInput as error:
            faults.append(finding("parse.truncated", "", "a file that can be read", error))
        self._replay_group(replayer, path)
        for fault in faults:
            self.found(fault, path)
        if junk:
            self.notes.append(junk_note(path, junk))

    def records(self, path: Path, kind: Kind) -> None:
        """Bare records: one, a list, or one per line; with the pictures that lie beside them."""
        self.keys = {}
        replayer = self._replayer()
        alone = 0
        for place, text, offset in read_documents(path, kind):
            trajectory, findings = read_record(text)
            key = trajectory.id if trajectory else _id_in(text) or place
            members = members_beside(path, trajectory) if trajectory else {}
            if trajectory:
                alone += not members
                findings = [
                    *check_trajectory(trajectory),
                    *_bare_member_findings(trajectory, members, roots=self.replay),
                ]
            findings = [msgspec.structs.replace(each, offset=offset) for each in findings]
            findings += self._doubled(key, f"{path}:{place or 1}")
            self.document(findings, path, key)
            if trajectory and replayer:
                self._queue(Sample(trajectory, members), key, path, replayer)
        self._replay_group(replayer, path)
        if alone:
            beside = f"{alone} bare records without pictures beside them (KEY.i0.jpg)"
            self.notes.append(f"{path}: {beside}: no stored media were checked")

    def sample(self, stored: Stored, path: Path, replayer: Replayer | None) -> None:
        """One stored sample with all its members; queued for replay where its record is sound."""
        trajectory, findings = check_members(stored.members)
        findings += self._doubled(stored.key, str(path))
        if trajectory:
            if trajectory.id != stored.key:
                hint = "the members are named after the record's id"
                findings.append(finding("semantic.identity", "id", stored.key, trajectory.id, hint))
            line = stored.line
            if line and (line.identity, line.split) != (
                identity_sha256(trajectory),
                trajectory.split,
            ):
                expected = "the identity and split that the index gives"
                findings.append(finding("semantic.identity", "", expected, "others"))
        self.document(findings, path, stored.key)
        if replayer and trajectory:
            members = {name: data for name, data in stored.members.items() if name != RECORD_NAME}
            self._queue(Sample(trajectory, members), stored.key, path, replayer)

    def document(self, findings: list[Finding], path: Path, key: str) -> None:
        """Count one document with what was found in it."""
        self.documents += 1
        self.with_findings += bool(findings)
        for each in findings:
            self.found(each, path, key)
        if self.progress:
            self.progress.advance()

    def found(self, each: Finding, path: Path, key: str | None = None) -> None:
        """Keep one finding, placed in file and sample."""
        self.findings.append(each.at(str(path), key))

    def report(self, paths: list[str]) -> ValidationReport:
        """All of it as one record."""
        replay: dict[str, ReplayCount] | None = None
        if self.replay:
            replay = {}
            for replayer in self.replayers:
                for tool, count in replayer.counts().items():
                    replay[tool] = count if tool not in replay else replay[tool] + count
        return ValidationReport(
            paths=paths,
            files=self.files,
            documents=self.documents,
            documents_with_findings=self.with_findings,
            by_code=dict(Counter(each.code for each in self.findings)),
            findings=self.findings,
            notes=self.notes,
            replay=replay,
        )

    def _shard(self, folder: Path, shard: ShardLine, replayer: Replayer | None) -> None:
        assert shard.name
        path = folder / shard.name
        index = verify_index(folder, shard)
        if isinstance(index, Finding):  # reported already; the tar speaks for itself
            self.tar(path, replayer)
            return
        if file_sha256(path) == shard.sha256:
            for each in disagreements(path, index):
                self.found(each, path)
        for stored in read_indexed(path, index):
            self.sample(stored, path, replayer)
        self._replay_group(replayer, path)

    def _queue(self, sample: Sample, key: str, path: Path, replayer: Replayer) -> None:
        self._group.append((sample, key))
        if len(self._group) >= REPLAY_GROUP:
            self._replay_group(replayer, path)

    def _replay_group(self, replayer: Replayer | None, path: Path) -> None:
        if replayer and self._group:
            results = replayer.run([sample for sample, _ in self._group])
            for (_, key), findings in zip(self._group, results, strict=True):
                for each in findings:
                    self.found(each, path, key)
        self._group = []

    def _doubled(self, key: str, place: str) -> list[Finding]:
        first = self.keys.setdefault(key, place)
        if not key or first is place:
            return []
        return [finding("reference.duplicate_id", "id", "a key of its own", f"that of {first}")]


def _id_in(text: bytes) -> str:
    """The id in a bare record, as far as it can be read."""
    try:
        return msgspec.json.decode(text, type=_Id).id
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""


def _bare_member_findings(
    trajectory: Trajectory, members: dict[str, bytes], *, roots: bool
) -> Iterator[Finding]:
    """What is wrong with the pictures beside a bare record. They may be absent, but for those that
    its calls start from where these are to be run again (``roots``).
    """
    needed = {
        f"media[{index}].name_in_sample"
        for index, medium in enumerate(trajectory.media)
        if roots and medium.parent is None
    }
    for each in check_member_bytes(trajectory, members):
        if each.code != "parse.missing_member" or each.path in needed:
            yield each
