"""A tiny data set of true trajectories for the trainer's tests: drawn pictures, real calls.

Twelve samples of split ``train`` and four each of ``val`` and ``test``; among them crops, a zoom, a
crop of a crop, depth maps, calls that fail and are marked as mistakes, two calls in one step, and
two root pictures. Fixture: ``tiny_data`` in ``tests/pearl_train/conftest.py``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from trajectories import build_sample, draw, encode_picture

from pearl_data.shards import BlockResult, DatasetWriter, Sample
from pearl_data.trajectory import Trajectory
from pearl_tools.media import open_image

#: What each sample of ``train`` shows, in turn.
_KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"second_crop": True},
    {"depth": True},
    {"failed_call": True},
    {"zoom": True, "suffix": "png"},
    {"failed_call": True, "depth": True},
)


def changed(sample: Sample, **fields: Any) -> Sample:
    """``sample`` with fields of its record replaced, ``task__question`` and the like one deeper."""
    record: Trajectory = sample.trajectory
    for name, value in fields.items():
        first, _, second = name.partition("__")
        if second:
            value = msgspec.structs.replace(getattr(record, first), **{second: value})  # noqa: PLW2901
        record = msgspec.structs.replace(record, **{first: value})
    return Sample(record, sample.members)


def in_one_step(sample: Sample) -> Sample:
    """``sample`` with all its calls made in its first step."""
    first, *rest = sample.trajectory.steps
    calls = [*first.calls, *(call for step in rest for call in step.calls)]
    step = msgspec.structs.replace(first, calls=calls)
    return changed(sample, steps=[step], loss_mask=[sample.trajectory.loss_mask[0]])


def with_second_root(sample: Sample, seed: int) -> Sample:
    """``sample`` with one more root picture, ``i1``, right after the first."""
    root = open_image(encode_picture(draw(seed)[0], "png"), id="i1")
    assert root.file_bytes is not None
    first, *rest = sample.trajectory.media
    media = [first, root.record, *rest]
    members = {**sample.members, "i1.png": root.file_bytes}
    return Sample(changed(sample, media=media).trajectory, members)


def with_picture(sample: Sample, medium: str, width: int, height: int) -> Sample:
    """``sample`` whose ``medium`` is another picture, of this size; no call made it."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x % 251, y % 241, (x + y) % 239], axis=-1).astype(np.uint8)
    opened = open_image(encode_picture(pixels, "png"), id=medium)
    assert opened.file_bytes is not None
    media = []
    for known in sample.trajectory.media:
        facts = known
        if known.id == medium:
            facts = msgspec.structs.replace(
                known,
                width=width,
                height=height,
                pixel_sha256=opened.record.pixel_sha256,
                file_sha256=opened.record.file_sha256,
                name_in_sample=f"{medium}.png",
                picture_in_sample=known.picture_in_sample and f"{medium}.png",
            )
        media.append(facts)
    kept = {name: data for name, data in sample.members.items() if name.split(".")[0] != medium}
    return Sample(
        changed(sample, media=media).trajectory, {**kept, f"{medium}.png": opened.file_bytes}
    )


def tiny_sample(number: int, split: str = "train") -> Sample:
    """Sample ``number`` of the tiny data set; another number is another question."""
    kind = _KINDS[number % len(_KINDS)]
    sample = build_sample(f"{split}-{number:03d}", seed=number, split=split, **kind)
    if number % 8 == 1:
        return in_one_step(sample)
    if number % 8 == 7:
        return with_second_root(sample, 1000 + number)
    return sample


@cache
def _samples() -> tuple[Sample, ...]:
    numbers = {"train": range(12), "val": range(100, 104), "test": range(200, 204)}
    return tuple(tiny_sample(n, split) for split, of_it in numbers.items() for n in of_it)


def tiny_dataset(folder: Path) -> Path:
    """Writes the data set to ``folder``, in two shards, and returns it."""
    samples = _samples()
    with DatasetWriter.open(folder, {}, samples_per_shard=12, tools={}) as writer:
        for block, start in enumerate(range(0, len(samples), 4)):
            part = list(samples[start : start + 4])
            writer.add_block(block, BlockResult(len(part), part, [], []))
        writer.close()
    return folder


def with_long_validation(folder: Path, *, kept: int) -> Path:
    """Three samples of ``val`` have more than 400 words, but the first ``kept`` of them."""
    samples = [tiny_sample(n) for n in range(4)]
    for n in range(3):
        words = "word " * (1 if n < kept else 400)
        fields = {"id": f"v{n}", "split": "val", "task__question": f"{n} {words}"}
        samples.append(changed(tiny_sample(10 + n), **fields))
    with DatasetWriter.open(folder, {}, tools={}) as writer:
        writer.add_block(0, BlockResult(len(samples), samples, [], []))
        writer.close()
    return folder
