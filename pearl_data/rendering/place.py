"""The empty place: walls or open ground, the camera in it, its lights and its air.

Leaves out what stands in it (`placement.py`, `decor.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pearl_data.rendering.camera import Camera, look
from pearl_data.rendering.materials import Painter
from pearl_data.rendering.scene import Atmosphere, Light, Part, Rgb, Setting, Surface
from pearl_data.rendering.solids import box, unit


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """A box of air with a camera in it.

    Attributes:
        setting: room or ground.
        low, high: opposite corners, metres; the floor is at z = 0.
        reach_m: depth up to which objects are put.
        shell, camera, lights, atmosphere: parts of the scene.

    """

    setting: Setting
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    reach_m: float
    shell: Part
    camera: Camera
    lights: tuple[Light, ...]
    atmosphere: Atmosphere


def sample_place(
    rng: np.random.Generator, setting: Setting, painter: Painter, *, wild: bool
) -> Place:
    """An empty place of this kind."""
    return (
        _ground(rng, painter, wild=wild) if setting == "ground" else _room(rng, painter, wild=wild)
    )


def _room(rng: np.random.Generator, painter: Painter, *, wild: bool) -> Place:
    scale = float(np.exp(rng.uniform(np.log(0.7), np.log(2.0))))
    width, depth = rng.uniform(4, 8) * scale, rng.uniform(5, 11) * scale
    height = rng.uniform(2.5, 4.6) * scale**0.7
    low, high = (-width / 2, 0.0, 0.0), (width / 2, depth, height)
    eye = (
        rng.uniform(-0.25, 0.25) * width,
        rng.uniform(0.03, 0.2) * depth,
        rng.uniform(0.14, 0.88) * height,
    )
    target = (
        rng.uniform(-0.25, 0.25) * width,
        rng.uniform(0.5, 0.8) * depth,
        rng.uniform(0.05, 0.9) * height,
    )
    camera = look(
        eye, target, roll_deg=float(rng.normal(0, 2.5)), hfov_deg=float(rng.uniform(46, 80))
    )
    wall = painter.wall(scale * 4)
    walls = [painter.wall(scale * 4) if rng.random() < 0.3 else wall for _ in range(4)]
    surfaces = (*walls, painter.floor(outdoors=False, scale_m=scale * 6), painter.wall(scale * 4))
    lights = []
    for _ in range(int(rng.integers(1, 3))):
        spot = (
            rng.uniform(-0.4, 0.4) * width,
            rng.uniform(0.1, 0.85) * depth,
            height * rng.uniform(0.85, 0.97),
        )
        lights.append((spot, False))
    if rng.random() < 0.4:
        lights.append(
            (
                tuple(
                    unit((rng.choice([-1, 1]) * rng.uniform(0.5, 1.5), rng.uniform(-1.2, 0.1), 1.0))
                ),
                True,
            )
        )
    return Place(
        setting="room",
        low=low,
        high=high,
        reach_m=float(depth - eye[1]),
        shell=_shell(low, high, surfaces),
        camera=camera,
        lights=_lights(rng, lights, reach_m=0.6 * depth, wild=wild),
        atmosphere=_atmosphere(rng, hazy=False, reach_m=depth, wild=wild),
    )


def _ground(rng: np.random.Generator, painter: Painter, *, wild: bool) -> Place:
    half = rng.uniform(25, 60)
    low, high = (-half, -5.0, 0.0), (half, 1.4 * half, 0.9 * half)
    eye_z = float(np.exp(rng.uniform(np.log(0.5), np.log(6.0))))
    target = (rng.uniform(-3, 3), rng.uniform(7, 14), rng.uniform(-0.5, 3.5))
    camera = look(
        (0, 0, eye_z),
        target,
        roll_deg=float(rng.normal(0, 2.5)),
        hfov_deg=float(rng.uniform(46, 80)),
    )
    horizon, above = painter.sky(half)
    surfaces = (
        horizon,
        horizon,
        horizon,
        horizon,
        painter.floor(outdoors=True, scale_m=8.0),
        above,
    )
    sun = tuple(unit((rng.uniform(-1.3, 1.3), rng.uniform(-1.0, 0.8), rng.uniform(0.6, 1.6))))
    return Place(
        setting="ground",
        low=low,
        high=high,
        reach_m=float(rng.uniform(10, 24)),
        shell=_shell(low, high, surfaces),
        camera=camera,
        lights=_lights(rng, [(sun, True)], reach_m=10.0, wild=wild),
        atmosphere=_atmosphere(rng, hazy=bool(rng.random() < 0.4), reach_m=half, wild=wild),
    )


def _shell(
    low: tuple[float, float, float], high: tuple[float, float, float], surfaces: tuple[Surface, ...]
) -> Part:
    middle, half = (np.add(high, low) / 2), (np.subtract(high, low) / 2)
    return Part(solid=box(middle, half), surfaces=surfaces, shell=True)  # noqa: S604  no process


def _lights(
    rng: np.random.Generator,
    spots: Sequence[tuple[tuple[float, ...], bool]],
    *,
    reach_m: float,
    wild: bool,
) -> tuple[Light, ...]:
    shares = rng.dirichlet(np.full(len(spots), 2.0)) * rng.uniform(0.7, 1.0)
    spread = 0.14 if wild else 0.04
    lights = []
    for (spot, distant), share in zip(spots, shares, strict=True):
        r, g, b = (float(share * (1 + value)) for value in rng.normal(0, spread, 3).clip(-0.3, 0.3))
        x, y, z = (float(value) for value in spot)
        soft = float(rng.uniform(0, 5))
        lights.append(
            Light(
                place=(x, y, z),
                distant=distant,
                colour=(r, g, b),
                reach_m=reach_m,
                softness_px=soft,
            )
        )
    return tuple(lights)


def _atmosphere(rng: np.random.Generator, *, hazy: bool, reach_m: float, wild: bool) -> Atmosphere:
    base = rng.uniform(0.22, 0.5)
    r, g, b = (
        float(base * (1 + value))
        for value in rng.normal(0, 0.08 if wild else 0.03, 3).clip(-0.2, 0.2)
    )
    fog: Rgb = (0.75, 0.78, 0.82)
    return Atmosphere(
        ambient=(r, g, b),
        fog=fog,
        fog_m=float(reach_m * rng.uniform(1.0, 3.0))
        if hazy or (wild and rng.random() < 0.1)
        else 0.0,
        exposure=float(rng.uniform(0.6, 1.4) if wild else rng.uniform(0.9, 1.25)),
        grain=float(rng.uniform(0.0, 0.025) if wild else rng.uniform(0.003, 0.01)),
        vignette=float(rng.uniform(0, 0.3)),
    )
