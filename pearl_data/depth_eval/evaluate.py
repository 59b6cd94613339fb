"""Depth models on sets of known depth, all on the same pixels and pairs, beside the rule of thumb.

Leaves out tables (`text.py`) and the page (`page.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pearl_data.depth_eval.bootstrap import DRAWS, FEWEST, GRID, Combined, Resampled, combine
from pearl_data.depth_eval.calibration import Calibration
from pearl_data.depth_eval.frames import Found, find_frames, open_frame
from pearl_data.depth_eval.measures import (
    Measured,
    draw_pairs,
    is_few,
    is_one_depth,
    measure_map,
    measure_points,
    score_points,
)
from pearl_data.depth_eval.point_pairs import (
    PointPair,
    check_inside,
    check_points,
    holds_pairs,
    read_point_pairs,
)
from pearl_data.depth_eval.records import (
    DepthReport,
    Estimate,
    LeftOut,
    Method,
    PictureRows,
    Row,
    SetReport,
)
from pearl_data.depth_eval.rule import LowerIsNearer
from pearl_data.progress import Progress
from pearl_tools.depth import DepthModel
from pearl_tools.depth.outputs import KINDS
from pearl_tools.errors import BadInput, ToolFailure
from pearl_tools.media import open_image, read_file

INTERVAL: Final = (
    f"95 %: bootstrap, {DRAWS} draws of those of {GRID}x{GRID} tiles of each picture that hold "
    "truth (of pairs, where points are annotated) and of pictures; alignment and ranks are not "
    "drawn anew; pictures of one scene count as independent, so an interval over them is too "
    f"narrow; of fewer than {FEWEST} tiles or pairs, or where all draws are alike, a bootstrap "
    "says nothing: shares (ordinal, delta-1) then have Wilson's interval over tiles or pairs, "
    "marked *, and the rest none, shown as [-]"
)
Map = NDArray[np.float32]


class Options(NamedTuple):
    """How to measure: see the options of ``pearl-data tools eval depth``."""

    ratio: float = 1.25
    pairs: int = 20_000
    seed: int = 0
    calibration: Calibration | None = None
    png_per_m: float = 1000.0
    images: Path | None = None


class Seen(NamedTuple):
    """A picture with its truth and every method's aligned map, in 1/m; for pages."""

    place: str
    name: str
    image: NDArray[np.uint8]
    inverse_m: Map
    aligned: list[Map]
    rows: list[Row]


class SeenPoints(NamedTuple):
    """A picture with its annotated pairs, every method's map of relative inverse depth, and how it
    orders each pair (1 right, 0.5 a tie, 0 wrong); for pages.
    """

    place: str
    name: str
    image: NDArray[np.uint8]
    pairs: list[PointPair]
    maps: list[Map]
    scores: list[NDArray[np.float64]]
    rows: list[Row]


Look = Callable[[Seen | SeenPoints], None]


class _Picture(NamedTuple):
    name: str
    measured: list[Measured]
    below_0: int = 0
    one_depth: bool = False
    few_pixels: bool = False
    doubts: tuple[str, ...] = ()


Material = Found | dict[Path, list[PointPair]]
"""What a place holds to be measured."""


class _NotFinite(BadInput):
    """A method gives no numbers for a picture."""


