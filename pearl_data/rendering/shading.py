"""From hits to an RGB picture: textures, lights with shadows, contact darkening, fog, exposure,
film grain.

Light is added up in a roughly linear space (square of the stored value). Leaves out reflections
between surfaces.
"""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from pearl_data.rendering.caster import Hits, lit
from pearl_data.rendering.scene import Light, Scene, Surface
from pearl_data.rendering.solids import Floats
from pearl_data.rendering.textures import TextureBank

_SHADOW_DEPTH: Final = np.float32(0.88)


def shade(scene: Scene, hits: Hits, bank: TextureBank) -> npt.NDArray[np.uint8]:
    """The picture, uint8 (H, W, 3) RGB, that belongs to `hits`."""
    height, width = hits.depth_m.shape
    depth = hits.depth_m.reshape(-1)
    part = hits.part.reshape(-1)
    rays = hits.rays.reshape(3, -1)
    points = rays * depth + scene.camera.position[:, None]
    normals, albedo, gloss, glow = _materials(scene, hits, bank, points)
    light = _ambient(scene, hits, points, normals)
    shine = np.zeros_like(light)
    for source in scene.lights:
        towards, strength = _towards(source, points)
        cosine = normals[0] * towards[0] + normals[1] * towards[1] + normals[2] * towards[2]
        visible = lit(scene, source, points, cosine > 0, part)
        soft = _soften(visible.reshape(height, width), source.softness_px * width / 640).reshape(-1)
        reached = strength * (1 - _SHADOW_DEPTH * (1 - soft))
        diffuse = reached * np.maximum(cosine, 0)
        for channel in range(3):
            light[channel] += diffuse * np.float32(source.colour[channel])
        shiny = np.flatnonzero((gloss > 0) & visible)
        if shiny.size:
            view = -rays[:, shiny] / np.sqrt((rays[:, shiny] ** 2).sum(axis=0))
            middle = view + towards[:, shiny]
            middle /= np.sqrt((middle**2).sum(axis=0))
            peak = np.maximum((middle * normals[:, shiny]).sum(axis=0), 0) ** 40
            for channel in range(3):
                shine[channel, shiny] += (
                    peak * gloss[shiny] * reached[shiny] * np.float32(source.colour[channel])
                )
    value = albedo * (light * (1 - glow) + glow) + shine
    picture = np.ascontiguousarray(np.moveaxis(value.reshape(3, height, width), 0, 2))
    return _film(scene, hits, picture)


