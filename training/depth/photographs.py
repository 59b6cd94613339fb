"""Which weights to ship: points of real photographs, put in order of distance by eye.

    python training/depth/photographs.py --model embedded --model OTHER.safetensors
    python training/depth/photographs.py --tilt 0 --tilt 0.2 --tilt 0.5

Renders alone cannot choose: a stage that was better on every rendered set was worse on photographs.
The frames with true depth (`held_out.py`) take no part in training; these eight pictures of
PEARL_SHARED (default ../shared) have no part in the figures that are reported, nor their labels in
training, but four of them are also textures of the training scenes. A layer is a list of points
(fractions of the picture, origin at the top left) at about one distance, layers run from near to
far, and only pairs that nobody would argue about are listed.
Leaves out training.
"""

import argparse
import json
import os
from itertools import product
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from pearl_tools.depth import DepthModel, load_depth_model
from pearl_tools.depth.embedded import EmbeddedDepth
from pearl_tools.depth.model import EMBEDDED

Points = list[tuple[float, float]]


class Photograph(NamedTuple):
    """Layers of points by name, and which of two layers is nearer."""

    layers: dict[str, Points]
    nearer: list[tuple[str, str]]


PHOTOGRAPHS = {
    "photos/coffee.png": Photograph(
        {
            "saucer front": [(0.5, 0.93), (0.4, 0.92)],
            "rim front": [(0.48, 0.5)],
            "spoon": [(0.6, 0.74)],
            "rim back": [(0.47, 0.06)],
            "spoon tip": [(0.68, 0.19)],
            "table front": [(0.1, 0.95), (0.92, 0.95)],
            "table back": [(0.9, 0.1), (0.8, 0.05), (0.1, 0.31)],
            "floor": [(0.05, 0.05), (0.1, 0.03)],
        },
        [
            ("saucer front", "table back"), ("saucer front", "floor"),
            ("saucer front", "spoon tip"), ("rim front", "table back"), ("rim front", "floor"),
            ("rim front", "rim back"), ("spoon", "spoon tip"), ("spoon", "table back"),
            ("spoon", "floor"), ("table front", "table back"), ("table front", "floor"),
            ("table back", "floor"), ("rim back", "floor"),
        ],
    ),
    "photos/astronaut.png": Photograph(
        {
            "helmet": [(0.72, 0.93), (0.62, 0.84)],
            "person": [(0.35, 0.6), (0.42, 0.63), (0.4, 0.22), (0.42, 0.08), (0.2, 0.7)],
            "behind": [(0.05, 0.3), (0.02, 0.75), (0.82, 0.25), (0.77, 0.4), (0.85, 0.62)],
            "backdrop": [(0.24, 0.1), (0.65, 0.2), (0.95, 0.2), (0.66, 0.36), (0.24, 0.24)],
        },
        [
            ("helmet", "person"), ("helmet", "behind"), ("helmet", "backdrop"),
            ("person", "behind"), ("person", "backdrop"), ("behind", "backdrop"),
        ],
    ),
    "photos/chelsea.png": Photograph(
        {
            "nose": [(0.58, 0.79), (0.5, 0.83)],
            "face": [(0.4, 0.3), (0.7, 0.5), (0.5, 0.3), (0.45, 0.6)],
            "ear": [(0.8, 0.12)],
            "room": [(0.95, 0.2), (0.93, 0.46), (0.95, 0.8), (0.03, 0.15)],
        },
        [("nose", "ear"), ("nose", "room"), ("face", "ear"), ("face", "room"), ("ear", "room")],
    ),
    "photos/rocket.jpg": Photograph(
        {
            "rocket": [(0.505, 0.6), (0.505, 0.85), (0.503, 0.37), (0.5, 0.97)],
            "sky": [(0.4, 0.2), (0.6, 0.3), (0.2, 0.2), (0.8, 0.15), (0.4, 0.6), (0.6, 0.7)],
        },
        [("rocket", "sky")],
    ),
    "coco/000000000785.jpg": Photograph(
        {
            "snow in front": [(0.2, 0.97), (0.5, 0.98), (0.85, 0.97)],
            "skier": [(0.62, 0.4), (0.66, 0.6), (0.57, 0.2), (0.67, 0.42), (0.62, 0.83)],
            "snow behind": [(0.15, 0.5), (0.85, 0.45), (0.3, 0.4)],
            "slope": [(0.1, 0.3), (0.9, 0.32), (0.35, 0.28)],
            "hill": [(0.3, 0.13), (0.1, 0.1), (0.47, 0.18)],
            "sky": [(0.87, 0.05), (0.72, 0.06), (0.6, 0.04)],
        },
        [
            ("snow in front", "snow behind"), ("snow in front", "slope"), ("snow in front", "hill"),
            ("snow in front", "sky"), ("skier", "snow behind"), ("skier", "slope"),
            ("skier", "hill"), ("skier", "sky"), ("snow behind", "slope"), ("snow behind", "hill"),
            ("snow behind", "sky"), ("slope", "hill"), ("slope", "sky"), ("hill", "sky"),
        ],
    ),
    "coco/000000040083.jpg": Photograph(
        {
            "boxes": [(0.3, 0.93), (0.55, 0.95), (0.2, 0.92)],
            "men": [(0.14, 0.55), (0.18, 0.4), (0.23, 0.69), (0.7, 0.65), (0.69, 0.48)],
            "umbrella": [(0.6, 0.05), (0.3, 0.08), (0.2, 0.18)],
            "car": [(0.35, 0.54), (0.44, 0.5)],
            "van": [(0.49, 0.43)],
            "street": [(0.07, 0.3), (0.63, 0.38), (0.12, 0.37)],
        },
        [
            ("boxes", "men"), ("boxes", "car"), ("boxes", "van"), ("boxes", "street"),
            ("men", "car"), ("men", "van"), ("men", "street"), ("umbrella", "car"),
            ("umbrella", "van"), ("umbrella", "street"), ("car", "van"),
        ],
    ),
    "coco/000000196141.jpg": Photograph(
        {
            "ground in front": [(0.2, 0.96), (0.5, 0.97)],
            "catcher": [(0.85, 0.7), (0.81, 0.62), (0.78, 0.83), (0.89, 0.54)],
            "batter": [(0.52, 0.4), (0.49, 0.2), (0.5, 0.6), (0.46, 0.55)],
            "people behind": [(0.91, 0.35), (0.9, 0.45), (0.08, 0.25), (0.08, 0.32)],
            "trees and cars": [(0.2, 0.03), (0.75, 0.04), (0.18, 0.18), (0.6, 0.05)],
        },
        [
            ("ground in front", "people behind"), ("ground in front", "trees and cars"),
            ("ground in front", "batter"), ("catcher", "batter"), ("catcher", "people behind"),
            ("catcher", "trees and cars"), ("batter", "people behind"),
            ("batter", "trees and cars"), ("people behind", "trees and cars"),
        ],
    ),
    "coco/000000197388.jpg": Photograph(
        {
            "skier in front": [(0.85, 0.62), (0.76, 0.75), (0.87, 0.86), (0.9, 0.5)],
            "snow in front": [(0.2, 0.95), (0.4, 0.97)],
            "blue skier": [(0.46, 0.4), (0.44, 0.55), (0.46, 0.72), (0.52, 0.29)],
            "skiers behind": [(0.05, 0.29), (0.05, 0.44), (0.9, 0.3), (0.94, 0.43)],
            "valley": [(0.25, 0.13), (0.65, 0.15), (0.7, 0.32), (0.2, 0.4), (0.6, 0.04)],
        },
        [
            ("skier in front", "blue skier"), ("skier in front", "skiers behind"),
            ("skier in front", "valley"), ("snow in front", "skiers behind"),
            ("snow in front", "valley"), ("blue skier", "skiers behind"),
            ("blue skier", "valley"), ("skiers behind", "valley"),
        ],
    ),
}  # fmt: skip


