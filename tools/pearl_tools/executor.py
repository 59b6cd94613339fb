"""Runs tool calls for real: parse, schema, reference, geometry, execution, result, in this order.

A mistake that a caller could repair, or a picture that cannot be used, comes back as an observation
with one coded error. A broken machine or a bug of ours is an exception that stops the run. Results
are cached by content, duplicates in a batch run once, depth runs in batches of equal shape.
Left out: text of models (:mod:`pearl_tools.dialects` reads it) and storage.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

import numpy as np

from pearl_tools.arguments import check_arguments
from pearl_tools.cache import Product, ResultCache
from pearl_tools.depth import DepthModel, load_depth_model
from pearl_tools.errors import PearlError, ToolBug, ToolError, ToolFailure, fail, tool_error
from pearl_tools.geometry import OWN_NAMING, Naming
from pearl_tools.pixels import pixel_sha256
from pearl_tools.registry import find_tool
from pearl_tools.settings import ExecutorSettings
from pearl_tools.tool import CheckedCall, Tool
from pearl_tools.types import (
    PICTURE_KINDS,
    ExecRecord,
    MediaMap,
    MediaRecord,
    Medium,
    Observation,
    Pixels,
    ToolCall,
)

if TYPE_CHECKING:
    from pearl_tools.dialects.dialect import Dialect

__all__ = ["ExecutorSettings", "ToolExecutor"]

#: Pictures per forward pass of the depth model.
DEPTH_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One checked request on its way through execution."""

    call: ToolCall
    tool: Tool
    checked: CheckedCall
    new_id: str
    key: Hashable


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What execution gave for one key: a product or an error, and how long it took."""

    result: Product | ToolError
    duration_ms: float


class ToolExecutor:
    """The one way to run tools.

    ``depth_model`` replaces the model named in the settings (tests, other networks).

    >>> import io
    >>> from PIL import Image
    >>> from pearl_tools.media import open_image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (100, 80)).save(file, "PNG")
    >>> photo = open_image(file.getvalue())
    >>> call = ToolCall(id="c1", tool="crop", arguments={"image": "i0", "bbox": [0.5, 0.5, 1, 1]})
    >>> ToolExecutor().run(call, {"i0": photo}).effective.box_px
    (50, 40, 100, 80)
    """

    def __init__(
        self, settings: ExecutorSettings | None = None, *, depth_model: DepthModel | None = None
    ) -> None:
        self.settings = settings or ExecutorSettings()
        self._depth_model = depth_model
        self._cache = ResultCache(self.settings.cache_bytes)

    def depth_model(self) -> DepthModel:
        """The depth model, loaded once; raises ``ModelUnavailable`` where it cannot be."""
        if self._depth_model is None:
            self._depth_model = load_depth_model(
                self.settings.depth_model, device=self.settings.device
            )
        return self._depth_model

    def clear_cache(self) -> None:
        """Forget all results, so that the next calls compute again."""
        self._cache.clear()

    def run(self, call: ToolCall, media: MediaMap, *, naming: Naming = OWN_NAMING) -> Observation:
        """The observation of one call on ``media``; ``naming`` words its errors."""
        return self._run([(call, media, naming)])[0]

    def run_many(self, requests: Sequence[tuple[ToolCall, MediaMap]]) -> list[Observation]:
        """The observations of independent calls, in order, equal to :meth:`run` on each.

        Each request names its new medium from its own media map. Equal work is done once.
        """
        return self._run([(call, media, OWN_NAMING) for call, media in requests])

    def run_text(
        self, text: str, dialect: Dialect, media: MediaMap
    ) -> list[tuple[ToolCall | None, Observation]]:
        """Run every call in a model's ``text``: pairs of our call (None if unreadable) and result.

        Calls see the media that earlier ones in the text made. A text without any call gives one
        ``parse.no_call``, so that "no call" and "bad call" are never merged.
        """
        from pearl_tools.dialects.text import run_text

        return run_text(self, text, dialect, media)

    def _run(self, requests: Sequence[tuple[ToolCall, MediaMap, Naming]]) -> list[Observation]:
        prepared = [self._prepare(*request) for request in requests]
        jobs = [item for item in prepared if isinstance(item, _Job)]
        known: dict[Hashable, _Outcome] = {}
        for job in jobs:
            if job.key not in known:
                start = time.perf_counter()
                if (product := self._cache.get(job.key)) is not None:
                    known[job.key] = _Outcome(result=product, duration_ms=_ms_since(start))
        fresh = {job.key: job for job in jobs if job.key not in known}
        for batch in _batches(list(fresh.values())):
            known.update(self._execute(batch))
        first_use = set(fresh)
        observations: list[Observation] = []
        for item in prepared:
            if isinstance(item, Observation):
                observations.append(item)
                continue
            hit = item.key not in first_use
            first_use.discard(item.key)
            observations.append(self._observe(item, known[item.key], "hit" if hit else "miss"))
        return observations

    def _prepare(self, call: ToolCall, media: MediaMap, naming: Naming) -> _Job | Observation:
        """The stages before execution: a job, or the observation of the first failure."""
        try:
            tool = find_tool(call.tool)
            arguments = check_arguments(tool.spec.arguments, tool.validator, call.arguments)
            if tool.check_combination:
                tool.check_combination(arguments, naming)
            medium = _find_picture(arguments["image"], media, call.tool, naming)
            effective = tool.check(arguments, medium.record, self.settings, naming)
        except ToolFailure as failure:
            return Observation(call_id=call.id, tool=call.tool, status="error", error=failure.error)
        model = self.depth_model() if tool.uses_depth_model else None
        key = (
            tool.spec.name,
            tool.spec.version,
            medium.record.pixel_sha256,
            effective.box_px,
            effective.resampling and (effective.resampling.width, effective.resampling.height),
            model and (model.model_id, model.weights_sha256, model.device, model.dtype),
        )
        return _Job(
            call=call,
            tool=tool,
            checked=CheckedCall(medium=medium, effective=effective),
            new_id=next_id(media),
            key=key,
        )

    def _execute(self, batch: list[_Job]) -> dict[Hashable, _Outcome]:
        """Run one batch of one tool; keep good products, return every outcome by key."""
        tool = batch[0].tool
        start = time.perf_counter()
        try:
            made = tool.execute([job.checked for job in batch], self)
        except ToolFailure as failure:
            if len(batch) > 1:  # find the one to blame
                return {key: o for job in batch for key, o in self._execute([job]).items()}
            return {batch[0].key: _Outcome(result=failure.error, duration_ms=_ms_since(start))}
        except PearlError:
            raise
        except Exception as error:
            raise _stop(error, batch) from error
        if len(made) != len(batch):
            raise ToolBug(f"{_where(batch)}: expected {len(batch)} results, got {len(made)}")
        each_ms = _ms_since(start) / len(batch)
        outcomes: dict[Hashable, _Outcome] = {}
        for job, pixels in zip(batch, made, strict=True):
            result = _check_result(job, pixels)
            if isinstance(result, Product):
                self._cache.put(job.key, result)
            outcomes[job.key] = _Outcome(result=result, duration_ms=each_ms)
        return outcomes

    def _observe(self, job: _Job, outcome: _Outcome, cached: Literal["hit", "miss"]) -> Observation:
        """The observation of one executed (or remembered) job, with its own ids and words."""
        facts = self._exec_record(job.tool, outcome.duration_ms, cached)
        if isinstance(outcome.result, ToolError):
            return Observation(
                call_id=job.call.id,
                tool=job.call.tool,
                status="error",
                effective=job.checked.effective,
                error=outcome.result,
                exec=facts,
            )
        pixels, digest = outcome.result
        source = job.checked.medium.record
        record = MediaRecord(
            id=job.new_id,
            kind=job.tool.returns_kind,
            width=pixels.shape[1],
            height=pixels.shape[0],
            pixel_sha256=digest,
            parent=source.id,
            box_root=job.checked.effective.box_root,
            frame=source.frame,
        )
        return Observation(
            call_id=job.call.id,
            tool=job.call.tool,
            status="ok",
            media=(Medium(record=record, pixels=pixels),),
            effective=job.checked.effective,
            text=job.tool.describe(job.checked, record),
            exec=facts,
        )

    def _exec_record(
        self, tool: Tool, duration_ms: float, cached: Literal["hit", "miss"]
    ) -> ExecRecord:
        model = self.depth_model() if tool.uses_depth_model else None
        return ExecRecord(
            tool_version=tool.spec.version,
            model_id=model.model_id if model else None,
            weights_sha256=model.weights_sha256 if model else None,
            libraries={name: _library_version(name) for name in tool.libraries},
            device=model.device if model else "cpu",
            dtype=model.dtype if model else "uint8",
            seed=self.settings.seed if model else None,
            cache=cached,
            attempts=1,
            duration_ms=round(duration_ms, 3),
        )


def next_id(media: MediaMap) -> str:
    """The id of the next result: ``o1`` where there is none yet."""
    number = 1 + sum(name.startswith("o") for name in media)
    while f"o{number}" in media:
        number += 1
    return f"o{number}"


def _find_picture(name: str, media: MediaMap, tool: str, naming: Naming) -> Medium:
    """The medium called ``name``, which must be a picture; raises ``reference.*``."""
    pictures = [m.record.id for m in media.values() if m.record.kind in PICTURE_KINDS]
    path = naming.path("image")
    if name not in media:
        expected = "one of " + ", ".join(media) if media else "a medium, but there is none"
        raise fail("reference.unknown_medium", path, expected, name, "use the id of a medium")
    medium = media[name]
    if medium.record.kind not in PICTURE_KINDS:
        raise fail(
            "reference.wrong_kind",
            path,
            f"a picture ({', '.join(pictures)})",
            f"{name}, a {medium.record.kind}",
            f"{tool} works on pictures; for a {medium.record.kind}, name the picture it is of"
            + (f" ({medium.record.parent})" if medium.record.parent else ""),
        )
    return medium


def _batches(jobs: list[_Job]) -> list[list[_Job]]:
    """Jobs one by one, except those of the depth model: by shape, at most :data:`DEPTH_BATCH`."""
    alone = [[job] for job in jobs if not job.tool.uses_depth_model]
    by_shape: dict[tuple[int, ...], list[_Job]] = {}
    for job in jobs:
        if job.tool.uses_depth_model:
            by_shape.setdefault(job.checked.medium.pixels.shape, []).append(job)
    return alone + [
        group[i : i + DEPTH_BATCH]
        for group in by_shape.values()
        for i in range(0, len(group), DEPTH_BATCH)
    ]


def _check_result(job: _Job, pixels: Pixels) -> Product | ToolError:
    """The result stage: shape and dtype are our promise (a bug if broken), values are checked."""
    box_px, resampling = job.checked.effective.box_px, job.checked.effective.resampling
    is_map = job.tool.returns_kind == "depth"
    size = (box_px[3] - box_px[1], box_px[2] - box_px[0])
    if resampling:
        size = (resampling.height, resampling.width)
    fits = (
        isinstance(pixels, np.ndarray)
        and pixels.dtype == (np.float32 if is_map else np.uint8)
        and (pixels.ndim == 2 and pixels.size > 0 if is_map else pixels.shape == (*size, 3))
    )
    if not fits:
        wanted = "float32 (height, width)" if is_map else f"uint8 {(*size, 3)}"
        got = f"{getattr(pixels, 'dtype', type(pixels).__name__)} {getattr(pixels, 'shape', '')}"
        raise ToolBug(f"{_where([job])}: expected {wanted}, got {got}")
    if is_map and not np.isfinite(pixels).all():
        bad = int(pixels.size - np.isfinite(pixels).sum())
        return tool_error(
            "result.not_finite",
            "result.media[0]",
            "finite values",
            f"{bad} of {pixels.size} values are not finite",
            "the depth model fails on this picture; leave the picture out or take another model",
        )
    exact = pixels if pixels.flags.c_contiguous else pixels.copy()
    exact.setflags(write=False)
    return Product(exact, pixel_sha256(exact))


def _stop(error: Exception, batch: list[_Job]) -> PearlError:
    """The exception that stops the run: a machine out of memory, or our own bug."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return PearlError(f"execution.out_of_memory: {_where(batch)}: {error}")
    return ToolBug(f"{_where(batch)}: {type(error).__name__}: {error}")


def _where(batch: list[_Job]) -> str:
    job = batch[0]
    record = job.checked.medium.record
    return (
        f"tool {job.tool.spec.name} {job.tool.spec.version}, call {job.call.id} on {record.id} "
        f"({record.width}x{record.height} px, pixels {record.pixel_sha256[:12]})"
    )


@cache
def _library_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