def _materials(
    scene: Scene, hits: Hits, bank: TextureBank, points: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Normals (3, N), linear albedo (3, N), gloss (N) and glow (N) of every pixel."""
    height, width = hits.depth_m.shape
    count = height * width
    normals, albedo = np.zeros((3, count), np.float32), np.zeros((3, count), np.float32)
    gloss, glow = np.zeros(count, np.float32), np.zeros(count, np.float32)
    pixel_m = np.float32(1 / scene.camera.focal_px(width))
    depth = hits.depth_m.reshape(-1)
    rays = hits.rays.reshape(3, -1)
    for index, part in enumerate(scene.parts):
        rect = hits.rects[index]
        if not rect.area:
            continue
        seen = hits.part[rect.y0 : rect.y1, rect.x0 : rect.x1] == index
        rows, columns = np.nonzero(seen)
        pixels = (rows + rect.y0) * width + columns + rect.x0
        if not pixels.size:
            continue
        normal, uv_m, face = part.solid.surface(points[:, pixels])
        if part.shell:
            normal = -normal
        normals[:, pixels] = normal
        ray = rays[:, pixels]
        slant = np.abs((ray * normal).sum(axis=0)) / np.sqrt((ray**2).sum(axis=0))
        footprint_m = (
            depth[pixels] * pixel_m / np.maximum(slant, np.float32(0.15)) ** np.float32(0.6)
        )
        for number, surface in enumerate(part.surfaces):
            if len(part.surfaces) == 1:
                target, where, footprint = pixels, uv_m, footprint_m
            else:
                own = np.flatnonzero(face == number)
                target, where, footprint = pixels[own], uv_m[:, own], footprint_m[own]
                if not target.size:
                    continue
            albedo[:, target] = _paint(surface, bank, where, footprint)
            gloss[target] = surface.gloss
            glow[target] = surface.glow
    return normals, albedo, gloss, glow


def _paint(surface: Surface, bank: TextureBank, uv_m: Floats, footprint_m: Floats) -> Floats:
    """Linear albedo (3, N)."""
    uv = uv_m / np.float32(surface.tile_m) + np.array(surface.offset, np.float32)[:, None]
    value = bank.sample(surface.texture, uv, footprint_m / np.float32(surface.tile_m))
    first = np.array(surface.colour, np.float32)[:, None]
    if value.ndim == 2:
        return (first * value.T) ** 2
    second = np.array(surface.second, np.float32)[:, None]
    return (first + (second - first) * value) ** 2


def _ambient(scene: Scene, hits: Hits, points: Floats, normals: Floats) -> Floats:
    """Light from everywhere (3, N), a little less from below, darkened near objects that cover part
    of the view.
    """
    height, width = hits.depth_m.shape
    open_share = np.float32(0.78) + np.float32(0.22) * normals[2]
    cover = np.zeros((height, width), np.float32)
    grid_points = points.reshape(3, height, width)
    grid_normals = normals.reshape(3, height, width)
    for index, part in enumerate(scene.parts):
        if part.shell or part.plate:
            continue
        corners = part.solid.corners
        centre = corners.mean(axis=0)
        # A sphere of the same volume as the box, roughly; its solid angle is what it hides of the
        # sky.
        extent = np.prod(np.maximum(np.ptp(corners, axis=0), 0.02)) ** (1 / 3) * 0.6
        reach = np.float32(3.0 * extent)
        rect = scene.camera.rect(_cube(centre, float(reach)), width, height)
        if not rect.area:
            continue
        window = np.s_[rect.y0 : rect.y1, rect.x0 : rect.x1]
        dx, dy, dz = (centre[i] - grid_points[i][window] for i in range(3))
        gap2 = dx * dx + dy * dy + dz * dz
        facing = (
            dx * grid_normals[0][window]
            + dy * grid_normals[1][window]
            + dz * grid_normals[2][window]
        )
        distance = np.sqrt(np.maximum(gap2, np.float32(1e-6)))
        share = (
            np.maximum(facing, 0)
            / distance
            * (np.float32(extent) ** 2 / np.maximum(gap2, np.float32(extent) ** 2))
        )
        share = share * np.clip(2 - 2 * distance / reach, 0, 1) * (hits.part[window] != index)
        cover[window] += share
    open_share *= 1 - np.minimum(cover.reshape(-1), np.float32(0.75))
    ambient: Floats = np.array(scene.atmosphere.ambient, np.float32)[:, None] * open_share
    return ambient


def _cube(centre: Floats, half_m: float) -> Floats:
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    return centre + signs * np.float32(half_m)


def _towards(light: Light, points: Floats) -> tuple[Floats, Floats]:
    """Unit directions (3, N) to the light and its strength (N) before shadow and angle."""
    place = np.array(light.place, np.float32)[:, None]
    if light.distant:
        return np.broadcast_to(place, points.shape), np.ones(points.shape[1], np.float32)
    gap = place - points
    length2 = gap[0] * gap[0] + gap[1] * gap[1] + gap[2] * gap[2]
    reach2 = np.float32(light.reach_m**2)
    return gap / np.sqrt(length2), 2 * reach2 / (reach2 + length2)


def _soften(visible: npt.NDArray[np.bool_], radius_px: float) -> Floats:
    """The shadow mask as 0..1 with its edge blurred."""
    mask = visible.astype(np.float32)
    size = 2 * round(radius_px) + 1
    return mask if size <= 1 else np.asarray(cv2.blur(mask, (size, size)), np.float32)


def _film(scene: Scene, hits: Hits, picture: Floats) -> npt.NDArray[np.uint8]:
    """Fog, exposure, smoothed outlines, vignette and grain; linear light (H, W, 3) in, uint8
    out.
    """
    air = scene.atmosphere
    height, width = hits.depth_m.shape
    if air.fog_m > 0:
        clear = np.exp(-hits.depth_m / np.float32(air.fog_m))[..., None]
        picture = picture * clear + np.array(air.fog, np.float32) ** 2 * (1 - clear)
    picture = np.sqrt(np.clip(picture * np.float32(air.exposure), 0, 1))
    part = hits.part
    edge = np.zeros((height, width), np.bool_)
    across, down = part[:, 1:] != part[:, :-1], part[1:] != part[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    # One ray per pixel leaves stairs along outlines; there alone, a small blur stands in for more
    # rays.
    smooth = cv2.GaussianBlur(picture, (3, 3), 0.7)
    picture = np.where(edge[..., None], smooth, picture)
    if air.vignette > 0:
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
        picture = picture * (1 - np.float32(air.vignette / 2) * (x + y))[..., None]
    rng = np.random.default_rng((scene.seed, width, height))
    grain = rng.standard_normal((height, width), dtype=np.float32)[..., None] * np.float32(
        air.grain
    )
    return np.clip((picture + grain) * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
