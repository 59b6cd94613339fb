"""Damaged picture files: what has a checksum never opens altered, and no decoder is unheard."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from made_media import file_of
from PIL import Image, ImageFile, features

from pearl_tools.media import MediaError, open_image

RNG = np.random.default_rng(0)
COARSE = Image.fromarray(RNG.integers(0, 256, (12, 16, 3), np.uint8)).resize((96, 72))
OTHER = Image.eval(COARSE, lambda v: 255 - v)
CLEAR = COARSE.copy()
CLEAR.putalpha(COARSE.convert("L"))
TURNED = Image.Exif()
TURNED[0x0112] = 6
ANIMATED = {"save_all": True, "append_images": [OTHER]}

#: Every one of these carries a checksum over all that decides its pixels.
CHECKED = {
    "png": file_of(COARSE, "PNG"),
    "png palette": file_of(COARSE.quantize(64), "PNG", transparency=3),
    "png alpha": file_of(CLEAR, "PNG"),
    "apng": file_of(COARSE, "PNG", **ANIMATED),
}
#: Files that say where they end.
ENDED = CHECKED | {
    "jpeg": file_of(COARSE, "JPEG"),
    "jpeg grey": file_of(COARSE.convert("L"), "JPEG"),
    "jpeg cmyk": file_of(COARSE.convert("CMYK"), "JPEG"),
    "jpeg turned": file_of(COARSE, "JPEG", exif=TURNED),
    "gif": file_of(COARSE, "GIF"),
    "gif animated": file_of(COARSE, "GIF", **ANIMATED),
    "webp": file_of(COARSE, "WEBP"),
    "webp lossless": file_of(CLEAR, "WEBP", lossless=True),
    "webp animated": file_of(COARSE, "WEBP", **ANIMATED),
    "tiff": file_of(COARSE, "TIFF"),
    "tiff lzw": file_of(COARSE, "TIFF", compression="tiff_lzw"),
    "tiff deflate": file_of(COARSE, "TIFF", compression="tiff_adobe_deflate"),
    "tiff jpeg": file_of(COARSE, "TIFF", compression="jpeg"),
    "bmp": file_of(COARSE, "BMP"),
    "ppm": file_of(COARSE, "PPM"),
    "jp2": file_of(COARSE, "JPEG2000"),
    "j2k": file_of(COARSE, "JPEG2000", no_jp2=True),
}  # fmt: skip


def code_of(data: bytes) -> str | None:
    try:
        open_image(data)
    except MediaError as failure:
        return failure.error.code
    return None


@pytest.mark.parametrize("name", CHECKED)
def test_no_flipped_bit_passes_a_checksum(name: str) -> None:
    data = CHECKED[name]
    for place in RNG.integers(8 * 8, len(data) * 8, 150):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << (place % 8)
        assert code_of(bytes(flipped)) in ("execution.decode", "parse.truncated"), place


@pytest.mark.parametrize("name", ENDED)
def test_a_cut_file_is_truncated_wherever_it_is_cut(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = ENDED[name]
    assert code_of(data) is None
    for length in (*RNG.integers(64, len(data), 20).tolist(), len(data) - 2):
        assert code_of(data[:length]) in ("parse.truncated", "execution.decode"), length
    assert code_of(data[: len(data) * 2 // 3]) == "parse.truncated"
    assert capfd.readouterr().err == ""


FILLED = {name: ENDED[name] for name in ("jp2", "j2k", "webp lossless", "jpeg", "jpeg grey")} | (
    {"avif": file_of(COARSE, "AVIF")} if features.check("avif") else {}
)


@pytest.mark.parametrize("name", FILLED)
def test_a_file_filled_up_with_zeros_is_truncated(name: str) -> None:
    data = FILLED[name]
    for share in (0.5, 0.8):
        length = int(share * len(data))
        end = data[-2:] if name.startswith("j") else b""
        zeros = bytes(len(data) - length - len(end))
        assert code_of(data[:length] + zeros + end) == "parse.truncated", share


def test_flat_pictures_are_whole() -> None:
    flat = Image.new("RGB", (2000, 1500), (255, 255, 255))
    for picture_format in ("WEBP", "JPEG2000", "JPEG"):
        assert code_of(file_of(flat, picture_format)) is None
    assert code_of(file_of(flat, "WEBP", lossless=True)) is None


def test_a_flipped_picture_is_refused_though_asking_for_its_exif_loads_it() -> None:
    data = bytearray(CHECKED["png"])
    data[data.index(b"IDAT") + 400] ^= 16
    assert code_of(bytes(data)) == "execution.decode"


def with_crcs(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def test_pixels_that_end_too_early_are_truncated_though_every_checksum_is_right() -> None:
    rows = zlib.compress(b"".join(b"\0" + bytes(30) for _ in range(10)), 0)
    header = (b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 2, 0, 0, 0))
    assert code_of(with_crcs([header, (b"IDAT", rows), (b"IEND", b"")])) is None
    assert code_of(with_crcs([header, (b"IDAT", rows[:200]), (b"IEND", b"")])) == "parse.truncated"


@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "tiff_deflate"])
def test_deflate_in_tiff_is_held_to_its_checksum(
    compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = file_of(COARSE, "TIFF", compression=compression)
    (at,), (size,) = (Image.open(io.BytesIO(data)).tag_v2[tag] for tag in (273, 279))
    for place in RNG.integers(at * 8, (at + size) * 8, 60):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << (place % 8)
        assert code_of(bytes(flipped)) == "execution.decode"
    assert capfd.readouterr().err == ""


def test_jpeg_in_tiff_is_decoded_strictly() -> None:
    data = file_of(COARSE, "TIFF", compression="jpeg")
    (at,), (size,) = (Image.open(io.BytesIO(data)).tag_v2[tag] for tag in (273, 279))
    middle = at + size // 2
    ended = data[:middle] + b"\xff\xd9" + bytes(at + size - middle - 2) + data[at + size :]
    assert code_of(ended) == "parse.truncated"


def test_a_setting_of_pillow_for_broken_files_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = ENDED["bmp"]
    assert code_of(data[: len(data) // 2]) == "parse.truncated"
    assert ImageFile.LOAD_TRUNCATED_IMAGES
