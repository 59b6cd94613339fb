"""JPEG by TurboJPEG: the pixels of Pillow, or not at all; and every remark of it heard."""

from __future__ import annotations

import contextlib
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
    return jpeg.decode_strictly(data, colour=True)[0]


def code_of(data: bytes) -> str:
    with pytest.raises(MediaError) as caught:
        open_image(data)
    return caught.value.error.code


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


def test_grey_and_cmyk_are_checked_here_and_made_by_pillow() -> None:
    picture = drawn(200, 160)
    for mode in ("L", "CMYK"):
        data = saved(picture.convert(mode))
        assert jpeg.decode_strictly(data, colour=False) == (None, [])
        assert np.array_equal(open_image(data).pixels, by_pillow(data))
        assert code_of(data[: len(data) // 2] + b"\xff\xd9") == "parse.truncated"


def test_bytes_after_the_picture_do_not_matter() -> None:
    data = saved(drawn(40, 30))
    assert np.array_equal(open_image(data + b"more").pixels, by_pillow(data))
    assert np.array_equal(open_image(data + data).pixels, by_pillow(data))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 3}])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_cut_picture_is_truncated_with_an_end_mark_or_without(
    options: dict, end: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    data = saved(drawn(200, 160), **options)
    start = data.index(b"\xff\xda") + 14
    for part in (0.1, 0.5, 0.9):
        assert code_of(data[: start + int(part * (len(data) - start))] + end) == "parse.truncated"
    assert capfd.readouterr().err == ""


def scan_starts(data: bytes) -> list[int]:
    return [begin - 4 for marker, begin, _ in jpeg._segments(data) if marker == 0xDA]


def test_a_progressive_picture_cut_between_two_scans_is_truncated() -> None:
    data = saved(drawn(200, 160), progressive=True)
    starts = scan_starts(data)
    assert len(starts) > 4
    assert open_image(data).record.changes == []
    for start in starts[1:]:
        assert code_of(data[:start] + b"\xff\xd9") == "parse.truncated"


def oddity(name: str, data: bytes) -> bytes:
    odd = bytearray(data)
    if name == "jfif":
        odd[odd.index(b"JFIF\0") + 5] = 9
    elif name == "scan":
        odd[odd.index(b"\xff\xda") + 12] = 0
    else:
        odd[20:20] = b"\0\0\0"
    return bytes(odd)


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("jfif", "decoder:unknown JFIF revision number 9.01"),
        ("scan", "decoder:Invalid SOS parameters for sequential JPEG"),
        ("gap", "decoder:Corrupt JPEG data: 3 extraneous bytes before marker 0xdb"),
    ],
)
def test_an_odd_header_is_noted_and_damage_behind_it_still_found(name: str, note: str) -> None:
    whole = saved(drawn(200, 160))
    medium = open_image(oddity(name, whole))
    assert medium.record.changes == [note]
    assert np.array_equal(medium.pixels, by_pillow(whole))
    cut = whole[: len(whole) // 2] + b"\xff\xd9"
    assert code_of(oddity(name, cut)) == "parse.truncated"


def test_a_turned_picture_is_still_turned() -> None:
    picture = drawn(40, 30)
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = open_image(saved(picture, exif=exif))
    assert opened.record.changes == ["exif_orientation:6"]
    assert opened.pixels.shape == (40, 30, 3)


@pytest.mark.parametrize("seed", range(8))
def test_damage_inside_is_refused_or_what_pillow_sees(
    seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(saved(drawn(120, 90, seed), quality=85))
    start = data.index(b"\xff\xda") + 20  # in the coded pixels
    rng = np.random.default_rng(seed)
    for place in rng.integers(start, len(data) - 4, 3):
        data[place] = int(rng.integers(0, 255))
    damaged = bytes(data)
    with contextlib.suppress(MediaError):  # refused: nothing to compare
        assert np.array_equal(open_image(damaged).pixels, by_pillow(damaged))
    assert capfd.readouterr().err == ""


def test_decoders_that_disagree_are_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(drawn(40, 30))
    decode = jpeg._decode

    def other(data: bytes, *, colour: bool = True) -> np.ndarray:
        return decode(data, colour=colour) ^ 1

    jpeg.same_decoders.cache_clear()
    monkeypatch.setattr(jpeg, "_decode", other)
    try:
        assert not jpeg.same_decoders()
        assert fast(data) is None
        assert np.array_equal(open_image(data).pixels, by_pillow(data))
    finally:
        jpeg.same_decoders.cache_clear()
