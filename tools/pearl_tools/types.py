"""The records that a tool call consumes and produces: call, medium, observation.

All boxes are ``[x0, y0, x1, y1]``, origin at the top left, x to the right, y down, half open.
Three units occur and each field names its own: ``bbox`` is a fraction 0..1 of the named medium,
``*_px`` are integer pixels of the named medium, ``box_root`` is in pixels of the root image (the
original photograph or frame) and may be fractional below a zoom. Not here: pixels on disk
(:mod:`pearl_tools.media` opens them) and how a trajectory strings calls together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec

from pearl_tools.errors import ToolError
from pearl_tools.pixels import Pixels, pixel_sha256

MediumKind = Literal["image", "video", "frame", "crop", "zoom", "depth"]
#: Kinds whose pixels are uint8 RGB, so that any image tool applies to them.
PICTURE_KINDS: frozenset[MediumKind] = frozenset({"image", "frame", "crop", "zoom"})

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
#: Larger integers are not exact in every JSON reader, nor in float64.
MAX_NUMBER = 2**53 - 1
Integer = Annotated[int, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Number = Annotated[float, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]
#: Calls that one text, or one step of a trajectory, may make.
MAX_CALLS = 256
BoxPx = tuple[Integer, Integer, Integer, Integer]
Box = tuple[Number, Number, Number, Number]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything that is written to disk: frozen, named fields only, nothing unknown."""


class FramePosition(Record, frozen=True, kw_only=True):
    """Where in a video a frame lies."""

    index: Count
    pts_s: Number


class MediaRecord(Record, frozen=True, kw_only=True):
    """One picture, video or depth map of a trajectory, without its pixels.

    ``pixel_sha256`` is the hash of the exact array (dtype, shape, bytes; see
    :func:`pearl_tools.pixels.pixel_sha256`) before any storage; ``file_sha256`` that of the bytes
    stored as ``name_in_sample``. ``changes`` says what opening did to reach 8-bit RGB
    (``exif_orientation:6``, ``mode:CMYK``, ``frame:0/12`` ...).
    """

    id: Annotated[str, msgspec.Meta(pattern="^[a-z][0-9]+$")]
    kind: MediumKind
    width: Positive
    height: Positive
    pixel_sha256: Sha256
    file_sha256: Sha256 | None = None
    name_in_sample: str | None = None
    picture_in_sample: str | None = None
    parent: str | None = None
    box_root: Box | None = None
    frame: FramePosition | None = None
    changes: list[str] = []


class Adjustment(Record, frozen=True, kw_only=True):
    """One difference between the box that was asked for and the one that was used."""

    kind: Literal["clamped", "padded"]
    requested: Box
    effective: Box


class Resampling(Record, frozen=True, kw_only=True):
    """How a view was resized: the size it got and the filter used."""

    width: Positive
    height: Positive
    filter: str


class Region(Record, frozen=True, kw_only=True, tag="region", tag_field="kind"):
    """One region of one picture: the pixels taken, in that picture and in its root."""

    box_px: BoxPx
    box_root: Box
    adjustments: list[Adjustment] = []
    resampling: Resampling | None = None


class Frames(Record, frozen=True, kw_only=True, tag="frames", tag_field="kind"):
    """Frames of one video stream: indices in presentation order, times in seconds."""

    stream: Count
    indices: list[Count]
    pts_s: list[Number]


class Whole(Record, frozen=True, kw_only=True, tag="whole", tag_field="kind"):
    """The whole named media."""


#: The effective request: the part of its media that a call used.
Effective = Region | Frames | Whole


