from __future__ import annotations

import msgspec
import pytest
from box_strategies import fraction_boxes, pixel_boxes, sizes
from hypothesis import given
from hypothesis import strategies as st

from pearl_tools.errors import ToolError, ToolFailure
from pearl_tools.geometry import (
    EPSILON_PX,
    Naming,
    box_in_root,
    check_box,
    check_unit,
    fraction_to_px,
    from_fraction,
    px_to_fraction,
    to_fraction,
)
from pearl_tools.settings import ExecutorSettings
from pearl_tools.types import Box, MediaRecord


def record(width: int = 1000, height: int = 800, box_root: Box | None = None) -> MediaRecord:
    return MediaRecord(
        id="i0", kind="image", width=width, height=height, pixel_sha256="0" * 64, box_root=box_root
    )


def error_of(bbox: list[float], naming: Naming | None = None, **settings: object) -> ToolError:
    with pytest.raises(ToolFailure) as raised:
        check_box(bbox, record(), ExecutorSettings(**settings), naming or Naming())  # type: ignore[arg-type]  # per test
    return raised.value.error


@given(sizes, sizes, st.data())
def test_pixel_box_written_as_fractions_comes_back_exactly(
    width: int, height: int, data: st.DataObject
) -> None:
    box_px = data.draw(pixel_boxes(width, height))
    assert fraction_to_px(px_to_fraction(box_px, width, height), width, height) == box_px


@given(sizes, sizes, fraction_boxes())
def test_pixels_contain_the_requested_region_and_lie_inside(
    width: int, height: int, bbox: Box
) -> None:
    x0, y0, x1, y1 = fraction_to_px(bbox, width, height)
    assert 0 <= x0 <= x1 <= width
    assert 0 <= y0 <= y1 <= height
    assert x0 <= bbox[0] * width + EPSILON_PX
    assert y0 <= bbox[1] * height + EPSILON_PX
    assert x1 >= bbox[2] * width - EPSILON_PX
    assert y1 >= bbox[3] * height - EPSILON_PX
    assert x1 - x0 < (bbox[2] - bbox[0]) * width + 2
    assert y1 - y0 < (bbox[3] - bbox[1]) * height + 2


@given(st.lists(st.floats(-0.5, 1.5), min_size=4, max_size=4), sizes, sizes)
def test_any_box_gives_pixels_inside_or_a_geometry_error(
    bbox: list[float], width: int, height: int
) -> None:
    settings = ExecutorSettings(on_partly_outside="clamp", min_side_px=2)
    try:
        box_px, _ = check_box(bbox, record(width, height), settings)
    except ToolFailure as failure:
        assert failure.error.stage == "geometry"  # noqa: PT017 - either outcome is right
        return
    assert 0 <= box_px[0] <= box_px[2] - 2
    assert box_px[2] <= width
    assert 0 <= box_px[1] <= box_px[3] - 2
    assert box_px[3] <= height


@given(sizes, sizes, st.data())
def test_crop_of_crop_has_the_root_box_of_the_direct_crop(
    width: int, height: int, data: st.DataObject
) -> None:
    outer = data.draw(pixel_boxes(width, height))
    outer_root = box_in_root(outer, record(width, height))
    assert outer_root == outer
    w, h = outer[2] - outer[0], outer[3] - outer[1]
    inner = data.draw(pixel_boxes(w, h))
    x, y = outer[:2]
    assert box_in_root(inner, record(w, h, outer_root)) == (
        inner[0] + x,
        inner[1] + y,
        inner[2] + x,
        inner[3] + y,
    )


def test_root_box_below_a_zoom_may_be_fractional() -> None:
    zoomed = record(448, 448, (100.0, 100.0, 200.0, 200.0))
    assert box_in_root((0, 0, 1, 448), zoomed) == (100, 100, 100 + 100 / 448, 200)
    assert box_in_root((0, 0, 448, 448), zoomed) == (100, 100, 200, 200)


