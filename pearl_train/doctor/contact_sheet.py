"""Pictures as the model sees them: the processor's tensors turned back into pixels, on one sheet.

Families hand the network whole pictures, tiles, or flat patches; each is undone here. A family
whose tensors are laid out in a way unknown to us is shown by the picture that its processor got.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pearl_tools.errors import listed
from pearl_train.doctor.findings import Finding
from pearl_train.doctor.patient import FEW, Patient
from pearl_train.views.batch import EncodedImage
from pearl_train.views.pictures import open_picture

CELL = 200
GAP = 12
#: Normalised pixels have a standard deviation about 1 and end at about 3.
FLAT, LARGE = 1e-3, 20.0
CAPTION = 34
_PAPER, _INK, _SOFT = (255, 255, 255), (28, 32, 36), (91, 101, 109)


class Seen(NamedTuple):
    """A picture of a sample: as stored, and in the parts that the network gets."""

    medium: str
    stored: Image.Image
    parts: tuple[Image.Image, ...]
    tokens: int


def pictures(patient: Patient) -> Finding:
    """What is left of the pictures of a few samples when the processor is done with them."""
    rows, blank, broken, lines, unknown = [], [], [], [], False
    largest = 0.0
    for one in patient.scan.samples[:FEW]:
        encoded, sample = patient.encode(one.number), patient.reader[one.number]
        row = []
        for image in encoded.images:
            stored = open_picture(sample, image.medium)
            parts = as_seen(image, patient.backbone.processor.image_processor)
            unknown |= not parts
            seen = Seen(image.medium, stored, tuple(parts) or (stored,), image.tokens)
            row.append(seen)
            values = image.inputs["pixel_values"].float()
            if not bool(torch.isfinite(values).all()):
                broken.append(f"{image.medium} of {one.key} in {one.shard}")
                continue
            largest = max(largest, float(values.abs().max()))
            if float(values.std()) < FLAT and not is_blank([stored]):
                blank.append(f"{image.medium} of {one.key} in {one.shard}")
        rows.append((one.key, row))
        if len(rows) == 1:
            lines = [f"{seen.medium}: {_sizes(seen)}, {seen.tokens} tokens" for seen in row]
    patient.sheet = contact_sheet(rows)
    number = sum(len(row) for _, row in rows)
    if broken:
        return Finding(
            check="pictures",
            status="fail",
            told=f"expected finite numbers for pixels, got others for {listed(broken)}",
            remedy="look for a zero in image_std, or a rescale_factor that is no number, in the "
            "model's preprocessor_config.json or processor_config.json",
            lines=lines,
        )
    if blank:
        return Finding(
            check="pictures",
            status="fail",
            told=f"expected tensors that differ from place to place, got flat ones for "
            f"{listed(blank)}",
            remedy="look at image_mean, image_std and rescale_factor in the model's "
            "preprocessor_config.json or processor_config.json",
            lines=lines,
        )
    if largest > LARGE:
        return Finding(
            check="pictures",
            status="warn",
            told=f"expected numbers of the size of 1 for pixels, got up to {largest:.3g}",
            remedy="see whether do_rescale and do_normalize are true in the model's "
            "preprocessor_config.json or processor_config.json",
            lines=lines,
        )
    how = "as their processor got them" if unknown else "turned back from the model's tensors"
    told = f"{number} pictures of {len(rows)} samples, {how}; of the first:"
    return Finding(check="pictures", status="pass", told=told, lines=lines)


def as_seen(image: EncodedImage, processor: Any) -> list[Image.Image]:
    """The parts of ``image`` that the network gets, as pictures; none if their layout is unknown.

    ``processor`` is the image processor that made it.
    """
    values = image.inputs.get("pixel_values")
    if values is None:
        return []
    if "image_grid_thw" in image.inputs and values.ndim == 2:
        parts = _from_patches(values, image.inputs["image_grid_thw"], processor)
    elif values.ndim == 5 and values.shape[0] == 1:
        mask = image.inputs.get("pixel_attention_mask")
        parts = [
            tile if mask is None else _within(tile, mask[0, number])
            for number, tile in enumerate(values[0])
        ]
    elif values.ndim == 4 and values.shape[1] == 3:
        parts = list(values)
    else:
        return []
    return [_as_picture(part, processor) for part in parts]


def is_blank(parts: Sequence[Image.Image]) -> bool:
    """Whether all of ``parts`` are the same flat colour."""
    extremes = [part.convert("RGB").getextrema() for part in parts]
    lows = [min(band[0] for band in bands) for bands in zip(*extremes, strict=True)]
    highs = [max(band[1] for band in bands) for bands in zip(*extremes, strict=True)]
    return lows == highs


def contact_sheet(rows: Sequence[tuple[str, Sequence[Seen]]]) -> Image.Image:
    """One row per sample: its key, then each picture with its id, size and tokens."""
    font = ImageFont.load_default(13)
    cells = [[_laid_out(seen.parts) for seen in row] for _, row in rows]
    widths = [[max(cell.width, CELL // 2) for cell in row] for row in cells]
    width = max([3 * CELL, *(sum(row) + GAP * (len(row) + 1) for row in widths)])
    heights = [max((cell.height for cell in row), default=0) for row in cells]
    height = sum(heights) + len(rows) * (CAPTION + 20 + 2 * GAP) + GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    y = GAP
    for (key, row), images, sizes, tall in zip(rows, cells, widths, heights, strict=True):
        pen.text((GAP, y), key, _INK, font)
        y += 20
        x = GAP
        for seen, image, wide in zip(row, images, sizes, strict=True):
            sheet.paste(image, (x, y))
            pen.text((x, y + tall + 3), f"{seen.medium}: {seen.tokens} tokens", _INK, font)
            last = seen.parts[-1]
            size = f"{len(seen.parts)} x " if len(seen.parts) > 1 else ""
            size += f"{last.width}x{last.height} px"
            pen.text((x, y + tall + 18), size, _SOFT, font)
            x += wide + GAP
        y += tall + CAPTION + 2 * GAP
    return sheet


def _from_patches(values: Tensor, grid: Tensor, processor: Any) -> list[Tensor]:
    """Qwen's rows of patches (n, C*t*p*p) as one picture (C, H, W) per time step."""
    time, rows, columns = (int(n) for n in grid[0])
    size, merge = int(processor.patch_size), int(processor.merge_size)
    deep = int(processor.temporal_patch_size)
    patches = values.reshape(
        time, rows // merge, columns // merge, merge, merge, -1, deep, size, size
    )
    patches = patches[:, :, :, :, :, :, 0].permute(0, 5, 1, 3, 6, 2, 4, 7)
    return list(patches.reshape(time, -1, rows * size, columns * size))


