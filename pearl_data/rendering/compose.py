"""From a seed and a brief to a scene: place, objects with supports, labels, decoration.

Leaves out the check in pixels that everything can be seen (`checked.py`).
"""

from dataclasses import replace

import numpy as np

from pearl_data.rendering.brief import ObjectBrief, SceneBrief, SceneNotFoundError
from pearl_data.rendering.decor import furnish
from pearl_data.rendering.kit import sample_kit
from pearl_data.rendering.materials import Painter
from pearl_data.rendering.place import sample_place
from pearl_data.rendering.placement import Layout, Placed, try_place
from pearl_data.rendering.scene import Part, Scene, SceneObject
from pearl_data.rendering.shapes import build, label_plate
from pearl_data.rendering.textures import TextureBank
from pearl_data.rendering.vocabulary import COLOURS, LABEL_CHARACTERS, SHAPES, Colour, Shape

_ATTEMPTS = 40
_LABEL_PX = (14.0, 20.0)
_REFERENCE_WIDTH_PX = 640


def sample_scene(
    seed: int,
    brief: SceneBrief | None = None,
    *,
    width: int = 640,
    height: int = 480,
    bank: TextureBank | None = None,
) -> Scene:
    """A scene that meets the brief.

    Args:
        seed: 0 or more; the same seed, brief, size and bank give the same scene.
        brief: what to ask for; None asks for 3..8 random objects.
        width: of the picture that the scene is composed for, pixels.
        height: likewise.
        bank: textures; None for the procedural ones.

    Raises:
        SceneNotFoundError: the brief could not be met, for instance because its regions are too
            crowded.

    Example:
        >>> scene = sample_scene(7, SceneBrief(n_objects=4))
        >>> len(scene.objects)
        4

    """
    brief = brief or SceneBrief()
    bank = bank or TextureBank()
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng((seed, attempt))
        scene = _attempt(rng, seed, brief, width, height, bank)
        if scene is not None:
            return scene
    raise SceneNotFoundError(
        f"seed {seed}: no place for all objects of the brief in {_ATTEMPTS} attempts; "
        "ask for fewer objects, larger regions or another seed"
    )


def _attempt(
    rng: np.random.Generator,
    seed: int,
    brief: SceneBrief,
    width: int,
    height: int,
    bank: TextureBank,
) -> Scene | None:
    wild = brief.variety == "wild"
    kit = sample_kit(rng)
    painter = Painter(rng, bank, kit, wild=wild)
    setting = brief.setting or ("room" if rng.random() < 0.75 else "ground")
    wishes = _wishes(rng, brief)
    descriptions = _descriptions(rng, wishes, unique=brief.unique)
    place = sample_place(rng, setting, painter, wild=wild)
    layout = Layout(place=place, kit=kit, width=width, height=height)
    found: dict[int, Placed] = {}
    # Labelled objects first: the others then keep clear of them.
    for index in sorted(range(len(wishes)), key=lambda i: (not wishes[i].label, i)):
        allowed = _depth_range(brief, index, found, place.reach_m)
        item = try_place(rng, layout, wishes[index], descriptions[index][0], depth_range=allowed)
        if item is None:
            return None
        found[index] = item
        layout.placed.append(item)
    parts = [place.shell]
    objects = []
    for index, wish in enumerate(wishes):
        new_parts, item_object = _realise(
            rng, painter, found[index], descriptions[index], wish, index + 1, layout
        )
        parts += new_parts
        objects.append(item_object)
    if brief.decor:
        parts += furnish(rng, layout, painter, wild=wild)
    return Scene(
        seed=seed,
        setting=setting,
        width=width,
        height=height,
        camera=place.camera,
        parts=tuple(parts),
        objects=tuple(objects),
        lights=place.lights,
        atmosphere=place.atmosphere,
    )


def _wishes(rng: np.random.Generator, brief: SceneBrief) -> list[ObjectBrief]:
    count = brief.n_objects or max(int(rng.integers(3, 9)), len(brief.objects))
    if brief.objects and brief.n_objects is None:
        count = len(brief.objects)
    wishes = list(brief.objects) + [ObjectBrief()] * (count - len(brief.objects))
    taken = {wish.label for wish in wishes if isinstance(wish.label, str)}
    for index, wish in enumerate(wishes):
        if wish.label is True:
            free = [character for character in LABEL_CHARACTERS if character not in taken]
            character = free[int(rng.integers(len(free)))]
            taken.add(character)
            wishes[index] = replace(wish, label=character)
    return wishes


def _descriptions(
    rng: np.random.Generator, wishes: list[ObjectBrief], *, unique: bool
) -> list[tuple[Shape, Colour]]:
    """A shape and colour for each wish; what a wish fixes is kept, even twice."""
    result: list[tuple[Shape, Colour] | None] = [
        (wish.shape, wish.colour) if wish.shape is not None and wish.colour is not None else None
        for wish in wishes
    ]
    for index, wish in enumerate(wishes):
        if result[index] is not None:
            continue
        shapes = SHAPES if wish.shape is None else (wish.shape,)
        colours = COLOURS if wish.colour is None else (wish.colour,)
        free = [(s, c) for s in shapes for c in colours if not unique or (s, c) not in result]
        if not free:
            raise SceneNotFoundError(
                f"objects[{index}]: every description it allows is taken by another object"
            )
        result[index] = free[int(rng.integers(len(free)))]
    return [pair for pair in result if pair is not None]


def _depth_range(
    brief: SceneBrief, index: int, found: dict[int, Placed], reach_m: float
) -> tuple[float, float] | None:
    if brief.near_far is None:
        return None
    near, far = brief.near_far
    ratio = brief.near_far_ratio
    if index == near:
        return (0.0, found[far].depth_m / ratio) if far in found else (0.0, reach_m / ratio)
    if index == far and near in found:
        return (found[near].depth_m * ratio, reach_m)
    return None


def _realise(
    rng: np.random.Generator,
    painter: Painter,
    item: Placed,
    description: tuple[Shape, Colour],
    wish: ObjectBrief,
    number: int,
    layout: Layout,
) -> tuple[list[Part], SceneObject]:
    shape, colour = description
    surface, pattern = painter.object(colour)
    solid = build(shape, item.centre, item.size_m, item.yaw_rad)
    parts = [Part(solid=solid, surfaces=(surface,), owner=number)]
    label = wish.label if isinstance(wish.label, str) else None
    if label is not None:
        camera = layout.place.camera
        pixels = rng.uniform(*_LABEL_PX)
        edge = pixels / camera.focal_px(_REFERENCE_WIDTH_PX) * item.depth_m
        plate = label_plate(solid, shape, item.centre, item.size_m, edge, camera)
        parts.append(
            Part(solid=plate, surfaces=(painter.label(label, edge),), owner=number, plate=True)
        )
    if item.supports:
        held = painter.metal() if rng.random() < 0.3 else painter.furniture()
        parts += [Part(solid=support, surfaces=(held,)) for support in item.supports]
    x, y, z = (float(value) for value in item.centre)
    return parts, SceneObject(
        id=number,
        shape=shape,
        colour=colour,
        pattern=pattern,
        label=label,
        centre_m=(x, y, z),
        size_m=item.size_m,
    )
