"""Tensors turned back into pixels are the pictures that went in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import FAMILIES, drawn_picture
from transformers import AutoProcessor

from pearl_train.doctor.contact_sheet import CELL, Seen, as_seen, contact_sheet, is_blank
from pearl_train.views.batch import EncodedImage
from pearl_train.views.pictures import PicturePreparer
from pearl_train.views.templates import ChatTemplate


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_shows_the_picture_that_went_in(
    tiny_folder: Callable[[str], Path], family: str
) -> None:
    processor = AutoProcessor.from_pretrained(tiny_folder(family))
    picture = drawn_picture(2, 56, 56)
    preparer = PicturePreparer(processor, ChatTemplate(processor).placeholder)
    parts = as_seen(preparer.prepare(picture, "i0").image, processor.image_processor)
    whole = parts[-1]  # the view of all of it comes last where there are tiles
    expected = picture.resize(whole.size, Image.Resampling.BICUBIC)
    difference = np.abs(np.asarray(whole, int) - np.asarray(expected, int)).mean()
    assert difference < 6


def test_tensors_of_an_unknown_layout_are_left_to_the_picture_itself() -> None:
    image = EncodedImage(medium="i0", inputs={"pixel_values": torch.zeros(7, 5)}, tokens=1)
    assert as_seen(image, None) == []
    assert as_seen(EncodedImage(medium="i0", inputs={}, tokens=1), None) == []


def test_one_flat_colour_is_blank() -> None:
    flat = Image.new("RGB", (8, 8), (9, 20, 31))
    assert is_blank([flat, flat])
    assert not is_blank([flat, Image.new("RGB", (8, 8), (9, 20, 32))])
    assert not is_blank([drawn_picture(0)])


def test_the_sheet_has_a_row_per_sample_and_room_for_every_picture() -> None:
    pictures = [drawn_picture(number) for number in range(5)]
    rows = [
        ("first", [Seen(f"i{n}", p, (p,), 4) for n, p in enumerate(pictures)]),
        ("second", [Seen("i0", pictures[0], (pictures[0], pictures[1]), 8)]),
    ]
    sheet = contact_sheet(rows)
    assert sheet.width > 5 * CELL
    assert sheet.height > 2 * 150
    assert not is_blank([sheet])
