"""Each tool against its floor, in one run: opening, crop and zoom on a 12-megapixel JPEG, depth
against the bare network and against transformers' own pipeline. Memory: `bench/memory.py`.

The floor of a picture tool is what a user of OpenCV writes for the same pixels: decode, slice,
resize with the same filter, encode as the same PNG, blue first throughout. Ours adds what the
contract asks for: checks, the SHA-256 of every file and of the exact pixels of every result, the
record. The record of a root also holds the hash of all its pixels; it is made when it is asked for,
as synthesis does, so that both sides are shown without and with it. No way decodes at a reduced
scale or only a part: pixels and hash of the root are those of the whole picture, and a zoom from a
smaller one would be other pixels. Ways that are compared take turns, round by round, in one process
and on one thread; times are of the processor, not of the clock, and the best of the rounds, so that
what else runs on the machine counts as little as possible; a ratio is of best times. Weights of the
transformers model are random; that changes no timing.

    python bench/tools.py                    # two to four minutes
"""

from __future__ import annotations

import functools
import hashlib
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pearl_tools.depth.embedded import working_size
from pearl_tools.depth.load import load_depth_model
from pearl_tools.executor import ExecutorSettings, ToolExecutor, ToolRequest
from pearl_tools.media import open_image
from pearl_tools.stored import stored_form
from pearl_tools.threads import one_thread
from pearl_tools.types import ToolCall

Image8 = NDArray[np.uint8]
WIDTH, HEIGHT = 4000, 3000
#: Fractions of the picture: 800x600 px, and 2000x1500 px.
BOXES = {"a twenty-fifth": (0.4, 0.4, 0.6, 0.6), "a quarter": (0.25, 0.25, 0.75, 0.75)}
ZOOM = (448, 336)
PNG_1 = [cv2.IMWRITE_PNG_COMPRESSION, 1]
PICTURES = 6


class Way(NamedTuple):
    """One way to do the work of a comparison; the first of a comparison is the floor. An aim is a
    ratio to the floor, or milliseconds whatever the floor takes.
    """

    name: str
    run: Callable[[], object]
    aim: float | None = None
    aim_ms: float | None = None


@click.command()
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(min=1))
def main(rounds: int) -> None:
    """Print milliseconds and ratios to the floor."""
    one_thread(depth=True)
    data = twelve_megapixels()
    print(f"a JPEG of {WIDTH}x{HEIGHT} px, {len(data) / 1e6:.1f} MB; {rounds} rounds, one thread")
    compare("open", opening(data), rounds)
    for name, box in BOXES.items():
        compare(f"crop {name}, opened", crops(data, box), rounds)
        compare(f"zoom into {name}, opened", zooms(data, box), rounds)
    for name, box in BOXES.items():
        compare(f"from the file: crop {name}", whole_crop(data, box), rounds)
        compare(f"from the file: zoom into {name}", whole_zoom(data, box), rounds)
    compare("from the file: three crops and three zooms", whole_six(data), rounds)
    compare("depth of one picture of 640x480, embedded", embedded_alone(), rounds)
    compare(f"depth of {PICTURES} pictures of 640x480, embedded", embedded(), rounds)
    with tempfile.TemporaryDirectory() as folder:
        compare(f"depth of {PICTURES} pictures, a transformers model", hub(Path(folder)), rounds)


def compare(title: str, ways: Sequence[Way], rounds: int) -> None:
    """Run the ways in turns and print each one's best time and its ratio to the first."""
    times: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + 1):
        for way, spent in zip(ways, times, strict=True):
            start = time.process_time()
            way.run()
            if number:  # the first round warms up
                spent.append(time.process_time() - start)
    print(f"\n{title}")
    for way, spent in zip(ways, times, strict=True):
        ratio = min(spent) / min(times[0])
        aim = "" if way.aim is None else f"  aim {way.aim:.2f}"
        aim += "" if way.aim_ms is None else f"  aim {way.aim_ms:.0f} ms"
        print(f"  {way.name:<58}{1000 * min(spent):>9.1f} ms{ratio:>7.2f}{aim}")


def opening(data: bytes) -> list[Way]:
    """Decoding, and what a record of the picture costs on top."""
    return [
        Way("floor: cv2.imdecode", lambda: decode(data)),
        Way("Pillow, pixels as an array", lambda: np.asarray(Image.open(io.BytesIO(data)))),
        Way("ours: open_image (upright, checked)", lambda: open_image(data)),
        Way("ours, and its record (pixels and file hashed)", lambda: open_image(data).record),
    ]


