"""Small true trajectories for tests: drawn pictures, real calls, records that are valid.

``build_sample`` draws a picture with one coloured square on noise, crops it and answers with its
colour. Equal arguments give equal bytes; another ``seed`` gives another question. Depth comes from
:class:`RampModel`, which needs no network; whatever replays it must be given the same model.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pearl_data.shards import BlockResult, CallTiming, Quarantined, Sample
from pearl_data.trajectory import (
    SCHEMA_VERSION,
    Call,
    Evidence,
    Final,
    Result,
    Source,
    Step,
    Task,
    Trajectory,
)
from pearl_tools.depth import DepthModel, depth_picture
from pearl_tools.errors import tool_error
from pearl_tools.executor import ExecutorSettings, ToolExecutor
from pearl_tools.media import encode_npy, encode_png, open_image
from pearl_tools.types import MediaRecord, Medium, ToolCall

WIDTH, HEIGHT = 160, 120
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220)}
_SHORT: dict[str, Any] = {"cache": None, "attempts": None, "duration_ms": None}


class RampModel:
    """A depth model without a network: the lower, the nearer, plus the brightness."""

    model_id = "ramp"
    weights_sha256 = hashlib.sha256(b"ramp").hexdigest()
    libraries: tuple[str, ...] = ("torch",)
    device = "cpu"
    dtype = "float32"

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        maps = []
        for image in images:
            rows = np.linspace(0, 1, 12, dtype=np.float32)[:, None]
            maps.append(rows + np.float32(image.mean()) + np.zeros((12, 16), np.float32))
        return maps


def draw(seed: int) -> tuple[NDArray[np.uint8], str, tuple[int, int, int, int]]:
    """A picture, the colour of the square in it, and the square's box in pixels."""
    random = np.random.default_rng(seed)
    pixels = random.integers(90, 130, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    colour = list(COLOURS)[seed % 3]
    x, y = int(random.integers(8, WIDTH - 40)), int(random.integers(8, HEIGHT - 40))
    pixels[y : y + 16, x : x + 16] = COLOURS[colour]
    return pixels, colour, (x, y, x + 16, y + 16)


def encode_picture(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """The bytes of ``pixels`` as a file with this suffix (``jpg`` or ``png``)."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG" if suffix == "jpg" else "PNG")
    return stream.getvalue()


def store(medium: Medium) -> tuple[MediaRecord, dict[str, bytes]]:
    """A medium's record as stored, and its members."""
    record, picture = medium.record, None
    if medium.file_bytes is not None:
        members = {f"{record.id}{medium.file_suffix}": medium.file_bytes}
    elif record.kind == "depth":
        depth = np.asarray(medium.pixels, dtype=np.float32)
        picture = f"{record.id}.png"
        members = {f"{record.id}.npy": encode_npy(depth), picture: encode_png(depth_picture(depth))}
    else:
        members = {f"{record.id}.png": encode_png(medium.pixels)}
    name = next(iter(members))
    stored = msgspec.structs.replace(
        record,
        name_in_sample=name,
        picture_in_sample=picture,
        file_sha256=hashlib.sha256(members[name]).hexdigest(),
    )
    return stored, members


class Builder:
    """A trajectory in the making: real calls on one drawn picture."""

    def __init__(
        self,
        seed: int,
        suffix: str,
        settings: ExecutorSettings | None,
        depth_model: DepthModel | None = None,
    ) -> None:
        pixels, self.colour, self.square = draw(seed)
        self.seed = seed
        root = open_image(encode_picture(pixels, suffix), id="i0")
        self.media = {"i0": root}
        self.executor = ToolExecutor(settings, depth_model=depth_model or RampModel())
        self.steps: list[Step] = []

    def call(self, tool: str, arguments: dict[str, Any], thought: str) -> Call:
        """Make one call in a step of its own."""
        call = ToolCall(id=f"c{len(self.steps) + 1}", tool=tool, arguments=arguments)
        seen = self.executor.run(call, self.media)
        self.media.update({medium.record.id: medium for medium in seen.media})
        record = Call(
            id=call.id,
            tool=tool,
            arguments_raw=msgspec.json.encode(arguments).decode(),
            arguments=arguments,
            effective=seen.effective,
            result=Result(
                status=seen.status,
                media=[medium.record.id for medium in seen.media],
                text=seen.text,
                error=seen.error,
            ),
            exec=seen.exec and msgspec.structs.replace(seen.exec, **_SHORT),
        )
        self.steps.append(Step(thought=thought, calls=[record]))
        return record

    def sample(self, key: str, split: str, family: Literal["attribute"] = "attribute") -> Sample:
        """The finished sample."""
        x0, y0, x1, y1 = self.square
        media, members = [], dict[str, bytes]()
        for medium in self.media.values():
            record, stored = store(medium)
            media.append(record)
            members |= stored
        evidence = Evidence(
            media="i0",
            label="square",
            bbox=(x0 / WIDTH, y0 / HEIGHT, x1 / WIDTH, y1 / HEIGHT),
            role="target",
        )
        return Sample(
            Trajectory(
                schema_version=SCHEMA_VERSION,
                id=key,
                split=split,
                task=Task(
                    question=f"Which colour has the square? (picture {self.seed})",
                    choices=list(COLOURS),
                    answer=self.colour,
                    answer_type="choice",
                    answer_source="annotation",
                    family=family,
                    evidence=[evidence],
                ),
                media=media,
                steps=self.steps,
                final=Final(
                    thought=f"The crop shows a {self.colour} square.",
                    answer=self.colour,
                    verdict="supported",
                    verifier="drawn",
                ),
                origin="expert",
                fault=None,
                loss_mask=[int(s.calls[0].result.status == "ok") for s in self.steps],  # type: ignore[misc]  # 0 or 1
                source=Source(dataset="drawn", row=str(self.seed), licence="CC0-1.0"),
            ),
            members,
        )


def build_sample(
    key: str = "s000000",
    *,
    seed: int = 0,
    depth: bool = False,
    second_crop: bool = False,
    zoom: bool = False,
    failed_call: bool = False,
    suffix: str = "jpg",
    split: str = "train",
    settings: ExecutorSettings | None = None,
    depth_model: DepthModel | None = None,
) -> Sample:
    """A valid sample: a root ``i0`` and a crop ``o1``; then, as asked, a crop or a zoom of the
    crop, a depth map of the root, and before all a call that fails.
    """
    builder = Builder(seed, suffix, settings, depth_model)
    x0, y0, x1, y1 = builder.square
    if failed_call:
        wrong = {"image": "i0", "bbox": [1.2, 1.2, 1.5, 1.5]}
        builder.call("crop", wrong, "I crop what I think is the square.")
    around = [(x0 - 8) / WIDTH, (y0 - 8) / HEIGHT, (x1 + 8) / WIDTH, (y1 + 8) / HEIGHT]
    builder.call("crop", {"image": "i0", "bbox": around}, "The square is small; I look closer.")
    inner = [0.125, 0.125, 0.875, 0.875]
    if second_crop:
        builder.call("crop", {"image": "o1", "bbox": inner}, "Closer still.")
    if zoom:
        builder.call("zoom", {"image": "o1", "center": [0.5, 0.5], "factor": 1.25}, "I enlarge it.")
    if depth:
        builder.call("depth", {"image": "i0"}, "I also ask how near things are.")
    return builder.sample(key, split)


def build_block(index: int, size: int = 4) -> BlockResult:
    """Block ``index``: ``size`` inputs, of which now and then one is quarantined or a duplicate."""
    samples, quarantined, timings = [], [], []
    for number in range(index * size, (index + 1) * size):
        key = f"s{number:06d}"
        if number % 7 == 6:
            reason = tool_error("semantic.ambiguous", "task", "one answer", "two")
            quarantined.append(Quarantined(key=key, reason=reason, record={"number": number}))
            continue
        seed = number - 1 if number % 11 == 10 else number
        samples.append(
            build_sample(key, seed=seed, depth=number % 3 == 0, second_crop=number % 4 == 1)
        )
        timings.append(
            CallTiming(
                key=key, call_id="c1", tool="crop", cache="miss", attempts=1, duration_ms=0.5
            )
        )
    return BlockResult(size, samples, quarantined, timings)
