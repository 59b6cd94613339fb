"""Peak memory of synthesis on large photographs, beside the bound that the README states.

Pictures of 12 megapixels are cut and enlarged from scikit-image's photographs (extra ``photos``),
each with one question of the user's own, its evidence two boxes: every second is about
distance, and is kept if the depth map agrees. Memory is the proportional set
size (PSS) of all processes of the command, read from Linux's ``/proc`` every 50 ms: shared pages
count once.

    python bench/memory.py --pictures 48 --workers 1,2
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from PIL import Image

from pearl_data.shards import DatasetReader
from pearl_data.sources.jsonl import ROWS_PER_BLOCK
from pearl_data.synthesise.block import PIXELS_AT_ONCE
from pearl_tools.executor import ExecutorSettings

LIBRARIES = 650 << 20
"""Bytes of a process with torch and the embedded depth network loaded, before any work."""
UNSHARED = 350 << 20
"""What of it a second process does not share with the first."""
DEPTH_BATCH = 256 << 20
"""What the embedded network takes while it works on eight pictures."""
WIDTH, HEIGHT = 4000, 3000
ROLES = (("target", "Which part is sharper?"), ("pair", "Which part is nearer?"))
PHOTOS = ("coffee.png", "astronaut.png", "chelsea.png", "rocket.jpg", "retina.jpg")


@click.command()
@click.option("--pictures", default=48, show_default=True, type=click.IntRange(min=1))
@click.option("--workers", default="1,2", show_default=True, help="Numbers of workers, by commas.")
@click.option("--tools", default="crop,zoom,depth", show_default=True)
def main(pictures: int, workers: str, tools: str) -> None:
    """Print the peak of each number of workers beside the bound."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_set(folder / "set", pictures)
        print(f"{pictures} pictures of {WIDTH}x{HEIGHT}, tools {tools}")
        print(f"{'workers':<9}{'peak MiB':>10}{'bound MiB':>11}{'seconds':>10}{'written':>9}")
        for count in map(int, workers.split(",")):
            out = folder / f"out-{count}"
            peak, seconds = _measure(folder, out, count, tools)
            written = len(DatasetReader(out).keys())
            if not written:
                sys.exit("nothing was written: the figures would be those of rejecting")
            stored = sum(path.stat().st_size for path in out.rglob("*.tar")) // written
            bound = _bound(count, stored)
            print(
                f"{count:<9}{peak / 2**20:>10.0f}{bound / 2**20:>11.0f}{seconds:>10.1f}{written:>9}"
            )


def _bound(workers: int, stored: int) -> int:
    """Bytes: the libraries with the depth network, once whole and what further processes do not
    share; in every worker a batch of depth, cached results and open pictures; results that wait to
    be written, ``stored`` bytes each.
    """
    alone = workers == 1  # one worker is the main process
    libraries = LIBRARIES + (0 if alone else workers * UNSHARED)
    pictures = 3 * (PIXELS_AT_ONCE + 2 * WIDTH * HEIGHT)
    work = DEPTH_BATCH + ExecutorSettings().cache_bytes + pictures
    # alone: the block being made and the one being written; else what is ahead of the one being
    # written, and in every worker a result and its copy on the way
    blocks = 2 if alone else 2 * workers + 1 + 2 * workers
    waiting = blocks * ROWS_PER_BLOCK * stored
    return libraries + workers * work + waiting


def _make_set(folder: Path, pictures: int) -> None:
    from skimage.data import data_dir

    folder.mkdir()
    rng = np.random.default_rng(0)
    photos = [Image.open(Path(data_dir) / name).convert("RGB") for name in PHOTOS]
    rows = []
    for number in range(pictures):
        photo = photos[number % len(photos)]
        left, top = (int(rng.integers(side // 3)) for side in photo.size)
        window = (left, top, left + photo.width // 2, top + photo.height // 2)
        large = photo.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, window)
        grain = rng.integers(-6, 7, (HEIGHT, WIDTH, 1), np.int16)
        pixels = np.clip(np.asarray(large) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.jpg", quality=90)
        role, question = ROLES[number % 2]
        evidence = [
            {"bbox": box, "label": f"part {i}", "role": role}
            for i, box in enumerate(([0.1, 0.1, 0.3, 0.3], [0.6, 0.5, 0.9, 0.9]))
        ]
        rows.append(
            {
                "image": f"{number:04d}.jpg",
                "question": question,
                "choices": ["part 0", "part 1"],
                "answer": "part 1",
                "evidence": evidence,
            }
        )
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _measure(folder: Path, out: Path, workers: int, tools: str) -> tuple[int, float]:
    """(peak PSS in bytes, seconds) of one synthesis."""
    command = [sys.executable, "-m", "pearl_data.cli.main", "synth"]
    command += ["--source", f"jsonl:{folder / 'set' / 'rows.jsonl'}"]
    command += ["--images", str(folder / "set"), "--tools", tools, "--workers", str(workers)]
    command += ["--out", str(out)]
    begun = time.perf_counter()
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    peak = 0
    while running.poll() is None:
        peak = max(peak, sum(_pss(pid) for pid in _family(running.pid)))
        time.sleep(0.05)
    if running.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {running.returncode}")
    return peak, time.perf_counter() - begun


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        except OSError:
            continue
        found += [int(child) for child in text.split()]
    return found


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
