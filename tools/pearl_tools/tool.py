"""The contract of a tool: all information that the toolkit uses about it.

A tool is one module with one subclass of :class:`Tool`, and one line in the registry. Executor,
validation, replay, audit, reports and chat use this interface, never the name of a tool. A tool
is stateless: results depend only on the call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import jsonschema_rs
import msgspec

from pearl_tools.depth import DepthModel
from pearl_tools.errors import ToolError, ToolFailure, fail, listed, tool_error
from pearl_tools.geometry import OWN_NAMING, Naming
from pearl_tools.pixels import Pixels
from pearl_tools.settings import ExecutorSettings
from pearl_tools.types import (
    PICTURE_KINDS,
    Box,
    Effective,
    FramePosition,
    MediaFacts,
    MediaRecord,
    Medium,
    MediumKind,
    ToolSpec,
    Whole,
)

_ANY_SIZE = ExecutorSettings(min_side_px=1)
#: Kinds of evidence from a result: a close view of a region, or distances.
Evidence = Literal["view", "depth"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """A call whose arguments fit the tool's schema and name media that exist; no pixels yet.

    ``sources`` are the named media, in the order of :attr:`Tool.media`.
    """

    arguments: dict[str, Any]
    sources: tuple[MediaFacts, ...]
    settings: ExecutorSettings
    naming: Naming = OWN_NAMING

    @property
    def source(self) -> MediaFacts:
        """The first named medium."""
        return self.sources[0]


@dataclass(frozen=True, kw_only=True)
class CheckedCall:
    """A request that passed every check, with the pixels of its media."""

    arguments: dict[str, Any]
    media: tuple[Medium, ...]
    effective: Effective

    @property
    def medium(self) -> Medium:
        """The first named medium."""
        return self.media[0]


class Output(NamedTuple):
    """One medium that a call makes: its kind, its parent, and its size if fixed."""

    kind: MediumKind
    parent: str
    box_root: Box | None = None
    width: int | None = None
    height: int | None = None
    frame: FramePosition | None = None


class Result(NamedTuple):
    """The pixels of a call's outputs, in order, and the text of a tool that returns text.

    uint8 ``(height, width, 3)`` RGB, or float32 ``(height, width)`` for a depth map.
    """

    pixels: tuple[Pixels, ...] = ()
    text: str = ""


class Tolerance(NamedTuple):
    """Largest difference at replay, as a share 0..1 of the recorded values' range."""

    same_device: float
    other_device: float


class ToolContext(Protocol):
    """Resources of the executor that a tool may use while it runs."""

    def depth_model(self) -> DepthModel:
        """The depth model, loaded at its first use."""
        ...


#: Settings for a tool that does not depend on settings.
_ANY_SETTINGS = ExecutorSettings(min_side_px=1)


