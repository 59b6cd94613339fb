"""Evaluation of depth models beside the rule of thumb, all on the same pixels and pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pearl_data.depth_eval import measures
from pearl_data.depth_eval.calibration import Calibration
from pearl_data.depth_eval.frames import Frame, find_frames, open_frame
from pearl_data.depth_eval.measures import Combined, Map, Measured, Resampled, combine
from pearl_data.depth_eval.point_pairs import PointPair, check_points, holds_pairs, read_point_pairs
from pearl_data.depth_eval.records import DepthReport, Dropped, Method, PictureRows, Row, SetReport
from pearl_data.depth_eval.truth import Truth
from pearl_data.progress import Progress
from pearl_tools.depth import DepthModel
from pearl_tools.depth.outputs import KINDS, OutputKind
from pearl_tools.errors import BadInput, ToolFailure
from pearl_tools.media import open_image, read_file

INTERVAL: Final = (
    f"95 % intervals: bootstrap of {measures.DRAWS} draws of pictures, and of those of their "
    f"{measures.GRID}x{measures.GRID} tiles that hold truth, or of annotated pairs; alignment and "
    "ranks are not computed anew; pictures count as independent, so pictures of one scene give too "
    f"narrow an interval; with fewer than {measures.FEWEST_UNITS} tiles or pairs, or equal draws, "
    "ordinal and delta-1 have Wilson's interval, marked *, and the others none, shown as [-]"
)
RULE: Final = "rule: lower is nearer"


class LowerIsNearer:
    """The rule of thumb as a `DepthModel`: the map is the row number.

    As inverse depth this is a level ground up to the horizon, so alignment treats it fairly.
    """

    model_id = RULE
    output: OutputKind = "relative_inverse"
    weights_sha256 = ""
    libraries: tuple[str, ...] = ()
    device = "cpu"
    dtype = "float32"

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Map]:
        """One map per picture, at its size."""
        sizes = (image.shape[:2] for image in images)
        return [np.repeat(np.arange(h, dtype=np.float32)[:, None], w, axis=1) for h, w in sizes]


class Options(NamedTuple):
    """The options of ``pearl-data tools eval depth``."""

    ratio: float = 1.25
    pairs: int = 20_000
    seed: int = 0
    calibration: Calibration | None = None
    png_per_m: float = 1000.0
    images: Path | None = None


class Annotated(NamedTuple):
    """A picture file with annotated point pairs."""

    name: str
    image: Path
    pairs: Sequence[PointPair]


class Seen(NamedTuple):
    """A measured picture with one map and its scores per method.

    With ``truth``, the maps are aligned to it, in 1/m. With annotated ``pairs``, the maps are as
    predicted, and each has ``scores``: 1 right, 0.5 a tie, 0 wrong.
    """

    name: str
    image: NDArray[np.uint8]
    maps: list[Map]
    measured: list[Measured]
    truth: Truth | None = None
    pairs: Sequence[PointPair] = ()
    scores: Sequence[NDArray[np.float64]] = ()


def evaluate(
    places: Sequence[Path],
    models: Sequence[DepthModel],
    options: Options = Options(),  # noqa: B008 - an immutable record
    *,
    look: Callable[[Path, Seen, list[Row]], None] | None = None,
    progress: bool = False,
) -> DepthReport:
    """The scores of ``models`` and of the rule on every place.

    Args:
        places: folders or pictures with depth (`frames.py`), or files of point pairs.
        models: from :func:`~pearl_tools.depth.load_depth_model`.
        options: see there.
        look: receives the place, maps and rows of every measured picture.
        progress: count pictures on stderr.

    Raises:
        BadInput: a place without pictures to measure, or points outside their pictures, before the
            first prediction; or all pictures were dropped. A picture is dropped for all methods,
            and reported, if it or its depth cannot be read or a prediction is not finite.

    """
    methods = [*models, LowerIsNearer()]
    names = labels(methods)
    gathered = [(place, *_gather(place, options)) for place in places]
    total = sum(len(items) for _, items, _, _ in gathered)
    sets = []
    with Progress("eval", total, "pictures") if progress else nullcontext() as line:
        for place, items, alone, truths_alone in gathered:
            pictures: list[PictureRows] = []
            measured: list[list[Measured]] = []
            dropped: list[Dropped] = []
            doubts: list[str] = []
            counts = {"below_0": 0, "one_depth": 0, "few_pixels": 0}
            for index, item in enumerate(items):
                try:
                    seen = _measure(item, index, methods, options)
                except (BadInput, ToolFailure, OSError) as error:
                    dropped.append(Dropped(name=item.name, reason=str(error)))
                else:
                    measured.append(seen.measured)
                    rows = _rows([seen.measured], names, options.seed)
                    pictures.append(PictureRows(name=seen.name, rows=rows))
                    if seen.truth:
                        doubts += seen.truth.doubts
                        counts["below_0"] += seen.truth.below_0
                        if no_ground := measures.unalignable(seen.truth.depth_m):
                            counts[no_ground] += 1
                    if look:
                        look(place, seen, rows)
                if line:
                    line.advance()
            report = SetReport(
                name=str(place),
                alone=alone,
                truths_alone=truths_alone,
                left_out=dropped,
                doubts=doubts,
                rows=_rows(measured, names, options.seed),
                pictures=pictures,
                **counts,
            )
            sets.append(report)
    if not any(found.pictures for found in sets):
        rest = f"; all {total} pictures were dropped" if total > 1 else ""
        raise BadInput(sets[0].left_out[0].reason + rest)
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
    """Short unique names: the last parts of each place, the whole id if that is not unique."""
    ids = [method.model_id for method in methods]
    kinds = tuple(f"#{kind}" for kind in KINDS)
    places = [
        (i.rpartition("#")[0] if i.endswith(kinds) else i).rstrip("/").split("/") for i in ids
    ]
    names = []
    for model_id, parts in zip(ids, places, strict=True):
        tails = (parts[-count:] for count in range(1, len(parts) + 1))
        unique = (t for t in tails if sum(other[-len(t) :] == t for other in places) == 1)
        names.append("/".join(next(unique, [model_id])))
    return names


def _gather(place: Path, options: Options) -> tuple[Sequence[Frame | Annotated], int, list[str]]:
    """The pictures of a place, the count of pictures alone, and the names of depth alone."""
    if not holds_pairs(place):
        found = find_frames(place)
        return found.frames, len(found.without), [path.name for path in found.truths]
    pairs = read_point_pairs(place, options.images)
    check_points(pairs)
    base = options.images or place.parent
    named = ((p.relative_to(base) if p.is_relative_to(base) else p, p) for p in pairs)
    return [Annotated(str(name), path, pairs[path]) for name, path in named], 0, []


def _measure(
    item: Frame | Annotated, index: int, methods: Sequence[DepthModel], options: Options
) -> Seen:
    truth: Truth | None = None
    pairs: Sequence[PointPair] = ()
    scores: list[NDArray[np.float64]] = []
    if isinstance(item, Frame):
        image, truth = open_frame(item, options.calibration, options.png_per_m)
    else:
        opened = open_image(read_file(item.image), name=str(item.image))
        image = np.asarray(opened.pixels, np.uint8)
    height, width = truth.depth_m.shape if truth else image.shape[:2]
    maps: list[Map] = []
    for method in methods:
        (inverse,) = method.predict([image])
        if not np.isfinite(inverse).all():
            raise BadInput(
                f"{item.image}: expected finite depth, got nan or inf from depth model "
                f"{method.model_id!r}; run `pearl-data tools check depth` on it"
            )
        resized = cv2.resize(inverse, (width, height), interpolation=cv2.INTER_LINEAR)
        maps.append(np.asarray(resized, np.float32))

    def draws() -> np.random.Generator:  # equal for all methods, so that differences have them too
        return np.random.default_rng((options.seed, index, 1))

    if truth:
        rng = np.random.default_rng((options.seed, index))
        drawn = measures.draw_pairs(truth.depth_m, options.pairs, options.ratio, rng)
        both = [measures.measure_map(map_, truth.depth_m, drawn, draws()) for map_ in maps]
        measured, maps = [one for one, _ in both], [aligned for _, aligned in both]
    elif isinstance(item, Annotated):
        pairs = item.pairs
        scores = [measures.score_points(map_, pairs) for map_ in maps]
        measured = [measures.measure_points(found, draws()) for found in scores]
    return Seen(item.name, image, maps, measured, truth, pairs, scores)


def _rows(pictures: Sequence[Sequence[Measured]], names: Sequence[str], seed: int) -> list[Row]:
    """A row per method over ``pictures``, the rule last; none without pictures."""

    def over(parts: Iterable[Resampled | None]) -> Combined | None:
        return combine(list(parts), np.random.default_rng((seed, 1 << 32)))

    by_method = list(zip(*pictures, strict=True))
    ordinals = [over(m.ordinal for m in measured) for measured in by_method]
    rows: list[Row] = []
    for name, measured, ordinal in zip(names, by_method, ordinals, strict=bool(pictures)):
        rule = None if len(rows) == len(ordinals) - 1 else ordinals[-1]
        spearman, abs_rel = over(m.spearman for m in measured), over(m.abs_rel for m in measured)
        delta_1 = over(m.delta_1 for m in measured)
        row = Row(
            method=name,
            images=len(measured),
            pairs=sum(m.pairs for m in measured),
            pixels=sum(m.pixels for m in measured),
            ordinal=ordinal and ordinal.estimate(is_share=True),
            over_rule=ordinal.less(rule).estimate() if ordinal and rule else None,
            spearman=spearman and spearman.estimate(),
            abs_rel=abs_rel and abs_rel.estimate(),
            delta_1=delta_1 and delta_1.estimate(is_share=True),
            flipped=sum(m.flipped for m in measured),
        )
        rows.append(row)
    return rows
