"""Ordinal accuracy of a depth model beside the rules of thumb, on scenes it has never seen.

    python training/depth/evaluate.py          # the embedded model, 400 rendered scenes
    python training/depth/evaluate.py --model path/to/model --scenes 100
    python training/depth/evaluate.py --model weights.safetensors --renders

Half as many worlds (`worlds.py`), interiors (`interiors.py`) and glossy scenes (`reflections.py`)
follow. A pair counts if its true
depths differ by a factor above 1.25. Object pairs compare the median prediction in the boxes of the
objects' visible pixels. Real frames are added if PEARL_SHARED (default ../shared) has them; they
never take part in training or selection: `--renders` leaves them out while weights are compared.
Pairs of one picture are not independent, so the Wilson intervals are too narrow. Leaves out
training.
"""

import argparse
import json
import math
import os
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from export import read_card, write_card
from interiors import draw_interior
from photographs import model_of
from reflections import draw_glossy
from scenes import photo_bank
from worlds import draw_world

from pearl_data.progress import Progress
from pearl_data.rendering import Rendered, SceneBrief, SceneNotFoundError, render, sample_scene
from pearl_data.wilson import Share, share
from pearl_tools.depth import DepthModel

EVALUATION_SEED = 1 << 41
RATIO = 1.25
WIDTH, HEIGHT = 320, 240
MIN_OBJECT_PX = 60
PIXEL_PAIRS = 200

Map = npt.NDArray[np.float32]


class Figure(NamedTuple):
    """Right answers under a name."""

    name: str
    share: Share


class Tally:
    """Counts right answers under names."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, name: str, right: npt.ArrayLike) -> None:
        """Count one answer, or an array of them."""
        values = np.atleast_1d(np.asarray(right, bool))
        self._counts[name][0] += int(values.sum())
        self._counts[name][1] += values.size

    def figures(self) -> list[Figure]:
        """All counts, by name."""
        return [Figure(name, share(right, n)) for name, (right, n) in sorted(self._counts.items())]


def held_out_scene(index: int) -> Rendered:
    """Evaluation scene number `index`, half of them clean and half wild."""
    brief = SceneBrief(variety="clean" if index % 2 else "wild")
    for attempt in range(20):
        try:
            seed = EVALUATION_SEED + index + attempt * (1 << 30)
            scene = sample_scene(seed, brief, width=WIDTH, height=HEIGHT, bank=_BANK)
            return render(scene, bank=_BANK)
        except SceneNotFoundError:
            continue
    raise SceneNotFoundError(f"evaluation scene {index}: no scene in 20 seeds")


_BANK = photo_bank()


def judge_objects(drawn: Rendered, predicted: Map, tally: Tally, variety: str) -> None:
    """Add all object pairs of one scene; `predicted` has the picture's size."""
    seen = [item for item in drawn.objects if item.visible_px >= MIN_OBJECT_PX]
    middle = np.array([drawn.image.shape[1], drawn.image.shape[0]]) / 2
    for near in seen:
        for far in seen:
            if far.distance_m <= RATIO * near.distance_m:
                continue
            a, b = near.bbox_px, far.bbox_px
            value_a = np.median(predicted[a.y0 : a.y1, a.x0 : a.x1])
            value_b = np.median(predicted[b.y0 : b.y1, b.x0 : b.x1])
            mask_a = np.median(predicted[drawn.instance == near.id])
            mask_b = np.median(predicted[drawn.instance == far.id])
            lower = a.y0 + a.y1 > b.y0 + b.y1
            off_a, off_b = (
                np.hypot(*(np.array([box.x0 + box.x1, box.y0 + box.y1]) / 2 - middle))
                for box in (a, b)
            )
            right = value_a > value_b
            tally.add("objects: model", right)
            case = "right" if lower else "wrong"
            tally.add(f"objects: model, where lower is {case}", right)
            tally.add(f"objects: model, {variety}", right)
            tally.add(f"objects: model, {variety}, where lower is {case}", right)
            if far.distance_m > 2 * near.distance_m:
                tally.add(f"objects: model, {variety}, ratio above 2", right)
            tally.add("objects: model by mask", mask_a > mask_b)
            tally.add("objects: rule lower", lower)
            tally.add("objects: rule bigger", a.area > b.area)
            tally.add("objects: rule central", off_a < off_b)


