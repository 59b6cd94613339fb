"""The rendered scenes that the nano model is pre-trained on, cached in whole shards.

A shard is one `.npz` of plain bytes: the JPEG file of each picture, its depth map as the grey
picture that the depth tool stores, and the facts of its things as JSON. It appears under its name
only when whole. The cache folder is named after the *pixels* of a reference scene and its depth
map, so that a changed renderer or depth network never mixes its pictures with older ones. Leaves
out what is said of a scene (`captions.py`) and which part of it is shown (`samples.py`).
"""

import hashlib
import json
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pearl_data.experts.depth_reading import place_in_range, reading
from pearl_data.progress import Progress
from pearl_data.rendering import (
    COLOURS,
    SHAPES,
    ObjectBrief,
    Rendered,
    SceneBrief,
    SceneNotFoundError,
    render,
    sample_scene,
)
from pearl_tools.depth import DepthModel, depth_picture, load_depth_model
from pearl_tools.types import Box

WIDTH, HEIGHT = 640, 480
SHARD = 100
SEEDS = {"training": 1 << 42, "held-out": 1 << 43}
"""First seed of each set of scenes; the toolkit's sources use seeds without such structure, the
depth network's training and evaluation `1 << 40` and `1 << 41` and up.
"""
_JPEG_QUALITY = 95
_FAR_SEED = 1 << 30
#: A thing is spoken of only if so many of its pixels and this share of them are seen.
_LEAST_PX, _LEAST_SHARE = 150, 0.5
_LABELLED = 0.8


class Thing(NamedTuple):
    """One thing in a picture.

    `box` is in fractions of the picture; `tag` and `tag_box` are None unless its tag is wholly
    seen; `distance_m` is the truth; `near` its place 0..1 in the depth map's range, 1 = nearest;
    `clear` whether enough of it is seen to speak of it.
    """

    shape: str
    colour: str
    pattern: str
    box: Box
    tag: str | None
    tag_box: Box | None
    distance_m: float
    near: float
    clear: bool

    @property
    def name(self) -> str:
        """Colour and shape: `red cube`."""
        return f"{self.colour} {self.shape}"


class Scene(NamedTuple):
    """One scene: its decoded picture uint8 RGB (480, 640, 3), the grey depth picture uint8
    (192, 256), its things.
    """

    picture: npt.NDArray[np.uint8]
    depth: npt.NDArray[np.uint8]
    things: tuple[Thing, ...]


def _brief(rng: random.Random) -> SceneBrief:
    """Six to nine things; in two of three scenes several share a shape, so that counts vary."""
    number = rng.randint(6, 9)
    pairs = [(shape, colour) for shape in SHAPES for colour in COLOURS]
    rng.shuffle(pairs)
    if rng.random() < 2 / 3:
        repeated, often = rng.choice(SHAPES), rng.randint(3, 5)
        same = [pair for pair in pairs if pair[0] == repeated][:often]
        pairs = same + [pair for pair in pairs if pair[0] != repeated]
    wishes = [
        ObjectBrief(shape=shape, colour=colour, label=rng.random() < _LABELLED)
        for shape, colour in pairs[:number]
    ]
    rng.shuffle(wishes)
    return SceneBrief(n_objects=number, objects=tuple(wishes))


def draw(seed: int) -> Rendered:
    """The scene of one seed; a seed that finds no place moves on to a far one."""
    for attempt in range(20):
        moved = seed + attempt * _FAR_SEED
        try:
            scene = sample_scene(moved, _brief(random.Random(moved)), width=WIDTH, height=HEIGHT)
        except SceneNotFoundError:
            continue
        return render(scene)
    raise SceneNotFoundError(f"seed {seed}: no scene in 20 seeds")


def _decoded(jpeg: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[:, :, ::-1])


