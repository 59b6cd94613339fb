"""A deterministic CPU renderer of simple scenes with exact truth: depth, instances, labels.

A vectorised ray caster over analytic solids, in numpy and cv2 only. One seed gives one scene, one
scene gives one set of bytes. Leaves out meshes, reflections and everything that needs a GPU.

Example:
    >>> from pearl_data.rendering import ObjectBrief, SceneBrief, render_brief
    >>> wish = SceneBrief(n_objects=3, objects=(ObjectBrief(colour="red", label="K"),))
    >>> drawn = render_brief(3, wish)
    >>> drawn.image.shape, drawn.depth_m.dtype.name, drawn.objects[0].label
    ((480, 640, 3), 'float32', 'K')

"""

from pearl_data.rendering.brief import ObjectBrief, SceneBrief, SceneNotFoundError
from pearl_data.rendering.camera import Camera, Rect
from pearl_data.rendering.checked import render_brief
from pearl_data.rendering.compose import sample_scene
from pearl_data.rendering.rendered import Rendered, RenderedObject, render
from pearl_data.rendering.scene import Scene, SceneObject
from pearl_data.rendering.textures import TextureBank
from pearl_data.rendering.vocabulary import (
    COLOUR_RGB,
    COLOURS,
    LABEL_CHARACTERS,
    PATTERNS,
    SHAPES,
    Colour,
    Pattern,
    Shape,
)

__all__ = [
    "COLOURS",
    "COLOUR_RGB",
    "LABEL_CHARACTERS",
    "PATTERNS",
    "SHAPES",
    "Camera",
    "Colour",
    "ObjectBrief",
    "Pattern",
    "Rect",
    "Rendered",
    "RenderedObject",
    "Scene",
    "SceneBrief",
    "SceneNotFoundError",
    "SceneObject",
    "Shape",
    "TextureBank",
    "render",
    "render_brief",
    "sample_scene",
]
