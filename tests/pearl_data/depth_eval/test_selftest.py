"""The self-test lets through what knows depth, whatever its architecture, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_depth_models import ARCHITECTURES, fitted_model, flip, random_model
from transformers import AutoModelForDepthEstimation

from pearl_data.depth_eval import check_model
from pearl_data.depth_eval.selftest import (
    HEIGHT,
    LEAST,
    MOST_NO_METRES,
    SEEDS,
    WIDTH,
    pictures,
    require_sign,
)
from pearl_tools.depth import load_depth_model
from pearl_tools.depth.outputs import OutputKind, as_inverse
from pearl_tools.errors import BadInput

FITTED = ("depth_anything", "dpt", "zoedepth")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Snapshots of three architectures that have learned the pictures by heart."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = {name: fitted_model(name, tmp_path_factory.mktemp(name)) for name in FITTED}
    torch.set_num_threads(threads)
    return made


class Rule:
    """A rule of thumb, or any function of a picture, dressed as a depth model."""

    model_id, output, weights_sha256, device, dtype = "rule", "inverse", "0" * 64, "cpu", "float32"
    libraries: tuple[str, ...] = ()

    def __init__(self, rule: Callable[[NDArray[np.uint8]], NDArray[np.float64]]) -> None:
        self.rule = rule

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return [self.rule(image).astype(np.float32) for image in images]


class Raw(Rule):
    """A model whose own numbers are a function of true inverse depth, with a declared kind."""

    def __init__(
        self, numbers: Callable[[NDArray[np.float32]], NDArray[np.float32]], output: OutputKind
    ) -> None:
        shown = {p.image.tobytes(): p.inverse_m for p in pictures()}
        super().__init__(lambda image: as_inverse(numbers(shown[image.tobytes()]), output))
        self.output = output


def lower(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.repeat(np.arange(float(image.shape[0]))[:, None], image.shape[1], axis=1)


def test_the_embedded_model_passes() -> None:
    found = check_model(load_depth_model())
    assert found.passed
    assert found.told.startswith("larger = nearer, Spearman 0.")
    assert found.mean is not None
    assert found.mean > 2 * LEAST  # no weak one
    assert f"on {len(SEEDS)} rendered pictures" in found.told


@pytest.mark.parametrize("name", FITTED)
def test_three_architectures_that_know_the_pictures_pass(
    name: str, fitted: dict[str, Path]
) -> None:
    found = check_model(load_depth_model(str(fitted[name])))
    assert found.verdict == "larger_nearer", found.told
    assert found.model_id.startswith(f"{fitted[name]}#")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_random_weights_are_refused_as_not_correlated(name: str, tmp_path: Path) -> None:
    found = check_model(load_depth_model(str(random_model(name, tmp_path))))
    assert found.verdict == "not_correlated"


def test_a_model_whose_weights_say_the_opposite_is_refused_with_the_remedy(
    fitted: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import AutoImageProcessor

    model = AutoModelForDepthEstimation.from_pretrained(fitted["depth_anything"])
    flip(model)
    model.save_pretrained(tmp_path)
    AutoImageProcessor.from_pretrained(fitted["depth_anything"]).save_pretrained(tmp_path)
    found = check_model(load_depth_model(str(tmp_path)))
    assert found.verdict == "flipped"
    assert "larger = farther, Spearman -0." in found.told
    assert f"--depth-model '{tmp_path}#metric'" in found.told
    assert check_model(load_depth_model(f"{tmp_path}#metric")).passed


def test_a_wrong_declaration_is_found_out(fitted: dict[str, Path]) -> None:
    found = check_model(load_depth_model(f"{fitted['zoedepth']}#inverse"))
    assert found.verdict == "flipped"
    assert found.told.startswith("larger = farther, Spearman -")
    assert "#metric'" in found.told


def test_metres_are_no_remedy_for_inverse_depth_below_0() -> None:
    for output in ("relative_inverse", "inverse"):
        found = check_model(Raw(lambda inverse: -inverse, output))
        assert found.verdict == "flipped"
        assert found.told.startswith("larger = farther, Spearman -1.00 ")
        assert "100 % of its values are 1 mm or less" in found.told
        assert "--depth-model" not in found.told


@pytest.mark.parametrize(
    ("numbers", "share"),
    [
        (lambda inverse: -inverse, 100),
        (lambda inverse: 1 / inverse - np.median(1 / inverse), 50),
        (lambda inverse: inverse - np.median(inverse), 50),
    ],
    ids=["negated inverse", "centred metres", "centred inverse"],
)
def test_what_is_declared_metric_and_gives_no_metres_is_refused(
    numbers: Callable[[NDArray[np.float32]], NDArray[np.float32]], share: int
) -> None:
    """The first two have the order of metric depth; most of it is lost below 1 mm."""
    found = check_model(Raw(numbers, "metric"))
    assert (found.passed, found.verdict) == (False, "not_metric")
    assert f": {share} % of its values are 1 mm or less" in found.told
    assert "--depth-model 'rule#relative_inverse'" in found.told
    with pytest.raises(BadInput, match=r"^depth model 'rule': no metric depth"):
        require_sign(Raw(numbers, "metric"))


@pytest.mark.parametrize(("share", "passed"), [(0.5, True), (2, False)])
def test_a_few_pixels_without_metres_do_not_matter(share: float, passed: bool) -> None:
    def holed(inverse: NDArray[np.float32]) -> NDArray[np.float32]:
        metres = 1 / inverse
        metres.flat[: round(share * MOST_NO_METRES * metres.size)] = 0
        return metres

    assert check_model(Raw(holed, "metric")).passed == passed


@pytest.mark.parametrize(
    "rule",
    [
        lower,
        lambda image: -lower(image),
        lambda image: image.mean(axis=2),
        lambda image: -image.mean(axis=2),
        lambda image: np.zeros(image.shape[:2]),
    ],
    ids=["lower", "higher", "brighter", "darker", "constant"],
)
def test_rules_that_do_not_know_depth_do_not_pass(
    rule: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
) -> None:
    assert check_model(Rule(rule)).verdict == "not_correlated"


def test_values_that_are_not_finite_are_refused() -> None:
    found = check_model(Rule(lambda image: np.full(image.shape[:2], np.nan)))
    assert found.verdict == "not_finite"
    assert found.spearman == [None] * len(SEEDS)
    assert msgspec.json.decode(msgspec.json.encode(found))["mean"] is None


def test_who_is_right_on_one_picture_alone_does_not_pass() -> None:
    """The mean over all pictures decides; each knows its depth in turn, the others say nothing."""
    shown = pictures()
    for known in shown:
        only = Rule(
            lambda image, known=known: (
                known.inverse_m if (image == known.image).all() else np.zeros(image.shape[:2])
            )
        )
        found = check_model(only)
        assert max(value for value in found.spearman if value is not None) == pytest.approx(1)
        assert found.verdict == "not_correlated"


def test_a_weak_model_passes_with_a_warning() -> None:
    shown = {p.image.tobytes(): p.inverse_m for p in pictures()}
    rng = np.random.default_rng(0)

    def faint(image: NDArray[np.uint8]) -> NDArray[np.float64]:
        truth = shown[image.tobytes()]
        return truth + rng.normal(0, 1.5 * truth.std(), truth.shape)

    found = check_model(Rule(faint))
    assert found.passed
    assert found.told.endswith("; weak: measure it with `pearl-data tools eval depth`")


def test_the_pictures_are_the_same_every_time() -> None:
    first = [p.image.copy() for p in pictures()]
    pictures.cache_clear()
    for before, now in zip(first, pictures(), strict=True):
        assert before.shape == (HEIGHT, WIDTH, 3)
        assert (before == now.image).all()
        assert np.isfinite(now.inverse_m).all()
        assert (now.inverse_m > 0).all()