def crops(data: bytes, box: tuple[float, ...]) -> list[Way]:
    """From an opened picture to the bytes that are stored."""
    pixels, run = decode(data), tool(data, "crop", box)
    return [
        Way("floor: slice, cv2.imencode", lambda: encode(cut(pixels, box))),
        Way("ours: call, checks, hash, record, PNG", run, 1.15),
    ]


def zooms(data: bytes, box: tuple[float, ...]) -> list[Way]:
    """The same, resized to 448 px."""
    pixels, run = decode(data), tool(data, "zoom", box)
    return [
        Way("floor: slice, Pillow's Lanczos, cv2.imencode", lambda: encode(lanczos(pixels, box))),
        Way(
            "other pixels: slice, cv2.INTER_AREA, cv2.imencode",
            lambda: encode(smaller(cut(pixels, box))),
        ),
        Way("ours: call, checks, hash, record, PNG", run, 1.15),
    ]


def whole_crop(data: bytes, box: tuple[float, ...]) -> list[Way]:
    """From the file's bytes to the stored bytes."""
    return whole(data, "crop", [box])


def whole_zoom(data: bytes, box: tuple[float, ...]) -> list[Way]:
    """The same, resized to 448 px."""
    return whole(data, "zoom", [box])


def whole_six(data: bytes) -> list[Way]:
    """A picture is opened once for all its calls."""
    return whole(data, "crop zoom", [(x, 0.3, x + 0.5, 0.8) for x in (0.0, 0.25, 0.5)])


def whole(data: bytes, names: str, boxes: Sequence[Sequence[float]]) -> list[Way]:
    """Every tool of ``names`` on every box, from the file's bytes to the stored bytes."""

    def floor(*, hashed: bool) -> None:
        pixels = decode(data)
        results = [
            cut(pixels, box) if name == "crop" else lanczos(pixels, box)
            for box in boxes
            for name in names.split()
        ]
        files = [encode(result) for result in results]
        if hashed:
            contents: list[bytes | memoryview] = [data, *files]
            contents += [np.ascontiguousarray(array).data for array in (pixels, *results)]
            for content in contents:
                hashlib.sha256(content).hexdigest()

    def ours(*, root: bool) -> None:
        executor, media = ToolExecutor(), {"i0": open_image(data)}
        for box in boxes:
            for name in names.split():
                call = ToolCall(id="c", tool=name, arguments={"image": "i0", "bbox": list(box)})
                stored_form(executor.run(call, media).media[0])
        if root:
            stored_form(media["i0"])

    return [
        Way("floor: cv2 decode, slice, resize, encode", functools.partial(floor, hashed=False)),
        Way("ours: open, call, store", functools.partial(ours, root=False), 1.15),
        Way("floor with the hashes of all records", functools.partial(floor, hashed=True)),
        Way("ours, and the record of the root", functools.partial(ours, root=True)),
    ]


def embedded_alone() -> list[Way]:
    """What one picture takes after warm-up, which is to stay below a number of milliseconds."""
    image, model = photographs()[0], load_depth_model()
    return [Way("ours: predict, on one core", lambda: model.predict([image]), aim_ms=60)]


def embedded() -> list[Way]:
    """The shipped network, at 256x192."""
    import torch

    from pearl_tools.depth.network import DepthNetwork

    images = photographs()
    size = working_size(480, 640)
    network = DepthNetwork().eval().to(memory_format=torch.channels_last)  # weights do not matter
    model = load_depth_model()
    small = [cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA) for image in images]
    ready = [torch.from_numpy(one)[None].permute(0, 3, 1, 2).float() / 255 for one in small]

    def bare() -> None:
        with torch.inference_mode():
            for one in ready:
                network(one)

    def executor(*, together: bool) -> None:
        runner = ToolExecutor(ExecutorSettings(cache_bytes=0), depth_model=model)
        call = ToolCall(id="c", tool="depth", arguments={"image": "i0"})
        if together:
            runner.run_many([ToolRequest(call, {"i0": photo}) for photo in opened])
            return
        for photo in opened:
            runner.run(call, {"i0": photo})

    opened = [open_image(jpeg(image)) for image in images]
    return [
        Way("floor: the bare network in a loop, tensors ready", bare),
        Way("ours: predict, one by one", lambda: [model.predict([i]) for i in images], 1.2),
        Way("ours: predict, all at once", lambda: model.predict(images), 1.2),
        Way("ours: calls, one by one", functools.partial(executor, together=False), 1.2),
        Way("ours: calls, all at once", functools.partial(executor, together=True), 1.2),
    ]


