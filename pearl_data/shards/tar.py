"""Tar members, written in one exact form and read without trust.

Writing: plain ustar headers with mtime 0, ids 0, mode 0644, so that equal members are equal bytes.
Reading: the archive is scanned over a buffer; header checksums, sizes and the end marker are
checked, links, devices and names that leave the folder are reported and skipped, nothing is ever
written to disk by the name that a tar gives. Foreign archives (pax and GNU long names) are read
too. Not here: sparse files, multi-volume archives, repairing what lies behind a broken header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pearl_data.findings import Finding, finding
from pearl_data.shards.buffer import Buffer
from pearl_tools.errors import BadInput

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_NAME = 100
MAX_SIZE = 8**11 - 1
_LONGEST_NAME = 1 << 16
#: Most bytes of a member; a larger one is reported and not read.
MAX_MEMBER = 512 << 20

#: Folders and files that archivers of other systems add.
_JUNK = re.compile(r"__MACOSX|PaxHeaders?(\.\d+)?|\.[^/]*|Thumbs\.db|desktop\.ini", re.IGNORECASE)
_CHUNK = 1 << 20
_REGULAR = b"0\x00"
_DIRECTORY = b"5"
_PAX_LOCAL, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a fifo",
}
_TAIL = (
    b"0000644\x000000000\x000000000\x00%011o\x0000000000000\x00        0"
    + bytes(100)
    + b"ustar\x0000"
    + bytes(64)
    + b"0000000\x000000000\x00"
    + bytes(155 + 12)
)


class Member(NamedTuple):
    """One regular file of a tar: its name and where its header and data lie."""

    name: str
    header_offset: int
    offset: int
    size: int


def header_bytes(name: str, size: int) -> bytes:
    """The 512 header bytes of a regular file ``name`` of ``size`` bytes.

    Raises ``BadInput`` for a name over 100 ASCII bytes or a file of 8 GiB or more, which ustar
    cannot say without extensions that not every reader follows.

    >>> len(header_bytes("a.json", 3))
    512
    """
    raw = name.encode("ascii", "replace")
    if len(raw) > MAX_NAME or not name.isascii():
        raise BadInput(
            f"member {name!r}: expected at most {MAX_NAME} ASCII bytes, got {len(name.encode())} "
            "bytes; use shorter keys"
        )
    if size > MAX_SIZE:
        raise BadInput(f"member {name}: expected less than 8 GiB, got {size} bytes")
    header = raw.ljust(MAX_NAME, b"\x00") + _TAIL % size
    return header[:148] + b"%06o\x00 " % sum(header) + header[156:]


def padding(size: int) -> int:
    """The number of zero bytes behind ``size`` bytes of data."""
    return -size % BLOCK


def scan(buffer: Buffer, faults: list[Finding], junk: list[str] | None = None) -> Iterator[Member]:
    """The regular members of the tar in ``buffer``, in order.

    Faults are appended to ``faults`` with their byte offset; after a broken header nothing can
    be trusted, so the scan stops. Names of files that are not members (:func:`is_junk`) are
    appended to ``junk``.
    """
    position, total = 0, len(buffer)
    longname: str | None = None
    while True:
        if position + BLOCK > total:
            faults.append(_truncated("an end marker of two zero blocks", position, total))
            return
        header = buffer[position : position + BLOCK]
        if header == END[:BLOCK]:
            _check_end(buffer, position, faults)
            return
        size = _size_if_sound(header)
        if size is None:
            faults.append(
                finding(
                    "parse.checksum",
                    "",
                    "a tar header with a right checksum",
                    f"{header[:24]!r}...",
                    "the file was altered or is no tar; fetch or write it again",
                    offset=position,
                )
            )
            return
        name = longname or _name(header)
        longname = None
        start, end = position + BLOCK, position + BLOCK + size
        if end > total:
            faults.append(_truncated(f"{size} bytes of {name}", start, total, key_of(name)))
            return
        kind = header[156:157]
        if kind in (_PAX_LOCAL, _GNU_NAME):
            text = buffer[start : min(end, start + _LONGEST_NAME)]
            longname = _long_name(kind, bytes(text)) or longname
        elif kind in _REFUSED or (kind in _REGULAR and not _is_safe(name)):
            faults.append(_unsafe(name, _REFUSED.get(kind, "a name outside its folder"), position))
        elif kind in _REGULAR and is_junk(name):
            if junk is not None:
                junk.append(name)
        elif kind in _REGULAR and size > MAX_MEMBER:
            faults.append(_too_large(name, size, position))
        elif kind in _REGULAR:
            yield Member(name, position, start, size)
        elif kind not in (_DIRECTORY, _PAX_GLOBAL, _GNU_LINK):
            faults.append(_unsafe(name, f"an entry of type {kind!r}", position))
        position = end + padding(size)
        if any(buffer[end : min(position, total)]):
            faults.append(_not_zero(f"padding behind {name}", end, key_of(name)))


def key_of(name: str) -> str:
    """The sample key in a member's name: what lies before the first dot of the file name.

    >>> key_of("a/b.i0.jpg")
    'a/b'
    """
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def field_of(name: str) -> str:
    """The member's name within its sample: what lies behind the first dot of the file name.

    >>> field_of("a/b.i0.jpg")
    'i0.jpg'
    """
    return name.rpartition("/")[2].partition(".")[2]


def is_junk(name: str) -> bool:
    """True if a member belongs to no sample: AppleDouble and other dot files, stray pax headers.

    >>> is_junk("._a.json"), is_junk("__MACOSX/a.json"), is_junk("a.json"), is_junk("../a.json")
    (True, True, False, False)
    """
    parts = name.split("/")
    return not {"", ".."} & {*parts} and any(map(_JUNK.fullmatch, parts))


def _size_if_sound(header: bytes) -> int | None:
    """The size that ``header`` gives, or None where its checksum or numbers are wrong."""
    try:
        stored = int(header[148:156].strip(b" \x00"), 8)
    except ValueError:
        return None
    if stored != sum(header) - sum(header[148:156]) + 8 * 32:
        return None
    raw = header[124:136]
    if raw[0] == 0x80:  # GNU base-256 for files of 8 GiB and more
        return int.from_bytes(raw[1:], "big")
    try:
        return int(raw.strip(b" \x00") or b"0", 8)
    except ValueError:
        return None


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\x00")[0]
    prefix = header[345:500].partition(b"\x00")[0] if header[257:263] == b"ustar\x00" else b""
    whole = prefix + b"/" + name if prefix else name
    return whole.decode("utf-8", "backslashreplace").removeprefix("./")


def _long_name(kind: bytes, data: bytes) -> str | None:
    """The name in a GNU long-name or pax entry, None where it gives none."""
    if kind == _GNU_NAME:
        return data.rstrip(b"\x00").decode("utf-8", "backslashreplace").removeprefix("./")
    while data:
        length, _, rest = data.partition(b" ")
        if not length.isdigit() or len(length) > 9 or int(length) <= len(length) + 1:
            return None
        record, data = rest[: int(length) - len(length) - 2], data[int(length) :]
        keyword, _, value = record.partition(b"=")
        if keyword == b"path":
            return value.decode("utf-8", "backslashreplace").removeprefix("./")
    return None


def _is_safe(name: str) -> bool:
    parts = name.split("/")
    return (
        bool(name)
        and not name.startswith("/")
        and ".." not in parts
        and "" not in parts
        and "\\" not in name
        and ":" not in parts[0]
        and name.isprintable()
    )


def _check_end(buffer: Buffer, position: int, faults: list[Finding]) -> None:
    total = len(buffer)
    if total - position < len(END):
        faults.append(_truncated("an end marker of two zero blocks", position, total))
        return
    for start in range(position, total, _CHUNK):
        part = bytes(buffer[start : start + _CHUNK])
        if part.count(0) != len(part):
            faults.append(_not_zero("end", start + len(part) - len(part.lstrip(b"\x00"))))
            return


def _not_zero(what: str, offset: int, key: str = "") -> Finding:
    return finding(
        "parse.checksum",
        "",
        f"only zeros in the {what}",
        "other bytes",
        "the file was altered; fetch or write it again",
        key=key,
        offset=offset,
    )


def _too_large(name: str, size: int, offset: int) -> Finding:
    return finding(
        "execution.out_of_memory",
        "",
        f"members of at most {MAX_MEMBER} bytes",
        f"{name} of {size} bytes",
        "it was not read",
        key=key_of(name),
        offset=offset,
    )


def _truncated(expected: str, offset: int, total: int, key: str = "") -> Finding:
    return finding(
        "parse.truncated",
        "",
        expected,
        f"the end of the file after {total} bytes",
        "the file is cut off; fetch or write it again",
        key=key,
        offset=offset,
    )


def _unsafe(name: str, what: str, offset: int) -> Finding:
    return finding(
        "parse.unsafe_member",
        "",
        "regular files with relative names",
        f"{what}: {name!r}",
        "it was not read",
        key=key_of(name),
        offset=offset,
    )
