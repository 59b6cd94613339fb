"""Colour profiles: applied, found to be sRGB, or recorded as ignored."""

from __future__ import annotations

import io

import numpy as np
import pytest
from made_media import file_of, gradient, other_profile
from PIL import Image, ImageCms

from pearl_tools.media import open_image

PICTURE = Image.fromarray(gradient(60, 40))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_profile_that_moves_colours_is_applied_and_recorded(picture_format: str) -> None:
    lossless = {"lossless": True} if picture_format == "WEBP" else {}
    plain = open_image(file_of(PICTURE, picture_format, **lossless))
    data = file_of(PICTURE, picture_format, icc_profile=other_profile(), **lossless)
    medium = open_image(data)
    assert medium.record.changes == ["icc:GRBs built-in"]
    exchanged = np.asarray(plain.pixels)[:, :, [1, 0, 2]].astype(int)
    assert np.abs(medium.pixels.astype(int) - exchanged).max() <= 3
    assert open_image(data).record.pixel_sha256 == medium.record.pixel_sha256


@pytest.mark.parametrize("picture_format", ["PNG", "JPEG"])
def test_a_profile_that_is_srgb_changes_nothing(picture_format: str) -> None:
    plain = open_image(file_of(PICTURE, picture_format))
    medium = open_image(file_of(PICTURE, picture_format, icc_profile=SRGB.tobytes()))
    assert medium.record.changes == []
    assert np.array_equal(medium.pixels, plain.pixels)


def test_transparency_keeps_its_place_below_a_profile() -> None:
    clear = PICTURE.copy()
    clear.putalpha(0)
    medium = open_image(file_of(clear, "PNG", icc_profile=other_profile()))
    assert medium.record.changes == ["mode:RGBA", "icc:GRBs built-in", "alpha:on_white"]
    assert (medium.pixels == 255).all()


@pytest.mark.parametrize(
    ("mode", "profile"), [("RGB", b"no profile"), ("L", SRGB.tobytes()), ("CMYK", SRGB.tobytes())]
)
def test_a_profile_that_cannot_be_applied_is_recorded(mode: str, profile: bytes) -> None:
    picture_format = "JPEG" if mode == "CMYK" else "PNG"
    picture = PICTURE.convert(mode)
    plain = open_image(file_of(picture, picture_format))
    medium = open_image(file_of(picture, picture_format, icc_profile=profile))
    assert medium.record.changes == [*plain.record.changes, "icc:ignored"]
    assert np.array_equal(medium.pixels, plain.pixels)


def test_bands_of_rows_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    clear = PICTURE.copy()
    clear.putalpha(PICTURE.convert("L"))
    pictures = [PICTURE, PICTURE.quantize(9), PICTURE.convert("L"), clear, PICTURE.convert("I")]
    files = [file_of(p, "PNG" if p.mode != "I" else "TIFF") for p in pictures]
    whole = [open_image(data).pixels for data in files]
    monkeypatch.setattr("pearl_tools.color._BAND_PIXELS", 60 * 7)
    for data, pixels in zip(files, whole, strict=True):
        assert np.array_equal(open_image(data).pixels, pixels)
        assert np.asarray(Image.open(io.BytesIO(data))).shape[:2] == pixels.shape[:2]
