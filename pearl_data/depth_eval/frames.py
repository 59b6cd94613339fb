"""Pictures and the files of their true depth, paired by name.

Two layouts: a folder of pictures beside one of depth (`color/0.jpg`, `depth/0.png`), or one folder
for both, with endings of names (`x.jpg` or `x_left.png` with `x_depth.png` or `x_disp.npz`; x may
be empty, as in Middlebury's `im0.png` and `disp0.pfm`). Case matters only between names that differ
in nothing else. A pairing that is not unique is an error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pearl_data.depth_eval.calibration import Calibration
from pearl_data.depth_eval.point_pairs import FORMS
from pearl_data.depth_eval.truth import SUFFIXES, Truth, read_truth
from pearl_tools.errors import BadInput, listed
from pearl_tools.media import open_image, read_file

IMAGE_FOLDERS: Final = ("color", "colour", "rgb", "image", "images", "left")
TRUTH_FOLDERS: Final = ("depth", "depths", "disparity", "disp")
IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
IMAGE_ENDS: Final = ("", "_left", "_rgb", "_color", "_image", "_im0")
TRUTH_ENDS: Final = ("_depth", "_depth_m", "_depth_mm", "_disp", "_disparity", "_disp0")
_Named = tuple[str, Path]


class Frame(NamedTuple):
    """A picture file and the file of its depth."""

    name: str
    image: Path
    truth: Path


class Found(NamedTuple):
    """The frames of a folder, its pictures ``without`` depth and its ``truths`` without picture."""

    frames: list[Frame]
    without: list[Path]
    truths: list[Path]


def find_frames(place: Path) -> Found:
    """The frames in folder ``place`` by name, or the one frame of picture ``place``.

    Raises:
        BadInput: no frame; several files of depth for a picture; several pictures for a file of
            depth.

    """
    if place.is_dir():
        images, truths = (_subfolder(place, names) for names in (IMAGE_FOLDERS, TRUTH_FOLDERS))
        found = _match(*(_two(images, truths) if images and truths else _one(place)))
        if not (images and truths):
            found.frames.sort()
    elif place.suffix.lower() in IMAGE_SUFFIXES:
        folder = place.parent.absolute()
        pictures, depths = _one(place.parent)
        truths = _subfolder(folder.parent, TRUTH_FOLDERS)
        if truths and folder.name.lower() in IMAGE_FOLDERS:
            more = _two(place.parent, truths)
            pictures, depths = [*pictures, *more[0]], [*depths, *more[1]]
        found = _match(pictures, depths, place)
    else:
        raise BadInput(
            f"{place}: expected a folder, a picture, or point pairs in {', '.join(FORMS)}, got "
            f"{place.suffix or 'no ending'}"
        )
    if not found.frames:
        without, alone = (listed([p.name for p in paths]) or "none" for paths in found[1:])
        raise BadInput(
            f"{place}: expected pictures with depth, got pictures alone: {without}, depth alone: "
            f"{alone}; put them in folders color and depth under equal names, or name them x.jpg "
            f"and x_depth.png (or x_disp.npz); depth is read from {', '.join(SUFFIXES)}"
        )
    return found


def open_frame(
    frame: Frame, calibration: Calibration | None, png_per_m: float
) -> tuple[NDArray[np.uint8], Truth]:
    """The picture, uint8 (H, W, 3), and its true depth, which may be of another size.

    Raises:
        BadInput: depth that cannot be read, of another shape than the picture, or all unknown.
        ToolFailure: a picture that cannot be read.

    """
    truth = read_truth(frame.truth, calibration, png_per_m=png_per_m)
    depth = truth.depth_m
    image = np.asarray(open_image(read_file(frame.image), name=str(frame.image)).pixels, np.uint8)
    high, wide = (image.shape[axis] / depth.shape[axis] for axis in (0, 1))
    if abs(high / wide - 1) > 0.02:
        raise BadInput(
            f"{frame.truth}: expected the shape of its picture, got {depth.shape[1]}x"
            f"{depth.shape[0]} for {image.shape[1]}x{image.shape[0]}; crop or turn one of them"
        )
    if not np.isfinite(depth).any():
        raise BadInput(
            f"{frame.truth}: expected some known depth, got none, and {truth.below_0} of "
            f"{depth.size} values below 0; check their sign"
        )
    return image, truth


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    """The folder in ``folder`` with the first of ``names`` in any case, lower case preferred."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    folders.sort(key=lambda path: path.name != path.name.lower())
    return next((path for name in names for path in folders if path.name.lower() == name), None)


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in suffixes)


