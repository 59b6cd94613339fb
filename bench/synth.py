"""Synthesis on one core against the floor of the same work, called directly, in one run.

The floor decodes every picture once, makes the same views with the same library calls, runs the
bare depth network once per picture that needs it, encodes every result and writes it to one file:
no plans, records, hashes, checks, index or manifest. Model loading is left out of both. Pictures
are cut from scikit-image's photographs (extra ``photos``) at 640x480 as JPEG.

    python bench/synth.py --pictures 24 --rounds 3
"""

from __future__ import annotations

import io
import json
import random
import tempfile
import time
from pathlib import Path
from statistics import median

import click
import numpy as np
from PIL import Image

from pearl_data.shards import DatasetReader, read_manifest
from pearl_data.sources import parse_source
from pearl_data.sources.base import QuestionSettings
from pearl_data.synthesise import SynthesisSettings, synthesise
from pearl_tools.depth import depth_picture, load_depth_model
from pearl_tools.executor import ExecutorSettings
from pearl_tools.pixels import encode_npy, encode_png
from pearl_tools.threads import one_thread

AIM = 0.7
COLOURS = ("red", "green", "blue", "grey", "white", "brown")
PHOTOS = ("coffee.png", "astronaut.png", "chelsea.png", "rocket.jpg", "retina.jpg")


@click.command()
@click.option("--pictures", default=24, show_default=True, type=click.IntRange(min=1))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
def main(pictures: int, rounds: int) -> None:
    """Print trajectories per second of both, and what share of the floor synthesis reaches."""
    one_thread(depth=True)
    print(f"{'tools':<18}{'trajectories':>13}{'ours /s':>10}{'floor /s':>10}{'share':>8}{'aim':>7}")
    for tools in (["crop"], ["crop", "zoom"], ["crop", "zoom", "depth"]):
        with tempfile.TemporaryDirectory() as folder:
            count, ours_s, floor_s = _compare(Path(folder), tools, pictures, rounds)
        share = floor_s / ours_s
        print(f"{','.join(tools):<18}{count:>13}{count / ours_s:>10.1f}{count / floor_s:>10.1f}"
              f"{share:>8.0%}{AIM:>7.0%}")  # fmt: skip


def _compare(
    folder: Path, tools: list[str], pictures: int, rounds: int
) -> tuple[int, float, float]:
    """(trajectories, seconds of ours, seconds of the floor), medians over paired rounds."""
    annotations = _make_set(folder / "set", pictures)
    settings = SynthesisSettings(
        source=parse_source(f"coco:{annotations}", folder / "set"),
        questions=QuestionSettings(tools=tools, per_image=8),
        executor=ExecutorSettings(),
    )
    ours: list[float] = []
    floors: list[float] = []
    count = 0
    for number in range(rounds + 1):  # the first round warms caches up and is not counted
        out = folder / f"out{number}"
        start = time.perf_counter()
        count = synthesise(out, settings).written
        ours_s = time.perf_counter() - start - _opening_s(tools)
        floor_s = _floor(out, folder / "set", folder / "floor.bin")
        if number:
            ours.append(ours_s)
            floors.append(floor_s)
    return count, median(ours), median(floors)


def _opening_s(tools: list[str]) -> float:
    """Seconds to load the depth model, which every run of ours does once."""
    if "depth" not in tools:
        return 0.0
    start = time.perf_counter()
    load_depth_model("embedded")
    return time.perf_counter() - start


def _floor(dataset: Path, images: Path, out: Path) -> float:
    """Seconds for the calls recorded in ``dataset`` (quarantined ones too), called directly."""
    records = [json.loads(line) for line in _records(dataset)]
    model = load_depth_model("embedded") if _uses_depth(records) else None
    start = time.perf_counter()
    roots: dict[str, np.ndarray] = {}
    depths: dict[str, list[bytes]] = {}
    with out.open("wb") as file:
        for record in records:
            name = f"{int(record['source']['row']):04d}.jpg"
            data = (images / name).read_bytes()
            if name not in roots:
                roots[name] = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            file.write(data)
            views = {"i0": roots[name]}
            for call in (call for step in record["steps"] for call in step["calls"]):
                if call["tool"] == "depth":
                    assert model is not None
                    if name not in depths:
                        (depth,) = model.predict([roots[name]])
                        depths[name] = [encode_npy(depth), encode_png(depth_picture(depth))]
                    file.writelines(depths[name])
                    continue
                x0, y0, x1, y1 = call["effective"]["box_px"]
                view = views[call["arguments"]["image"]][y0:y1, x0:x1]
                if call["tool"] == "zoom":
                    size = call["effective"]["resampling"]
                    picture = Image.fromarray(np.ascontiguousarray(view))
                    resized = picture.resize(
                        (size["width"], size["height"]), Image.Resampling.LANCZOS
                    )
                    view = np.asarray(resized)
                views[call["result"]["media"][0]] = view
                file.write(encode_png(np.ascontiguousarray(view)))
    return time.perf_counter() - start


def _records(dataset: Path) -> list[bytes]:
    """Every trajectory's JSON, and the quarantined ones that got as far as a call."""
    reader = DatasetReader(dataset)
    records = [reader.members(index)["json"] for index in range(len(reader))]
    for shard in read_manifest(dataset).shards:
        path = dataset / "quarantine" / f"{shard.number:06d}.jsonl"
        for line in path.read_bytes().splitlines() if path.exists() else []:
            record = json.loads(line)["record"] or {}
            if record.get("steps"):
                records.append(json.dumps(record).encode())
    return records


def _uses_depth(records: list[dict[str, list[dict[str, list[dict[str, str]]]]]]) -> bool:
    return any(c["tool"] == "depth" for r in records for s in r["steps"] for c in s["calls"])


def _make_set(folder: Path, pictures: int) -> Path:
    """Cuts pictures out of photographs and gives each eight small boxes with attributes."""
    import skimage

    folder.mkdir()
    source = Path(skimage.__file__).parent / "data"
    rng = random.Random(0)
    images, annotations = [], []
    for number in range(pictures):
        photo = Image.open(source / PHOTOS[number % len(PHOTOS)]).convert("RGB")
        width = rng.randint(photo.width // 2, photo.width)
        height = width * 3 // 4
        x, y = (
            rng.randint(0, max(0, s - t)) for s, t in ((photo.width, width), (photo.height, height))
        )
        cut = photo.crop((x, y, x + width, min(photo.height, y + height)))
        cut.resize((640, 480)).save(folder / f"{number:04d}.jpg", quality=92)
        images.append({"id": number, "file_name": f"{number:04d}.jpg", "width": 640, "height": 480})
        for k in range(8):
            box = [20 + 76 * k, rng.randint(20, 400), rng.randint(16, 40), rng.randint(16, 40)]
            annotations.append({
                "id": number * 10 + k, "image_id": number, "category_id": 1 + k % 3, "bbox": box,
                "attributes": {"color": rng.choice(COLOURS)}, "depth_rank": k,
            })  # fmt: skip
    names = [{"id": 1, "name": "mark"}, {"id": 2, "name": "spot"}, {"id": 3, "name": "patch"}]
    path = folder / "set.json"
    document = {"images": images, "annotations": annotations, "categories": names}
    path.write_text(json.dumps(document))
    return path


if __name__ == "__main__":
    main()
