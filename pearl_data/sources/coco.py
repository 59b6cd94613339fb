"""Questions from a COCO annotation file, plain or with LVIS-like extras.

Reads ``images``, ``categories`` and ``annotations`` (``bbox`` = [x, y, width, height] in pixels).
Used where present: ``attributes`` (name -> value), ``description`` (a phrase that means this thing
alone), ``depth_rank`` (1 = nearest), and per image LVIS's ``not_exhaustive_category_ids`` (kinds of
which instances may be missing, so that they are not counted). Other kinds that occur in a picture
are taken to be complete in it, as COCO's are, except crowds. Every unusable item is rejected with
its reason, also images, categories and licences that share an id but differ; an attribute that is
no text or number is left out. Segmentation masks and captions are not read.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from pearl_data.randomness import rng_for
from pearl_data.sources.asking import Turns
from pearl_data.sources.base import Candidate, QuestionSettings, Rejected, Slot
from pearl_data.sources.facts import Facts, Thing
from pearl_data.sources.keys import slug
from pearl_data.sources.pictures import PictureFolder, pictures_sha256, read_picture, upright_thing
from pearl_data.sources.questions import advice, ask
from pearl_data.sources.vocabulary import Vocabulary
from pearl_data.trajectory import Source
from pearl_tools.errors import BadInput, ToolFailure, tool_error

_IMAGES_PER_BLOCK = 8
#: Blocks begin their turns of answer positions this far apart; odd, so that all positions come up.
_TURNS_APART = 5


_Id = int | str
_Item = TypeVar("_Item")


class _Image(msgspec.Struct, frozen=True):
    id: _Id
    width: Annotated[int, msgspec.Meta(ge=1)]
    height: Annotated[int, msgspec.Meta(ge=1)]
    file_name: str | None = None
    coco_url: str | None = None
    license: _Id | None = None
    not_exhaustive_category_ids: list[_Id] = []

    @property
    def name(self) -> str | None:
        """File name; LVIS gives only an address whose last part is it."""
        if self.file_name:
            return self.file_name
        return self.coco_url.rsplit("/", 1)[-1] if self.coco_url else None


class _Category(msgspec.Struct, frozen=True):
    id: _Id
    name: str
    keypoints: Any = None


class _Annotation(msgspec.Struct, frozen=True):
    id: _Id
    image_id: _Id
    category_id: _Id
    bbox: list[float]
    iscrowd: int | bool | None = 0
    attributes: Any = None
    description: str | None = None
    depth_rank: float | None = None
    keypoints: Any = None


class _Licence(msgspec.Struct, frozen=True):
    id: _Id
    name: str = ""
    url: str = ""


_Named = TypeVar("_Named", _Image, _Category, _Licence)


class _CocoFile(msgspec.Struct, frozen=True):
    """The file's four lists; their items are read one by one, so that one bad item costs one."""

    images: list[msgspec.Raw]
    categories: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    licenses: list[msgspec.Raw] = []


