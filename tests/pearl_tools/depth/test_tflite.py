"""A `.tflite` file under our convention; the file itself is other people's and stays outside."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pearl_tools.depth import load_depth_model
from pearl_tools.errors import ModelUnavailable, UnknownModel


def test_fast_depth_runs_and_is_turned_into_inverse_depth(shared_data: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="extra tflite is not installed")
    path = shared_data / "models/fast_depth_224.tflite"
    model = load_depth_model(str(path))
    assert (model.model_id, model.output) == (f"{path}#metric", "metric")
    image = np.zeros((100, 150, 3), np.uint8)
    image[50:] = 200
    (inverse,) = model.predict([image])
    assert inverse.shape == (224, 224)
    metres = load_depth_model(f"{path}#inverse").predict([image])[0]
    np.testing.assert_allclose(inverse, 1 / np.maximum(metres, 1e-3), rtol=1e-6)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="extra tflite is not installed")
    path = tmp_path / "midas.tflite"
    path.write_bytes(b"no model")
    with pytest.raises(ModelUnavailable, match="not a model that LiteRT can run"):
        load_depth_model(str(path))


def test_a_file_of_an_undeclared_name_needs_its_kind(tmp_path: Path) -> None:
    for name in ("new.tflite", "NEW.TFLITE"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(ModelUnavailable, match=rf"{name}.*write MODEL#KIND"):
            load_depth_model(str(tmp_path / name))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownModel, match=r"midas\.tflite': expected a \.tflite file, got a path without"
    ):
        load_depth_model(str(tmp_path / "midas.tflite"))


def test_without_the_extra_the_message_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    (tmp_path / "midas.tflite").write_bytes(b"x")
    with pytest.raises(ModelUnavailable, match=r"pip install 'pearl-toolkit\[tflite\]'"):
        load_depth_model(str(tmp_path / "midas.tflite"))