def _two(images: Path, truths: Path) -> tuple[list[_Named], list[_Named]]:
    """The pictures and files of depth of two folders."""
    folders = (_files(images, IMAGE_SUFFIXES), _files(truths, SUFFIXES))
    pictures, depths = ([(path.stem, path) for path in files] for files in folders)
    return pictures, depths


def _one(folder: Path) -> tuple[list[_Named], list[_Named]]:
    """The same of one folder, by endings; x_left.png is called x only without x.jpg."""
    depths = [named for end in TRUTH_ENDS for named in _with_end(_files(folder, SUFFIXES), end)]
    taken = {path for _, path in depths}
    files = [path for path in _files(folder, IMAGE_SUFFIXES) if path not in taken]
    pictures: list[_Named] = []
    for end in IMAGE_ENDS:
        earlier = {name for name, _ in pictures}
        pictures += [(name, path) for name, path in _with_end(files, end) if name not in earlier]
    return pictures, depths


def _with_end(paths: Iterable[Path], end: str) -> Iterable[_Named]:
    """The paths whose stem has this end, under the rest of it; `disp0` has the end `_disp0`."""
    for path in paths:
        stem = path.stem if path.stem.lower().endswith(end) else f"_{path.stem}"
        if stem.lower().endswith(end):
            yield stem[: len(stem) - len(end)], path


def _match(pictures: Sequence[_Named], depths: Sequence[_Named], only: Path | None = None) -> Found:
    """Each picture with the depth of its name, else of its name in another case.

    An empty name counts for pictures without depth of another name. ``only`` asks for one picture,
    chosen by the caller also among those of one name.
    """
    names = {name for name, _ in pictures}
    exact: dict[str, list[Path]] = defaultdict(list)
    other: dict[str, list[Path]] = defaultdict(list)
    for name, truth in depths:
        exact[name].append(truth)
        if name not in names:
            other[name.lower()].append(truth)
    truths: dict[Path, dict[Path, str]] = defaultdict(dict)  # of a picture, with the common name
    rivals: dict[Path, dict[Path, str]] = defaultdict(dict)  # pictures of a file of depth
    for name, image in pictures:
        for truth in exact.get(name) or other.get(name.lower(), []):
            truths[image][truth] = rivals[truth][image] = name
    frames = []
    for image, named in truths.items():
        if only not in (None, image):
            continue
        found = {truth: name for truth, name in named.items() if name} or named
        _require_one(image, "file of depth", found)
        ((truth, name),) = found.items()
        same = (i for i, n in rivals[truth].items() if only is None or i == only or n != name)
        _require_one(truth, "picture of this name", same)
        frames.append(Frame(name or image.stem, image, truth))
    used = {path for frame in frames for path in frame[1:]}
    without, alone = (
        sorted({path for _, path in all_ if path not in used and only in (None, path)})
        for all_ in (pictures, depths)
    )
    return Found(frames, without, alone)


def _require_one(path: Path, what: str, got: Iterable[Path]) -> None:
    rivals = sorted(got)
    if len(rivals) > 1:
        raise BadInput(
            f"{path}: expected one {what}, got {' and '.join(map(str, rivals))}; remove or rename "
            "all but one"
        )
