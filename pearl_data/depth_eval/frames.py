"""Pictures with their true depth, found in folders.

Two layouts are known: a folder of pictures beside a folder of depth (`color/0.jpg`, `depth/0.png`),
and both in one folder, told apart by the ends of their names (`x.jpg` or `x_left.png` with
`x_depth.png` or `x_disp.npz`); ends may be in capitals. What has no partner is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pearl_data.depth_eval.calibration import Calibration
from pearl_data.depth_eval.truth import SUFFIXES, read_depth_m
from pearl_tools.errors import BadInput, ToolFailure
from pearl_tools.media import open_image

IMAGE_FOLDERS: Final = ("color", "colour", "rgb", "image", "images", "left")
TRUTH_FOLDERS: Final = ("depth", "depths", "disparity", "disp")
IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
IMAGE_ENDS: Final = ("", "_left", "_rgb", "_color", "_image", "_im0")
TRUTH_ENDS: Final = ("_depth", "_depth_m", "_depth_mm", "_disp", "_disparity")


class Frame(NamedTuple):
    """A picture file and the file of its depth."""

    name: str
    image: Path
    truth: Path


class Found(NamedTuple):
    """What a folder holds; ``alone`` counts pictures without depth."""

    frames: list[Frame]
    alone: int


def find_frames(place: Path) -> Found:
    """The frames in folder ``place``, in order of name; a picture file means its frame alone.

    Raises:
        BadInput: there is none; the message says which names would be understood.

    """
    found = _of_picture(place) if place.is_file() else _of_folder(place)
    if not found.frames:
        raise BadInput(
            f"{place}: expected pictures with depth, found none: either folders "
            f"{' or '.join(IMAGE_FOLDERS[:3])} and {' or '.join(TRUTH_FOLDERS[:3])} with equal "
            "file names, or x.jpg (x_left.png ...) with x_depth.png (x_depth.npz, x_disp.npz ...)"
        )
    return found


def open_frame(
    frame: Frame, calibration: Calibration | None, png_per_m: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The picture, uint8 (H, W, 3), and its depth in metres, float32 (h, w), nan = unknown.

    Raises:
        BadInput: one of them cannot be read, their shapes differ by more than a resize, or no
            pixel has a known depth.

    """
    depth = read_depth_m(frame.truth, calibration, png_per_m=png_per_m)
    try:
        opened = open_image(frame.image.read_bytes(), name=str(frame.image))
    except ToolFailure as failure:
        raise BadInput(str(failure.error)) from failure
    image = np.asarray(opened.pixels, np.uint8)
    across = [image.shape[axis] / depth.shape[axis] for axis in (0, 1)]
    if abs(across[0] / across[1] - 1) > 0.02:
        raise BadInput(
            f"{frame.truth}: expected the shape of its picture, got {depth.shape[1]}x"
            f"{depth.shape[0]} for {image.shape[1]}x{image.shape[0]}; crop one of them"
        )
    if not np.isfinite(depth).any():
        raise BadInput(f"{frame.truth}: expected some known depth, got none")
    return image, depth


def _of_folder(folder: Path) -> Found:
    images = next((folder / n for n in IMAGE_FOLDERS if (folder / n).is_dir()), None)
    return (images and _in_two_folders(images, folder)) or _in_one_folder(folder)


def _of_picture(place: Path) -> Found:
    folder, here = place.parent, place.parent.absolute()
    among = _in_one_folder(folder).frames
    if here.name in IMAGE_FOLDERS and (beside := _in_two_folders(folder, here.parent)):
        among = beside.frames + among
    return Found([frame for frame in among if frame.image == place][:1], 0)


def _in_two_folders(images: Path, folder: Path) -> Found | None:
    """The pictures in ``images`` with the depth in a folder in ``folder``; None without one."""
    truths = next((folder / n for n in TRUTH_FOLDERS if (folder / n).is_dir()), None)
    if truths is None:
        return None
    by_stem = {path.stem: path for path in _files(truths, SUFFIXES)}
    pictures = _files(images, IMAGE_SUFFIXES)
    frames = [Frame(p.stem, p, by_stem[p.stem]) for p in pictures if p.stem in by_stem]
    return Found(frames, len(pictures) - len(frames))


def _in_one_folder(folder: Path) -> Found:
    truths = _by_beginning(_files(folder, SUFFIXES), TRUTH_ENDS)
    taken = set(truths.values())
    pictures = [path for path in _files(folder, IMAGE_SUFFIXES) if path not in taken]
    images = _by_beginning(pictures, IMAGE_ENDS)
    frames = [Frame(n, images[n], truth) for n, truth in sorted(truths.items()) if n in images]
    return Found(frames, len(pictures) - len(frames))


def _by_beginning(paths: Sequence[Path], ends: Sequence[str]) -> dict[str, Path]:
    """Paths by their names without one of ``ends``; an earlier end, then an earlier path, wins."""
    found: dict[str, Path] = {}
    for end in ends:
        for path in paths:
            if path.stem.lower().endswith(end):
                found.setdefault(path.stem[: len(path.stem) - len(end)], path)
    return found


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in suffixes)