def judge_pixels(
    depth_m: Map, predicted: Map, rng: np.random.Generator, pairs: int, name: str, tally: Tally
) -> None:
    """Add random pixel pairs of one picture; non-finite and non-positive depth is left out."""
    rows, columns = np.nonzero(np.isfinite(depth_m) & (depth_m > 0))
    if rows.size < 2:
        return
    first, second = rng.integers(rows.size, size=(2, pairs))
    z1, z2 = depth_m[rows[first], columns[first]], depth_m[rows[second], columns[second]]
    clear = np.maximum(z1, z2) > RATIO * np.minimum(z1, z2)
    nearer = (z1 < z2)[clear]
    p1 = predicted[rows[first], columns[first]][clear]
    p2 = predicted[rows[second], columns[second]][clear]
    level = rows[first][clear] == rows[second][clear]
    lower = rows[first][clear] > rows[second][clear]
    tally.add(f"{name}: model", (p1 > p2) == nearer)
    tally.add(f"{name}: rule lower", (lower == nearer) & ~level)


def predict(model: DepthModel, image: npt.NDArray[np.uint8]) -> Map:
    """The model's map at the picture's size."""
    small = model.predict([image])[0]
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def real_frames(shared: Path) -> list[tuple[str, npt.NDArray[np.uint8], Map]]:
    """(name, picture, depth in metres) of the real and foreign frames in `shared/data/depth`, if
    any.
    """
    folder = shared / "data" / "depth"
    frames: list[tuple[str, npt.NDArray[np.uint8], Map]] = []
    disparity = next(iter(sorted(folder.glob("*motorcycle*disp*.npy"))), None) or next(
        iter(sorted(folder.glob("*motorcycle*disp*.npz"))), None
    )
    left = next(iter(sorted(folder.glob("*motorcycle*left*.[pj][np]g"))), None)
    if disparity is not None and left is not None:
        stored = np.load(disparity, allow_pickle=False)
        values = stored if isinstance(stored, np.ndarray) else stored[stored.files[0]]
        depth = 994.978 * 0.193001 / (values + 31.086)
        depth[~np.isfinite(values)] = np.nan
        frames.append(
            ("motorcycle", cv2.imread(str(left))[:, :, ::-1].copy(), depth.astype(np.float32))
        )
    for colour in sorted((folder / "redwood_rendered" / "color").glob("*.jpg")):
        truth = folder / "redwood_rendered" / "depth" / f"{colour.stem}.png"
        depth = cv2.imread(str(truth), cv2.IMREAD_UNCHANGED).astype(np.float32) / 1000
        frames.append(("redwood", cv2.imread(str(colour))[:, :, ::-1].copy(), depth))
    return frames


def evaluate(model: DepthModel, scenes: int, shared: Path | None) -> list[Figure]:
    """All figures, of the real frames in `shared` too if it is given; deterministic."""
    tally = Tally()
    sources = (("worlds", draw_world), ("interiors", draw_interior), ("glossy", draw_glossy))
    progress = Progress("evaluate", scenes + len(sources) * (scenes // 2), "scenes")
    for index in range(scenes):
        drawn = held_out_scene(index)
        predicted = predict(model, drawn.image)
        judge_objects(drawn, predicted, tally, "clean" if index % 2 else "wild")
        rng = np.random.default_rng((EVALUATION_SEED, index))
        judge_pixels(drawn.depth_m, predicted, rng, PIXEL_PAIRS, "pixels", tally)
        progress.advance()
    for place, (name, draw) in enumerate(sources):
        for index in range(scenes // 2):
            drawn = draw(EVALUATION_SEED + index, _BANK, WIDTH, HEIGHT)
            rng = np.random.default_rng((EVALUATION_SEED, (1 << 21) + place, index))
            predicted = predict(model, drawn.image)
            judge_pixels(drawn.depth_m, predicted, rng, PIXEL_PAIRS, name, tally)
            progress.advance()
    for index, (name, image, depth_m) in enumerate(real_frames(shared) if shared else []):
        rng = np.random.default_rng((EVALUATION_SEED, 1 << 20, index))
        judge_pixels(depth_m, predict(model, image), rng, 20_000, name, tally)
    return tally.figures()


def rounded(rate: float | None) -> float:
    """To four digits; not a number where nothing was counted."""
    return round(math.nan if rate is None else rate, 4)


def main() -> None:
    """Parse, evaluate, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="embedded", help="as for photographs.py")
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument(
        "--renders", action="store_true", help="leave the real frames out, to choose without them"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--card", action="store_true", help="write the figures into the packaged card"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    figures = evaluate(
        model_of(options.model),
        options.scenes,
        None if options.renders else Path(os.environ.get("PEARL_SHARED", "../shared")),
    )
    rows = [
        {
            "name": f.name,
            "share": rounded(f.share.rate),
            "n": f.share.n,
            "wilson95": [rounded(f.share.low), rounded(f.share.high)],
        }
        for f in figures
    ]
    if options.card:
        card = read_card()
        card["figures"], card["evaluated_scenes"] = rows, options.scenes
        write_card(card)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        low, high = row["wilson95"]
        print(f"{row['name']:42s} {row['share']:.3f}  n = {row['n']:6d}  95 % {low:.3f}-{high:.3f}")


if __name__ == "__main__":
    main()