class Tool(ABC):
    """One tool. Subclasses set the class attributes and implement the abstract methods.

    Attributes:
        spec: name, version, prompt and JSON Schema of the arguments.
        media: arguments that name media (an id, or a list of ids) and the kinds they accept.
        effects: the kind of effective request that :meth:`check` gives.
        shows: evidence that a successful call gives; None if an answer cannot rest on it.
        libraries: distributions whose version can change the result.
        uses_depth_model: the result depends on the depth model.
        batch_size: calls of one :meth:`batch_key` that run together at most.
        tolerance: None if replay must give equal pixels.

    """

    spec: ClassVar[ToolSpec]
    media: ClassVar[Mapping[str, frozenset[MediumKind]]] = {"image": PICTURE_KINDS}
    effects: ClassVar[type[Effective]] = Whole
    shows: ClassVar[Evidence | None] = None
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    uses_depth_model: ClassVar[bool] = False
    batch_size: ClassVar[int] = 1
    tolerance: ClassVar[Tolerance | None] = None

    def check_arguments(  # noqa: B027 - most tools need none
        self, arguments: dict[str, Any], naming: Naming = OWN_NAMING
    ) -> None:
        """Rules of the schema stage that JSON Schema cannot say; raises ``ToolFailure``."""

    @abstractmethod
    def check(self, request: Request) -> Effective:
        """The effective request: the part of the media that the call uses.

        A pure function without pixels, so that it can check stored records. Raises ``ToolFailure``.
        """

    @abstractmethod
    def outputs(self, effective: Effective, sources: Sequence[MediaFacts]) -> list[Output]:
        """The media that the call makes, in order; empty for a tool that returns text."""

    @abstractmethod
    def run(self, calls: Sequence[CheckedCall], context: ToolContext) -> list[Result]:
        """One result for each call, in order. Raises ``ToolFailure`` for media it cannot use."""

    def describe(self, call: CheckedCall, made: Sequence[MediaRecord], text: str) -> str:
        """The words of the observation; ``text`` is the text of the result."""
        return text

    def cache_key(self, call: CheckedCall) -> Hashable:
        """The cache key: equal keys mean equal results. Media and depth model are added to it."""
        return msgspec.json.encode([call.arguments, call.effective], order="sorted")

    def batch_key(self, call: CheckedCall) -> Hashable:
        """Calls with equal keys may run in one batch, at most :attr:`batch_size`."""
        return call.medium.pixels.shape if call.media else None

    def settings_of(self, effective: Effective) -> ExecutorSettings:
        """Settings that may have given ``effective``.

        A record is checked without the settings of its run. Raises ``UsageError`` if none fit.
        """
        return _ANY_SETTINGS

    def check_record(
        self, arguments: dict[str, Any], sources: tuple[MediaFacts, ...], recorded: Effective
    ) -> Iterator[ToolError]:
        """Errors of a stored call, whose ``recorded`` effect must follow from its arguments.

        Paths are relative to the call. Raises ``UsageError`` like :meth:`settings_of`.
        """
        if not isinstance(recorded, self.effects):
            kinds = [str(each.__struct_config__.tag) for each in (self.effects, recorded)]
            yield tool_error("result.box_mismatch", "effective.kind", *kinds)
            return
        settings = self.settings_of(recorded)
        request = Request(arguments=arguments, sources=sources, settings=settings)
        try:
            self.check_arguments(arguments)
            computed = self.check(request)
        except ToolFailure as failure:
            yield failure.error
            return
        if computed != recorded:
            yield from self.differences(computed, recorded)

    def differences(self, computed: Effective, recorded: Effective) -> Iterator[ToolError]:
        """Errors of a ``recorded`` effect that differs from the ``computed`` one."""
        shown = [msgspec.json.encode(each).decode() for each in (computed, recorded)]
        yield tool_error("result.box_mismatch", "effective", *shown)

    def named_media(self, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
        """(JSON path below ``arguments``, id) of every medium that ``arguments`` name."""
        named: list[tuple[str, str]] = []
        for argument in self.media:
            value = arguments.get(argument)
            if isinstance(value, str):
                named.append((argument, value))
            elif isinstance(value, list):
                named += [
                    (f"{argument}[{i}]", v) for i, v in enumerate(value) if isinstance(v, str)
                ]
        return named

    def kinds_of(self, path: str) -> frozenset[MediumKind]:
        """The kinds that the argument at ``path`` accepts, a path from :meth:`named_media`."""
        return self.media[path.partition("[")[0]]

    @cached_property
    def validator(self) -> jsonschema_rs.Draft202012Validator:
        """A compiled validator of the arguments."""
        return jsonschema_rs.Draft202012Validator(self.spec.arguments)


def find_media(
    tool: Tool, arguments: dict[str, Any], media: Mapping[str, Medium], naming: Naming
) -> tuple[Medium, ...]:
    """The media that ``arguments`` name; raises ``reference.*`` in the words of ``naming``."""
    found: list[Medium] = []
    for path, name in tool.named_media(arguments):
        argument, bracket, index = path.partition("[")
        where = f"{naming.path(argument)}{bracket}{index}"
        medium = media.get(name)
        if medium is None:
            known = ", ".join(map(naming.medium, media))
            expected = f"one of {known}" if known else "a medium, but there is none"
            raise fail("reference.unknown_medium", where, expected, name, "use the id of a medium")
        facts, kinds = medium.facts, tool.kinds_of(path)
        if facts.kind not in kinds:
            usable = [naming.medium(m.facts.id) for m in media.values() if m.facts.kind in kinds]
            wanted = "picture" if kinds <= PICTURE_KINDS else " or ".join(sorted(kinds))
            parent = f" ({naming.medium(facts.parent)})" if facts.parent else ""
            hint = f"; for a {facts.kind}, name the picture it is of{parent}"
            raise fail(
                "reference.wrong_kind",
                where,
                f"a {wanted} ({listed(usable, 8)})",
                f"{naming.medium(name)}, a {facts.kind}",
                f"{naming.tool or tool.spec.name} works on {wanted}s"
                + (hint if wanted == "picture" else ""),
            )
        found.append(medium)
    return tuple(found)


IMAGE_ARGUMENT = {
    "type": "string",
    "pattern": "^[a-z][0-9]+$",
    "description": "Id of the picture, e.g. i0 for the first one or o1 for the first result.",
}
