"""Pictures with their true depth, found in folders.

Two layouts are known: a folder of pictures beside a folder of depth (`color/0.jpg`, `depth/0.png`),
and both in one folder, told apart by the ends of their names (`x.jpg` or `x_left.png` with
`x_depth.png` or `x_disp.npz`; also without an x, as in Middlebury's `im0.png` and `disp0.pfm`).
Capitals make no difference: folders and ends may be written in them, and `IMG_1.JPG` is paired with
`img_1.png`, unless several files differ only by them: those are told. Several files of depth for
one picture are refused, as are several pictures of one name (`0.jpg` and `0.png`); of `x.jpg` and
`x_left.png` the first has the depth of x. What has no partner is counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pearl_data.depth_eval.calibration import Calibration
from pearl_data.depth_eval.point_pairs import FORMS
from pearl_data.depth_eval.truth import SUFFIXES, Truth, read_truth
from pearl_tools.errors import BadInput, ToolFailure
from pearl_tools.media import open_image, read_file

IMAGE_FOLDERS: Final = ("color", "colour", "rgb", "image", "images", "left")
TRUTH_FOLDERS: Final = ("depth", "depths", "disparity", "disp")
IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
IMAGE_ENDS: Final = ("", "_left", "_rgb", "_color", "_image", "_im0")
TRUTH_ENDS: Final = ("_depth", "_depth_m", "_depth_mm", "_disp", "_disparity", "_disp0")
#: What depth is published in and not read here, because nothing in it says the unit.
UNREAD_SUFFIXES: Final = (*IMAGE_SUFFIXES, ".exr", ".hdr", ".pgm", ".mat", ".h5", ".dpt", ".bin")


class Frame(NamedTuple):
    """A picture file and the file of its depth."""

    name: str
    image: Path
    truth: Path


class Found(NamedTuple):
    """What a folder holds: pictures with their depth, pictures ``without``, and files of depth
    without a picture, ``truths``.
    """

    frames: list[Frame]
    without: list[Path]
    truths: list[Path]

    @property
    def alone(self) -> int:
        """How many pictures have no depth."""
        return len(self.without)


def find_frames(place: Path) -> Found:
    """The frames in folder ``place``, in order of name; a picture file means its frame alone.

    Raises:
        BadInput: there is none; the message says which names would be understood. Or several files
            of depth for one picture, or several pictures of one name for one file of depth.

    """
    if place.is_file() and place.suffix.lower() not in IMAGE_SUFFIXES:
        raise BadInput(
            f"{place}: expected a folder, a picture, or a file of point pairs that ends in "
            f"{', '.join(FORMS[:-1])} or {FORMS[-1]}, got {place.suffix or 'no ending'}"
        )
    found = _of_picture(place) if place.is_file() else _of_folder(place)
    if not found.frames:
        raise BadInput(
            f"{place}: expected pictures with depth, found {_seen(found)}: either folders "
            f"{' or '.join(IMAGE_FOLDERS[:3])} and {' or '.join(TRUTH_FOLDERS[:3])} with equal "
            "file names, or x.jpg (x_left.png ...) with x_depth.png (x_depth.npz, x_disp.npz ...), "
            f"or im0.png with disp0.pfm; depth is read from {', '.join(SUFFIXES)}"
            f"{_unread(place.parent if place.is_file() else place)}"
        )
    return found


def open_frame(
    frame: Frame, calibration: Calibration | None, png_per_m: float
) -> tuple[NDArray[np.uint8], Truth]:
    """The picture, uint8 (H, W, 3), and its true depth, which may be of another size.

    Raises:
        BadInput: one of them cannot be read, their shapes differ by more than a resize, or no
            pixel has a known depth.

    """
    truth = read_truth(frame.truth, calibration, png_per_m=png_per_m)
    depth = truth.depth_m
    try:
        opened = open_image(read_file(frame.image), name=str(frame.image))
    except ToolFailure as failure:
        raise BadInput(str(failure.error)) from failure
    image = np.asarray(opened.pixels, np.uint8)
    across = [image.shape[axis] / depth.shape[axis] for axis in (0, 1)]
    if abs(across[0] / across[1] - 1) > 0.02:
        raise BadInput(
            f"{frame.truth}: expected the shape of its picture, got {depth.shape[1]}x"
            f"{depth.shape[0]} for {image.shape[1]}x{image.shape[0]}; crop or turn one of them"
        )
    if not np.isfinite(depth).any():
        raise BadInput(f"{frame.truth}: expected some known depth, got none{_below_0(truth)}")
    return image, truth


def _seen(found: Found) -> str:
    """What there is instead, by name: three say what went wrong with all."""
    pictures, truths = (
        first_names([path.name for path in paths]) for paths in (found.without, found.truths)
    )
    seen = f"{found.alone} without ({pictures})" if pictures else "none"
    return f"{seen}, and {len(found.truths)} of depth alone ({truths})" if truths else seen


def first_names(names: Sequence[str]) -> str:
    """``a.png, b.png, c.png, ...``."""
    return ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])])


def _unread(folder: Path) -> str:
    """What to do about depth that is there in a format which is not read."""
    named = [path for path in _files(folder, UNREAD_SUFFIXES) if _bare(path, TRUTH_ENDS)]
    truths = _folder_named(TRUTH_FOLDERS, folder)
    named += _files(truths, UNREAD_SUFFIXES) if truths else []
    unread = [path for path in named if path.suffix.lower() not in SUFFIXES]
    if not unread:
        return ""
    return f" and not from {unread[0].name}: save it as metres with numpy.save, x_depth.npy"


def _bare(path: Path, ends: Sequence[str]) -> bool:
    stem = path.stem.lower()
    return any(stem.endswith(end) or stem == end.removeprefix("_") for end in ends)


def _below_0(truth: Truth) -> str:
    """What somebody whose disparity counts the other way needs to hear."""
    count, size = truth.below_0, truth.depth_m.size
    return (
        f": {count} of {size} values are below 0, which means unknown; check their sign"
        if count
        else ""
    )


def _of_folder(folder: Path) -> Found:
    images = _folder_named(IMAGE_FOLDERS, folder)
    return (images and _in_two_folders(images, folder)) or _in_one_folder(folder)


def _of_picture(place: Path) -> Found:
    folder, here = place.parent, place.parent.absolute()
    among = _in_one_folder(folder, only=place).frames
    if here.name.lower() in IMAGE_FOLDERS:
        beside = _in_two_folders(folder, here.parent, only=place)
        among = (beside.frames if beside else []) + among
    _refuse_rivals(place, [frame.truth for frame in among])
    return Found(among[:1], [] if among else [place], [])


def _folder_named(names: Sequence[str], folder: Path) -> Path | None:
    """The folder in ``folder`` with the first of ``names``, in capitals or not."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    folders.sort(key=lambda path: path.name != path.name.lower())  # as it is named here, first
    return next((path for name in names for path in folders if path.name.lower() == name), None)


