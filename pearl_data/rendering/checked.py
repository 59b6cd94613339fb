"""A drawn scene that keeps its brief in pixels: every object can be seen, labels are whole, the
pair is apart.

`sample_scene` promises geometry; this module draws, looks, and tries the next scene of the same
seed if need be. Leaves out anything a caller can count itself, such as objects in a region.
"""

from collections.abc import Callable

from pearl_data.rendering.brief import SURFACE_SLACK, SceneBrief, SceneNotFoundError
from pearl_data.rendering.compose import sample_scene
from pearl_data.rendering.rendered import Rendered, render
from pearl_data.rendering.textures import TextureBank

_STRIDE = 1_000_003


def render_brief(
    seed: int,
    brief: SceneBrief | None = None,
    *,
    width: int = 640,
    height: int = 480,
    bank: TextureBank | None = None,
    min_visible: float = 0.5,
    min_object_px: int = 40,
    accept: Callable[[Rendered], bool] | None = None,
    tries: int = 30,
) -> Rendered:
    """The first drawn scene of this seed that passes all checks.

    Args:
        seed: as for `sample_scene`.
        brief: as for `sample_scene`.
        width: pixels.
        height: pixels.
        bank: as for `sample_scene`.
        min_visible: share of each object's pixels (within the frame) that must be seen, 0..1.
        min_object_px: visible pixels each object must have.
        accept: the caller's own check, for instance of counts in a region.
        tries: scenes to draw.

    Checked besides: at least 99 % of every label is seen, and the `distance_m` of the pair
    `near_far` differ by more than `near_far_ratio` / 1.08, that is 1.25 by default.

    Raises:
        SceneNotFoundError: none of `tries` scenes passed.

    """
    brief = brief or SceneBrief()
    for attempt in range(tries):
        try:
            scene = sample_scene(
                seed + attempt * _STRIDE, brief, width=width, height=height, bank=bank
            )
        except SceneNotFoundError:
            continue
        drawn = render(scene, width, height, bank=bank)
        if _keeps(drawn, brief, min_visible, min_object_px) and (accept is None or accept(drawn)):
            return drawn
    raise SceneNotFoundError(
        f"seed {seed}: none of {tries} scenes kept the brief in pixels; try another seed"
    )


def _keeps(drawn: Rendered, brief: SceneBrief, min_visible: float, min_object_px: int) -> bool:
    for item in drawn.objects:
        if item.visible_px < max(min_object_px, min_visible * item.full_px):
            return False
        if item.label is not None and item.label_visible < 0.99:
            return False
    if brief.near_far is None:
        return True
    near, far = (drawn.objects[index].distance_m for index in brief.near_far)
    return far > brief.near_far_ratio / SURFACE_SLACK * near
