"""The execution and result stages: checked jobs in, products or coded errors out, by key.

Whatever a tool raises is sorted here, once: a coded failure is data; memory that runs out and every
other exception stop the run by name, because a caller could not repair them. Left out: caching and
the words of observations.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from pearl_tools.cache import Product
from pearl_tools.errors import PearlError, ToolBug, ToolError, ToolFailure, tool_error
from pearl_tools.pixels import Pixels, pixel_sha256
from pearl_tools.tool import CheckedCall, Tool, Workplace
from pearl_tools.types import ToolCall

#: Pictures per forward pass of the depth model.
DEPTH_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Job:
    """One checked request on its way through execution."""

    call: ToolCall
    tool: Tool
    checked: CheckedCall
    new_id: str
    key: Hashable


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What execution gave for one key: a product or an error, and how long it took."""

    result: Product | ToolError
    duration_ms: float


def batches(jobs: list[Job]) -> list[list[Job]]:
    """Jobs one by one, except those of the depth model: by shape, at most :data:`DEPTH_BATCH`."""
    alone = [[job] for job in jobs if not job.tool.uses_depth_model]
    by_shape: dict[tuple[int, ...], list[Job]] = {}
    for job in jobs:
        if job.tool.uses_depth_model:
            by_shape.setdefault(job.checked.medium.pixels.shape, []).append(job)
    return alone + [
        group[i : i + DEPTH_BATCH]
        for group in by_shape.values()
        for i in range(0, len(group), DEPTH_BATCH)
    ]


def execute(batch: list[Job], workplace: Workplace) -> dict[Hashable, Outcome]:
    """Run one batch of one tool. Raises ``ToolBug`` or ``PearlError`` where the run must stop."""
    tool = batch[0].tool
    start = time.perf_counter()
    try:
        made = tool.execute([job.checked for job in batch], workplace)
    except ToolFailure as failure:
        if len(batch) > 1:  # find the one to blame
            return {key: o for job in batch for key, o in execute([job], workplace).items()}
        return {batch[0].key: Outcome(result=failure.error, duration_ms=ms_since(start))}
    except PearlError:
        raise
    except Exception as error:
        raise _stop(error, batch) from error
    if len(made) != len(batch):
        raise ToolBug(f"{_where(batch)}: expected {len(batch)} results, got {len(made)}")
    each_ms = ms_since(start) / len(batch)
    return {
        job.key: Outcome(result=_check_result(job, pixels), duration_ms=each_ms)
        for job, pixels in zip(batch, made, strict=True)
    }


def _check_result(job: Job, pixels: Pixels) -> Product | ToolError:
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


def _stop(error: Exception, batch: list[Job]) -> PearlError:
    """The exception that stops the run: a machine out of memory, or our own bug."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return PearlError(f"execution.out_of_memory: {_where(batch)}: {error}")
    return ToolBug(f"{_where(batch)}: {type(error).__name__}: {error}")


def _where(batch: list[Job]) -> str:
    job = batch[0]
    medium = job.checked.medium
    facts = medium.facts
    return (
        f"tool {job.tool.spec.name} {job.tool.spec.version}, call {job.call.id} on {facts.id} "
        f"({facts.width}x{facts.height} px, pixels {medium.record.pixel_sha256[:12]})"
    )


def ms_since(start: float) -> float:
    """Milliseconds since ``start`` of the performance counter."""
    return (time.perf_counter() - start) * 1000