def _in_two_folders(images: Path, folder: Path, only: Path | None = None) -> Found | None:
    """The pictures in ``images`` with the depth in a folder in ``folder``; None without one."""
    truths = _folder_named(TRUTH_FOLDERS, folder)
    if truths is None:
        return None
    pictures = [(path.stem, path) for path in _files(images, IMAGE_SUFFIXES)]
    return _pair(pictures, [(path.stem, path) for path in _files(truths, SUFFIXES)], only)


def _in_one_folder(folder: Path, only: Path | None = None) -> Found:
    truths = [named for group in _by_end(folder, SUFFIXES, TRUTH_ENDS) for named in group]
    taken = {path for _, path in truths}
    pictures = [path for path in _files(folder, IMAGE_SUFFIXES) if path not in taken]
    images: list[tuple[str, Path]] = []
    for group in _by_end(folder, IMAGE_SUFFIXES, IMAGE_ENDS):
        earlier = {name for name, _ in images}  # an earlier end wins
        images += [(n, path) for n, path in group if path not in taken and n not in earlier]
    frames = _pair(sorted(images), truths, only).frames
    named: dict[Path, list[Path]] = defaultdict(list)
    for frame in frames:
        if frame.name:
            named[frame.image].append(frame.truth)
    for image, rivals in named.items():  # x_left.png has both names, x and x_left
        _refuse_rivals(image, rivals)
    bare = [f._replace(name=f.image.stem) for f in frames if not f.name and f.image not in named]
    return _found(sorted([*bare, *(frame for frame in frames if frame.name)]), pictures, taken)


