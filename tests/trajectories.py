"""Small true trajectories for tests: drawn pictures, real crops, records that are valid.

``build_sample`` draws a picture with one coloured square on noise, crops it and answers with its
colour. Equal arguments give equal bytes; another ``seed`` gives another question.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pearl_data.shards import BlockResult, CallTiming, Quarantined, Sample
from pearl_data.trajectory import (
    Call,
    Evidence,
    Final,
    Result,
    Source,
    Step,
    Task,
    Trajectory,
)
from pearl_tools.errors import tool_error
from pearl_tools.types import Effective, ExecRecord, MediaRecord

WIDTH, HEIGHT = 160, 120
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220)}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pixel_sha256(pixels: NDArray[Any]) -> str:
    shape = ",".join(map(str, pixels.shape))
    return sha256(f"{pixels.dtype}:{shape}:".encode() + np.ascontiguousarray(pixels).tobytes())


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)  # type: ignore[assignment]
    return bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])


def encode_npy(array: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def draw(seed: int) -> tuple[NDArray[np.uint8], str, tuple[int, int, int, int]]:
    """A picture, the colour of the square in it, and the square's box in pixels."""
    random = np.random.default_rng(seed)
    pixels = random.integers(90, 130, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    colour = list(COLOURS)[seed % 3]
    x, y = int(random.integers(8, WIDTH - 40)), int(random.integers(8, HEIGHT - 40))
    pixels[y : y + 16, x : x + 16] = COLOURS[colour]
    return pixels, colour, (x, y, x + 16, y + 16)


def encode_picture(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG" if suffix == "jpg" else "PNG")
    return stream.getvalue()


def build_sample(
    key: str = "s000000",
    *,
    seed: int = 0,
    depth: bool = False,
    second_crop: bool = False,
    failed_call: bool = False,
    suffix: str = "jpg",
    split: str = "train",
) -> Sample:
    """A valid sample: a root ``i0``, a crop ``o1``, optionally a crop of it and a depth map."""
    drawn, colour, square = draw(seed)
    stored = encode_picture(drawn, suffix)
    pixels = np.asarray(Image.open(io.BytesIO(stored)).convert("RGB"))
    members = {f"i0.{suffix}": stored}
    media = [
        MediaRecord(
            id="i0",
            kind="image",
            width=WIDTH,
            height=HEIGHT,
            pixel_sha256=pixel_sha256(pixels),
            file_sha256=sha256(stored),
            name_in_sample=f"i0.{suffix}",
            box_root=(0.0, 0.0, float(WIDTH), float(HEIGHT)),
        )
    ]
    steps: list[Step] = []

    def add(tool: str, arguments: dict[str, Any], thought: str, **fields: Any) -> None:
        number = sum(len(step.calls) for step in steps) + 1
        call = Call(
            id=f"c{number}",
            tool=tool,
            arguments_raw=msgspec.json.encode(arguments).decode(),
            arguments=arguments,
            **fields,
        )
        steps.append(Step(thought=thought, calls=[call]))

    def crop(parent: str, box: tuple[int, int, int, int], origin: tuple[int, int]) -> None:
        of = next(medium for medium in media if medium.id == parent)
        bbox = [box[0] / of.width, box[1] / of.height, box[2] / of.width, box[3] / of.height]
        x, y = origin
        root = (float(x + box[0]), float(y + box[1]), float(x + box[2]), float(y + box[3]))
        cut = pixels[int(root[1]) : int(root[3]), int(root[0]) : int(root[2])]
        number = len(media)
        members[f"o{number}.png"] = encode_png(cut)
        media.append(
            MediaRecord(
                id=f"o{number}",
                kind="crop",
                width=cut.shape[1],
                height=cut.shape[0],
                pixel_sha256=pixel_sha256(cut),
                file_sha256=sha256(members[f"o{number}.png"]),
                name_in_sample=f"o{number}.png",
                parent=parent,
                box_root=root,
            )
        )
        add(
            "crop",
            {"image": parent, "bbox": bbox},
            "The square is too small to tell; I look closer.",
            effective=Effective(box_px=box, box_root=root),
            result=Result(
                status="ok",
                media=[f"o{number}"],
                text=f"o{number}: {cut.shape[1]}x{cut.shape[0]}",
                error=None,
            ),
            exec=ExecRecord(tool_version="1.0", device="cpu"),
        )

    if failed_call:
        add(
            "crop",
            {"image": "i0", "bbox": [2, 2, 3, 3]},
            "I crop what I think is the square.",
            effective=None,
            result=Result(
                status="error",
                media=[],
                text="",
                error=tool_error("geometry.outside", "arguments.bbox", "0..1", [2, 2, 3, 3]),
            ),
            exec=None,
        )
    around = (square[0] - 8, square[1] - 8, square[2] + 8, square[3] + 8)
    crop("i0", around, (0, 0))
    if second_crop:
        crop("o1", (4, 4, 28, 28), (around[0], around[1]))
    if depth:
        ramp = np.linspace(0, 1, 12 * 16, dtype=np.float32).reshape(12, 16)
        number = len(media)
        members[f"o{number}.npy"] = encode_npy(ramp)
        members[f"o{number}.png"] = encode_png((ramp * 255).astype(np.uint8))
        media.append(
            MediaRecord(
                id=f"o{number}",
                kind="depth",
                width=16,
                height=12,
                pixel_sha256=pixel_sha256(ramp),
                file_sha256=sha256(members[f"o{number}.npy"]),
                name_in_sample=f"o{number}.npy",
                picture_in_sample=f"o{number}.png",
                parent="i0",
                box_root=(0.0, 0.0, float(WIDTH), float(HEIGHT)),
            )
        )
        add(
            "depth",
            {"image": "i0"},
            "I also ask how far things are.",
            effective=Effective(
                box_px=(0, 0, WIDTH, HEIGHT), box_root=(0.0, 0.0, float(WIDTH), float(HEIGHT))
            ),
            result=Result(status="ok", media=[f"o{number}"], text="larger is nearer", error=None),
            exec=ExecRecord(tool_version="1.0", model_id="ramp", device="cpu", dtype="float32"),
        )
    trajectory = Trajectory(
        schema_version="1.0",
        id=key,
        split=split,
        task=Task(
            question=f"Which colour has the square? (picture {seed})",
            choices=list(COLOURS),
            answer=colour,
            answer_type="choice",
            answer_source="annotation",
            family="attribute",
            evidence=[
                Evidence(
                    media="i0",
                    label="square",
                    bbox=(
                        square[0] / WIDTH,
                        square[1] / HEIGHT,
                        square[2] / WIDTH,
                        square[3] / HEIGHT,
                    ),
                    role="target",
                )
            ],
        ),
        media=media,
        steps=steps,
        final=Final(
            thought=f"The crop shows a {colour} square.",
            answer=colour,
            verdict="supported",
            verifier="annotation",
        ),
        origin="expert",
        fault=None,
        loss_mask=[0 if step.calls[0].result.status == "error" else 1 for step in steps],
        source=Source(dataset="drawn", row=str(seed), licence="CC0-1.0"),
    )
    return Sample(trajectory, members)


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
