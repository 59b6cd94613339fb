"""Runs tool calls for real: parse, schema, reference, geometry, execution, result, in this order.

A mistake that the caller can repair, or an unusable picture, gives an observation with one coded
error. A failure of the machine or a bug of ours is an exception that stops the run. Results
are cached by content, duplicates in a batch run once, depth runs in batches of equal shape.
Not here: text of models (:mod:`pearl_tools.dialects` reads it) and storage.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, NamedTuple

from cachetools import LRUCache

from pearl_tools.arguments import check_schema, parse_arguments
from pearl_tools.depth import DepthModel, load_depth_model
from pearl_tools.errors import ToolError, ToolFailure
from pearl_tools.execution import Job, Outcome, Product, batches, execute, ms_since
from pearl_tools.geometry import OWN_NAMING, Naming
from pearl_tools.registry import find_tool
from pearl_tools.settings import ExecutorSettings
from pearl_tools.tool import CheckedCall, Request, Tool, find_media
from pearl_tools.types import ExecRecord, MediaMap, MediaRecord, Medium, Observation, ToolCall

__all__ = ["ExecutorSettings", "ToolExecutor", "ToolRequest", "library_version"]


class ToolRequest(NamedTuple):
    """One call, with the media that it may name; ``naming`` gives the names in its errors."""

    call: ToolCall
    media: MediaMap
    naming: Naming = OWN_NAMING


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
        self._cache: LRUCache[Hashable, Product] = LRUCache(
            self.settings.cache_bytes, getsizeof=lambda product: product.nbytes
        )

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
        return self.run_many([ToolRequest(call, media, naming)])[0]

    def run_many(
        self, requests: Sequence[ToolRequest | tuple[ToolCall, MediaMap]]
    ) -> list[Observation]:
        """The observations of independent calls, in order, equal to :meth:`run` on each.

        Each request names its new medium from its own media map. Equal work is done once. Depth is
        equal to the last bit on one CPU thread; with more, batch sizes differ by about 1e-7.
        """
        prepared = [self._prepare(*request) for request in requests]
        jobs = [item for item in prepared if isinstance(item, Job)]
        known: dict[Hashable, Outcome] = {}
        for job in jobs:
            if job.key not in known:
                start = time.perf_counter()
                if (product := self._cache.get(job.key)) is not None:
                    known[job.key] = Outcome(result=product, duration_ms=ms_since(start))
        fresh: dict[Hashable, Job] = {}
        for job in jobs:
            if job.key not in known:
                fresh.setdefault(job.key, job)
        for batch in batches(list(fresh.values())):
            known.update(self._work(batch))
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

    def _prepare(
        self, call: ToolCall, media: MediaMap, naming: Naming = OWN_NAMING
    ) -> Job | Observation:
        """The stages before execution: a job, or the observation of the first failure."""
        try:
            arguments = parse_arguments(call.arguments)
            tool = find_tool(call.tool)
            check_schema(tool.validator, arguments, tool.spec.arguments["properties"])
            tool.check_arguments(arguments, naming)
            named = find_media(tool, arguments, media, naming)
            sources = tuple(medium.facts for medium in named)
            request = Request(
                arguments=arguments, sources=sources, settings=self.settings, naming=naming
            )
            effective = tool.check(request)
        except ToolFailure as failure:
            return Observation(call_id=call.id, tool=call.tool, status="error", error=failure.error)
        model = self.depth_model() if tool.uses_depth_model else None
        checked = CheckedCall(arguments=arguments, media=named, effective=effective)
        key = (
            tool.spec.name,
            tool.spec.version,
            tuple(medium.content for medium in named),
            tool.cache_key(checked),
            model and (model.model_id, model.weights_sha256, model.device, model.dtype),
        )
        return Job(
            call=call,
            tool=tool,
            checked=checked,
            outputs=tool.outputs(effective, sources),
            media=media,
            key=key,
        )

    def _work(self, batch: list[Job]) -> dict[Hashable, Outcome]:
        """Execute one batch and remember what came out well."""
        outcomes = execute(batch, self)
        for key, outcome in outcomes.items():
            product = outcome.result
            if isinstance(product, Product) and product.nbytes <= self._cache.maxsize:
                self._cache[key] = product
        return outcomes

    def _observe(self, job: Job, outcome: Outcome, cached: Literal["hit", "miss"]) -> Observation:
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
        product = outcome.result
        made = [
            Medium(
                facts=MediaRecord(
                    id=new_id,
                    kind=output.kind,
                    width=pixels.shape[1],
                    height=pixels.shape[0],
                    pixel_sha256=digest,
                    parent=output.parent,
                    box_root=output.box_root,
                    frame=output.frame,
                ),
                pixels=pixels,
            )
            for output, pixels, digest, new_id in zip(
                job.outputs, product.pixels, product.digests, new_ids(job.media), strict=False
            )
        ]
        records = [medium.record for medium in made]
        return Observation(
            call_id=job.call.id,
            tool=job.call.tool,
            status="ok",
            media=tuple(made),
            effective=job.checked.effective,
            text=job.tool.describe(job.checked, records, product.text),
            exec=facts,
        )

    def _exec_record(
        self, tool: Tool, duration_ms: float, cached: Literal["hit", "miss"]
    ) -> ExecRecord:
        model = self.depth_model() if tool.uses_depth_model else None
        libraries: tuple[str, ...] = (*(model.libraries if model else ()), *tool.libraries)
        return ExecRecord(
            tool_version=tool.spec.version,
            model_id=model.model_id if model else None,
            weights_sha256=model.weights_sha256 if model else None,
            libraries={name: library_version(name) for name in libraries},
            device=model.device if model else "cpu",
            dtype=model.dtype if model else "uint8",
            seed=self.settings.seed if model else None,
            cache=cached,
            attempts=1,
            duration_ms=round(duration_ms, 3),
        )


def new_ids(media: MediaMap) -> Iterator[str]:
    """Ids of the next results, in order: ``o1`` first."""
    number = 1 + sum(name.startswith("o") for name in media)
    while True:
        if f"o{number}" not in media:
            yield f"o{number}"
        number += 1


@cache
def library_version(name: str) -> str:
    """The version of an installed distribution, or ``absent``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
