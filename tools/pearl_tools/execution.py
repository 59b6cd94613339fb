"""The execution and result stages: from checked jobs to products or coded errors, by key.

Exceptions of tools are handled only here: a coded failure is data; lack of memory and every other
exception stop the run, because a caller cannot repair them. Not here: caching and the words of
observations.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from pearl_tools.errors import PearlError, ToolBug, ToolError, ToolFailure, tool_error
from pearl_tools.pixels import Pixels, pixel_sha256
from pearl_tools.tool import CheckedCall, Output, Result, Tool, ToolContext
from pearl_tools.types import MediaMap, ToolCall


@dataclass(frozen=True, kw_only=True)
class Product:
    """The checked result of a call: read-only pixels with their hashes, and the words."""

    pixels: tuple[Pixels, ...]
    digests: tuple[str, ...]
    text: str

    @property
    def nbytes(self) -> int:
        """The size of all pixels in bytes."""
        return sum(array.nbytes for array in self.pixels)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One checked request on its way through execution."""

    call: ToolCall
    tool: Tool
    checked: CheckedCall
    outputs: list[Output]
    media: MediaMap
    key: Hashable


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What execution gave for one key: a product or an error, and how long it took."""

    result: Product | ToolError
    duration_ms: float


def batches(jobs: list[Job]) -> list[list[Job]]:
    """Run jobs of one tool and one batch key in batches of the tool's size; in order."""
    groups: dict[Hashable, list[Job]] = {}
    for job in jobs:
        if job.tool.batch_size > 1:
            key = (job.tool.spec.name, job.tool.batch_key(job.checked))
            groups.setdefault(key, []).append(job)
    alone = [[job] for job in jobs if job.tool.batch_size == 1]
    return alone + [
        group[i : i + group[0].tool.batch_size]
        for group in groups.values()
        for i in range(0, len(group), group[0].tool.batch_size)
    ]


def execute(batch: list[Job], context: ToolContext) -> dict[Hashable, Outcome]:
    """Run one batch of one tool. Raises ``ToolBug`` or ``PearlError`` where the run must stop."""
    tool = batch[0].tool
    start = time.perf_counter()
    try:
        made = tool.run([job.checked for job in batch], context)
    except ToolFailure as failure:
        if len(batch) > 1:  # find the one to blame
            return {key: o for job in batch for key, o in execute([job], context).items()}
        return {batch[0].key: Outcome(result=failure.error, duration_ms=ms_since(start))}
    except PearlError:
        raise
    except Exception as error:
        raise _stop(error, batch) from error
    if len(made) != len(batch):
        raise ToolBug(f"{_where(batch)}: expected {len(batch)} results, got {len(made)}")
    each_ms = ms_since(start) / len(batch)
    return {
        job.key: Outcome(result=_check_result(job, result), duration_ms=each_ms)
        for job, result in zip(batch, made, strict=True)
    }


def _check_result(job: Job, result: Result) -> Product | ToolError:
    """The result stage: shape and dtype are our promise (a bug if broken), values are checked."""
    if len(result.pixels) != len(job.outputs):
        expected = f"{len(job.outputs)} outputs, got {len(result.pixels)}"
        raise ToolBug(f"{_where([job])}: expected {expected}")
    exact: list[Pixels] = []
    for index, (pixels, output) in enumerate(zip(result.pixels, job.outputs, strict=True)):
        _check_form(job, pixels, output)
        if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
            bad = int(pixels.size - np.isfinite(pixels).sum())
            return tool_error(
                "result.not_finite",
                f"result.media[{index}]",
                "finite values",
                f"{bad} of {pixels.size} values are not finite",
                "the model fails on this picture; remove the picture or use another model",
            )
        array = pixels if pixels.flags.c_contiguous else pixels.copy()
        array.setflags(write=False)
        exact.append(array)
    return Product(pixels=tuple(exact), digests=tuple(map(pixel_sha256, exact)), text=result.text)


def _check_form(job: Job, pixels: Pixels, output: Output) -> None:
    """Raise ``ToolBug`` unless ``pixels`` have the form and the size of ``output``."""
    is_map = output.kind == "depth"
    dtype, ndim = (np.float32, 2) if is_map else (np.uint8, 3)
    fits = isinstance(pixels, np.ndarray) and pixels.dtype == dtype and pixels.ndim == ndim
    if fits:
        height, width = pixels.shape[:2]
        fits = (
            pixels.size > 0
            and (is_map or pixels.shape[2] == 3)
            and output.width in (None, width)
            and output.height in (None, height)
        )
    if not fits:
        size = f"{output.height or 'height'}, {output.width or 'width'}"
        wanted = f"float32 ({size})" if is_map else f"uint8 ({size}, 3)"
        got = f"{getattr(pixels, 'dtype', type(pixels).__name__)} {getattr(pixels, 'shape', '')}"
        raise ToolBug(f"{_where([job])}: expected {wanted}, got {got}")


def _stop(error: Exception, batch: list[Job]) -> PearlError:
    """The exception that stops the run: a machine out of memory, or our own bug."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return PearlError(f"execution.out_of_memory: {_where(batch)}: {error}")
    return ToolBug(f"{_where(batch)}: {type(error).__name__}: {error}")


def _where(batch: list[Job]) -> str:
    job = batch[0]
    media = ", ".join(
        f"{m.facts.id} ({m.facts.width}x{m.facts.height} px, pixels {m.record.pixel_sha256[:12]})"
        for m in job.checked.media
    )
    return f"tool {job.tool.spec.name} {job.tool.spec.version}, call {job.call.id} on {media}"


def ms_since(start: float) -> float:
    """Milliseconds since ``start`` of the performance counter."""
    return (time.perf_counter() - start) * 1000
