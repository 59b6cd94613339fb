"""Finds and reads the pictures that annotations name, in one folder only; checks their size.

Annotation tools write names with folders of another machine, with backslashes, or as addresses.
A name means the file that shares the longest path suffix with it; two such files are an error.
Not here: decoding (:mod:`pearl_tools.media`).
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

from pearl_data.sources.facts import Thing
from pearl_tools.errors import BadInput, ToolFailure, fail, listed
from pearl_tools.files import inside
from pearl_tools.geometry import check_aspect_ratio
from pearl_tools.media import FORMATS, exif_orientation, open_image, read_file, turned_upright
from pearl_tools.types import Box, MediaFacts, Medium

#: The frame of the boxes of a picture with an EXIF rotation: its stored pixels, or upright.
Frame = Literal["stored", "upright"]

#: Bookkeeping folders of tools, which are ignored like dot folders.
_NOT_SEARCHED = ("__MACOSX",)
_SUFFIXES = frozenset({*FORMATS.values(), ".jpeg", ".tif", ".tiff"})


class PictureFolder:
    """The pictures in ``root`` and its subfolders. Raises ``BadInput`` if it is no folder."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            msg = f"--images {root}: expected a folder with the pictures, got no folder"
            raise BadInput(msg)
        self.root = root
        self._known_inside: set[str] = set()

    def find(self, name: str | None) -> str:
        """The path below ``root`` of the picture that an annotation calls ``name``.

        Raises ``ToolFailure``: ``schema.missing_field`` without a name, ``reference.no_such_file``,
        ``semantic.ambiguous`` if several files fit alike, ``parse.unsafe_member`` for a name with
        ``..`` and for a link that leads out of ``root``.
        """
        if not name:
            raise fail("schema.missing_field", "file_name", "the name of a picture", "nothing")
        readings = name_parts(name)
        if any(".." in parts for parts in readings):
            hint = "write its path below --images"
            raise fail("parse.unsafe_member", "file_name", "a path inside the folder", name, hint)
        for parts in readings:
            if parts and os.path.lexists(f"{self.root}/{(exact := '/'.join(parts))}"):
                return self._safe(exact, name)
        return self._safe(self._by_tail(name), name)

    def _safe(self, path: str, name: str) -> str:
        """``path``, unless a link leads out of ``root``; each folder is checked once."""
        folder = path.rpartition("/")[0]
        try:
            if folder and folder not in self._known_inside:
                inside(self.root, folder)
                self._known_inside.add(folder)
            if os.path.islink(f"{self.root}/{path}"):  # noqa: PTH114 - a third of the time
                inside(self.root, path)
        except BadInput as error:
            hint = "put a copy of the file there"
            expected = "a picture inside the folder"
            raise fail("parse.unsafe_member", "file_name", expected, str(error), hint) from None
        return path

    def _by_tail(self, name: str) -> str:
        """The file that shares the longest path suffix with ``name``, case and accents folded."""
        best: dict[str, None] = {}
        longest = (0, 0)
        for parts in name_parts(name):
            for path in self._index.get(_fold(parts[-1]), ()) if parts else ():
                own = path.split("/")
                shared = (_shared(map(_fold, own), map(_fold, parts)), _shared(own, parts))
                if shared > longest:
                    best, longest = {}, shared
                if shared == longest:
                    best[path] = None
        found = list(best)
        if len(found) == 1:
            return found[0]
        if found:
            expected = f"one picture that {name!r} can mean"
            hint = "write its path below --images"
            got = f"{len(found)} of the same name: {listed(found)}"
            raise fail("semantic.ambiguous", "file_name", expected, got, hint)
        similar = sorted(set(self._other_suffixes(name)))
        if len(similar) == 1 and all(
            _suffix(parts[-1]) not in _SUFFIXES for parts in name_parts(name) if parts
        ):
            return similar[0]  # a name without its suffix
        hint = f"looked in {self.root}; pass the right folder as --images"
        hint += f", or did you mean {listed(similar)}?" if similar else ""
        expected = f"a picture named {name!r}"
        raise fail("reference.no_such_file", "file_name", expected, "no such file", hint)

    def _other_suffixes(self, name: str) -> Iterator[str]:
        for parts in name_parts(name):
            last = _fold(parts[-1]) if parts else ""
            stem = last.removesuffix(_suffix(last)) if _suffix(last) in _SUFFIXES else last
            for suffix in _SUFFIXES:
                yield from self._index.get(stem + suffix, ())

    @functools.cached_property
    def _index(self) -> dict[str, list[str]]:
        """Folded base name -> paths below ``root``; built when an exact name is not found."""
        index: dict[str, list[str]] = {}
        for folder, below, files in os.walk(self.root):
            below[:] = sorted(d for d in below if d[0] != "." and d not in _NOT_SEARCHED)
            place = Path(folder).relative_to(self.root).as_posix()
            prefix = "" if place == "." else place + "/"
            for file in sorted(files):
                if file[0] != ".":
                    index.setdefault(_fold(file), []).append(prefix + file)
        return index


