"""Pictures of a sample, as the model's processor prepares them: opened, made smaller if asked.

Each is prepared once for all views that show it. Not here: which are needed, and how small
(:mod:`pearl_train.views.encode`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from pearl_data.shards import Sample
from pearl_tools.errors import BadInput, ToolFailure, UsageError
from pearl_tools.media import open_image
from pearl_train.errors import BY_PROCESSOR, Refused
from pearl_train.views.batch import EncodedImage

#: What a processor returns about the text.
_OF_TEXT = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})


class Prepared(NamedTuple):
    """A picture with the tokens that stand for it, its frame of other tokens included.

    ``size_px`` is (width, height) of what the processor was given.
    """

    image: EncodedImage
    ids: tuple[int, ...]
    is_image: tuple[bool, ...]
    size_px: tuple[int, int]


def open_picture(sample: Sample, medium: str) -> Image.Image:
    """The RGB picture of ``medium``; a depth map's grey one. Raises ``BadInput``."""
    trajectory = sample.trajectory
    record = next((m for m in trajectory.media if m.id == medium), None)
    if record is None:
        raise BadInput(f"expected a medium {medium!r} in the record, got none")
    name = record.picture_in_sample or record.name_in_sample
    if name is None or name not in sample.members:
        raise BadInput(f"medium {medium}: expected its picture ({name}) in the sample, got none")
    if name.endswith(".npy"):
        raise BadInput(f"medium {medium}: expected a picture of the depth map, got {name} alone")
    try:
        opened = open_image(sample.members[name], id=medium, name=name)
    except ToolFailure as failure:
        raise BadInput(str(failure.error)) from failure
    return Image.fromarray(np.asarray(opened.pixels, dtype=np.uint8))


def content_key(sample: Sample, medium: str) -> str:
    """A name for the pixels of ``medium`` that other samples with the same pixels share."""
    record = next(m for m in sample.trajectory.media if m.id == medium)
    return f"{record.kind == 'depth'}:{record.pixel_sha256}"


def shrunk(picture: Image.Image, max_pixels: int | None) -> Image.Image:
    """``picture`` with at most ``max_pixels``, its shape kept as well as whole pixels allow."""
    size = shrunk_size(picture.size, max_pixels)
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)


def shrunk_size(size: tuple[int, int], max_pixels: int | None) -> tuple[int, int]:
    """(width, height) of :func:`shrunk` for a picture of ``size``.

    >>> shrunk_size((100, 50), 1250)
    (50, 25)
    """
    width, height = size
    if max_pixels is None or width * height <= max_pixels:
        return size
    scale = math.sqrt(max_pixels / (width * height))
    return max(1, math.floor(width * scale)), max(1, math.floor(height * scale))


def pixel_limit(processor: Any) -> int | None:
    """The most pixels of a picture according to ``processor``; None without a limit.

    Qwen processors have one: their ``size`` holds the least and the most pixels, by old names.
    """
    images = processor.image_processor
    known = getattr(getattr(images, "valid_kwargs", None), "__annotations__", {})
    size = dict(getattr(images, "size", None) or {})
    if "max_pixels" not in known or not {"shortest_edge", "longest_edge"} <= size.keys():
        return None
    return int(size["longest_edge"])


def limit_pixels(processor: Any, most: int) -> None:
    """Set the limit of ``processor`` to ``most`` pixels, if it has one; it is saved with it."""
    if pixel_limit(processor) is None:
        return
    images = processor.image_processor
    size = {**dict(images.size), "longest_edge": most}
    size["shortest_edge"] = min(size["shortest_edge"], most)
    images.size = type(images.size)(**{k: v for k, v in size.items() if v is not None})


class PicturePreparer:
    """The picture half of ``processor``; ``placeholder`` is what its template writes for one."""

    def __init__(self, processor: Any, placeholder: str) -> None:
        if getattr(processor, "image_processor", None) is None:
            raise UsageError(
                f"the model's processor: expected one with an image processor, got "
                f"{type(processor).__name__}; its folder must name the real processor class"
            )
        self._processor = processor
        self._placeholder = placeholder
        self.image_token_id = self._find_id()

    def prepare(self, picture: Image.Image, medium: str, content: str = "") -> Prepared:
        """``picture`` as tensors and tokens. Raises ``Refused`` if the processor refuses it."""
        made = self._call(picture, medium)
        ids = tuple(made["input_ids"][0].tolist())
        is_image = tuple(number == self.image_token_id for number in ids)
        inputs = {name: value for name, value in made.items() if name not in _OF_TEXT}
        tensors = all(isinstance(value, torch.Tensor) for value in inputs.values())
        if not inputs or not tensors or not any(is_image):
            raise UsageError(
                f"the model's processor: expected tensors and image tokens for {medium}, got "
                f"{sorted(made)} and {sum(is_image)} image tokens"
            )
        key = f"{content}:{picture.width}x{picture.height}" if content else ""
        image = EncodedImage(medium=medium, inputs=inputs, tokens=sum(is_image), content=key)
        return Prepared(image, ids, is_image, picture.size)

    def _call(self, picture: Image.Image, medium: str) -> Any:
        try:
            return self._processor(
                images=[picture],
                text=[self._placeholder],
                add_special_tokens=False,
                return_tensors="pt",
            )
        except Exception as error:
            if isinstance(error, MemoryError) or "alloc" in str(error):  # not the picture's fault
                raise
            raise Refused(
                f"medium {medium}: expected a picture that {type(self._processor).__name__} takes, "
                f"got {picture.width}x{picture.height} px: {error}",
                BY_PROCESSOR,
            ) from error

    def _find_id(self) -> int:
        """The id of image tokens: of those that the processor names, the one that fills a picture.

        Some name the token that a template writes (Gemma 3), or the frame as well (InternVL).
        """
        named = [
            getattr(self._processor, "image_token_id", None),
            *(getattr(self._processor, "image_token_ids", None) or ()),
            getattr(self._processor.tokenizer, "image_token_id", None),
        ]
        ids = self._call(Image.new("RGB", (96, 64)), "of a test")["input_ids"][0].tolist()
        found = max(named, key=lambda number: 0 if number is None else ids.count(number))
        if found is None or found not in ids:
            raise UsageError(
                f"the model's processor: expected its image token ({named}) for a picture, got "
                f"{ids[:8]} ...; use the processor that belongs to the model"
            )
        return int(found)
