from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_media import file_of, gradient
from numpy.typing import NDArray
from PIL import Image, features

from pearl_data.cli.synth import synth
from pearl_tools import media
from pearl_tools.errors import ToolError
from pearl_tools.media import MediaError, as_medium, decode_member, encode_png, open_image
from pearl_tools.pixels import pixel_sha256

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def corners(width: int = 40, height: int = 24) -> Image.Image:
    """A picture whose four quarters are red, green, blue and white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    pixels[:h, :w], pixels[:h, w:], pixels[h:, :w], pixels[h:, w:] = RED, GREEN, BLUE, WHITE
    return Image.fromarray(pixels)


DAMAGEABLE = {
    name: file_of(corners(), name)
    for name in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "PPM", "MPO")
    + (("AVIF",) if features.check("avif") else ())
}


def refused(data: bytes, **options: int) -> ToolError:
    with pytest.raises(MediaError) as raised:
        open_image(data, name="file.jpg", **options)  # type: ignore[arg-type]  # only max_pixels
    return raised.value.error


def same(pixels: NDArray[np.generic], image: Image.Image) -> bool:
    return bool((pixels == np.asarray(image.convert("RGB"))).all())


def test_png_opens_exactly_and_keeps_its_bytes() -> None:
    data = file_of(Image.fromarray(gradient(50, 30)), "PNG")
    medium = open_image(data, name="photo.JPEG")
    assert (medium.pixels == gradient(50, 30)).all()
    assert medium.file_bytes == data
    assert medium.file_suffix == ".png"
    record = medium.record
    assert record.name_in_sample == "i0.png"
    assert record.changes == []
    assert record.box_root == (0, 0, 50, 30)
    assert record.file_sha256 == hashlib.sha256(data).hexdigest()
    assert record.pixel_sha256 == pixel_sha256(gradient(50, 30))
    assert not medium.pixels.flags.writeable


@pytest.mark.parametrize(
    "format_and_suffix", [("JPEG", ".jpg"), ("WEBP", ".webp"), ("TIFF", ".tif"), ("PNG", ".png")]
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_recorded(
    orientation: int, format_and_suffix: tuple[str, str]
) -> None:
    picture_format, suffix = format_and_suffix
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    upright = corners()
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality = {"quality": 95, "subsampling": 0} if picture_format == "JPEG" else {}
    if picture_format == "WEBP":
        quality = {"lossless": True}
    medium = open_image(file_of(stored, picture_format, exif=exif, **quality))
    assert medium.file_suffix == suffix
    expected = [] if orientation == 1 else [f"exif_orientation:{orientation}"]
    assert medium.record.changes == expected
    assert medium.pixels.shape == (24, 40, 3)
    for y, x, colour in ((4, 4, RED), (4, 30, GREEN), (20, 4, BLUE), (20, 30, WHITE)):
        assert medium.pixels[y, x].tolist() == pytest.approx(colour, abs=3)


def test_damaged_exif_does_not_make_a_picture_unusable() -> None:
    medium = open_image(file_of(corners(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage"))
    assert medium.pixels.shape == (24, 40, 3)


def test_cmyk_is_converted_and_recorded() -> None:
    medium = open_image(file_of(corners().convert("CMYK"), "JPEG", quality=95))
    assert medium.record.changes == ["mode:CMYK"]
    assert medium.pixels[2, 2].tolist() == pytest.approx(RED, abs=8)


def test_sixteen_bit_grey_is_divided_by_257_whatever_else_is_in_the_picture() -> None:
    samples = np.array([[0, 257, 25700, 65535]], np.uint16).repeat(4, axis=0)
    medium = open_image(file_of(Image.fromarray(samples), "PNG"))
    assert medium.pixels[0, :, 0].tolist() == [0, 1, 100, 255]
    assert medium.record.changes == ["mode:I;16", "bits:16/257"]
    dark = open_image(file_of(Image.fromarray(samples[:, :2].copy()), "PNG"))
    assert dark.pixels[0, :, 0].tolist() == [0, 1]


def test_sixteen_bit_colour_says_that_bits_were_dropped() -> None:
    medium = open_image(png16_rgb(3, 2, value=0x1234))
    assert medium.record.changes == ["bits:16/256"]
    assert (medium.pixels == 0x12).all()


@pytest.mark.parametrize(
    ("suffix", "told"),
    [(".png", "bits:16/256"), (".tif", "bits:16/256"), (".jp2", "bits:16/256"),
     (".ppm", "bits:16/257")],
)  # fmt: skip
def test_deep_colour_says_so_in_every_format(suffix: str, told: str) -> None:
    deep = np.arange(60 * 80 * 3, dtype=np.uint16).reshape(60, 80, 3) % 256 * 257
    for samples, changes in ((deep, [told]), ((deep // 257).astype(np.uint8), [])):
        data = cv2.imencode(suffix, samples)[1].tobytes()
        assert open_image(data, name=f"a{suffix}").record.changes == changes


def test_a_declared_white_of_a_colour_picture_is_told() -> None:
    data = b"P6 # made by hand\n2 2\n1023\n" + bytes(2 * 2 * 3 * 2)
    assert open_image(data, name="a.ppm").record.changes == ["range:0..1023"]


def png16_rgb(width: int, height: int, value: int) -> bytes:
    """A PNG with 16 bits per channel, which Pillow cannot write."""
    rows = b"".join(b"\0" + struct.pack(">H", value) * 3 * width for _ in range(height))
    return png_of(
        [
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        ]
    )


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("samples", "change"),
    [
        (np.array([[0, 50, 100]], np.int32), "range:0..100"),
        (np.array([[1.5, 2.0, 2.5]], np.float32), "range:1.5..2.5"),
    ],
)
def test_samples_without_a_white_are_scaled_by_their_range(
    samples: NDArray[np.generic], change: str
) -> None:
    medium = open_image(file_of(Image.fromarray(samples), "TIFF"))
    assert medium.pixels[0, :, 1].tolist() == [0, 128, 255]
    assert medium.record.changes[-1] == change


def test_samples_that_are_not_finite_are_refused() -> None:
    samples = np.array([[1, np.inf]], np.float32)
    error = refused(file_of(Image.fromarray(samples), "TIFF"))
    assert (error.code, error.got) == ("execution.decode", "values that are not finite")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_on_white(mode: str) -> None:
    image = Image.new(mode, (6, 4), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    image.putpixel((0, 0), (10, 10, 10, 255) if mode == "RGBA" else (10, 255))
    medium = open_image(file_of(image, "PNG"))
    assert medium.pixels[0, 0].tolist() == [10, 10, 10]
    assert medium.pixels[3, 5].tolist() == [255, 255, 255]
    assert medium.record.changes == [f"mode:{mode}", "alpha:on_white"]


def test_palette_becomes_its_colours() -> None:
    image = corners().quantize(8)
    medium = open_image(file_of(image, "PNG"))
    assert same(medium.pixels, image)
    assert medium.record.changes == ["mode:P"]


def test_transparent_palette_entry_is_laid_on_white() -> None:
    image = corners().quantize(8)
    index = image.getpixel((2, 2))
    medium = open_image(file_of(image, "PNG", transparency=index))
    assert medium.pixels[2, 2].tolist() == list(WHITE)
    assert medium.pixels[2, 30].tolist() == list(GREEN)
    assert medium.record.changes == ["mode:P", "alpha:on_white"]


def test_transparent_colour_of_an_rgb_png_is_laid_on_white() -> None:
    medium = open_image(file_of(corners(), "PNG", transparency=RED))
    assert medium.pixels[2, 2].tolist() == list(WHITE)
    assert medium.record.changes == ["alpha:on_white"]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_and_bilevel_become_rgb(mode: str) -> None:
    image = corners().convert(mode)
    medium = open_image(file_of(image, "PNG"))
    assert same(medium.pixels, image)
    assert medium.record.changes == [f"mode:{mode}"]


@pytest.mark.parametrize("picture_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_shows_its_first_frame_and_says_so(picture_format: str) -> None:
    frames = [Image.new("RGB", (16, 12), c) for c in (RED, GREEN, BLUE)]
    options = {"lossless": True} if picture_format == "WEBP" else {}
    data = file_of(frames[0], picture_format, save_all=True, append_images=frames[1:], **options)
    medium = open_image(data)
    assert "frame:0/3" in medium.record.changes
    assert (medium.pixels == RED).all()


def test_mpo_shows_its_first_picture_and_says_so() -> None:
    second = Image.new("RGB", (40, 24), BLUE)
    data = file_of(corners(), "MPO", save_all=True, append_images=[second], quality=95)
    medium = open_image(data)
    assert medium.record.changes == ["format:MPO", "frame:0/2"]
    assert medium.pixels[2, 2].tolist() == pytest.approx(RED, abs=5)
    assert medium.file_suffix == ".jpg"


def test_suffix_follows_the_bytes_not_the_name() -> None:
    medium = open_image(file_of(corners(), "GIF"), name="picture.png")
    assert medium.record.name_in_sample == "i0.gif"


def test_empty_file_is_refused() -> None:
    error = refused(b"")
    assert (error.code, error.got, error.fault_owner) == ("parse.truncated", "0 bytes", "media")


@pytest.mark.parametrize("data", [b"hello", b"%PDF-1.4", b"%!PS-Adobe-3.0 EPSF-3.0", b"\0" * 100])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    error = refused(data)
    assert (error.code, error.fault_owner) == ("execution.decode", "media")
    assert error.got == f"{len(data)} bytes that are none"
    assert "file.jpg" in error.path


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>404</html>", "web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "drawing"),
        (b"hello", ""),
    ],
)
def test_what_stands_in_for_a_picture_is_named(data: bytes, word: str) -> None:
    assert word in refused(data).hint
    assert bool(refused(data).hint) == bool(word)


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(picture_format: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = file_of(Image.fromarray(noise), picture_format)
    error = refused(data[: int(len(data) * keep)])
    assert error.code in ("parse.truncated", "execution.decode")
    assert error.fault_owner == "media"
    assert not error.retryable
    if picture_format in ("JPEG", "PNG"):
        assert error.code == "parse.truncated"


def test_real_truncated_file_is_refused(shared_data: Path) -> None:
    error = refused((shared_data / "broken/broken.jpg").read_bytes())
    assert error.code == "parse.truncated"


def bomb_header(width: int, height: int) -> bytes:
    return png_of(
        [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IEND", b"")]
    )


@pytest.mark.parametrize("size", [(60_000, 60_000), (2_000_000_000, 2_000_000_000), (150_000, 2)])
def test_bomb_is_refused_from_its_header(size: tuple[int, int]) -> None:
    error = refused(bomb_header(*size))
    assert (error.code, error.fault_owner) == ("execution.out_of_memory", "media")
    assert f"{size[0]}x{size[1]} px" in error.got
    assert "64 megapixels" in error.expected


def test_limit_of_pixels_can_be_set() -> None:
    data = file_of(corners(), "PNG")
    assert refused(data, max_pixels=40 * 24 - 1).code == "execution.out_of_memory"
    assert open_image(data, max_pixels=40 * 24).record.width == 40


def test_zero_sized_picture_is_refused() -> None:
    assert refused(bomb_header(0, 5)).fault_owner == "media"


def test_pillow_warnings_and_limits_stay_inside() -> None:
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        refused(bomb_header(14_000, 13_000))  # Pillow alone would warn about a bomb
        open_image(file_of(corners().quantize(4), "PNG", transparency=b"\0\x80"))
    assert caught == []
    assert limit == Image.MAX_IMAGE_PIXELS


def test_opening_is_deterministic(shared_data: Path) -> None:
    data = (shared_data / "photos/rocket.jpg").read_bytes()
    assert open_image(data).record == open_image(data).record


def test_stored_members_decode_to_the_same_pixels() -> None:
    pixels = gradient(33, 21)
    assert (decode_member("o1.png", encode_png(pixels)) == pixels).all()
    depth = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    file = io.BytesIO()
    np.save(file, depth)
    assert (decode_member("o2.npy", file.getvalue()) == depth).all()


def test_drawn_pixels_become_a_root_medium() -> None:
    medium = as_medium(gradient(9, 7), id="i3")
    assert medium.record.id == "i3"
    assert medium.record.parent is None
    assert (medium.pixels == gradient(9, 7)).all()


@given(
    st.sampled_from(list(DAMAGEABLE)),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
)
def test_damaged_file_opens_or_is_refused_and_nothing_else(
    picture_format: str, changes: list[tuple[int, int]], keep: float
) -> None:
    data = bytearray(DAMAGEABLE[picture_format])
    data = data[: max(1, int(len(data) * keep))]
    for at, value in changes:
        data[at % len(data)] = value
    try:
        assert open_image(bytes(data), max_pixels=1_000_000).pixels.dtype == np.uint8
    except MediaError as failure:
        assert failure.error.fault_owner == "media"  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    ("picture_format", "bytes_per_pixel"), [("PNG", 9), ("JPEG", 9), ("WEBP", 16), ("JPEG2000", 20)]
)
def test_as_many_pixels_are_opened_as_fit_into_the_stated_memory(
    monkeypatch: pytest.MonkeyPatch, picture_format: str, bytes_per_pixel: int
) -> None:
    data = file_of(corners(), picture_format)
    monkeypatch.setattr(media, "OPENING_BYTES", 40 * 24 * bytes_per_pixel)
    assert open_image(data).record.width == 40
    monkeypatch.setattr(media, "OPENING_BYTES", 40 * 24 * bytes_per_pixel - 1)
    error = refused(data)
    assert (error.code, error.fault_owner) == ("execution.out_of_memory", "media")


def test_synth_states_what_is_opened() -> None:
    told = " ".join((synth.help or "").split())
    assert f"{media.BYTES_PER_PIXEL} bytes per additional pixel" in told
    most = [media.OPENING_BYTES // cost / 1e6 for cost in (9, 20, 16)]
    assert "over {:.3g} megapixels (JPEG 2000: {:.0f}, WebP and AVIF: {:.0f})".format(*most) in told
