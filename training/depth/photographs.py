"""Which weights to ship: points of real photographs, put in order of distance by eye.

    python training/depth/photographs.py --model embedded --model OTHER.safetensors
    python training/depth/photographs.py --tilt 0 --tilt 0.2 --tilt 0.5

Renders alone cannot choose: a stage that was better on every rendered set was worse on photographs.
The frames with true depth (`held_out.py`) take no part in training; these 54 pictures of
PEARL_SHARED (default ../shared; four of scikit-image, four of COCO, 46 news photographs of BLINK)
have no part in the figures that are reported, nor their labels in training, but four of them are
also textures of the training scenes. In `photographs.json` a layer is a list of points (fractions
of the picture, origin at the top left) at about one distance, and only pairs of layers that nobody
would argue about are listed, the nearer first. Leaves out training.
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


def labelled() -> dict[str, Photograph]:
    """The photographs of `photographs.json` by their place under PEARL_SHARED/data."""
    stored = json.loads(Path(__file__).with_suffix(".json").read_text())
    return {
        name: Photograph(row["layers"], [(near, far) for near, far in row["nearer"]])
        for name, row in stored.items()
    }


def picture(place: Path) -> npt.NDArray[np.uint8]:
    """RGB of a photograph; a folder is a jigsaw of BLINK, whose missing corner is put back."""
    if place.is_dir():
        answer = json.loads((place / "request.json").read_text())["answer"]
        image = _read(place / "image1.jpg")
        corner = _read(place / {"(A)": "image2.jpg", "(B)": "image3.jpg"}[answer])
        image[-corner.shape[0] :, -corner.shape[1] :] = corner
        return image
    return _read(place)


def _read(path: Path) -> npt.NDArray[np.uint8]:
    stored = cv2.imread(str(path))
    if stored is None:
        raise SystemExit(f"{path}: expected a photograph there; set PEARL_SHARED")
    return np.ascontiguousarray(np.asarray(stored, np.uint8)[..., ::-1])


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
    for name, photograph in labelled().items():
        image = picture(root / name)
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
        print(f"{name[-24:]:24s}" + "  ".join(f"{value:18.3f}" for value in row))


if __name__ == "__main__":
    main()
