"""A drawn scene: exact depth, consistent instances and boxes, the same bytes everywhere."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from pearl_data.rendering import Rendered, render, sample_scene
from pearl_data.rendering.camera import look
from pearl_data.rendering.scene import Atmosphere, Light, Part, Scene, SceneObject, Surface
from pearl_data.rendering.solids import Ellipsoid, box

PLAIN = Surface(texture="flat", colour=(0.8, 0.2, 0.2), second=(0.8, 0.2, 0.2), tile_m=1.0)
WIDTH, HEIGHT = 160, 120


def ball_on_a_wall() -> Scene:
    """A unit ball 5 m ahead of the camera, a wall 10 m ahead."""
    shell = Part(solid=box((0, 0, 0), (20, 10, 20)), surfaces=(PLAIN,), shell=True)  # noqa: S604  no process
    ball = Ellipsoid(
        np.array([0, 5, 0], np.float32), np.ones(3, np.float32), np.eye(3, dtype=np.float32)
    )
    item = SceneObject(
        id=1, shape="ball", colour="red", pattern="plain", label=None, centre_m=(0, 5, 0), size_m=2
    )
    return Scene(
        seed=0,
        setting="room",
        width=WIDTH,
        height=HEIGHT,
        camera=look((0, 0, 0), (0, 1, 0), hfov_deg=60),
        parts=(shell, Part(solid=ball, surfaces=(PLAIN,), owner=1)),
        objects=(item,),
        lights=(Light(place=(0, 0, 8), distant=False, colour=(0.8, 0.8, 0.8)),),
        atmosphere=Atmosphere(ambient=(0.3, 0.3, 0.3)),
    )


@pytest.fixture(scope="module")
def drawn() -> list[Rendered]:
    return [render(sample_scene(seed, width=WIDTH, height=HEIGHT)) for seed in range(12)]


def test_depth_of_a_ball_and_a_wall_is_exact() -> None:
    scene = ball_on_a_wall()
    result = render(scene)
    rays = scene.camera.rays(WIDTH, HEIGHT).astype(np.float64)
    length2 = (rays**2).sum(axis=0)
    along = rays[1] * 5
    root = along**2 - length2 * (25 - 1)
    expected = np.where(root > 0, (along - np.sqrt(np.maximum(root, 0))) / length2, 10.0)
    safe = np.abs(root) > 1e-3  # pixels whose ray grazes the ball may go either way
    np.testing.assert_allclose(result.depth_m[safe], expected[safe], rtol=1e-5)
    np.testing.assert_array_equal(result.instance[safe], (root > 0)[safe])


def test_the_ball_throws_light_and_shadow() -> None:
    image = render(ball_on_a_wall()).image.astype(int).sum(axis=2)
    top, bottom = image[HEIGHT // 2 - 12, WIDTH // 2], image[HEIGHT // 2 + 12, WIDTH // 2]
    assert top > bottom + 60


def test_boxes_counts_and_distances_agree_with_the_instances(drawn: list[Rendered]) -> None:
    for result in drawn:
        for item in result.objects:
            mask = result.instance == item.id
            assert item.visible_px == mask.sum()
            assert item.visible_px <= item.full_px
            if item.visible_px:
                rows, columns = np.nonzero(mask)
                box_px = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                assert item.bbox_px == box_px
                assert item.distance_m == pytest.approx(np.median(result.depth_m[mask]))
                assert item.truncated == (
                    0 in box_px[:2] or box_px[2] == WIDTH or box_px[3] == HEIGHT
                )


def test_arrays_have_their_declared_form(drawn: list[Rendered]) -> None:
    for result in drawn:
        assert (result.image.shape, result.image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
        assert (result.depth_m.dtype, result.instance.dtype) == (np.float32, np.int16)
        assert np.isfinite(result.depth_m).all()
        assert (result.depth_m > 0).all()
        assert set(np.unique(result.instance)) <= {0, *(item.id for item in result.objects)}


def digest(seed: int) -> str:
    result = render(sample_scene(seed, width=WIDTH, height=HEIGHT))
    arrays = (result.image, result.depth_m, result.instance)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_a_seed_gives_the_same_bytes_again_and_in_another_process() -> None:
    assert digest(5) == digest(5) != digest(6)
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "import hashlib\nfrom pearl_data.rendering import render, sample_scene\n"
        f"r = render(sample_scene(5, width={WIDTH}, height={HEIGHT}))\n"
        "b = b''.join(a.tobytes() for a in (r.image, r.depth_m, r.instance))\n"
        "print(hashlib.sha256(b).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(5)


def test_depth_does_not_depend_on_the_picture_size() -> None:
    scene = sample_scene(3, width=160, height=120)
    small, large = render(scene, 160, 120), render(scene, 480, 360)
    # Of 3x3 large pixels the middle one looks along the same ray as the small pixel.
    same = large.instance[1::3, 1::3] == small.instance
    assert same.mean() > 0.999
    gap = np.abs(large.depth_m[1::3, 1::3] / small.depth_m - 1)
    assert np.median(gap) < 1e-5
    assert np.quantile(gap, 0.99) < 1e-3
