"""Ordinal accuracy of a depth model beside the rules of thumb, on scenes it has never seen.

    python training/depth/evaluate.py          # the embedded model, 400 rendered scenes
    python training/depth/evaluate.py --model path/to/model --scenes 100
    python training/depth/evaluate.py --model weights.safetensors --renders

Half as many worlds (`worlds.py`), interiors (`interiors.py`), glossy scenes (`reflections.py`) and
pictures of company (`company.py`) follow. A pair counts if its true depths differ by a factor above
1.25. Object pairs compare the median prediction in the boxes of the
objects' visible pixels. Pairs of one picture are not independent, so the Wilson intervals are too
narrow. The held-out frames (`held_out.py`) are added if PEARL_SHARED (default ../shared) has them;
they never take part in training or selection: `--renders` leaves them out while weights are
compared. Leaves out training.
"""

import argparse
import json
import math
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from company import draw_company
from export import read_card, write_card
from held_out import measure, table
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


def evaluate(model: DepthModel, scenes: int) -> list[Figure]:
    """All figures of rendered scenes; deterministic."""
    tally = Tally()
    sources = (
        ("worlds", draw_world),
        ("interiors", draw_interior),
        ("glossy", draw_glossy),
        ("company", draw_company),
    )
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
        "--renders", action="store_true", help="leave the held-out frames out, to choose weights"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--card", action="store_true", help="write the figures into the packaged card"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model, shared = model_of(options.model), Path(os.environ.get("PEARL_SHARED", "../shared"))
    figures = evaluate(model, options.scenes)
    rows = [
        {
            "name": f.name,
            "share": rounded(f.share.rate),
            "n": f.share.n,
            "wilson95": [rounded(f.share.low), rounded(f.share.high)],
        }
        for f in figures
    ]
    held_out: list[dict[str, Any]] = []
    if not options.renders:
        if shared.is_dir():
            held_out = measure(model, shared)
        else:
            print(f"{shared}: no held-out frames there; set PEARL_SHARED", file=sys.stderr)
    if options.card:
        card = read_card()
        card["figures"], card["evaluated_scenes"] = rows, options.scenes
        card["held_out"] = held_out
        write_card(card)
    if options.json:
        print(json.dumps({"renders": rows, "held_out": held_out}, indent=2))
        return
    for row in rows:
        low, high = row["wilson95"]
        print(f"{row['name']:42s} {row['share']:.3f}  n = {row['n']:6d}  95 % {low:.3f}-{high:.3f}")
    if held_out:
        print(table(held_out))


if __name__ == "__main__":
    main()