def name_parts(name: str) -> list[list[str]]:
    r"""The readings of ``name`` as a path, the most literal first: unchanged, split, unquoted.

    Of an address only the path counts; ``.`` and drive letters are dropped.

    >>> name_parts(r"C:\data\my%20dog.png")
    [['C:\\data\\my%20dog.png'], ['data', 'my%20dog.png'], ['data', 'my dog.png']]
    """
    text = urlsplit(name).path if "://" in name else name
    if "/local-files/?d=" in text:  # as Label Studio writes files of a folder
        text = text.rpartition("?d=")[2]
    text = text.replace("\\", "/")
    text = text[2:] if text[1:2] == ":" else text
    bare = text.partition("?")[0]  # an address without its host
    readings = dict.fromkeys((name, text, unquote(text), bare, unquote(bare)))
    return [[part for part in r.split("/") if part not in ("", ".")] for r in readings]


def _shared(one: Iterable[str], other: Iterable[str]) -> int:
    """The number of equal parts at the end of two paths."""
    pairs = zip(reversed(list(one)), reversed(list(other)), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _suffix(name: str) -> str:
    return Path(name).suffix.casefold()


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


Guard = Callable[[str], AbstractContextManager[None]]


def _unguarded(path: str) -> AbstractContextManager[None]:
    return nullcontext()


_guard: ContextVar[Guard] = ContextVar("guard", default=_unguarded)


@contextmanager
def while_opening(guard: Guard) -> Iterator[None]:
    """Open every picture within ``guard(path)``: a decoder may end the process, and the parent must
    know which picture was being opened.
    """
    token = _guard.set(guard)
    try:
        yield
    finally:
        _guard.reset(token)


def pictures_sha256(pictures: PictureFolder, names: Iterable[str | None]) -> str:
    """A hash of the names and byte sizes of the pictures: a run that resumes with other pictures
    would mix two sets. The content is hashed when a picture is read.
    """

    @functools.lru_cache(maxsize=10_000)  # many rows ask about one picture
    def size(name: str | None) -> int:
        try:
            return (pictures.root / pictures.find(name)).stat().st_size
        except (ToolFailure, OSError):
            return -1

    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name!r} {size(name)}\n".encode())
    return digest.hexdigest()


def read_picture(
    pictures: PictureFolder,
    name: str | None,
    *,
    medium_id: str = "i0",
    size: tuple[int | None, int | None] = (None, None),
    frame: Frame | None = None,
) -> Medium:
    """Picture ``name`` of ``pictures``, opened as the medium ``medium_id``, upright.

    ``size`` is the (width, height) that the annotation was made on, None if it says nothing: a
    picture of another size would put every box elsewhere, so it is refused. ``frame`` says which
    way round the annotation was made, if EXIF data turn the picture; its size is meant in that
    frame, and its boxes need :func:`upright_box`. Raises ``ToolFailure`` with a coded error for a
    name that means no one file inside the folder, an unreadable file, anything but a regular one,
    another size, a turned picture without ``frame``, or a shape that no model takes.
    """
    path = pictures.find(name)
    data = read_file(pictures.root / path, hint=f"looked in {pictures.root}")
    with _guard.get()(path):
        medium = open_image(data, id=medium_id, name=path)
    orientation = exif_orientation(medium.facts)
    if orientation != 1 and frame is None:
        raise fail(
            "semantic.ambiguous",
            "file_name",
            "a picture stored upright, so that boxes can mean only one thing",
            f"{path} with exif_orientation:{orientation}",
            "state the frame of its boxes: --annotation-frame upright, or stored",
        )
    got_size = annotated_size(medium.facts, frame)
    if any(side not in (None, got_side) for side, got_side in zip(size, got_size, strict=True)):
        turned = f" ({frame} frame)" if orientation != 1 else ""
        raise fail(
            "result.size_mismatch",
            "file_name",
            f"{size[0]}x{size[1]} as annotated",
            f"{got_size[0]}x{got_size[1]}{turned}",
            "use the pictures that were annotated",
        )
    check_aspect_ratio(medium.facts.width, medium.facts.height, "file_name")
    return medium


def annotated_size(facts: MediaFacts, frame: Frame | None) -> tuple[int, int]:
    """Width and height of a picture in the frame of its annotation."""
    size = (facts.width, facts.height)
    return size[::-1] if frame == "stored" and exif_orientation(facts) >= 5 else size


def upright_box(box: Box, facts: MediaFacts, frame: Frame | None) -> Box:
    """``box``, fractions of a picture in ``frame``, as fractions of the upright picture."""
    return turned_upright(box, exif_orientation(facts)) if frame == "stored" else box


def upright_thing(thing: Thing, facts: MediaFacts, frame: Frame | None) -> Thing:
    """``thing``, annotated in ``frame``, as it lies on the upright picture."""
    if frame != "stored" or exif_orientation(facts) == 1:
        return thing
    points = {}
    for name, (x, y, visibility) in thing.keypoints.items():
        x, y, *_ = upright_box((x, y, x, y), facts, frame)  # noqa: PLW2901 - the same point
        points[name] = (x, y, visibility)
    box = upright_box(thing.bbox, facts, frame)
    return msgspec.structs.replace(thing, bbox=box, keypoints=points)
