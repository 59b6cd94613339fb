"""Interiors and worlds with something in them that reflects: floors, table tops, puddles, mirrors.

A plane reflects what a camera mirrored in it sees, so such a picture is two renders of one scene,
blended where the plane is seen. The truth is the plane, not what it shows. Leaves out curved
mirrors, and reflections of reflections.
"""

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from interiors import sample_interior
from worlds import sample_world, scene_worth_seeing

from pearl_data.rendering import Rendered, Scene, TextureBank, render
from pearl_data.rendering.camera import Camera
from pearl_data.rendering.scene import Part
from pearl_data.rendering.solids import Convex

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

INTERIORS = 0.6
"""Share of pictures that are an interior; the others are worlds."""
SEEN = 0.03
"""Least share of the picture that a plane must cover to be worth reflecting in."""
THIN_M = 0.2
"""What rises less than this above a plane lies on it, as rugs and roads do, and is not mirrored."""


class Plane(NamedTuple):
    """Where the plane is and which pixels show it.

    Attributes:
        normal: (3) unit vector into the room.
        offset_m: normal . point for the points of the plane, metres.
        seen: (H, W) the pixels that reflect.
        upright: a wall, not a floor or a top.

    """

    normal: Floats
    offset_m: float
    seen: Mask
    upright: bool


def draw_glossy(seed: int, bank: TextureBank, width: int, height: int) -> Rendered:
    """The picture and truth of glossy scene number `seed`, with one or two planes that reflect
    wherever it has any to offer.
    """
    rng = np.random.default_rng((seed, 13))
    sample = sample_interior if rng.random() < INTERIORS else sample_world
    scene, drawn = scene_worth_seeing(sample, 13, seed, bank, width, height)
    image = drawn.image
    offered = planes(rng, scene, drawn)
    for index in rng.permutation(len(offered))[: 1 if rng.random() < 0.7 else 2]:
        plane = offered[int(index)]
        mirrored = render(_mirrored(scene, plane), bank=bank).image
        image = _blend(rng, scene, plane, image, mirrored)
    return replace(drawn, image=image)


def planes(rng: np.random.Generator, scene: Scene, drawn: Rendered) -> list[Plane]:
    """Floor or ground (whole or in puddles), the largest table top, and a pane on each wall."""
    height, width = drawn.depth_m.shape
    rays = scene.camera.rays(width, height)
    points = scene.camera.position[:, None, None] + drawn.depth_m * rays
    corners = scene.parts[0].solid.corners
    low, high = corners.min(axis=0), corners.max(axis=0)
    structure = drawn.instance == 0
    outdoors = high[2] > 10
    level = points[2]
    ground = level < (0.16 if outdoors else 0.01)
    if outdoors or rng.random() < 0.25:
        ground &= _puddles(rng, points)
    up = np.array([0, 0, 1], np.float32)
    found = [Plane(up, 0.0, ground, upright=False)]
    top = _table_top(level[(level > 0.25) & (level < 1.4) & ~structure])
    if top is not None:
        found.append(Plane(up, top, np.abs(level - top) < 0.006, upright=False))
    if not outdoors:
        for axis, side in ((1, high), (0, low), (0, high)):
            normal = np.zeros(3, np.float32)
            normal[axis] = 1 if side is low else -1
            wall = structure & (np.abs(points[axis] - side[axis]) < 0.01)
            pane = wall & _pane(rng, points[1 - axis], level)
            found.append(Plane(normal, float(normal[axis] * side[axis]), pane, upright=True))
    return [plane for plane in found if plane.seen.mean() > SEEN]


def _table_top(levels: Floats) -> float | None:
    """The height at which most pixels of things lie, if a good part of them does."""
    if levels.size < 200:
        return None
    counts, edges = np.histogram(levels, bins=np.arange(0.25, 1.41, 0.01))
    best = int(counts.argmax())
    within = (levels >= edges[best]) & (levels < edges[best + 1])
    return float(np.median(levels[within])) if within.mean() > 0.2 else None