def evaluate(
    places: Sequence[Path],
    models: Sequence[DepthModel],
    options: Options = Options(),  # noqa: B008 - an immutable record
    *,
    look: Look | None = None,
    progress: bool = False,
) -> DepthReport:
    """The measures of ``models`` and of the rule on every place.

    Args:
        places: folders or pictures with depth (`frames.py`), or files of point pairs.
        models: as :func:`~pearl_tools.depth.load_depth_model` loads them.
        options: see there.
        look: is shown every picture, one at a time.
        progress: count pictures on stderr.

    Raises:
        BadInput: a place without anything to measure, or of points beyond their pictures; told
            before the first prediction. Pictures that cannot be read, or whose depth cannot, or for
            which a model gives values that are not finite, are left out for all methods and told in
            the report while there are others.

    """
    methods = [*models, LowerIsNearer()]
    names = labels(methods)
    gathered = [(place, _gather(place, options)) for place in places]
    total = sum(len(held.frames if isinstance(held, Found) else held) for _, held in gathered)
    sets = []
    with Progress("eval", total, "pictures") if progress else nullcontext() as line:
        for place, held in gathered:
            seen = []
            for picture in _measured(place, held, methods, names, options, look):
                seen.append(picture)
                if line:
                    line.advance()
            sets.append(_set(place, held, seen, names, options.seed))
    left_out = [left for found in sets for left in found.left_out]
    if left_out and len(left_out) == total:
        like = f"; all {total} pictures had to be left out" if total > 1 else ""
        raise BadInput(left_out[0].reason + like)
    return DepthReport(
        ratio=options.ratio,
        pairs_drawn=options.pairs,
        seed=options.seed,
        interval=INTERVAL,
        methods=[
            Method(name=name, model_id=m.model_id, output=m.output, weights_sha256=m.weights_sha256)
            for name, m in zip(names, methods, strict=True)
        ],
        sets=sets,
    )


def labels(methods: Sequence[DepthModel]) -> list[str]:
    """Short names: of each id as many last parts as tell it from the others, without the kind of
    its output; the whole id where that is all that differs.
    """
    places = [_parts(method.model_id) for method in methods]

    def short(parts: list[str]) -> str | None:
        for count in range(1, len(parts) + 1):
            if sum(other[-count:] == parts[-count:] for other in places) == 1:
                return "/".join(parts[-count:])
        return None

    return [short(parts) or m.model_id for parts, m in zip(places, methods, strict=True)]


def _parts(model_id: str) -> list[str]:
    """The parts of its place: ``a/b/#metric`` is a folder b in a."""
    place, _, kind = model_id.rpartition("#")
    return (place if kind in KINDS else model_id).rstrip("/").split("/")


def _gather(place: Path, options: Options) -> Material:
    if not holds_pairs(place):
        return find_frames(place)
    pairs = read_point_pairs(place, options.images)
    check_points(pairs)
    return pairs


def _measured(
    place: Path,
    held: Material,
    methods: Sequence[DepthModel],
    names: Sequence[str],
    options: Options,
    look: Look | None,
) -> Iterator[_Picture | LeftOut]:
    if isinstance(held, Found):
        return _on_frames(place, held, methods, names, options, look)
    return _on_points(place, held, methods, names, options, look)


def _set(
    place: Path,
    held: Material,
    seen: Sequence[_Picture | LeftOut],
    names: Sequence[str],
    seed: int,
) -> SetReport:
    found = [picture for picture in seen if isinstance(picture, _Picture)]
    return SetReport(
        name=str(place),
        alone=held.alone if isinstance(held, Found) else 0,
        truths_alone=[p.name for p in held.truths] if isinstance(held, Found) else [],
        left_out=[picture for picture in seen if isinstance(picture, LeftOut)],
        below_0=sum(picture.below_0 for picture in found),
        one_depth=sum(picture.one_depth for picture in found),
        few_pixels=sum(picture.few_pixels for picture in found),
        doubts=[doubt for picture in found for doubt in picture.doubts],
        rows=_rows([picture.measured for picture in found], names, seed),
        pictures=[PictureRows(name=p.name, rows=_rows([p.measured], names, seed)) for p in found],
    )


def _on_frames(
    place: Path,
    found: Found,
    methods: Sequence[DepthModel],
    names: Sequence[str],
    options: Options,
    look: Look | None,
) -> Iterator[_Picture | LeftOut]:
    for index, frame in enumerate(found.frames):
        try:
            image, truth = open_frame(frame, options.calibration, options.png_per_m)
        except (BadInput, OSError) as error:
            yield LeftOut(name=frame.name, reason=_reason(error))
            continue
        depth = truth.depth_m
        try:
            maps = [_predict(method, image, depth.shape, frame.image) for method in methods]
        except _NotFinite as error:
            yield LeftOut(name=frame.name, reason=str(error))
            continue
        rng = np.random.default_rng((options.seed, index))
        pairs = draw_pairs(depth, options.pairs, options.ratio, rng)
        measured, aligned = [], []
        for inverse in maps:
            # the same tiles for all, so that differences can be drawn too
            draws = np.random.default_rng((options.seed, index, 1))
            one, map_ = measure_map(inverse, depth, pairs, draws)
            measured.append(one)
            aligned.append(map_)
        if look:
            rows = _rows([measured], names, options.seed)
            look(
                Seen(
                    str(place), frame.name, image, np.asarray(1 / depth, np.float32), aligned, rows
                )
            )
        alike = is_one_depth(depth)
        yield _Picture(
            frame.name,
            measured,
            below_0=truth.below_0,
            one_depth=alike,
            few_pixels=not alike and is_few(depth),
            doubts=truth.doubts,
        )


