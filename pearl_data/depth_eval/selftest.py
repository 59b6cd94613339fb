"""Self-test of a depth model's sign: larger = nearer, on rendered pictures of known depth.

Five small rooms, rendered anew each time, and chosen so that "lower is nearer", "brighter is
nearer" and their opposites fail. `evaluate.py` measures how good a model is.
"""

from __future__ import annotations

from functools import cache
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pearl_data.depth_eval.measures import spearman
from pearl_data.rendering import SceneBrief, render_brief
from pearl_data.terminal import say
from pearl_tools.depth import DepthModel
from pearl_tools.depth.model import EMBEDDED
from pearl_tools.depth.outputs import NEAREST_M, OutputKind, no_metres, opposite, parse_spec
from pearl_tools.errors import BadInput
from pearl_tools.types import Record

SEEDS: Final = (19, 66, 78, 86, 109)
WIDTH, HEIGHT = 256, 192
LEAST: Final = 0.3
"""Least mean Spearman correlation to pass. Measured: 24 networks of four architectures with random
weights -0.05 to 0.11, the rules of thumb -0.17 to 0.12, FastDepth 0.38, embedded in LAB_LOG.md."""
WEAK: Final = 0.6
"""Below this the sign is certain and the model still poor."""
MOST_NO_METRES: Final = 0.01
"""Metric depth of `NEAREST_M` or less at a larger share of pixels is not metric. From 1 % on, such
pixels, all alike and nearest, turn the rest of a map's picture black (`depth_picture`)."""

Verdict = Literal["larger_nearer", "flipped", "not_correlated", "not_metric", "not_finite"]


class SelfTest(Record, frozen=True, kw_only=True):
    """The result of the self-test; ``passed`` only with the verdict "larger_nearer".

    ``spearman`` correlates the model's map (in our convention) with true inverse depth, one value
    per picture; None if the map is not finite. ``told`` is the result in words, with the remedy.
    """

    model_id: str
    output: OutputKind
    weights_sha256: str
    passed: bool
    verdict: Verdict
    spearman: list[float | None]
    mean: float | None
    told: str


class Picture(NamedTuple):
    """A rendered picture, uint8 (H, W, 3), and its true inverse depth in 1/m, (H, W)."""

    image: NDArray[np.uint8]
    inverse_m: NDArray[np.float32]


@cache
def pictures() -> tuple[Picture, ...]:
    """The pictures of the self-test."""
    brief = SceneBrief(variety="clean")
    scenes = (render_brief(seed, brief, width=WIDTH, height=HEIGHT) for seed in SEEDS)
    return tuple(Picture(s.image, np.asarray(1 / s.depth_m, np.float32)) for s in scenes)


def check_model(model: DepthModel) -> SelfTest:
    """Test ``model`` on the pictures of the self-test."""
    maps = model.predict([picture.image for picture in pictures()])
    found = [_correlation(m, p.inverse_m) for m, p in zip(maps, pictures(), strict=True)]
    finite = [value for value in found if value is not None]
    mean = sum(finite) / len(finite) if len(finite) == len(found) else None
    near_0 = sum(no_metres(map_, model.output) for map_ in maps) / len(maps)
    verdict = _verdict(model.output, mean, near_0)
    each = ", ".join("not finite" if value is None else f"{value:.2f}" for value in found)
    measured = "" if mean is None else f"Spearman {mean:.2f} on "
    measured += f"{len(found)} rendered pictures ({each})"
    return SelfTest(
        model_id=model.model_id,
        output=model.output,
        weights_sha256=model.weights_sha256,
        passed=verdict == "larger_nearer",
        verdict=verdict,
        spearman=[None if value is None else round(value, 4) for value in found],
        mean=None if mean is None else round(mean, 4),
        told=_words(model, verdict, measured, mean, near_0),
    )


def require_sign(model: DepthModel) -> Verdict | None:
    """The verdict on a model before its use; None for the shipped weights, tested with the code.

    A wrong sign is an error, since everything made with it would say the opposite. No correlation
    is a warning on stderr: the model may suit other pictures than rendered ones. About 3 s.

    Raises:
        BadInput: the sign is the opposite of the declared one, or the values are not finite, or not
            metres although declared so.

    """
    if model.model_id == EMBEDDED:
        return None
    found = check_model(model)
    if not found.passed:
        message = f"depth model {model.model_id!r}: {found.told}"
        if found.verdict != "not_correlated":
            raise BadInput(message)
        say(f"warning: {message}", err=True)
    return found.verdict


def _correlation(predicted: NDArray[np.float32], truth: NDArray[np.float32]) -> float | None:
    if not np.isfinite(predicted).all():
        return None
    size = (truth.shape[1], truth.shape[0])
    resized = cv2.resize(predicted, size, interpolation=cv2.INTER_LINEAR)
    return spearman(np.asarray(resized, np.float32), truth)


def _verdict(output: OutputKind, mean: float | None, near_0: float) -> Verdict:
    if mean is None:
        return "not_finite"
    if output == "metric" and near_0 > MOST_NO_METRES:
        return "not_metric"
    if mean >= LEAST:
        return "larger_nearer"
    return "flipped" if mean <= -LEAST else "not_correlated"


def _words(
    model: DepthModel, verdict: Verdict, measured: str, mean: float | None, near_0: float
) -> str:
    """The result and its remedy; ``near_0`` is the share of values that cannot be metres."""
    place, other = parse_spec(model.model_id).place, opposite(model.output)
    no_metres_at = f"{100 * near_0:.0f} % of its values are {1000 * NEAREST_M:g} mm or less"
    if verdict == "larger_nearer":
        weak = "; weak: measure it with `pearl-data tools eval depth`"
        return f"larger = nearer, {measured}" + (weak if mean is not None and mean < WEAK else "")
    if verdict == "not_finite":
        damage = "the weights are damaged or need another precision"
        return f"values that are not finite on {measured}; {damage}: do not use this model"
    if verdict == "not_correlated":
        return (
            f"not correlated with depth, {measured}, expected at least {LEAST:g}; the weights are "
            "random, damaged or of another task, or the image processor is the wrong one; measure "
            "it on your pictures with `pearl-data tools eval depth`"
        )
    wrong = f"larger = farther, {measured}, although declared {model.output}"
    if verdict == "not_metric":
        wrong = f"no metric depth as declared, {measured}: {no_metres_at}"
    elif model.model_id == EMBEDDED:
        return f"{wrong}; the shipped weights are damaged: reinstall the package"
    elif other == "metric" and near_0 > MOST_NO_METRES:
        return f"{wrong}, and no metric depth: {no_metres_at}; do not use this model"
    return f"{wrong}; if its authors call it {other}, use --depth-model '{place}#{other}'"
