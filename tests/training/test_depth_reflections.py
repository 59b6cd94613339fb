"""Planes that reflect in the training pictures of the depth network."""

from dataclasses import replace

import numpy as np
import pytest
from scripts import load_script

from pearl_data.rendering import Scene, TextureBank, render
from pearl_data.rendering.camera import look
from pearl_data.rendering.scene import Atmosphere, Light, Part, Surface
from pearl_data.rendering.solids import box

reflections = load_script("training/depth/reflections.py", neighbours=True)

SIZE = (128, 96)


def paint(*colour: float) -> tuple[Surface, ...]:
    rgb = (colour[0], colour[1], colour[2])
    return (Surface(texture="flat", colour=rgb, second=rgb, tile_m=1.0, glow=0.6),)


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A red cube with its foot on a grey floor, against a white wall."""
    room = Part(  # noqa: S604  no process
        solid=box((0, 2.5, 1.25), (2, 2.5, 1.25)), surfaces=paint(0.5, 0.5, 0.5), shell=True
    )
    cube = Part(solid=box((0, 3, 0.3), (0.3, 0.3, 0.3)), surfaces=paint(0.9, 0.05, 0.05), owner=1)
    return Scene(
        seed=0,
        setting="room",
        width=SIZE[0],
        height=SIZE[1],
        camera=look((0, 0.3, 1.0), (0, 3, 0.2)),
        parts=(room, cube),
        objects=(),
        lights=(Light(place=(0, 1, 2.3), distant=False, colour=(0.5, 0.5, 0.5)),),
        atmosphere=Atmosphere(ambient=(0.5, 0.5, 0.5), grain=0.0),
    )


def test_a_floor_shows_a_cube_upside_down_below_its_foot(scene: Scene) -> None:
    bank = TextureBank()
    drawn = render(scene, bank=bank)
    floor = reflections.Plane(
        np.array([0, 0, 1], np.float32), 0.0, drawn.instance == 0, upright=False
    )
    mirrored = render(reflections._mirrored(scene, floor), bank=bank).image.astype(float)
    red = mirrored[..., 0] - mirrored[..., 1] > 60
    # Points of the cube's front, mirrored in the floor, are where the mirror image shows red.
    inside = scene.camera.project([(x, 2.7, -z) for x in (-0.2, 0.2) for z in (0.1, 0.4)], *SIZE)
    outside = scene.camera.project([(x, 2.7, -0.2) for x in (-0.45, 0.45)], *SIZE)
    assert all(red[int(y), int(x)] for x, y, _ in inside)
    assert not any(red[int(y), int(x)] for x, y, _ in outside)


def test_a_wall_shows_what_is_behind_the_camera(scene: Scene) -> None:
    facing_away = replace(scene, camera=look((0, 4.0, 0.6), (0, 5.0, 0.55)))
    bank = TextureBank()
    assert not (render(facing_away, bank=bank).instance == 1).any()
    wall = reflections.Plane(
        np.array([0, -1, 0], np.float32), -5.0, np.ones(SIZE[::-1], bool), upright=True
    )
    shown = render(reflections._mirrored(facing_away, wall), bank=bank)
    assert (shown.instance == 1).mean() > 0.005


def test_only_the_planes_of_a_glossy_scene_change_and_its_truth_stays() -> None:
    bank, changed = TextureBank(), []
    for seed in range(3):
        glossy = reflections.draw_glossy(seed, bank, *SIZE)
        rng = np.random.default_rng((seed, 13))
        sample = (
            reflections.sample_interior
            if rng.random() < reflections.INTERIORS
            else reflections.sample_world
        )
        scene, plain = reflections.scene_worth_seeing(sample, 13, seed, bank, *SIZE)
        assert np.array_equal(glossy.depth_m, plain.depth_m)
        assert np.array_equal(glossy.instance, plain.instance)
        planes = reflections.planes(rng, scene, plain)
        # Outlines of a plane are blended over a pixel or two.
        seen = np.any([plane.seen for plane in planes], axis=0) if planes else np.zeros(1, bool)
        grown = seen.copy()
        if planes:
            grown[1:] |= seen[:-1]
            grown[:-1] |= seen[1:]
            grown[:, 1:] |= grown[:, :-1].copy()
            grown[:, :-1] |= grown[:, 1:].copy()
        other = (glossy.image != plain.image).any(axis=2)
        assert not (other & ~grown).any(), seed
        changed.append(other.any() == bool(planes))
        again = reflections.draw_glossy(seed, bank, *SIZE)
        assert np.array_equal(glossy.image, again.image)
    assert all(changed)