def hub(folder: Path) -> list[Way]:
    """Depth Anything's architecture, smaller: 4 layers of 192, 252x252 px."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    backbone = transformers.Dinov2Config(  # type: ignore[call-arg]
        hidden_size=192,
        num_hidden_layers=4,
        num_attention_heads=3,
        image_size=252,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=192,
        neck_hidden_sizes=[24, 48, 96, 192],
        fusion_hidden_size=32,
        head_hidden_size=16,
    )
    torch.manual_seed(0)
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    processor = transformers.DPTImageProcessor(size={"height": 252, "width": 252})
    processor.save_pretrained(folder)
    bare_model = transformers.DepthAnythingForDepthEstimation.from_pretrained(folder)
    bare_model.train(False)
    ours = load_depth_model(str(folder))
    pipe = transformers.pipeline("depth-estimation", model=str(folder), device="cpu")
    images = photographs()
    pictures = [Image.fromarray(image) for image in images]
    ready = [processor(images=[image], return_tensors="pt") for image in images]

    def bare() -> None:
        with torch.no_grad():
            for one in ready:
                bare_model(**one)

    return [
        Way("floor: the bare network in a loop, tensors ready", bare),
        Way("transformers.pipeline, one by one", lambda: [pipe(one) for one in pictures]),
        Way("ours: predict, one by one", lambda: [ours.predict([i]) for i in images], 1.2),
        Way("ours: predict, all at once", lambda: ours.predict(images), 1.2),
    ]


def tool(data: bytes, name: str, box: Sequence[float]) -> Callable[[], object]:
    """One call on the picture, from the request to the bytes that are stored."""
    executor = ToolExecutor(ExecutorSettings(cache_bytes=0))
    media = {"i0": open_image(data)}
    call = ToolCall(id="c1", tool=name, arguments={"image": "i0", "bbox": list(box)})
    return lambda: stored_form(executor.run(call, media).media[0])


def decode(data: bytes) -> Image8:
    """Pixels by OpenCV, blue first."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def cut(pixels: Image8, box: Sequence[float]) -> Image8:
    """The part, without a copy."""
    x0, y0, x1, y1 = box
    return pixels[round(y0 * HEIGHT) : round(y1 * HEIGHT), round(x0 * WIDTH) : round(x1 * WIDTH)]


def smaller(pixels: Image8) -> Image8:
    """OpenCV's area filter, to the size of a zoom."""
    return np.asarray(cv2.resize(pixels, ZOOM, interpolation=cv2.INTER_AREA), np.uint8)


def lanczos(pixels: Image8, box: Sequence[float]) -> Image8:
    """The part by the filter of a zoom, which treats every channel alike."""
    part = Image.fromarray(np.ascontiguousarray(cut(pixels, box)))
    return np.asarray(part.resize(ZOOM, Image.Resampling.LANCZOS), np.uint8)


def encode(pixels: Image8) -> bytes:
    """A PNG of level 1, as the toolkit stores results."""
    return bytes(cv2.imencode(".png", pixels, PNG_1)[1])


@functools.cache
def twelve_megapixels() -> bytes:
    """A JPEG made of a photograph of scikit-image (extra ``photos``), enlarged, with grain."""
    import skimage

    path = Path(skimage.__file__).parent / "data" / "astronaut.png"
    photo = np.asarray(Image.open(path).convert("RGB").resize((WIDTH, HEIGHT)), np.int16)
    grain = np.random.default_rng(0).normal(0, 4, (HEIGHT, WIDTH, 1)).astype(np.int16)
    return jpeg(np.clip(photo + grain, 0, 255).astype(np.uint8))


def photographs() -> list[Image8]:
    """Parts of 640x480."""
    pixels = cv2.cvtColor(decode(twelve_megapixels()), cv2.COLOR_BGR2RGB)
    return [np.ascontiguousarray(pixels[300 * n : 300 * n + 480, :640]) for n in range(PICTURES)]


def jpeg(pixels: Image8) -> bytes:
    """JPEG of quality 90."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


if __name__ == "__main__":
    main()
