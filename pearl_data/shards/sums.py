"""``timings/SHA256SUMS``: hashes of a run's timings and page, for ``sha256sum -c``.

Runs with equal data differ in timings and page, so the manifest cannot hold their hashes. Names are
relative to the dataset: run ``sha256sum -c timings/SHA256SUMS`` there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pearl_data.findings import Finding, finding
from pearl_data.shards.files import file_sha256, write_whole
from pearl_data.shards.manifest import MANIFEST, Manifest
from pearl_tools.errors import BadInput
from pearl_tools.files import inside, read_regular

SUMS = "timings/SHA256SUMS"
PAGE = "index.html"

_LINE = re.compile(r"([0-9a-f]{64}) [ *](timings/[0-9]{6,}\.jsonl|index\.html)")
_AGAIN = "run the command that wrote the set again: it restores missing and altered files"


def timings_name(number: int) -> str:
    """The name of the timings written with shard ``number``, relative to the dataset."""
    return f"timings/{number:06d}.jsonl"


def read_sums(folder: Path) -> dict[str, str]:
    """Name -> sha256; empty without the file. Raises ``BadInput`` for an invalid line."""
    try:
        text = read_regular(inside(folder, SUMS)).decode("utf-8", "replace")
    except OSError:
        return {}
    sums = {}
    for number, line in enumerate(text.splitlines(), 1):
        found = _LINE.fullmatch(line)
        if not found:
            raise BadInput(
                f"{folder / SUMS}, line {number}: expected a sha256 and the name of timings or page"
            )
        sums[found[2]] = found[1]
    if _text(sums) != text:
        raise BadInput(f"{folder / SUMS}: expected lines as they were written, got others")
    return sums


def write_sums(folder: Path, sums: dict[str, str]) -> None:
    """Write the hashes atomically."""
    (folder / SUMS).parent.mkdir(exist_ok=True)
    write_whole(folder / SUMS, _text(sums).encode())


def _text(sums: dict[str, str]) -> str:
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(sums.items()))


def note_page(page: Path) -> None:
    """Store the hash of ``page`` if it is the page of a finished dataset."""
    folder = page.parent
    if page.name == PAGE and (folder / MANIFEST).is_file() and (folder / SUMS).is_file():
        write_sums(folder, {**read_sums(folder), PAGE: file_sha256(page)})


def page_is_whole(folder: Path) -> bool:
    """True if the page of dataset ``folder`` is unchanged and up to date."""
    return whole(folder, PAGE, read_sums(folder).get(PAGE))


def whole(folder: Path, name: str, sha256: str | None) -> bool:
    """True if file ``name`` lies in dataset ``folder`` and has this hash."""
    try:
        return sha256 is not None and file_sha256(inside(folder, name)) == sha256
    except (OSError, BadInput):
        return False


def verify_sums(folder: Path, manifest: Manifest) -> Iterator[Finding]:
    """Every fault of timings and page of a finished dataset; earlier versions stored no hashes."""
    if manifest.summary is None or manifest.summary.card_sha256 is None:
        return
    if not (folder / SUMS).is_file():
        yield finding("parse.missing_member", "", "the hashes of timings and page", "no file",
                      _AGAIN, file=SUMS)  # fmt: skip
        return
    try:
        sums = read_sums(folder)
    except BadInput as error:
        yield finding("parse.checksum", "", "lines as they were written", error, _AGAIN, file=SUMS)
        return
    there = {timings_name(shard.number) for shard in manifest.shards} | {PAGE}
    for name in sorted(sums.keys() | {name for name in there if (folder / name).exists()}):
        if name not in sums or name not in there:
            by = MANIFEST if name in sums else SUMS
            yield finding("parse.misplaced", "", f"a file that {by} knows", "another", _AGAIN,
                          file=name)  # fmt: skip
        elif not (folder / name).exists():
            yield finding("parse.missing_member", "", f"a file that {SUMS} names", "no file",
                          _AGAIN, file=name)  # fmt: skip
        elif not whole(folder, name, sums[name]):
            yield finding("parse.checksum", "", f"sha256 {sums[name][:12]}...", "other bytes",
                          _AGAIN, file=name)  # fmt: skip