def _on_points(
    place: Path,
    held: Mapping[Path, list[PointPair]],
    methods: Sequence[DepthModel],
    names: Sequence[str],
    options: Options,
    look: Look | None,
) -> Iterator[_Picture | LeftOut]:
    base = options.images or place.parent
    for index, (path, pairs) in enumerate(held.items()):
        name = str(path.relative_to(base) if path.is_relative_to(base) else path)
        try:
            image = np.asarray(open_image(read_file(path), name=str(path)).pixels, np.uint8)
            height, width = image.shape[:2]
            check_inside(pairs, path, width, height)  # its header may have said otherwise
        except (ToolFailure, BadInput, OSError) as error:
            yield LeftOut(name=name, reason=_reason(error))
            continue
        try:
            maps = [_predict(method, image, (height, width), path) for method in methods]
        except _NotFinite as error:
            yield LeftOut(name=name, reason=str(error))
            continue
        scores = [score_points(map_, pairs) for map_ in maps]
        measured = [
            measure_points(found, np.random.default_rng((options.seed, index, 1)))
            for found in scores
        ]
        if look:
            rows = _rows([measured], names, options.seed)
            look(SeenPoints(str(place), name, image, pairs, maps, scores, rows))
        yield _Picture(name, measured)


def _reason(error: BadInput | ToolFailure | OSError) -> str:
    """Why a picture is left out, in words that name its file."""
    if isinstance(error, ToolFailure):
        return str(error.error)
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)


def _predict(method: DepthModel, image: NDArray[np.uint8], shape: Sequence[int], path: Path) -> Map:
    (inverse,) = method.predict([image])
    if not np.isfinite(inverse).all():
        raise _NotFinite(
            f"{path}: depth model {method.model_id!r} gives values that are not finite; run "
            "`pearl-data tools check depth` on it"
        )
    resized = cv2.resize(inverse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)


def _rows(pictures: Sequence[Sequence[Measured]], names: Sequence[str], seed: int) -> list[Row]:
    """A row per method over ``pictures``, of which none have no rows; the rule is the last."""
    if not pictures:
        return []
    by_method = list(zip(*pictures, strict=True))
    ordinal = [_combined([m.ordinal for m in measured], seed) for measured in by_method]
    rule = ordinal[-1]
    return [
        Row(
            method=name,
            images=len(measured),
            pairs=sum(m.pairs for m in measured),
            pixels=sum(m.pixels for m in measured),
            ordinal=_estimate(found, is_share=True),
            over_rule=_estimate(found.less(rule)) if found and rule and found is not rule else None,
            spearman=_estimate(_combined([m.spearman for m in measured], seed)),
            abs_rel=_estimate(_combined([m.abs_rel for m in measured], seed)),
            delta_1=_estimate(_combined([m.delta_1 for m in measured], seed), is_share=True),
            flipped=sum(m.flipped for m in measured),
        )
        for name, measured, found in zip(names, by_method, ordinal, strict=True)
    ]


def _combined(pictures: Sequence[Resampled | None], seed: int) -> Combined | None:
    known = [picture for picture in pictures if picture is not None]
    return combine(known, np.random.default_rng((seed, 1 << 32))) if known else None


def _estimate(found: Combined | None, *, is_share: bool = False) -> Estimate | None:
    if found is None:
        return None
    value, low, high, interval = found.figure(is_share=is_share)
    return Estimate(
        value=round(value, 5),
        low=None if low is None else round(low, 5),
        high=None if high is None else round(high, 5),
        interval=interval,
    )