def _found(frames: list[Frame], pictures: Iterable[Path], truths: Iterable[Path]) -> Found:
    """``frames`` with what of all pictures and files of depth is in none."""
    paired = {path for frame in frames for path in (frame.image, frame.truth)}
    without, alone = ([p for p in paths if p not in paired] for paths in (pictures, sorted(truths)))
    return Found(frames, without, alone)


def _pair(
    pictures: Sequence[tuple[str, Path]],
    truths: Sequence[tuple[str, Path]],
    only: Path | None,
) -> Found:
    """Pictures with the truth of their name; where there is none, with that of the name written
    with other capitals. ``only`` asks for one picture: what is wrong elsewhere does not matter.

    Raises:
        BadInput: several truths for one picture, or several pictures of one name or of other
            capitals for one truth.

    """
    named: dict[str, list[Path]] = defaultdict(list)
    for name, picture in pictures:
        named[name].append(picture)
    exact: dict[str, list[Path]] = defaultdict(list)
    other: dict[str, list[Path]] = defaultdict(list)
    for name, truth in truths:
        exact[name].append(truth)
        if name not in named:
            other[name.lower()].append(truth)
    rivals: dict[str, set[str]] = defaultdict(set)
    for name in set(named) - set(exact):
        rivals[name.lower()].add(name)
    frames = []
    for name, picture in pictures:
        if only is not None and picture != only:
            continue
        candidates = exact.get(name) or other.get(name.lower()) or []
        _refuse_rivals(picture, candidates)
        if candidates and name not in exact and len(rivals[name.lower()]) > 1:
            raise BadInput(
                f"{candidates[0]}: expected one picture of this name, got "
                f"{' and '.join(sorted(rivals[name.lower()]))}, which differ only by capitals; "
                "rename them"
            )
        if candidates and only is None and len(named[name]) > 1:
            raise BadInput(
                f"{candidates[0]}: expected one picture of this name, got "
                f"{' and '.join(map(str, named[name]))}; remove or rename all but one"
            )
        frames += [Frame(name, picture, truth) for truth in candidates]
    return _found(frames, (path for _, path in pictures), (path for _, path in truths))


def _refuse_rivals(picture: Path, truths: Iterable[Path]) -> None:
    """Refuses several files of depth for one picture: they may contradict one another."""
    rivals = sorted(set(truths))
    if len(rivals) > 1:
        raise BadInput(
            f"{picture}: expected one file of depth, got {' and '.join(map(str, rivals))}; "
            "remove or rename all but one"
        )


def _by_end(
    folder: Path, suffixes: Sequence[str], ends: Sequence[str]
) -> Iterator[list[tuple[str, Path]]]:
    """For each of ``ends`` the files that have it, under their names without it. What is called as
    an end is, `im0` or `disp0`, has the empty name.
    """
    paths = _files(folder, suffixes)
    for end in ends:
        group = []
        for path in paths:
            stem = path.stem.lower()
            if stem.endswith(end):
                group.append((path.stem[: len(stem) - len(end)], path))
            elif stem == end.removeprefix("_"):
                group.append(("", path))
        yield group


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in suffixes)
