"""JPEG by OpenCV: the pixels of Pillow, or not at all."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pearl_tools import jpeg
from pearl_tools.media import MediaError, open_image


def drawn(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height)), np.int16)
    grain = rng.integers(-20, 20, smooth.shape)
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


def saved(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", **options)
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def fast(data: bytes) -> np.ndarray | None:
    return jpeg.plain_pixels(Image.open(io.BytesIO(data)), data)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (16, 16), (17, 33), (250, 131)])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize(
    "options",
    [
        {"quality": 5},
        {"quality": 92},
        {"quality": 100},
        {"progressive": True},
        {"restart_marker_blocks": 3},
        {"keep_rgb": True},
    ],
    ids=lambda options: next(iter(options)) + str(next(iter(options.values()))),
)
def test_the_pixels_are_those_of_pillow(
    size: tuple[int, int], sampling: str, options: dict
) -> None:
    stored = {} if "keep_rgb" in options else {"subsampling": sampling}
    data = saved(drawn(*size), **stored, **options)
    pixels = fast(data)
    assert pixels is not None
    assert np.array_equal(pixels, by_pillow(data))
    assert np.array_equal(open_image(data).pixels, by_pillow(data))


def test_what_is_not_plain_is_left_to_pillow() -> None:
    picture = drawn(40, 30)
    assert fast(saved(picture.convert("L"))) is None
    assert fast(saved(picture.convert("CMYK"))) is None
    assert fast(saved(picture) + b"more") is None
    assert fast(saved(picture)[:-200]) is None
    file = io.BytesIO()
    picture.save(file, "PNG")
    assert fast(file.getvalue()) is None


def test_a_turned_picture_is_still_turned() -> None:
    picture = drawn(40, 30)
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = open_image(saved(picture, exif=exif))
    assert opened.record.changes == ["exif_orientation:6"]
    assert opened.pixels.shape == (40, 30, 3)


def test_a_picture_that_is_cut_short_is_refused_as_before() -> None:
    data = saved(drawn(200, 160))
    with pytest.raises(MediaError) as caught:
        open_image(data[: len(data) // 2])
    assert caught.value.error.code == "parse.truncated"


@pytest.mark.parametrize("seed", range(8))
def test_damage_inside_is_seen_alike_or_refused_alike(seed: int) -> None:
    data = bytearray(saved(drawn(120, 90, seed), quality=85))
    start = data.index(b"\xff\xda") + 20  # in the coded pixels
    rng = np.random.default_rng(seed)
    for place in rng.integers(start, len(data) - 4, 3):
        data[place] = int(rng.integers(0, 255))
    damaged = bytes(data)
    try:
        expected = by_pillow(damaged)
    except OSError:
        with pytest.raises(MediaError):
            open_image(damaged)
        return
    assert np.array_equal(open_image(damaged).pixels, expected)


def test_decoders_that_disagree_are_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(drawn(40, 30))
    decode = jpeg._decode

    def other(data: bytes) -> np.ndarray | None:
        pixels = decode(data)
        return None if pixels is None else pixels ^ 1

    jpeg.same_decoders.cache_clear()
    monkeypatch.setattr(jpeg, "_decode", other)
    try:
        assert not jpeg.same_decoders()
        assert fast(data) is None
        assert np.array_equal(open_image(data).pixels, by_pillow(data))
    finally:
        jpeg.same_decoders.cache_clear()


def test_an_opencv_that_cannot_decode_to_rgb_leaves_it_to_pillow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = saved(drawn(40, 30))
    monkeypatch.setattr(jpeg, "_RGB", None)
    monkeypatch.setattr(jpeg, "same_decoders", jpeg.same_decoders.__wrapped__)
    assert not jpeg.same_decoders()
    assert fast(data) is None
    assert np.array_equal(open_image(data).pixels, by_pillow(data))
