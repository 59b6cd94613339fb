"""Questions from a COCO annotation file, plain or with LVIS-like extras.

Reads ``images``, ``categories`` and ``annotations`` (``bbox`` = [x, y, width, height] in pixels).
Used where present: ``attributes`` (name -> value), ``description`` (a phrase that means this thing
alone), ``depth_rank`` (1 = nearest), and per image LVIS's ``not_exhaustive_category_ids`` (kinds of
which instances may be missing, so that they are not counted). Every unusable annotation is rejected
with its reason. Left out: segmentation masks and captions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from pearl_data.randomness import rng_for
from pearl_data.sources.base import Candidate, QuestionSettings, Rejected, Slot
from pearl_data.sources.facts import Facts, Thing
from pearl_data.sources.keys import slug
from pearl_data.sources.pictures import read_picture
from pearl_data.sources.questions import Turns, ask
from pearl_data.sources.vocabulary import Vocabulary
from pearl_data.trajectory import Source
from pearl_tools.errors import BadInput, ToolFailure, tool_error

_IMAGES_PER_BLOCK = 8
#: Blocks begin their turns of answer positions this far apart; odd, so that all positions come up.
_TURNS_APART = 5


class _Image(msgspec.Struct, frozen=True):
    id: int | str
    width: int
    height: int
    file_name: str | None = None
    coco_url: str | None = None
    license: int | None = None
    not_exhaustive_category_ids: list[int] = []

    @property
    def name(self) -> str | None:
        """File name; LVIS gives only an address whose last part is it."""
        if self.file_name:
            return self.file_name
        return self.coco_url.rsplit("/", 1)[-1] if self.coco_url else None


class _Category(msgspec.Struct, frozen=True):
    id: int
    name: str


class _Annotation(msgspec.Struct, frozen=True):
    id: int | str
    image_id: int | str
    category_id: int
    bbox: list[float]
    iscrowd: int = 0
    attributes: dict[str, str | float] | None = None
    description: str | None = None
    depth_rank: float | None = None


class _Licence(msgspec.Struct, frozen=True):
    id: int
    name: str = ""
    url: str = ""


class _CocoFile(msgspec.Struct, frozen=True):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]
    licenses: list[_Licence] = []


class CocoSource:
    """A COCO file and the folder of its pictures as a source of questions.

    Raises :class:`BadInput` where the file is not COCO: with the JSON path and what was expected.
    """

    def __init__(self, annotations: Path, images: Path, settings: QuestionSettings) -> None:
        self.name = annotations.name.removesuffix(".json").removesuffix(".coco")
        self._folder, self._settings = images, settings
        if not images.is_dir():
            msg = f"--images {images}: expected a folder with the pictures, found none"
            raise BadInput(msg)
        data = _read(annotations)
        self._file_sha256 = hashlib.sha256(data).hexdigest()
        try:
            self._coco = msgspec.json.decode(data, type=_CocoFile)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            msg = (
                f"{annotations}: not a COCO annotation file: {error}; expected an object with "
                "images, categories and annotations"
            )
            raise BadInput(msg) from error
        self._categories = {c.id: c.name for c in self._coco.categories}
        self._licences = {c.id: c.name or c.url for c in self._coco.licenses}
        self._by_image: dict[int | str, list[_Annotation]] = {}
        self._orphans: list[_Annotation] = []
        known = {image.id for image in self._coco.images}
        for annotation in self._coco.annotations:
            if annotation.image_id in known:
                self._by_image.setdefault(annotation.image_id, []).append(annotation)
            else:
                self._orphans.append(annotation)
        self._vocabulary = Vocabulary(
            thing
            for image in self._coco.images
            for thing in self._things(image)
            if isinstance(thing, Thing)
        )

    def blocks(self) -> int:
        """Blocks of eight images; annotations without an image are a block of their own."""
        blocks = -(-len(self._coco.images) // _IMAGES_PER_BLOCK)
        return blocks + bool(self._orphans)

    def config(self) -> dict[str, Any]:
        """The annotation file by content."""
        return {"kind": "coco", "name": self.name, "sha256": self._file_sha256}

    def block(self, index: int) -> list[Slot]:
        """One slot per question, and one per annotation or picture that cannot be used."""
        images = self._coco.images[index * _IMAGES_PER_BLOCK : (index + 1) * _IMAGES_PER_BLOCK]
        if not images:
            return [iter([self._orphan(annotation)]) for annotation in self._orphans]
        turns = Turns(index * _TURNS_APART)
        return [slot for image in images for slot in self._image_slots(image, turns)]

    def _image_slots(self, image: _Image, turns: Turns) -> Iterator[Slot]:
        stem = f"{slug(self.name)}-{slug(str(image.id))}"
        things = []
        for thing in self._things(image):
            if isinstance(thing, Rejected):
                yield iter([thing])
            else:
                things.append(thing)
        try:
            size = (image.width, image.height)
            root = read_picture(self._folder, image.name, size=size)
        except ToolFailure as failure:
            yield iter([Rejected(stem, failure.error, msgspec.to_builtins(image))])
            return
        facts = Facts(
            dataset=self.name,
            row=str(image.id),
            licence=self._licences.get(image.license or -1, "unknown"),
            width=image.width,
            height=image.height,
            things=things,
            complete=self._complete(image, things),
        )
        rng = rng_for(self._settings.seed, "coco", self._file_sha256, image.id)
        questions = ask(facts, self._vocabulary, self._settings, turns, rng)
        source = Source(dataset=self.name, row=str(image.id), licence=facts.licence)
        for task in questions:
            yield iter([Candidate(f"{stem}-{task.family}", task, [root], source)])
        if not questions:
            error = tool_error(
                "semantic.no_question",
                f"images[id={image.id}]",
                "annotations that a question with these tools can be asked of",
                f"{len(things)} usable annotations",
                "add attributes, depth_rank or smaller things, or enable more tools",
            )
            yield iter([Rejected(stem, error, msgspec.to_builtins(image))])

    def _complete(self, image: _Image, things: list[Thing]) -> list[str]:
        partial = {self._categories.get(c) for c in image.not_exhaustive_category_ids}
        crowded = {thing.name for thing in things if thing.crowd}
        return sorted({thing.name for thing in things} - partial - crowded)

    def _things(self, image: _Image) -> Iterator[Thing | Rejected]:
        for annotation in self._by_image.get(image.id, []):
            problem = self._problem(annotation, image)
            if problem is not None:
                yield problem
                continue
            x, y, width, height = annotation.bbox
            attributes = {k: _word(v) for k, v in (annotation.attributes or {}).items()}
            yield Thing(
                id=str(annotation.id),
                name=self._categories[annotation.category_id],
                bbox=(
                    max(0.0, x / image.width),
                    max(0.0, y / image.height),
                    min(1.0, (x + width) / image.width),
                    min(1.0, (y + height) / image.height),
                ),
                description=annotation.description,
                attributes={k: v for k, v in attributes.items() if v},
                distance=annotation.depth_rank,
                crowd=bool(annotation.iscrowd),
            )

    def _problem(self, annotation: _Annotation, image: _Image) -> Rejected | None:
        path = f"annotations[id={annotation.id}]"
        stem = f"{slug(self.name)}-{slug(str(image.id))}"
        record = msgspec.to_builtins(annotation)
        box = annotation.bbox
        if len(box) != 4:
            error = tool_error("schema.length", f"{path}.bbox", "[x, y, width, height]", box)
        elif annotation.category_id not in self._categories:
            error = tool_error(
                "reference.index_out_of_range",
                f"{path}.category_id",
                f"the id of one of {len(self._categories)} categories",
                annotation.category_id,
            )
        elif box[2] <= 0 or box[3] <= 0:
            error = tool_error("geometry.zero_area", f"{path}.bbox", "width and height > 0", box)
        elif (
            box[0] >= image.width
            or box[1] >= image.height
            or (box[0] + box[2] <= 0 or box[1] + box[3] <= 0)
        ):
            size = f"a box inside {image.width}x{image.height}"
            error = tool_error("geometry.outside", f"{path}.bbox", size, box)
        elif (
            # COCO's own boxes overshoot by less than a pixel through rounding
            box[0] < -1
            or box[1] < -1
            or box[0] + box[2] > image.width + 1
            or box[1] + box[3] > image.height + 1
        ):
            size = f"a box inside {image.width}x{image.height}"
            error = tool_error("geometry.partly_outside", f"{path}.bbox", size, box)
        else:
            return None
        return Rejected(stem, error, record)

    def _orphan(self, annotation: _Annotation) -> Rejected:
        error = tool_error(
            "reference.unknown_medium",
            f"annotations[id={annotation.id}].image_id",
            "the id of an image of the file",
            annotation.image_id,
        )
        return Rejected(f"{slug(self.name)}-orphan", error, msgspec.to_builtins(annotation))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"--source coco:{path}: cannot be read: {error.strerror}"
        raise BadInput(msg) from error


def _word(value: str | float) -> str:
    return value.strip() if isinstance(value, str) else f"{value:g}"