def _within(tile: Tensor, mask: Tensor) -> Tensor:
    """``tile`` (C, H, W) without what ``mask`` (H, W) calls padding."""
    height, width = int(mask.any(dim=1).sum()), int(mask.any(dim=0).sum())
    return tile[:, : max(height, 1), : max(width, 1)]


def _as_picture(values: Tensor, processor: Any) -> Image.Image:
    """(3, H, W) as the processor normalised it, back to pixels."""
    values = values.detach().float().cpu()
    if getattr(processor, "do_normalize", False):
        mean, std = (
            torch.tensor(list(getattr(processor, name))).reshape(-1, 1, 1)
            for name in ("image_mean", "image_std")
        )
        values = values * std + mean
    if getattr(processor, "do_rescale", False):
        values = values / processor.rescale_factor
    pixels = values.nan_to_num().round().clamp(0, 255).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels.astype(np.uint8))


def _laid_out(parts: Sequence[Image.Image]) -> Image.Image:
    """The parts in one row, each made to fit a cell; small ones are enlarged pixel by pixel."""
    fitted = [_fitted(part) for part in parts]
    sheet = Image.new(
        "RGB",
        (sum(part.width for part in fitted) + 4 * (len(fitted) - 1), max(p.height for p in fitted)),
        _PAPER,
    )
    x = 0
    for part in fitted:
        sheet.paste(part, (x, 0))
        x += part.width + 4
    return sheet


def _fitted(part: Image.Image) -> Image.Image:
    scale = min(CELL / part.width, CELL / part.height)
    size = (max(round(part.width * scale), 1), max(round(part.height * scale), 1))
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return part.resize(size, how)


def _sizes(seen: Seen) -> str:
    stored = f"{seen.stored.width}x{seen.stored.height} px as stored"
    sizes = list(dict.fromkeys(f"{part.width}x{part.height}" for part in seen.parts))
    number = f"{len(seen.parts)} tiles of " if len(seen.parts) > 1 else ""
    return f"{stored}, {number}{' and '.join(sizes)} px as seen"