@given(fraction_boxes(), sizes, sizes, st.sampled_from(["fraction", "pixel", "per_mille"]))
def test_units_convert_there_and_back(bbox: Box, width: int, height: int, unit: str) -> None:
    there = from_fraction(bbox, unit, width, height)  # type: ignore[arg-type]  # sampled literals
    back = to_fraction(there, unit, width, height)  # type: ignore[arg-type]  # sampled literals
    assert back == pytest.approx(bbox, abs=1e-12)


def test_rounding_noise_at_the_edge_is_inside() -> None:
    box_px, adjustments = check_box(
        [0.1, 0.1, 0.1 + 0.2 + 0.7 + 1e-16, 1.0000000000000002], record(), ExecutorSettings()
    )
    assert box_px == (100, 80, 1000, 800)
    assert adjustments == []


@pytest.mark.parametrize(
    ("bbox", "code", "path"),
    [
        ([100, 100, 500, 500], "wrong_unit", "arguments.bbox[0]"),
        ([0.1, 0.1, 0.5, 500], "wrong_unit", "arguments.bbox[3]"),
        ([-1.5, 0, 1, 1], "wrong_unit", "arguments.bbox[0]"),
        ([0.6, 0.1, 0.5, 0.5], "inverted", "arguments.bbox[0]"),
        ([0.1, 0.6, 0.5, 0.5], "inverted", "arguments.bbox[1]"),
        ([0.5, 0.1, 0.5, 0.5], "zero_area", "arguments.bbox[2]"),
        ([0.1, 0.5, 0.2, 0.5], "zero_area", "arguments.bbox[3]"),
        ([-0.1, 0.1, 0.5, 0.5], "partly_outside", "arguments.bbox[0]"),
        ([0.1, 0.1, 0.5, 1.25], "partly_outside", "arguments.bbox[3]"),
        ([1.1, 0.1, 1.5, 0.5], "outside", "arguments.bbox[0]"),
        ([0.1, -0.9, 0.5, -0.1], "outside", "arguments.bbox[3]"),
        ([0.1, 1.0, 0.5, 1.5], "outside", "arguments.bbox[1]"),
        ([0.1, 0.1, 0.101, 0.5], "too_small", "arguments.bbox"),
    ],
)
def test_every_broken_box_has_its_code_and_coordinate(
    bbox: list[float], code: str, path: str
) -> None:
    error = error_of(bbox)
    assert (error.code, error.path) == (f"geometry.{code}", path)
    assert error.fault_owner == "caller"
    assert error.retryable
    assert error.hint


@pytest.mark.parametrize(
    ("bbox", "code"),
    [
        ([900, 0, 100, 0], "wrong_unit"),
        ([0.9, 0, 0.1, 0], "inverted"),
        ([1.9, 0.5, 1.9, 0.1], "inverted"),
        ([1.5, 0.1, 1.5, 0.2], "zero_area"),
        ([0.9999, 0.1, 1.5, 0.2], "partly_outside"),
    ],
)
def test_first_broken_rule_is_reported(bbox: list[float], code: str) -> None:
    assert error_of(bbox).code == f"geometry.{code}"


@pytest.mark.parametrize(
    ("size", "bbox", "hint"),
    [
        ((1000, 800), [0.1, 0.1, 0.101, 0.5], "are 0.004 of its width"),
        ((1000, 800), [0.1, 0.1, 0.5, 0.101], "are 0.005 of its height"),
        ((1, 500), [0.0, 0.1, 1.0, 0.5], "no part of it can be 4 px a side"),
    ],
)
def test_a_box_that_is_too_small_is_told_which_side(
    size: tuple[int, int], bbox: list[float], hint: str
) -> None:
    source = msgspec.structs.replace(record(), width=size[0], height=size[1])
    with pytest.raises(ToolFailure) as raised:
        check_box(bbox, source, ExecutorSettings(), Naming())
    assert raised.value.error.code == "geometry.too_small"
    assert hint in (raised.value.error.hint or "")


def test_whole_image_is_allowed_unless_refused() -> None:
    assert check_box([0, 0, 1, 1], record(), ExecutorSettings()).box_px == (0, 0, 1000, 800)
    assert error_of([0, 0, 1, 1], whole_image="refuse").code == "geometry.whole_image"


