"""Questions from a COCO annotation file, plain or with LVIS-like extras.

Reads ``images``, ``categories`` and ``annotations`` (``bbox`` = [x, y, width, height] in pixels).
Used where present: ``attributes`` (name -> value), ``description`` (a phrase that means this thing
alone), ``depth_rank`` (1 = nearest), ``keypoints``, and per image LVIS's
``not_exhaustive_category_ids`` (kinds of which instances may be missing, so that they are not
counted). Every other kind that a picture names is taken to be complete in it, as COCO's are, unless
the file says something of it there that cannot be used: a group, a box that is refused, another
entry of the same picture. Every unusable item is rejected with its reason. Segmentation masks and
captions are not read.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pearl_data.randomness import rng_for
from pearl_data.sources.asking import Turns
from pearl_data.sources.base import Candidate, QuestionSettings, Rejected, Slot
from pearl_data.sources.coco_items import Annotation, ImageEntry
from pearl_data.sources.coco_reading import prepare
from pearl_data.sources.coco_store import CocoStore
from pearl_data.sources.facts import Facts, Thing, overlap
from pearl_data.sources.keys import slug
from pearl_data.sources.pictures import (
    PictureFolder,
    annotated_size,
    read_picture,
    upright_thing,
)
from pearl_data.sources.questions import advice, ask
from pearl_data.sources.vocabulary import Vocabulary
from pearl_data.trajectory import Source
from pearl_tools.errors import ToolError, ToolFailure, tool_error
from pearl_tools.types import Box

_IMAGES_PER_BLOCK = 8
_REJECTED_PER_BLOCK = 1000
#: Blocks begin their turns of answer positions this far apart; odd, so that all positions come up.
_TURNS_APART = 5
#: Boxes of one kind that overlap (intersection over union) this much are one box, given twice.
_SAME_BOX = 0.95
#: COCO's own boxes overshoot by less than a pixel through rounding.
_ROUNDING_PX = 1
_EVERYWHERE: Box = (0.0, 0.0, 1.0, 1.0)


class _Said(NamedTuple):
    """All annotations of one picture. ``partial`` names the kinds of which things may be missing
    among ``things``; None means all kinds.
    """

    things: list[Thing]
    rejected: list[Rejected]
    partial: set[str] | None


class CocoSource:
    """A COCO file and the folder of its pictures as a source of questions.

    ``prepared`` is a store that another process made from the same file. Raises
    :class:`BadInput` if the file is not COCO: with the JSON path and what was expected.
    """

    def __init__(
        self,
        annotations: Path,
        images: Path,
        settings: QuestionSettings,
        prepared: str | None = None,
    ) -> None:
        self.name = annotations.name.removesuffix(".json").removesuffix(".coco")
        self._pictures, self._settings = PictureFolder(images), settings
        self._store = (
            CocoStore(prepared)
            if prepared
            else prepare(annotations, self._pictures, settings.attributes)
        )
        self.prepared: str | None = self._store.path
        head = self._store.head
        self.notes = head.notes
        self._kinds = {kind.id: kind for kind in head.kinds}
        names = dict.fromkeys(kind.name for kind in head.kinds if kind.role == "thing")
        self._vocabulary = Vocabulary([], names, head.kin)
        for kind, attribute, value, times in head.counts:
            if kind in names:
                self._vocabulary.count(kind, attribute, value, times)

    def blocks(self) -> int:
        """Blocks of eight images, then of items that belong to no image."""
        return self._image_blocks() + -(-self._store.head.rejected // _REJECTED_PER_BLOCK)

    def _image_blocks(self) -> int:
        return -(-self._store.head.images // _IMAGES_PER_BLOCK)

    def most_in_block(self) -> None:
        """Unknown: what an image gives depends on its annotations."""

    def config(self) -> dict[str, Any]:
        """The annotation file by content, the pictures by name and size."""
        return {
            "kind": "coco",
            "name": self.name,
            "sha256": self._store.head.sha256,
            "pictures": self._store.head.pictures,
            "notes": self.notes,
        }

    def block(self, index: int) -> Iterator[Slot]:
        """One slot per question, and one per annotation or picture that cannot be used."""
        if (beyond := index - self._image_blocks()) >= 0:
            first = beyond * _REJECTED_PER_BLOCK
            for rejected in self._store.rejected(first, _REJECTED_PER_BLOCK):
                yield iter([rejected])
            return
        turns = Turns(index * _TURNS_APART)
        for image in self._store.images(index * _IMAGES_PER_BLOCK, _IMAGES_PER_BLOCK):
            yield from self._image_slots(image, turns)

    def _image_slots(self, image: ImageEntry, turns: Turns) -> Iterator[Slot]:
        stem = f"{slug(self.name)}-{slug(image.id)}"
        fault, frame = image.fault, self._settings.annotation_frame
        size = (image.width, image.height)
        if fault is None:
            try:
                root = read_picture(self._pictures, image.path, size=size, frame=frame)
            except ToolFailure as failure:
                fault = failure.error
        if fault is not None:
            yield iter([Rejected(stem, fault, _record(image))])
            return
        width, height = root.facts.width, root.facts.height
        said = self._said(image, annotated_size(root.facts, frame), stem)
        for rejected in said.rejected:
            yield iter([rejected])
        facts = Facts(
            dataset=self.name,
            row=image.id,
            licence=self._store.head.licences.get(image.licence or "", "unknown"),
            width=width,
            height=height,
            things=[upright_thing(thing, root.facts, frame) for thing in said.things],
            complete=_complete(said),
            doubtful=self._doubtful(image),
        )
        rng = rng_for(self._settings.seed, "coco", self._store.head.sha256, image.id)
        questions = ask(facts, self._vocabulary, self._settings, turns, rng)
        source = Source(dataset=self.name, row=image.id, licence=facts.licence)
        for task in questions:
            key = f"{stem}-{task.family}"
            if task.needs_tool and any(_is_whole(e.bbox, width, height) for e in task.evidence):
                expected = "a part of the picture: seeing it whole is no closer look"
                path = f"images[{image.position}]"
                error = tool_error("geometry.whole_image", path, expected, task.question)
                yield iter([Rejected(key, error, msgspec.to_builtins(task))])
            else:
                yield iter([Candidate(key, task, [root], source)])
        if not questions:
            usable = sum(not thing.crowd for thing in said.things)
            error = tool_error(
                "semantic.no_question",
                f"images[{image.position}]",
                "annotations that a question with these tools can be asked of",
                f"{usable} usable annotation{'' if usable == 1 else 's'}",
                advice(facts, self._vocabulary, self._settings),
            )
            yield iter([Rejected(stem, error, _record(image))])

    def _doubtful(self, image: ImageEntry) -> list[str]:
        """Kinds that may be on a picture of LVIS unlisted: those listed in part, and all that were
        not looked for, if the file says which kinds it lacks.
        """
        absent = image.absent
        names = {
            kind.name
            for key, kind in self._kinds.items()
            if key in image.partial or (absent is not None and key not in absent)
        }
        return sorted(names)

    def _said(self, image: ImageEntry, size: tuple[int, int], stem: str) -> _Said:
        """All annotations of a picture of ``size`` (width, height), usable or not."""
        things: list[Thing] = []
        rejected: list[Rejected] = []
        twins = _Twins()
        partial: set[str] | None = {
            self._kinds[key].name for key in image.partial if key in self._kinds
        }
        unknown = False
        for annotation in self._store.of(image):
            kind = self._kinds.get(annotation.category or "")
            problem = self._problem(annotation, size)
            if problem is not None:
                rejected.append(Rejected(stem, problem, _record(annotation)))
            if kind is None or kind.role == "anything":
                unknown = True
                continue
            crowd = problem is not None or annotation.group or kind.role == "stuff"
            thing = self._thing(annotation, size, crowd=crowd)
            twin = None if thing.crowd else twins.of(thing, things)
            if twin is None:
                things.append(thing)
                continue
            things[twin] = _merged(things[twin], thing)
            path = f"annotations[{annotation.position}].bbox"
            expected = f"a box of a {thing.name} that no earlier one is"
            got = f"{annotation.bbox}, as annotations[{things[twin].id}]"
            hint = "both count as one thing"
            error = tool_error("reference.duplicate_box", path, expected, got, hint)
            rejected.append(Rejected(stem, error, _record(annotation)))
        if image.file is not None:
            for entry, annotation in self._store.elsewhere(image):
                kind = self._kinds.get(annotation.category or "")
                if kind is None or kind.role == "anything":
                    unknown = True
                else:
                    own = (entry.width or size[0], entry.height or size[1])
                    things.append(self._thing(annotation, own, crowd=True))
        return _Said(things, rejected, None if unknown else partial)

    def _thing(self, annotation: Annotation, size: tuple[int, int], *, crowd: bool) -> Thing:
        """The thing of an annotation whose kind is known; its box is the whole picture if the
        annotation's box is unusable.
        """
        kind = self._kinds[annotation.category or ""]
        width, height = size
        box = _EVERYWHERE
        if annotation.numbers:
            x, y, w, h = annotation.bbox
            inside = (
                max(0.0, x / width),
                max(0.0, y / height),
                min(1.0, (x + w) / width),
                min(1.0, (y + h) / height),
            )
            if inside[0] < inside[2] and inside[1] < inside[3]:
                box = inside
        attributes = annotation.attributes
        return Thing(
            id=str(annotation.position),
            name=kind.name,
            bbox=box,
            description=annotation.description,
            attributes={n: v for n, v in attributes.items() if n in self._store.head.asked},
            distance=annotation.rank,
            crowd=crowd,
            keypoints=named_points(kind.parts, annotation.keypoints or [], width, height),
            kin=self._store.head.kin.get(kind.name, []),
        )

    def _problem(self, annotation: Annotation, size: tuple[int, int]) -> ToolError | None:
        """The error that makes an annotation unusable, or None."""
        if annotation.fault is not None:
            return annotation.fault
        path = f"annotations[{annotation.position}]"
        box, (width, height) = annotation.bbox, size
        if annotation.category not in self._kinds:
            expected = f"the id of one of {len(self._kinds)} categories"
            return tool_error(
                "reference.index_out_of_range", f"{path}.category_id", expected, annotation.category
            )
        if not annotation.numbers:
            code = "schema.missing_field" if box is None else "schema.type"
            code = "schema.length" if isinstance(box, list) and len(box) != 4 else code
            return tool_error(code, f"{path}.bbox", "[x, y, width, height] as numbers", box)
        x, y, w, h = box
        code, expected = "", f"a box inside {width}x{height}"
        if w <= 0 or h <= 0:
            code, expected = "geometry.zero_area", "width and height > 0"
        elif max(abs(x), abs(y), w, h) <= 1 < min(size):
            code, expected = "geometry.wrong_unit", "pixels, not fractions"
        elif x >= width or y >= height or x + w <= 0 or y + h <= 0:
            code = "geometry.outside"
        elif (
            min(x, y) < -_ROUNDING_PX
            or x + w > width + _ROUNDING_PX
            or y + h > height + _ROUNDING_PX
        ):
            code = "geometry.partly_outside"
        return tool_error(code, f"{path}.bbox", expected, box) if code else None


def _is_whole(box: Box, width: int, height: int) -> bool:
    """True if ``box`` leaves less than a pixel of the picture on every side."""
    x0, y0, x1, y1 = box
    return max(x0 * width, y0 * height, (1 - x1) * width, (1 - y1) * height) < 1


def _complete(said: _Said) -> list[str]:
    """The kinds of which every thing in the picture is known: no box of the kind, or of a broader
    or narrower one, is a group, is rejected, or may be missing.
    """
    if said.partial is None:
        return []
    names = {thing.name for thing in said.things}
    doubtful = said.partial | {thing.name for thing in said.things if thing.crowd}
    doubtful |= {thing.name for thing in said.things if names & set(thing.kin)}
    return sorted(names - doubtful)


class _Twins:
    """Finds things with the same box and kind, in nearly constant time each."""

    def __init__(self) -> None:
        self._by_left: dict[str, list[tuple[float, int]]] = {}

    def of(self, thing: Thing, things: list[Thing]) -> int | None:
        """The index of an earlier thing with this box; if None, ``thing`` is registered."""
        lefts = self._by_left.setdefault(thing.name, [])
        left = thing.bbox[0]
        reach = (1 / _SAME_BOX - 1) * (thing.bbox[2] - left)
        for known, place in lefts[bisect_left(lefts, (left - reach, 0)) :]:
            if known > left + reach:
                break
            if overlap(things[place].bbox, thing.bbox) >= _SAME_BOX:
                return place
        insort(lefts, (left, len(things)))
        return None


def _merged(thing: Thing, twin: Thing) -> Thing:
    """``thing`` with the facts of its twin added, and facts on which they disagree removed."""
    both = {**twin.attributes, **thing.attributes}
    agreed = {n: v for n, v in both.items() if twin.attributes.get(n, v) == v}
    distances = {d for d in (thing.distance, twin.distance) if d is not None}
    return msgspec.structs.replace(
        thing,
        attributes=agreed,
        description=thing.description or twin.description,
        distance=distances.pop() if len(distances) == 1 else None,
        keypoints=thing.keypoints or twin.keypoints,
    )


def _record(item: ImageEntry | Annotation) -> dict[str, Any]:
    """An item of the file as the quarantine stores it, without the fields added by the reader."""
    record: dict[str, Any] = msgspec.to_builtins(item)
    found_out = ("fault", "numbers", "path", "file")
    return {key: value for key, value in record.items() if key not in found_out}


def named_points(
    names: list[str], flat: list[float], width: int, height: int
) -> dict[str, tuple[float, float, int]]:
    """COCO's [x0, y0, v0, x1, ...] in pixels as name -> (x, y as fractions 0..1, v of 0, 1, 2).

    Empty if the list does not fit ``names``; a point with another ``v``, a point outside the
    picture, and a name that two points share are dropped.
    """
    if not names or len(flat) != 3 * len(names):
        return {}
    points: dict[str, tuple[float, float, int]] = {}
    for name, x, y, seen in zip(names, flat[::3], flat[1::3], flat[2::3], strict=True):
        unusable = not name or names.count(name) > 1 or seen not in (0, 1, 2)
        if not unusable and 0 <= x <= width and 0 <= y <= height:
            points[name] = (x / width, y / height, int(seen))
    return points
