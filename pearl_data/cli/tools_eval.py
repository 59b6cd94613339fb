"""``pearl-data tools eval``: scores of a learned tool on data with known truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from pearl_data.cli.output import device_option, leave, naming_a_model
from pearl_data.command_line import FiniteRange, json_option
from pearl_data.progress import stage
from pearl_data.terminal import print_json, say
from pearl_data.terminated import on_interrupt
from pearl_tools.errors import BadInput, UsageError, listed


@click.group(name="eval")
def evaluation() -> None:
    """Measure a learned tool on data with known truth; so far depth.

    Example: pearl-data tools eval depth photos
    """


@evaluation.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--depth-model",
    "depth_models",
    multiple=True,
    default=("embedded",),
    show_default=True,
    metavar="MODEL",
    help="As for `tools check depth`; may be repeated, for a table of models.",
)
@device_option
@click.option(
    "--calibration",
    metavar="TEXT|FILE",
    help="For disparity: focal_px=..,baseline_mm=..,offset_px=.., a JSON file of these, or "
    "Middlebury's calib.txt.",
)
@click.option(
    "--png-per-m",
    default=1000.0,
    show_default=True,
    type=FiniteRange(min=0, min_open=True),
    help="Value of 1 m in a 16-bit PNG of depth (1000: millimetres).",
)
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the pictures named in files of point pairs (default: the file's own).",
)
@click.option(
    "--ratio",
    default=1.25,
    show_default=True,
    type=FiniteRange(min=1),
    help="Pixel pairs count if their depths differ by more than this factor.",
)
@click.option(
    "--pairs",
    default=20_000,
    show_default=True,
    type=click.IntRange(min=1, max=10_000_000),
    help="Random pixel pairs per picture; a million take about 0.1 GB.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 10**9))
@click.option("--by-picture", is_flag=True, help="Print a table for every picture too.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with input, truth, prediction and error side by side, or with the point "
    "pairs that each prediction orders right and wrong.",
)
@json_option
@click.pass_context
def depth(
    context: click.Context,
    data: tuple[Path, ...],
    depth_models: tuple[str, ...],
    device: str,
    calibration: str | None,
    png_per_m: float,
    images: Path | None,
    ratio: float,
    pairs: int,
    seed: int,
    by_picture: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Measure depth models on DATA, beside the rule "lower in the picture is nearer".

    DATA are folders of pictures with depth (`color/0.jpg` with `depth/0.png`; `x.jpg` with
    `x_depth.png`, `x_depth.npz` or `x_disp.npz`; Middlebury's `im0.png` with `disp0.pfm` and
    `calib.txt`; in any case), single pictures of such folders, or files of point pairs: CSV with
    image,near_x,near_y,far_x,far_y, JSON [{"image": .., "near": [x, y], "far": [x, y]}], the same
    as JSON lines, or DA-2K's. Depth and disparity of 0, below 0 or not finite are unknown. `depth`
    means metres unless the array or the file is named depth_mm. Two files of depth for one picture,
    or an array whose name contradicts its file's, are errors.
    Prints ordinal accuracy, Spearman, AbsRel and delta-1 with 95 % intervals: bootstrap, or
    Wilson's (*) with fewer than 20 pairs or tiles with depth. Exits 1 if pictures were dropped, and
    names them.

    Example: pearl-data tools eval depth photos --html depth.html
    """
    on_interrupt("interrupted; nothing is kept: the same command starts from the beginning")
    stage("tools eval", f"loading {listed(depth_models)}")
    from pearl_data.depth_eval.calibration import read_calibration
    from pearl_data.depth_eval.evaluate import Options, evaluate
    from pearl_data.depth_eval.figures import Gallery
    from pearl_data.depth_eval.report import depth_page, depth_text
    from pearl_tools.depth import load_depth_model
    from pearl_tools.threads import one_thread

    one_thread(depth=True)
    is_default = context.get_parameter_source("png_per_m") is ParameterSource.DEFAULT
    _refuse_unused(data, images=images, calibration=calibration, png_per_m=not is_default)
    if html:
        _check_writable(html)
    camera = read_calibration(calibration) if calibration else None
    options = Options(ratio, pairs, seed, camera, png_per_m, images)
    gallery = Gallery()
    with naming_a_model():
        loaded = [load_depth_model(spec, device=device) for spec in dict.fromkeys(depth_models)]
    models = list({model.model_id: model for model in loaded}.values())
    report = evaluate(data, models, options, look=gallery.look if html else None, progress=True)
    if as_json:
        print_json(report)
    else:
        say(depth_text(report, by_picture=by_picture))
    if html:
        _write(html, depth_page(report, gallery))
        if not as_json:
            say(f"page: {html}")
    dropped = [one for found in report.sets for one in found.left_out]
    for one in dropped if as_json else []:  # else the table names them
        say(f"dropped: {one.reason}", err=True)
    if dropped:
        leave(1)


def _refuse_unused(
    data: Sequence[Path], *, images: Path | None, calibration: str | None, png_per_m: bool
) -> None:
    """Refuses options, and repeated places, that would change nothing."""
    from pearl_data.depth_eval.frames import find_frames
    from pearl_data.depth_eval.point_pairs import holds_pairs
    from pearl_data.depth_eval.truth import may_be_disparity

    places = [place.resolve() for place in data]
    if twice := [place for n, place in enumerate(data) if places[n] in places[:n]]:
        raise UsageError(f"DATA: expected every place once, got {twice[0]} twice; remove one")
    folders = [place for place in data if not holds_pairs(place)]
    wanted = calibration or png_per_m
    truths = [frame.truth for place in folders if wanted for frame in find_frames(place).frames]
    if images and len(folders) == len(data):
        raise UsageError("--images: expected a file of point pairs among DATA, got none; remove it")
    if calibration and not any(map(may_be_disparity, truths)):
        raise UsageError(
            "--calibration: expected disparity among DATA, got none; remove it, or name the arrays "
            "or files of disparity so (x_disp.npz)"
        )
    if png_per_m and not any(truth.suffix.lower() == ".png" for truth in truths):
        raise UsageError("--png-per-m: expected depth as PNG among DATA, got none; remove it")


def _check_writable(html: Path) -> None:
    """Makes the page's folder and checks, before hours of work, that the page can be written."""
    from pearl_data.shards.files import WholeFile

    try:
        html.parent.mkdir(parents=True, exist_ok=True)
        with WholeFile(html):  # removed without a commit
            pass
    except OSError as error:
        raise UsageError(
            f"--html: expected a writable file, got {html}: {error.strerror}"
        ) from error


def _write(html: Path, text: str) -> None:
    from pearl_data.shards.files import write_whole

    try:
        write_whole(html, text.encode())
    except OSError as error:  # its own words name a temporary file
        raise BadInput(f"{html}: the page cannot be written: {error.strerror}") from error