def _puddles(rng: np.random.Generator, points: Floats) -> Mask:
    """Patches of a level plane: where a sum of waves is high."""
    size_m = float(np.exp(rng.uniform(np.log(0.7), np.log(12))))
    total = np.zeros(points.shape[1:], np.float32)
    for _ in range(5):
        turn, shift = rng.uniform(0, 2 * np.pi, 2)
        pace = 2 * np.pi / size_m * rng.uniform(0.5, 2.0)
        along = points[0] * np.cos(turn) + points[1] * np.sin(turn)
        total += np.sin(along * np.float32(pace) + np.float32(shift))
    wet: Mask = total > rng.uniform(-2.5, 1.5)
    return wet


def _pane(rng: np.random.Generator, along: Floats, level: Floats) -> Mask:
    """A mirror, a window at night or a glazed picture: a rectangle on a wall."""
    wide, tall = rng.uniform(0.5, 2.4, 2)
    middle = rng.uniform(np.quantile(along, 0.1), np.quantile(along, 0.9))
    sill = rng.uniform(0.0, 1.2)
    inside: Mask = (np.abs(along - middle) < wide / 2) & (level > sill) & (level < sill + tall)
    return inside


def _mirrored(scene: Scene, plane: Plane) -> Scene:
    """The scene as the mirror image of its camera sees it, without what lies on or behind the
    plane.
    """
    camera = scene.camera
    away_m = float(camera.position @ plane.normal) - plane.offset_m
    flip = (np.eye(3) - 2 * np.outer(plane.normal, plane.normal)).astype(np.float32)
    position = camera.position - np.float32(2 * away_m) * plane.normal
    kept = [
        part
        for part in scene.parts[1:]
        if float((part.solid.corners @ plane.normal).max()) > plane.offset_m + THIN_M
    ]
    return replace(
        scene,
        camera=Camera(position, camera.axes @ flip, camera.hfov_deg),
        parts=(_deepened(scene.parts[0], plane.normal, away_m + 1), *kept),
    )


def _deepened(shell: Part, normal: Floats, by_m: float) -> Part:
    """The room with the wall behind the plane moved back, so that the mirrored camera is inside.

    Its corners stay, for textures are measured from their middle.
    """
    solid = shell.solid
    if not isinstance(solid, Convex):
        raise TypeError(f"a room is a box of flat walls, not {type(solid).__name__}")
    behind = solid.normals @ normal < -0.99
    offsets = solid.offsets + np.where(behind, np.float32(by_m), np.float32(0))
    return replace(shell, solid=replace(solid, offsets=offsets))


def _blend(
    rng: np.random.Generator,
    scene: Scene,
    plane: Plane,
    image: npt.NDArray[np.uint8],
    mirrored: npt.NDArray[np.uint8],
) -> npt.NDArray[np.uint8]:
    """The picture with the reflection in it: stronger the flatter the ray (Schlick, 1994), rough or
    rippled at random.
    """
    height, width = plane.seen.shape
    rays = scene.camera.rays(width, height)
    straight = np.abs(np.tensordot(plane.normal, rays, 1)) / np.sqrt((rays**2).sum(axis=0))
    least = rng.uniform(0.3, 0.95) if plane.upright else np.exp(rng.uniform(-3.9, -0.9))
    share = least + (1 - least) * (1 - straight) ** 5
    rough_px = float(rng.choice([0.0, rng.uniform(0.5, 1.5), rng.uniform(1.5, 5.0)]))
    if not plane.upright and rng.random() < 0.4:
        mirrored = _rippled(rng, mirrored)
    if rough_px:
        mirrored = np.asarray(cv2.GaussianBlur(mirrored, (0, 0), rough_px), np.uint8)
    # Wet ground and polished stone are darker themselves.
    own = np.float32(rng.uniform(0.4, 1.0)) * (1 - share)
    edge = cv2.GaussianBlur(plane.seen.astype(np.float32), (3, 3), 0.7)
    light = (image.astype(np.float32) / 255) ** 2
    shine = own[..., None] * light + share[..., None] * (mirrored.astype(np.float32) / 255) ** 2
    mixed = np.sqrt(light + edge[..., None] * (shine - light))
    return np.clip(mixed * 255 + np.float32(0.5), 0, 255).astype(np.uint8)


def _rippled(rng: np.random.Generator, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The picture moved up and down by small waves."""
    height, width = picture.shape[:2]
    coarse = rng.standard_normal((int(rng.integers(8, 48)), int(rng.integers(4, 16))))
    waves = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    moved = cv2.remap(
        picture,
        x,
        y + waves * np.float32(rng.uniform(0.5, 5.0)),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(moved, np.uint8)
