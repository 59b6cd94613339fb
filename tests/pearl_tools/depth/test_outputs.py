"""What a depth model's numbers mean is declared, and nothing else decides it."""

import inspect
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from transformers.models.auto.modeling_auto import MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES

from pearl_tools.depth import outputs
from pearl_tools.depth.outputs import (
    DECLARED,
    KINDS,
    Spec,
    as_inverse,
    no_metres,
    opposite,
    output_of_config,
    output_of_file,
    parse_spec,
)
from pearl_tools.errors import ModelUnavailable, UnknownModel

DINO, BEIT = (SimpleNamespace(model_type=name) for name in ("dinov2", "beit"))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"model_type": "dpt"}, "relative_inverse"),
        ({"model_type": "dpt", "backbone_config": BEIT}, "relative_inverse"),
        ({"model_type": "dpt", "backbone_config": DINO}, "metric"),
        ({"model_type": "glpn"}, "metric"),
        ({"model_type": "zoedepth"}, "metric"),
        ({"model_type": "depth_pro"}, "inverse"),
        ({"model_type": "tipsv2_dpt"}, "metric"),
        ({"model_type": "depth_anything", "depth_estimation_type": "relative"}, "relative_inverse"),
        ({"model_type": "depth_anything", "depth_estimation_type": "metric"}, "metric"),
    ],
)
def test_what_each_type_means_is_declared(config: dict[str, object], kind: str) -> None:
    assert output_of_config(SimpleNamespace(**config)) == kind


def test_every_depth_model_of_the_library_is_declared_or_refused_by_name() -> None:
    assert set(MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES) == {line.model_type for line in DECLARED}


def test_depth_pro_is_inverted_by_its_processor_and_so_not_metric_itself() -> None:
    """The declaration rests on this line of the library; it was once declared metric here."""
    from transformers import DepthProImageProcessor

    source = inspect.getsource(DepthProImageProcessor)
    assert "depth = 1.0 / torch.clamp(depth" in source


def test_an_undeclared_type_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(ModelUnavailable, match=r"'novelty'.*write MODEL#KIND.*line to DECLARED in"):
        output_of_config(SimpleNamespace(model_type="novelty"))


def test_a_type_that_is_no_depth_model_is_refused_with_the_reason() -> None:
    with pytest.raises(ModelUnavailable, match=r"'chmv2' cannot be used: .*height of plants"):
        output_of_config(SimpleNamespace(model_type="chmv2"))


def test_files_without_a_configuration_are_declared_by_name() -> None:
    assert output_of_file(Path("x/FAST_depth_224.tflite")) == "metric"
    with pytest.raises(ModelUnavailable, match=r"other\.tflite.*known names: fast_depth"):
        output_of_file(Path("other.tflite"))


def test_a_spec_is_a_place_with_or_without_a_kind(tmp_path: Path) -> None:
    assert parse_spec("org/model") == Spec("org/model", None)
    assert parse_spec("org/model#metric") == Spec("org/model", "metric")
    folder = tmp_path / "a#metric"
    folder.mkdir()
    assert parse_spec(str(folder)) == Spec(str(folder), None)
    assert parse_spec(f"{folder}#inverse") == Spec(str(folder), "inverse")
    with pytest.raises(UnknownModel, match=r"#relative_inverse, #inverse, #metric .* got #depth"):
        parse_spec("org/model#depth")


def test_only_metric_depth_is_turned_round() -> None:
    values = np.array([[0.0, 0.5, 2.0]], np.float32)
    assert as_inverse(values, "metric").tolist() == [[pytest.approx(1000), 2.0, 0.5]]
    for kind in ("inverse", "relative_inverse"):
        assert as_inverse(values, kind).tolist() == values.tolist()


def test_the_share_that_cannot_be_metres_is_the_same_in_every_kind() -> None:
    values = np.array([[-1, 0, outputs.NEAREST_M, 0.002, 5]], np.float32)
    for kind in KINDS:
        assert no_metres(as_inverse(values, kind), kind) == pytest.approx(3 / 5)
    assert no_metres(np.full((2, 2), np.nan, np.float32), "metric") == 0


def test_the_opposite_of_a_kind_turns_the_sign() -> None:
    near, far = (np.array([[value]], np.float32) for value in (1.0, 2.0))
    for kind in KINDS:
        both = (kind, opposite(kind))
        assert len({bool(as_inverse(near, k) > as_inverse(far, k)) for k in both}) == 2
    assert outputs.NEAREST_M > 0