def scene_of(seed: int, model: DepthModel) -> tuple[npt.NDArray[np.uint8], Scene]:
    """A scene as the toolkit would store it: its JPEG file, and what comes out of that."""
    drawn = draw(seed)
    done, packed = cv2.imencode(
        ".jpg", drawn.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    assert done
    picture = _decoded(packed)
    (values,) = model.predict([picture])
    grey = depth_picture(values)[:, :, 0].copy()
    return packed, Scene(picture, grey, things_of(drawn, values))


def things_of(drawn: Rendered, values: npt.NDArray[np.float32]) -> tuple[Thing, ...]:
    """The facts of all things of which anything is seen; `values` is the picture's depth map."""
    height, width = drawn.image.shape[:2]

    def fractions(box: tuple[int, int, int, int]) -> Box:
        x0, y0, x1, y1 = box
        return (x0 / width, y0 / height, x1 / width, y1 / height)

    things = []
    for item in drawn.objects:
        if not item.visible_px:
            continue
        box = fractions(item.bbox_px)
        tag_box = None
        if item.label_bbox_px is not None and item.label_visible >= 0.99:
            tag_box = fractions(item.label_bbox_px)
        things.append(
            Thing(
                shape=item.shape,
                colour=item.colour,
                pattern=item.pattern,
                box=box,
                tag=item.label if tag_box else None,
                tag_box=tag_box,
                distance_m=item.distance_m,
                near=place_in_range(values, reading(values, box)),
                clear=item.visible_px >= max(_LEAST_PX, _LEAST_SHARE * item.full_px),
            )
        )
    return tuple(things)


def fingerprint(model: DepthModel) -> str:
    """First 12 hex digits of the hash of a reference scene."""
    jpeg, scene = scene_of(SEEDS["training"], model)
    return hashlib.sha256(jpeg.tobytes() + scene.depth.tobytes()).hexdigest()[:12]


def shard_path(cache: Path, number: int) -> Path:
    """Where shard `number` lies."""
    return cache / f"scenes-{number:04d}.npz"


def fill_cache(
    root: Path, scenes: int, *, workers: int, name: str = "training"
) -> tuple[Path, int]:
    """Render what is missing.

    Args:
        root: cache root; a folder named after the fingerprint is made in it.
        scenes: wanted number of scenes, rounded up to whole shards.
        workers: processes; they do not change the result.
        name: which set, one of `SEEDS`.

    Returns:
        The folder and the number of shards in it.

    """
    cache = root / f"{name}-{fingerprint(load_depth_model('embedded'))}"
    cache.mkdir(parents=True, exist_ok=True)
    wanted = -(-scenes // SHARD)
    missing = [n for n in range(wanted) if not shard_path(cache, n).exists()]
    done = (wanted - len(missing)) * SHARD
    with (
        Progress(f"render {name}", wanted * SHARD, "scenes", done=done) as progress,
        # spawned, not forked: torch's threads do not survive a fork
        ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool,
    ):
        jobs = [pool.submit(_write, cache, number, SEEDS[name]) for number in missing]
        for job in as_completed(jobs):
            job.result()
            progress.advance(SHARD)
    return cache, wanted


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _write(cache: Path, number: int, seed: int) -> None:
    model = load_depth_model("embedded")
    first = seed + number * SHARD
    made = [scene_of(seed, model) for seed in range(first, first + SHARD)]
    jpegs, scenes = [jpeg for jpeg, _ in made], [scene for _, scene in made]
    facts = json.dumps([[thing._asdict() for thing in scene.things] for scene in scenes])
    # a name of its own: a second run beside this one must not write into the same file
    unfinished = cache / f".scenes-{number:04d}-{os.getpid()}-{time.time_ns()}.npz"
    np.savez(
        unfinished,
        jpeg=np.concatenate(jpegs),
        jpeg_end=np.cumsum([len(jpeg) for jpeg in jpegs]),
        depth=np.stack([scene.depth for scene in scenes]),
        facts=np.frombuffer(facts.encode(), np.uint8),
    )
    unfinished.replace(shard_path(cache, number))


def read_shard(cache: Path, number: int) -> list[Scene]:
    """The scenes of one shard."""
    with np.load(shard_path(cache, number), allow_pickle=False) as stored:
        data, ends, depth = stored["jpeg"], stored["jpeg_end"], stored["depth"]
        facts: list[list[dict[str, Any]]] = json.loads(stored["facts"].tobytes())
    starts = [0, *ends[:-1]]
    return [
        Scene(_decoded(data[start:end]), grey, tuple(_thing(thing) for thing in things))
        for start, end, grey, things in zip(starts, ends, depth, facts, strict=True)
    ]


def _thing(stored: dict[str, Any]) -> Thing:
    boxes = {name: tuple(stored[name]) for name in ("box", "tag_box") if stored[name]}
    return Thing(**{**stored, **boxes})