def test_clamping_is_recorded_with_both_boxes() -> None:
    settings = ExecutorSettings(on_partly_outside="clamp")
    box_px, [adjustment] = check_box([-0.2, 0.5, 0.5, 1.4], record(), settings)
    assert box_px == (0, 400, 500, 800)
    assert adjustment.kind == "clamped"
    assert adjustment.requested == (-0.2, 0.5, 0.5, 1.4)
    assert adjustment.effective == (0, 0.5, 0.5, 1)


def test_clamping_does_not_rescue_a_box_that_is_outside() -> None:
    assert error_of([1.2, 0, 1.4, 1], on_partly_outside="clamp").code == "geometry.outside"


def test_padding_stops_at_the_border_and_is_recorded_after_clamping() -> None:
    settings = ExecutorSettings(on_partly_outside="clamp", pad_share=0.5)
    box_px, adjustments = check_box([-0.2, 0.25, 0.5, 0.75], record(), settings)
    assert [a.kind for a in adjustments] == ["clamped", "padded"]
    assert box_px == (0, 0, 750, 800)


def test_error_speaks_the_unit_and_names_of_the_caller() -> None:
    naming = Naming(unit="per_mille", names={"bbox": "bbox_2d"})
    error = error_of([0.1, 0.1, 1.5, 0.5], naming)
    assert str(error) == (
        "arguments.bbox_2d[2]: expected x between 0 and 1000 (width of i0), got 1500 "
        "[geometry.partly_outside]; part of the box lies outside i0; give the part inside it"
    )


def test_error_of_pixels_is_in_pixels() -> None:
    error = error_of([0.1, 0.1, 0.5, 1.25], Naming(unit="pixel"))
    assert error.expected == "y between 0 and 800 (height of i0)"
    assert error.got == "1000"


@pytest.mark.parametrize(
    ("unit", "values", "index"),
    [
        ("per_mille", [0, 0, 1001, 10], 2),
        ("per_mille", [0, 1200, 1001, 10], 1),
        ("pixel", [0.1, 0.2, 0.5, 1.0], 0),
        ("fraction", [0, 0, 1, 2.5], 3),
    ],
)
def test_value_beyond_the_declared_unit_is_named(
    unit: str, values: list[float], index: int
) -> None:
    naming = Naming(unit=unit, names={"bbox": "box"})  # type: ignore[arg-type]  # parametrised
    with pytest.raises(ToolFailure) as raised:
        check_unit(values, naming, "bbox", (1000, 800))
    assert raised.value.error.code == "geometry.wrong_unit"
    assert raised.value.error.path == f"arguments.box[{index}]"
    assert "1000x800" in raised.value.error.expected


@pytest.mark.parametrize(
    ("unit", "values"),
    [
        ("per_mille", [0, 0, 1000, 1000]),
        ("per_mille", [-5, 0.5, 3, 4]),
        ("pixel", [0, 0, 1, 1]),
        ("pixel", [0.5, 0.5, 1.5, 3]),
        ("fraction", [-1, 0, 1.5, 2]),
    ],
)
def test_value_that_could_be_in_the_unit_is_not_guessed_away(
    unit: str, values: list[float]
) -> None:
    check_unit(values, Naming(unit=unit), "bbox", (1000, 800))  # type: ignore[arg-type]  # parametrised


@pytest.mark.parametrize(("height", "code"), [(5, None), (4, "geometry.aspect_ratio")])
def test_a_region_too_thin_for_any_processor_is_refused(height: int, code: str | None) -> None:
    source = record(1000, 100)
    box = (0, 0, 1, height / 100)
    if code is None:
        assert check_box(box, source, ExecutorSettings()).box_px == (0, 0, 1000, height)
        return
    with pytest.raises(ToolFailure) as raised:
        check_box(box, source, ExecutorSettings())
    error = raised.value.error
    assert (error.code, error.path, error.got) == (code, "arguments.bbox", "1000x4 px")
    assert error.fault_owner == "caller"