def share_in_order(near: npt.NDArray[np.float32], photograph: Photograph) -> float:
    """The share of pairs of points whose nearer one has the larger value; the median of a small
    window is read. Every pair of layers counts alike.
    """
    height, width = near.shape
    reach = max(1, round(0.008 * width))

    def value(point: tuple[float, float]) -> float:
        x, y = int(point[0] * width), int(point[1] * height)
        window = near[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        return float(np.median(window))

    shares = []
    for first, second in photograph.nearer:
        pairs = product(photograph.layers[first], photograph.layers[second])
        shares.append(np.mean([value(one) > value(other) for one, other in pairs]))
    return float(np.mean(shares))


def lower(height: int, width: int) -> npt.NDArray[np.float32]:
    """The rule that what is lower in the picture is nearer."""
    return np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)


def model_of(name: str, tilt: float | None = None) -> DepthModel:
    """A depth model by id or folder, or the embedded network with the weights of a file, at its own
    tilt or at `tilt`.
    """
    if name != EMBEDDED and not name.endswith(".safetensors"):
        return load_depth_model(name)
    model = EmbeddedDepth()
    network = model._network  # noqa: SLF001  nobody else needs this
    if name != EMBEDDED:
        weights = {key: value.float() for key, value in load_file(name).items()}
        network.load_state_dict(weights, strict=False)
    if tilt is not None:
        network.tilt.fill_(tilt)
    return model


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        help="as for load_depth_model, or weights of the embedded network",
    )
    parser.add_argument(
        "--tilt",
        action="append",
        default=[],
        type=float,
        help="the embedded network at other tilts than its own",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    root = Path(os.environ.get("PEARL_SHARED", "../shared")) / "data"
    if not root.is_dir():
        raise SystemExit(f"{root}: expected the photographs there; set PEARL_SHARED")
    torch.set_num_threads(1)
    named = options.model or [EMBEDDED]
    asked = [(name, tilt) for name in named for tilt in options.tilt or [None]]
    models = [model_of(name, tilt) for name, tilt in asked]
    names = [name if tilt is None else f"{name}, tilt {tilt}" for name, tilt in asked]
    table: dict[str, list[float]] = {}
    for name, photograph in PHOTOGRAPHS.items():
        stored = cv2.imread(str(root / name))
        assert stored is not None, name
        image = np.ascontiguousarray(stored[..., ::-1])
        maps = [lower(*image.shape[:2]), *(model.predict([image])[0] for model in models)]
        table[name] = [share_in_order(near, photograph) for near in maps]
    table["mean"] = [float(column) for column in np.mean(list(table.values()), axis=0)]
    columns = ["rule: lower", *names]
    if options.json:
        print(json.dumps({name: dict(zip(columns, row, strict=True))
                          for name, row in table.items()}, indent=2))  # fmt: skip
        return
    print(" " * 24 + "  ".join(f"{Path(name).name[-18:]:>18s}" for name in columns))
    for name, row in table.items():
        print(f"{name:24s}" + "  ".join(f"{value:18.3f}" for value in row))


if __name__ == "__main__":
    main()