class ExecRecord(Record, frozen=True, kw_only=True):
    """What a call ran with. The last three are facts of one run: in shards they are null and live
    in the dataset's ``timings`` files, so that equal work gives equal bytes.
    """

    tool_version: str
    model_id: str | None = None
    weights_sha256: Sha256 | None = None
    libraries: dict[str, str] = {}
    device: str | None = None
    dtype: str | None = None
    seed: Integer | None = None
    cache: Literal["hit", "miss"] | None = None
    attempts: Positive | None = None
    duration_ms: Annotated[float, msgspec.Meta(ge=0, le=MAX_NUMBER)] | None = None


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request in our own dialect. ``arguments`` is the decoded object, or its JSON text."""

    id: str
    tool: str
    arguments: dict[str, Any] | str


@dataclass(frozen=True, kw_only=True)
class OpenedFacts:
    """What is known of a root picture as soon as it is open; its record adds the hashes."""

    id: str
    width: int
    height: int
    name_in_sample: str
    changes: list[str]
    kind: Literal["image"] = "image"
    parent: None = None
    frame: None = None

    @property
    def box_root(self) -> Box:
        """The whole of itself."""
        return (0.0, 0.0, float(self.width), float(self.height))


#: What checks and words need of a medium: its id, kind, size and place in the root.
MediaFacts = MediaRecord | OpenedFacts


@dataclass(frozen=True, kw_only=True)
class Medium:
    """A medium with its pixels: uint8 ``(height, width, 3)`` RGB, or float32 ``(height, width)``
    relative inverse depth, larger = nearer. ``file_bytes`` are the original bytes of a root.

    An opened picture makes its ``record`` when it is first asked for, because hashing the pixels
    takes half as long again as decoding them; whoever only looks or calls tools needs no hash.
    """

    facts: MediaFacts
    #: not compared: the record's ``pixel_sha256``, or the bytes of the file, stand for them
    pixels: Pixels = field(compare=False)
    file_bytes: bytes | None = None
    file_suffix: str = ""

    @cached_property
    def record(self) -> MediaRecord:
        """The whole record, hashes included."""
        facts = self.facts
        if isinstance(facts, MediaRecord):
            return facts
        return MediaRecord(
            id=facts.id,
            kind=facts.kind,
            width=facts.width,
            height=facts.height,
            pixel_sha256=pixel_sha256(self.pixels),
            file_sha256=self._file_sha256,
            name_in_sample=facts.name_in_sample,
            box_root=facts.box_root,
            changes=facts.changes,
        )

    @property
    def content(self) -> tuple[str, str]:
        """A key of the pixels: equal keys, equal pixels. A picture's file stands for its pixels."""
        if isinstance(self.facts, MediaRecord):
            return ("pixels", self.facts.pixel_sha256)
        return ("file", self._file_sha256)

    @cached_property
    def _file_sha256(self) -> str:
        assert self.file_bytes is not None, "an opened picture keeps the bytes it came in"
        return hashlib.sha256(self.file_bytes).hexdigest()


#: What a call can refer to, by id.
MediaMap = Mapping[str, Medium]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one call returned: new media or one error, never both.

    ``exec`` is None where nothing ran (the call failed before execution).
    """

    call_id: str
    tool: str
    status: Literal["ok", "error"]
    media: Sequence[Medium] = ()
    effective: Effective | None = None
    text: str = ""
    error: ToolError | None = None
    exec: ExecRecord | None = None

    def to_record(self) -> ObservationRecord:
        """The observation without pixels, as ``tools run --json`` prints it."""
        return ObservationRecord(
            status=self.status,
            media=[m.record for m in self.media],
            effective=self.effective,
            text=self.text,
            error=self.error,
            exec=self.exec,
        )


class ObservationRecord(Record, frozen=True, kw_only=True):
    """The JSON form of an observation: one result of one call."""

    status: Literal["ok", "error"]
    media: list[MediaRecord]
    effective: Effective | None
    text: str
    error: ToolError | None
    exec: ExecRecord | None = None


class Coordinates(Record, frozen=True, kw_only=True):
    """A tool's declaration of how its coordinates are meant, so that no unit is ever guessed."""

    unit: Literal["fraction", "pixel", "per_mille"]
    box_form: Literal["xyxy", "xywh"] = "xyxy"
    origin: Literal["top_left"] = "top_left"
    index_base: Literal[0, 1] = 0


class ToolSpec(Record, frozen=True, kw_only=True):
    """A tool as a model sees it: its name, version, prompt and JSON Schema of arguments.

    ``arguments`` is accepted as is by the OpenAI function-calling (``parameters``) and MCP
    (``inputSchema``) conventions; ``coordinates`` is null for a tool that takes none.
    """

    name: str
    version: str
    description: str
    arguments: dict[str, Any]
    coordinates: Coordinates | None
    returns: str
