"""Which timm encoder? Each candidate is trained for the same few steps from random weights, then
judged on rendered pictures that none was trained on.

    python training/depth/encoders.py --steps 1000

One row a candidate: share of pixel pairs and of object pairs in the right order, megabytes as
exported, milliseconds for a picture of 640x480 on one core (scaled to 256x192, as the depth tool
does), and steps a second. Real pictures play no part. A short training favours encoders that learn
fast; that is what one core can afford, and so what is asked. Trained weights stay in the cache.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import numpy.typing as npt
import torch
from evaluate import Map, Tally, held_out_scene, judge_objects, judge_pixels
from recipe import STAGES
from scenes import photo_bank
from torch import Tensor
from train import read_scenes, train
from worlds import draw_world

from pearl_tools.depth.network import DepthNetwork
from pearl_tools.processor import fast_in_bfloat16

CANDIDATES = (
    "regnetx_002",
    "regnety_002",
    "mobilenetv3_large_100",
    "efficientnet_lite0",
)
PICTURES = 200
EVALUATION_SEED = 1 << 42


def predict(network: DepthNetwork, image: npt.NDArray[np.uint8]) -> Map:
    """Inverse depth at the picture's size; the network sees 256x192."""
    small = cv2.resize(image, (256, 192), interpolation=cv2.INTER_AREA)
    tensor = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        inverse = torch.exp(network(tensor))[0].numpy()
    return cv2.resize(inverse, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def judge(network: DepthNetwork) -> dict[str, float]:
    """Shares of pairs in the right order, by kind."""
    bank, tally = photo_bank(), Tally()
    for index in range(PICTURES):
        rng = np.random.default_rng((EVALUATION_SEED, index))
        scene = held_out_scene(index)
        judge_pixels(scene.depth_m, predict(network, scene.image), rng, 200, "scenes", tally)
        judge_objects(scene, predict(network, scene.image), tally, "any")
        world = draw_world(EVALUATION_SEED + index, bank, 320, 240)
        judge_pixels(world.depth_m, predict(network, world.image), rng, 200, "worlds", tally)
    wanted = {"scenes: model": "scenes", "worlds: model": "worlds", "objects: model": "objects"}
    return {
        wanted[figure.name]: figure.share.rate or 0.0
        for figure in tally.figures()
        if figure.name in wanted
    }


def milliseconds(network: DepthNetwork) -> float:
    """Median time of one 640x480 picture after warm-up."""
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    spent = []
    for _ in range(25):
        begun = time.perf_counter()
        predict(network, image)
        spent.append(time.perf_counter() - begun)
    return 1e3 * median(spent[5:])


def megabytes(average: dict[str, Tensor]) -> float:
    """As `export.py` stores it: half precision for matrices, single for vectors."""
    sizes = (
        (2 if v.ndim > 1 else 4) * v.numel() for v in average.values() if v.is_floating_point()
    )
    return sum(sizes) / 1e6


def main() -> None:
    """Parse, train each candidate, print its row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache/depth"))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--names", default=",".join(CANDIDATES), help="timm models, by commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    stage = replace(
        STAGES[1],
        steps=options.steps,
        settle=options.steps * 6 // 10,
        rate=1.5e-3,
        bfloat16=fast_in_bfloat16(),
    )
    scenes = read_scenes(options.cache, stage)
    print(
        f"{'encoder':24s}{'worlds':>8}{'scenes':>8}{'objects':>9}{'MB':>6}{'ms':>7}{'steps/s':>9}"
    )
    for name in options.names.split(","):
        begun = time.perf_counter()
        checkpoint = options.cache / f"checkpoint-encoder-{name}-{options.steps}.pt"
        average = train(stage, scenes, checkpoint, encoder=name)
        rate = options.steps / (time.perf_counter() - begun)
        network = DepthNetwork(name)
        network.load_state_dict(average)
        network.eval()
        found = judge(network)
        print(
            f"{name:24s}{found['worlds']:8.3f}{found['scenes']:8.3f}{found['objects']:9.3f}"
            f"{megabytes(average):6.1f}{milliseconds(network):7.1f}{rate:9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