class CocoSource:
    """A COCO file and the folder of its pictures as a source of questions.

    Raises :class:`BadInput` where the file is not COCO: with the JSON path and what was expected.
    """

    def __init__(self, annotations: Path, images: Path, settings: QuestionSettings) -> None:
        self.name = annotations.name.removesuffix(".json").removesuffix(".coco")
        self.prepared: str | None = None
        self._folder, self._settings = PictureFolder(images), settings
        data = _read(annotations).removeprefix(codecs.BOM_UTF8)
        self._file_sha256 = hashlib.sha256(data).hexdigest()
        try:
            coco = msgspec.json.decode(data, type=_CocoFile)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            msg = (
                f"{annotations}: not a COCO annotation file: {error}; expected an object with "
                "images, categories and annotations"
            )
            raise BadInput(msg) from error
        self._rejected: list[Rejected] = []
        self._images = self._once(self._read_items(coco.images, _Image, "images"), "images")
        categories = self._once(
            self._read_items(coco.categories, _Category, "categories"), "categories"
        )
        licences = self._once(self._read_items(coco.licenses, _Licence, "licenses"), "licenses")
        self._categories = {c.id: _plain_name(c.name) for c in categories if c.name.strip()}
        self._parts = {c.id: part_names(c.keypoints) for c in categories}
        self._licences = {c.id: c.name or c.url for c in licences}
        self._by_image: dict[_Id, list[_Annotation]] = {image.id: [] for image in self._images}
        seen: set[_Id] = set()
        for annotation in self._read_items(coco.annotations, _Annotation, "annotations"):
            if annotation.image_id not in self._by_image:
                self._rejected.append(self._orphan(annotation))
            elif annotation.id in seen:
                self._rejected.append(self._repeated(annotation))
            else:
                seen.add(annotation.id)
                self._by_image[annotation.image_id].append(annotation)
        self._vocabulary = Vocabulary(
            (
                thing
                for image in self._images
                for thing in self._things(image)
                if isinstance(thing, Thing)
            ),
            self._categories.values(),
        )

    def _read_items(self, items: list[msgspec.Raw], kind: type[_Item], where: str) -> list[_Item]:
        """The items that are ``kind``; others go to the rejected ones with their reason."""
        decoder = msgspec.json.Decoder(kind)
        good: list[_Item] = []
        for index, item in enumerate(items):
            try:
                good.append(decoder.decode(item))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                code = "schema.type"
                try:
                    value = msgspec.json.decode(item)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    code, value = "parse.not_json", bytes(item).decode("utf-8", "replace")
                record = value if isinstance(value, dict) else {"value": value}
                expected = f"a COCO {where} item"
                reason = tool_error(code, f"{where}[{index}]", expected, str(error))
                self._rejected.append(Rejected(f"{slug(self.name)}-{where}", reason, record))
        return good

    def _once(self, items: list[_Named], where: str) -> list[_Named]:
        """The items whose id no other one has: which of two was meant nobody can tell, so both
        go to the rejected ones, unless they are equal.
        """
        by_id: dict[_Id, list[_Named]] = {}
        for item in items:
            same = by_id.setdefault(item.id, [])
            if item not in same:
                same.append(item)
        for id_, same in by_id.items():
            for item in same if len(same) > 1 else []:
                expected = f"an id that no other of the {where} has"
                error = tool_error("reference.duplicate_id", f"{where}[id={id_}].id", expected, id_)
                record = msgspec.to_builtins(item)
                self._rejected.append(Rejected(f"{slug(self.name)}-{where}", error, record))
        return [same[0] for same in by_id.values() if len(same) == 1]

    def blocks(self) -> int:
        """Blocks of eight images; items that belong to no image are a last block of their own."""
        return -(-len(self._images) // _IMAGES_PER_BLOCK) + bool(self._rejected)

    def most_in_block(self) -> None:
        """Unknown: what an image gives depends on its annotations."""

    def config(self) -> dict[str, Any]:
        """The annotation file by content, the pictures by name and size."""
        return {
            "kind": "coco",
            "name": self.name,
            "sha256": self._file_sha256,
            "pictures": pictures_sha256(self._folder, (image.name for image in self._images)),
        }

    def block(self, index: int) -> Iterator[Slot]:
        """One slot per question, and one per annotation or picture that cannot be used."""
        images = self._images[index * _IMAGES_PER_BLOCK : (index + 1) * _IMAGES_PER_BLOCK]
        if not images:
            yield from (iter([rejected]) for rejected in self._rejected)
        turns = Turns(index * _TURNS_APART)
        for image in images:
            yield from self._image_slots(image, turns)

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
            frame = self._settings.annotation_frame
            root = read_picture(self._folder, image.name, size=size, frame=frame)
        except ToolFailure as failure:
            yield iter([Rejected(stem, failure.error, msgspec.to_builtins(image))])
            return
        facts = Facts(
            dataset=self.name,
            row=str(image.id),
            licence=self._licences.get(-1 if image.license is None else image.license, "unknown"),
            width=root.facts.width,
            height=root.facts.height,
            things=[upright_thing(thing, root.facts, frame) for thing in things],
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
                advice(facts, self._vocabulary, self._settings),
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
            yield Thing(
                id=str(annotation.id),
                name=self._categories[annotation.category_id],
                bbox=(
                    max(0.0, x / image.width),
                    max(0.0, y / image.height),
                    min(1.0, (x + width) / image.width),
                    min(1.0, (y + height) / image.height),
                ),
                description=(annotation.description or "").strip() or None,
                attributes=_words(annotation.attributes),
                distance=annotation.depth_rank,
                crowd=bool(annotation.iscrowd),
                keypoints=named_points(
                    self._parts[annotation.category_id],
                    annotation.keypoints,
                    image.width,
                    image.height,
                ),
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

    def _repeated(self, annotation: _Annotation) -> Rejected:
        error = tool_error(
            "reference.duplicate_id",
            f"annotations[id={annotation.id}].id",
            "an id that no earlier annotation has",
            annotation.id,
        )
        return Rejected(f"{slug(self.name)}-repeated", error, msgspec.to_builtins(annotation))

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


def _words(attributes: Any) -> dict[str, str]:
    """Attributes as name -> words: texts and numbers; flags, lists and nulls say nothing to ask."""
    if not isinstance(attributes, dict):
        return {}
    words: dict[str, str] = {}
    for name, value in attributes.items():
        if isinstance(value, str) and value.strip() and name.strip():
            words[name.strip()] = value.strip()
        elif isinstance(value, int | float) and not isinstance(value, bool) and name.strip():
            words[name.strip()] = f"{value:g}"
    return words


def part_names(keypoints: Any) -> list[str]:
    """A category's names of parts as people say them: ``left_wrist`` is ``left wrist``."""
    if not isinstance(keypoints, list):
        return []
    return [_plain_name(name) if isinstance(name, str) else "" for name in keypoints]


def named_points(
    names: list[str], flat: Any, width: int, height: int
) -> dict[str, tuple[float, float, int]]:
    """COCO's [x0, y0, v0, x1, ...] in pixels as name -> (x, y as fractions 0..1, v of 0, 1, 2).

    Empty if the list does not fit ``names``; a point with another ``v``, a point outside the
    picture, and a name that two points share are dropped.
    """
    if not isinstance(flat, list) or not names or len(flat) != 3 * len(names):
        return {}
    points: dict[str, tuple[float, float, int]] = {}
    for name, x, y, seen in zip(names, flat[::3], flat[1::3], flat[2::3], strict=True):
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (x, y, seen))
        if not numbers or not name or names.count(name) > 1 or seen not in (0, 1, 2):
            continue
        if 0 <= x <= width and 0 <= y <= height:
            points[name] = (x / width, y / height, int(seen))
    return points


def _plain_name(name: str) -> str:
    """A category name as people say it: LVIS writes ``baseball_bat`` and ``person_(man)``."""
    return name.replace("_", " ").strip()
