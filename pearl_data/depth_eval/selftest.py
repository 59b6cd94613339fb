"""Whether a depth model does what is declared of it: larger = nearer, on pictures of known depth.

Five small rooms are drawn anew each time, so nothing has to be shipped or fetched. They are chosen
so that neither "lower is nearer" nor "brighter is nearer" nor "darker is nearer" gets through: what
passes has looked at the picture. Leaves out how good a model is (`evaluate.py`).
"""

from __future__ import annotations

from functools import cache
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pearl_data.depth_eval.ranks import spearman
from pearl_data.rendering import Rendered, SceneBrief, render_brief
from pearl_data.terminal import say
from pearl_tools.depth import DepthModel
from pearl_tools.depth.model import EMBEDDED
from pearl_tools.depth.outputs import NEAREST_M, OutputKind, no_metres, opposite, parse_spec
from pearl_tools.errors import BadInput
from pearl_tools.types import Record

SEEDS: Final = (19, 66, 78, 86, 109)
WIDTH, HEIGHT = 256, 192
LEAST: Final = 0.3
"""Mean Spearman correlation that a depth model reaches at least. Measured: 24 networks of four
architectures with random weights -0.05 to 0.11, the rules of thumb -0.17 to 0.12, FastDepth 0.38.
How far above the embedded model is, a test holds and LAB_LOG.md tells."""
WEAK: Final = 0.6
"""Below this the sign is certain and the model still poor; the finding says so."""
MOST_NO_METRES: Final = 0.01
"""Metric depth of `NEAREST_M` or less at more than this share of pixels is none. From 1 % on, such
pixels, all alike and nearest, turn the rest of a map's picture black (`depth_picture`)."""

Verdict = Literal["larger_nearer", "flipped", "not_correlated", "not_metric", "not_finite"]


class SelfTest(Record, frozen=True, kw_only=True):
    """What the self-test found.

    ``passed`` says whether the model may be used: only with the verdict "larger_nearer".
    ``spearman`` correlates the model's map (in our convention) with true inverse depth, one value
    per picture; None where the map is not finite. ``told`` is the finding in words, with the remedy
    where there is one.
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
    """A drawn picture, uint8 (H, W, 3), and its true inverse depth in 1/m, (H, W)."""

    image: NDArray[np.uint8]
    inverse_m: NDArray[np.float32]


@cache
def pictures() -> tuple[Picture, ...]:
    """The pictures of the self-test."""
    brief = SceneBrief(variety="clean")
    drawn = (render_brief(seed, brief, width=WIDTH, height=HEIGHT) for seed in SEEDS)
    return tuple(_picture(scene) for scene in drawn)


def check_model(model: DepthModel) -> SelfTest:
    """What ``model`` does on the pictures of the self-test, with a verdict."""
    shown = pictures()
    given = model.predict([picture.image for picture in shown])
    found = [
        _correlation(predicted, picture.inverse_m)
        for picture, predicted in zip(shown, given, strict=True)
    ]
    finite = [value for value in found if value is not None]
    mean = sum(finite) / len(finite) if len(finite) == len(found) else None
    impossible = sum(no_metres(predicted, model.output) for predicted in given) / len(given)
    verdict = _verdict(model, mean, impossible)
    return SelfTest(
        model_id=model.model_id,
        output=model.output,
        weights_sha256=model.weights_sha256,
        passed=verdict == "larger_nearer",
        verdict=verdict,
        spearman=[None if value is None else round(value, 4) for value in found],
        mean=None if mean is None else round(mean, 4),
        told=_words(model, verdict, found, mean, impossible),
    )


def require_sign(model: DepthModel) -> Verdict | None:
    """The verdict on a model that is about to be used; None for the shipped weights, which are
    tested with the code.

    One that says near where it is far is refused: all that is made of it would say the opposite. Of
    one that is not correlated a warning goes to stderr: pictures of another kind may suit it better
    than the rendered ones of the test. About 3 s.

    Raises:
        BadInput: the sign is the opposite of what is declared, or the values are not finite, or no
            metres where metres are declared.

    """
    if model.model_id == EMBEDDED:
        return None
    found = check_model(model)
    if found.passed:
        return found.verdict
    told = f"depth model {model.model_id!r}: {found.told}"
    if found.verdict != "not_correlated":
        raise BadInput(told)
    say(f"warning: {told}", err=True)
    return found.verdict


def _picture(scene: Rendered) -> Picture:
    return Picture(scene.image, np.asarray(1 / scene.depth_m, np.float32))


def _correlation(predicted: NDArray[np.float32], truth: NDArray[np.float32]) -> float | None:
    if not np.isfinite(predicted).all():
        return None
    size = (truth.shape[1], truth.shape[0])
    resized = cv2.resize(predicted, size, interpolation=cv2.INTER_LINEAR)
    return spearman(np.asarray(resized, np.float32), truth)


def _verdict(model: DepthModel, mean: float | None, impossible: float) -> Verdict:
    if mean is None:
        return "not_finite"
    if model.output == "metric" and impossible > MOST_NO_METRES:
        return "not_metric"
    if mean >= LEAST:
        return "larger_nearer"
    if mean <= -LEAST:
        return "flipped"
    return "not_correlated"


def _words(
    model: DepthModel,
    verdict: Verdict,
    found: list[float | None],
    mean: float | None,
    impossible: float,
) -> str:
    each = ", ".join("not finite" if value is None else f"{value:.2f}" for value in found)
    on = f"on {len(found)} rendered pictures"
    if mean is None:
        return (
            f"values that are not finite {on} ({each}); the weights are damaged or need another "
            "precision: do not use this model"
        )
    if verdict == "not_metric":
        other = f"{parse_spec(model.model_id).place}#{opposite('metric')}"
        return (
            f"{_no_metres(impossible)} {on}: its output is not metric depth, as it is declared to "
            f"be; run `pearl-data tools check depth --depth-model '{other}'`, and if that is "
            "refused too, no kind describes it: do not use this model"
        )
    measured = f"Spearman {mean:.2f} {on} ({each})"
    if verdict == "larger_nearer":
        weak = "; a weak one: `pearl-data tools eval depth` measures it" if mean < WEAK else ""
        return f"larger = nearer, {measured}{weak}"
    if verdict == "flipped":
        return f"larger = farther, {measured}: {_remedy(model, impossible)}"
    return (
        f"not correlated with depth, {measured}, expected at least {LEAST:g}: the weights are "
        "random, damaged or of another task, or the image processor does not belong to them; "
        "its depth says nothing on such pictures: measure it on yours with `pearl-data tools eval "
        "depth`"
    )


def _remedy(model: DepthModel, impossible: float) -> str:
    if model.model_id == EMBEDDED:
        return "the shipped weights are damaged; reinstall the package"
    place = parse_spec(model.model_id).place
    other = opposite(model.output)
    declared = f"its output is not {model.output} depth, as it is declared to be"
    if other == "metric" and impossible > MOST_NO_METRES:
        return (
            f"{declared}, nor metric depth, as {_no_metres(impossible)}: no kind describes it; use "
            "an export with the sign of its last layer turned, else do not use this model"
        )
    return (
        f"{declared}; if its makers say that it is {other}, use --depth-model '{place}#{other}', "
        "else do not use this model"
    )


def _no_metres(share: float) -> str:
    return f"{100 * share:.0f} % of its values are {1000 * NEAREST_M:g} mm or less"
