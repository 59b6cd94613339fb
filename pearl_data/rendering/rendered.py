"""A scene as pixels with exact truth: picture, depth, instances, and what can be said of each
object.

Leaves out the choice of scenes; a picture is a pure function of the scene, the size and the texture
bank.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pearl_data.rendering.camera import Rect
from pearl_data.rendering.caster import Hits, cast
from pearl_data.rendering.scene import Scene, SceneObject
from pearl_data.rendering.shading import shade
from pearl_data.rendering.textures import TextureBank
from pearl_data.rendering.vocabulary import Colour, Pattern, Shape


@dataclass(frozen=True, kw_only=True)
class RenderedObject:
    """What the picture shows of one object.

    Attributes:
        id: its value in `Rendered.instance`.
        shape, colour, pattern: its description.
        label: the character printed on its plate, or None.
        label_bbox_px: half-open box of the plate's visible pixels, or None if no pixel of it is
            seen.
        label_visible: share of the plate's pixels that nothing covers, 0..1 (0 without a label).
        bbox_px: half-open box (x0, y0, x1, y1) of its visible pixels; all 0 if none is seen.
        visible_px: number of its visible pixels.
        full_px: pixels within the frame that it would have with nothing in front.
        distance_m: median z-depth over its visible pixels; nan if none is seen.
        truncated: it touches the border of the picture.

    """

    id: int
    shape: Shape
    colour: Colour
    pattern: Pattern
    label: str | None
    label_bbox_px: Rect | None
    label_visible: float
    bbox_px: Rect
    visible_px: int
    full_px: int
    distance_m: float
    truncated: bool

    @property
    def description(self) -> str:
        """Colour and shape, as in `red cube`."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Rendered:
    """A drawn scene.

    Attributes:
        image: uint8 (H, W, 3) RGB.
        depth_m: float32 (H, W), metres along the optical axis; finite and positive everywhere.
        instance: int16 (H, W), 0 for structure, k for object k.
        objects: in order of id, also those of which nothing is seen.

    """

    image: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    instance: npt.NDArray[np.int16]
    objects: tuple[RenderedObject, ...]


_DEFAULT_BANK = TextureBank()


def render(
    scene: Scene,
    width: int | None = None,
    height: int | None = None,
    *,
    bank: TextureBank | None = None,
) -> Rendered:
    """Draw a scene.

    Args:
        scene: from `sample_scene`.
        width: of the picture, pixels; by default what the scene was composed for.
        height: likewise. Keep the aspect ratio, or objects at the border leave the frame.
        bank: the bank the scene was sampled with, if it held photographs.

    The same scene, size and bank give the same bytes in any process on one kind of machine.

    """
    width = scene.width if width is None else width
    height = scene.height if height is None else height
    hits = cast(scene, width, height)
    image = shade(scene, hits, bank or _DEFAULT_BANK)
    owners = np.array([part.owner for part in scene.parts], np.int16)
    instance = owners[hits.part]
    objects = tuple(_describe(scene, item, hits, instance) for item in scene.objects)
    return Rendered(image=image, depth_m=hits.depth_m, instance=instance, objects=objects)


def _describe(
    scene: Scene, item: SceneObject, hits: Hits, instance: npt.NDArray[np.int16]
) -> RenderedObject:
    height, width = instance.shape
    mask = instance == item.id
    visible = int(mask.sum())
    bbox = _bounds(mask)
    plates = [
        index for index, part in enumerate(scene.parts) if part.plate and part.owner == item.id
    ]
    label_box, label_visible = None, 0.0
    if plates:
        plate_mask = np.isin(hits.part, plates)
        seen = int(plate_mask.sum())
        if seen:
            label_box = _bounds(plate_mask)
            label_visible = seen / max(hits.plate_px.get(item.id, 0), 1)
    return RenderedObject(
        id=item.id,
        shape=item.shape,
        colour=item.colour,
        pattern=item.pattern,
        label=item.label,
        label_bbox_px=label_box,
        label_visible=label_visible,
        bbox_px=bbox,
        visible_px=visible,
        full_px=hits.full_px.get(item.id, 0),
        distance_m=float(np.median(hits.depth_m[mask])) if visible else float("nan"),
        truncated=bool(
            visible and (bbox.x0 == 0 or bbox.y0 == 0 or bbox.x1 == width or bbox.y1 == height)
        ),
    )


def _bounds(mask: npt.NDArray[np.bool_]) -> Rect:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return Rect(0, 0, 0, 0)
    return Rect(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
