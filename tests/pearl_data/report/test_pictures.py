from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from trajectories import build_sample, encode_npy

from pearl_data.report.figure import WIDTH, draw_trajectory
from pearl_data.report.folder import write_pictures
from pearl_data.report.gallery import card
from pearl_data.report.pictures import draw_boxes, show_medium
from pearl_data.report.type_setting import drawable, face, wrap
from pearl_data.report.view import view_of
from pearl_data.shards import Sample
from pearl_tools.types import MediaRecord


def test_box_is_drawn_around_its_pixels_not_on_them() -> None:
    sample = build_sample()
    view = view_of(sample.trajectory)
    plain = Image.new("RGB", (160, 120), "black")
    drawn = np.asarray(draw_boxes(plain, (160, 120), view.calls))
    x0, y0, x1, y1 = (int(v) for v in view.calls[0].box_root or ())
    assert (drawn[y0 + 1 : y1, x0 + 1 : x1] == 0).all()
    assert drawn[(y0 + y1) // 2, x0 - 1].any()
    assert drawn[(y0 + y1) // 2, x1 + 1].any()


@pytest.mark.parametrize("data", [b"", b"not a picture", encode_npy(np.zeros(3, np.float32))])
def test_broken_members_become_a_grey_field_that_says_why(data: bytes) -> None:
    sample = build_sample(depth=True)
    for medium in sample.trajectory.media:
        name = medium.name_in_sample or ""
        shown = show_medium(medium, {name: data})
        assert shown.problem
        assert len(shown.image.getcolors() or []) == 1


def test_pickled_depth_is_never_loaded() -> None:
    sample = build_sample(depth=True)
    depth = next(medium for medium in sample.trajectory.media if medium.kind == "depth")
    evil = encode_npy(np.zeros((2, 2), np.float32)).replace(b"'<f4'", b"'|O' ")
    assert "allow_pickle" in show_medium(depth, {depth.name_in_sample or "": evil}).problem


@given(st.text(max_size=200), st.integers(60, 400))
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    font = face(20)
    lines = wrap(drawable(text), width, font)
    assert all(font.getlength(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == drawable(text).replace(" ", "")


def test_letters_the_face_lacks_are_written_as_their_nearest() -> None:
    assert drawable("Café 3 × 4 → 日\n") == "Cafe 3 x 4 -> ? "


@pytest.mark.parametrize(
    "options",
    [{}, {"depth": True}, {"depth": True, "second_crop": True, "failed_call": True}],
)
def test_figure_is_1600_wide_and_the_same_every_time(options: dict[str, bool]) -> None:
    sample = build_sample(**options)  # type: ignore[arg-type]  # only flags are passed
    figure = draw_trajectory(sample)
    assert figure.width == WIDTH
    assert figure.tobytes() == draw_trajectory(sample).tobytes()


def test_figure_of_long_words_and_no_pictures_is_still_drawn() -> None:
    sample = build_sample(depth=True)
    task = msgspec.structs.replace(
        sample.trajectory.task, question="W" * 500, choices=["x" * 300, "y " * 300], answer="no"
    )
    steps = [msgspec.structs.replace(s, thought="so " * 400) for s in sample.trajectory.steps]
    trajectory = msgspec.structs.replace(sample.trajectory, task=task, steps=steps)
    figure = np.asarray(draw_trajectory(Sample(trajectory, {})))
    assert (figure[:, :20] == 255).all()
    assert (figure[:, -4:] == 255).all()


def test_captions_of_depth_say_which_scale_is_whose() -> None:
    values = np.linspace(0.1, 1, 64, dtype=np.float32).reshape(8, 8)
    record = MediaRecord(
        id="o1", kind="depth", width=8, height=8, pixel_sha256="", name_in_sample="o1.npy"
    )
    shown = show_medium(record, {"o1.npy": encode_npy(values)})
    assert shown.scale == "colours on a log scale, words on a linear one"
    assert show_medium(record, {"o1.npy": encode_npy(values - 1)}).scale == ""


def square_depth() -> tuple[Sample, MediaRecord]:
    """A sample whose network works on squares, and the picture that its map is of."""
    sample = build_sample(depth=True)
    media = sample.trajectory.media
    depth = next(medium for medium in media if medium.kind == "depth")
    values = np.full((20, 20), 0.2, np.float32)
    values[14:18, 14:18] = 1
    values[2:6, 2:6] = 0.05
    members = {**sample.members, depth.name_in_sample or "": encode_npy(values)}
    parent = next(medium for medium in media if medium.id == depth.parent)
    assert parent.width != parent.height
    return Sample(sample.trajectory, members), parent


def test_a_square_map_is_drawn_in_the_shape_of_its_picture_everywhere(tmp_path: Path) -> None:
    sample, parent = square_depth()
    ratio = parent.width / parent.height
    depth = next(m for m in sample.trajectory.media if m.kind == "depth")
    shown = show_medium(depth, sample.members, of=(parent.width, parent.height))
    assert min(shown.image.size) >= 20  # nothing is lost
    assert shown.image.width / shown.image.height == pytest.approx(ratio, rel=0.01)
    write_pictures(sample, tmp_path)
    with Image.open(tmp_path / f"{depth.id}-depth.png") as coloured:
        assert coloured.width / (coloured.height - 25) == pytest.approx(ratio, rel=0.01)
    tags = re.findall(r"<img [^>]*>", card(sample))
    [of_depth] = [tag for tag in tags if f'alt="{depth.id}' in tag]
    data = base64.b64decode(re.findall('base64,([^"]+)', of_depth)[0])
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.width / picture.height == pytest.approx(ratio, rel=0.01)
        # enlarged before the ends are marked, which are then as small as on any map
        assert f'width="{picture.width}"' in of_depth
        assert max(picture.size) > 100


def test_the_legend_of_a_page_says_that_colours_follow_a_logarithm() -> None:
    sample, _ = square_depth()
    assert "near (log scale)" in card(sample)
    depth = next(m for m in sample.trajectory.media if m.kind == "depth")
    below = encode_npy(np.linspace(-2, -1, 400, dtype=np.float32).reshape(20, 20))
    plain = Sample(sample.trajectory, {**sample.members, depth.name_in_sample or "": below})
    assert "log scale)" not in card(plain)
