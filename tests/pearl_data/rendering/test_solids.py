"""Rays meet solids where geometry says; hypothesis looks for the exceptions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pearl_data.rendering.shapes import build
from pearl_data.rendering.solids import Convex, Ellipsoid, Frustum, box
from pearl_data.rendering.vocabulary import SHAPES

EYE = np.eye(3, dtype=np.float32)


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_sphere_is_entered_at_distance_minus_radius() -> None:
    ball = Ellipsoid(np.array([0, 5, 0], np.float32), np.full(3, 1, np.float32), EYE)
    enter, leave = ball.span(column(0, 0, 0), column(0, 1, 0))
    assert (enter[0], leave[0]) == pytest.approx((4, 6), rel=1e-5)


def test_box_seen_from_inside_is_left_at_its_wall() -> None:
    room = box((0, 5, 1.5), (2, 5, 1.5))
    _, leave = room.span(column(0, 1, 1), column(0, 1, 0))
    assert leave[0] == pytest.approx(9)


def test_cylinder_and_cone_have_the_expected_width_at_half_height() -> None:
    base = np.array([0, 5, -1], np.float32)
    for top, half_width in ((0.5, 0.5), (0.0, 0.25)):
        solid = Frustum(base, EYE, 2.0, 0.5, top)
        enter, leave = solid.span(column(0, 0, 0), column(0, 1, 0))
        assert (enter[0], leave[0]) == pytest.approx((5 - half_width, 5 + half_width), rel=1e-5)


def test_cone_is_met_from_above_through_its_tip_and_base() -> None:
    cone = Frustum(np.array([0, 0, 0], np.float32), EYE, 1.0, 0.5, 0.0)
    enter, leave = cone.span(column(0.0, 0.1, 5), column(0, 0, -1))
    assert (enter[0], leave[0]) == pytest.approx((4.2, 5.0), rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    yaw=st.floats(0, 6.28),
    aim=st.tuples(*[st.floats(-0.4, 0.4)] * 3),
    start=st.tuples(st.floats(-3, 3), st.floats(-6, -2), st.floats(-3, 3)),
)
def test_entry_points_lie_on_the_surface_and_normals_face_the_ray(
    shape: str, yaw: float, aim: tuple[float, ...], start: tuple[float, ...]
) -> None:
    solid = build(shape, (0, 0, 0), 1.0, yaw)  # type: ignore[arg-type]  # drawn from SHAPES
    origin = column(*start)
    direction = column(*aim) - origin
    enter, leave = solid.span(origin, direction)
    if enter[0] >= leave[0] - 1e-4:
        return
    points = origin + direction * enter
    assert np.abs(points).max() <= 0.8  # inside the bounding box of every shape of height 1
    normals, _, _ = solid.surface(points)
    assert np.linalg.norm(normals[:, 0]) == pytest.approx(1, abs=1e-3)
    assert float(normals[:, 0] @ direction[:, 0]) <= 1e-2 * float(np.linalg.norm(direction))
    inside = origin + direction * (enter + leave) / 2
    back, ahead = solid.span(inside, direction)
    assert back[0] < 0 < ahead[0]


def test_a_solid_fits_its_corners() -> None:
    for shape in SHAPES:
        corners = build(shape, (0, 0, 0), 1.0, 0.7).corners
        assert np.ptp(corners[:, 2]) == pytest.approx(1, abs=1e-5)


def test_polytope_faces_are_outward_whatever_their_winding() -> None:
    wedge = build("wedge", (0, 0, 0), 1.0, 0.0)
    assert isinstance(wedge, Convex)
    assert (wedge.offsets > 0).all()
