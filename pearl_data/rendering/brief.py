"""What a caller may ask of a scene.

Leaves out how the request is met (`compose.py`) and checked in pixels (`checked.py`).
"""

from dataclasses import dataclass, field

from pearl_data.rendering.scene import Setting
from pearl_data.rendering.vocabulary import COLOURS, LABEL_CHARACTERS, SHAPES, Colour, Shape
from pearl_tools.errors import PearlError

MAX_OBJECTS = 12
SURFACE_SLACK = 1.08
"""How much a ratio of middles may exceed the ratio of visible surfaces."""


class SceneNotFoundError(PearlError):
    """No scene that meets the brief was found within the allowed tries."""


@dataclass(frozen=True, kw_only=True)
class ObjectBrief:
    """A wish for one object; what is None is drawn at random.

    Attributes:
        shape, colour: its description.
        label: True for a random character, or the character itself, or False for no plate.
        region: (x0, y0, x1, y1) in 0..1 of the picture: where its middle should lie.
        size_frac: (low, high) height in fractions of the picture's height; None for the default
            range.

    """

    shape: Shape | None = None
    colour: Colour | None = None
    label: bool | str = False
    region: tuple[float, float, float, float] | None = None
    size_frac: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.label, str) and (
            len(self.label) != 1 or self.label not in LABEL_CHARACTERS
        ):
            raise ValueError(f"label: expected one of {LABEL_CHARACTERS}, got {self.label!r}")
        if self.region is not None and not (
            0 <= self.region[0] < self.region[2] <= 1 and 0 <= self.region[1] < self.region[3] <= 1
        ):
            raise ValueError(
                f"region: expected 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1, got {self.region}"
            )


@dataclass(frozen=True, kw_only=True)
class SceneBrief:
    """A wish for a scene.

    Attributes:
        n_objects: how many objects, 1..12; None draws 3..8, or as many as `objects` names.
        objects: wishes for the first objects, in order of id; the rest are random.
        unique: no two objects share colour and shape, unless `objects` says so itself.
        near_far: (a, b) positions in `objects` (0-based): a is clearly nearer than b.
        near_far_ratio: how many times nearer the middle of a is at least, above 1.08; the drawn
            `distance_m`, measured on visible surfaces, may differ by up to 8 % less.
        setting: room or ground; None draws one.
        variety: `clean` keeps colours true to their words and structure pale; `wild` puts any
            texture and photograph anywhere, for training. In a wild scene `colour` is only a tint.
        decor: furniture, posters and the like.

    """

    n_objects: int | None = None
    objects: tuple[ObjectBrief, ...] = field(default=())
    unique: bool = True
    near_far: tuple[int, int] | None = None
    near_far_ratio: float = 1.35
    setting: Setting | None = None
    variety: str = "clean"
    decor: bool = True

    def __post_init__(self) -> None:
        count = len(self.objects) if self.n_objects is None else self.n_objects
        if (
            (self.n_objects is not None and count < 1)
            or count > MAX_OBJECTS
            or count < len(self.objects)
        ):
            raise ValueError(
                f"n_objects: expected 1..{MAX_OBJECTS} and at least the {len(self.objects)} given "
                f"in objects, got {count}"
            )
        if self.near_far is not None and not all(
            0 <= index < len(self.objects) for index in self.near_far
        ):
            raise ValueError(
                f"near_far: expected positions in objects (0..{len(self.objects) - 1}), "
                f"got {self.near_far}"
            )
        if not self.near_far_ratio > SURFACE_SLACK:
            raise ValueError(
                f"near_far_ratio: expected more than {SURFACE_SLACK}, got {self.near_far_ratio}"
            )
        if self.variety not in ("clean", "wild"):
            raise ValueError(f"variety: expected clean or wild, got {self.variety!r}")
        if self.unique and count > len(SHAPES) * len(COLOURS):
            raise ValueError("unique: more objects than descriptions")
