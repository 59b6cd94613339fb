"""What a scene is: solids with surfaces, lights, air and a camera. Plain frozen records; nothing
here draws.

Leaves out how scenes are invented (`compose.py`) and how they become pixels (`caster.py`,
`shading.py`, `rendered.py`).
"""

from dataclasses import dataclass
from typing import Literal

from pearl_data.rendering.camera import Camera
from pearl_data.rendering.solids import Solid
from pearl_data.rendering.vocabulary import Colour, Pattern, Shape

Rgb = tuple[float, float, float]
Setting = Literal["room", "ground"]


@dataclass(frozen=True, kw_only=True)
class Surface:
    """How one face or one whole solid looks.

    Attributes:
        texture: a name that the scene's `TextureBank` knows.
        colour: sRGB 0..1 where a pattern is 0; the tint of a photograph.
        second: sRGB 0..1 where a pattern is 1.
        tile_m: edge of one texture tile, metres.
        offset: shift of the texture, tiles.
        gloss: strength of the highlight, 0..1.
        glow: share of the colour that needs no light, 0..1.

    """

    texture: str
    colour: Rgb
    second: Rgb
    tile_m: float
    offset: tuple[float, float] = (0.0, 0.0)
    gloss: float = 0.0
    glow: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One solid in the scene.

    Attributes:
        solid: its body.
        surfaces: one for the whole solid, or one per face of a `Convex`.
        owner: 0 for structure, k for object k.
        plate: it is the label of its owner.
        shell: it is seen from inside (the walls of a room) and throws no shadow.

    """

    solid: Solid
    surfaces: tuple[Surface, ...]
    owner: int = 0
    plate: bool = False
    shell: bool = False


@dataclass(frozen=True, kw_only=True)
class Light:
    """A light that throws shadows.

    Attributes:
        place: position in metres (`distant` false) or the direction towards the light, length one
            (`distant` true).
        colour: linear RGB strength; a point light has it at `reach_m` and fades softly with the
            distance.
        softness_px: radius, in pixels of a 640-pixel-wide picture, by which the shadow's edge is
            blurred.

    """

    place: tuple[float, float, float]
    distant: bool
    colour: Rgb
    reach_m: float = 5.0
    softness_px: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Atmosphere:
    """Light and air that belong to no place, and what the film does.

    Attributes:
        ambient: linear RGB light from everywhere.
        fog: sRGB 0..1 colour of the fog.
        fog_m: distance at which 63 % of the light is fog; 0 for clear air.
        exposure: factor on the linear light.
        grain: standard deviation of the film's noise, 0..1 of the full range.
        vignette: darkening of the corners, 0..1.

    """

    ambient: Rgb
    fog: Rgb = (0.7, 0.75, 0.8)
    fog_m: float = 0.0
    exposure: float = 1.0
    grain: float = 0.006
    vignette: float = 0.1


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One nameable object; its parts carry `id` as owner.

    Attributes:
        id: 1..n.
        shape, colour, pattern: its description.
        label: the character on its plate, or None.
        centre_m: world position of its middle.
        size_m: height of the object.

    """

    id: int
    shape: Shape
    colour: Colour
    pattern: Pattern
    label: str | None
    centre_m: tuple[float, float, float]
    size_m: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A whole scene, ready to be drawn.

    Attributes:
        seed: the seed it was sampled from; also seeds the film's noise.
        setting: a room or open ground.
        width, height: the picture size it was composed for, pixels.
        camera, lights, atmosphere: see their types.
        parts: every solid; the first is the shell.
        objects: the nameable objects in order of id.

    """

    seed: int
    setting: Setting
    width: int
    height: int
    camera: Camera
    parts: tuple[Part, ...]
    objects: tuple[SceneObject, ...]
    lights: tuple[Light, ...]
    atmosphere: Atmosphere
