"""The packaged depth model: shapes, determinism, its card, and that it beats the rules of thumb."""

import hashlib
import json
import subprocess
import sys
from importlib.resources import files

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pearl_data.depth_eval.measures import spearman
from pearl_data.depth_eval.selftest import pictures
from pearl_tools.depth import DepthModel, load_depth_model
from pearl_tools.depth.embedded import working_size
from pearl_tools.errors import ModelUnavailable

WEIGHTS = files("pearl_tools.depth") / "weights"


@pytest.fixture(scope="module")
def model() -> DepthModel:
    torch.set_num_threads(1)
    return load_depth_model()


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(st.integers(1, 9000), st.integers(1, 9000))
def test_working_size_keeps_its_promise(height: int, width: int) -> None:
    rows, columns = working_size(height, width)
    assert max(rows, columns) == 256
    assert rows % 32 == columns % 32 == 0
    wished = 256 * min(height, width) / max(height, width)
    assert abs(min(rows, columns) - wished) <= 16 or min(rows, columns) == 32


def test_maps_come_in_order_at_the_working_size(model: DepthModel) -> None:
    images = [picture(480, 640), picture(50, 30), picture(480, 640, 1), picture(1, 1)]
    maps = model.predict(images)
    assert [m.shape for m in maps] == [(192, 256), (256, 160), (192, 256), (256, 256)]
    assert all(m.dtype == np.float32 and np.isfinite(m).all() and (m > 0).all() for m in maps)


def test_extreme_pictures_stay_finite(model: DepthModel) -> None:
    flat = [np.full((60, 80, 3), value, np.uint8) for value in (0, 128, 255)]
    assert all(np.isfinite(m).all() for m in model.predict(flat))


def test_the_same_picture_gives_the_same_map(model: DepthModel) -> None:
    image = picture(100, 140)
    first, again = model.predict([image])[0], model.predict([image])[0]
    np.testing.assert_array_equal(first, again)
    # In a batch other kernels may run: equal up to rounding, which replay must tolerate.
    np.testing.assert_allclose(model.predict([image] * 3)[1], first, rtol=1e-3)


def test_it_beats_the_rules_of_thumb_on_rooms_of_known_depth(model: DepthModel) -> None:
    shown = pictures()
    maps = [cv2.resize(m, (256, 192)) for m in model.predict([p.image for p in shown])]
    lower = np.repeat(np.arange(192, dtype=np.float32)[:, None], 256, axis=1)
    grey = [p.image.mean(axis=2, dtype=np.float32) for p in shown]
    rules = [
        [sign * rule for rule in each] for each in ([lower] * len(shown), grey) for sign in (1, -1)
    ]

    def mean(maps: list[np.ndarray]) -> float:
        found = [spearman(m, p.inverse_m) for m, p in zip(maps, shown, strict=True)]
        return float(np.mean(found))

    assert mean(maps) > max(map(mean, rules)) + 0.3


def test_no_pictures_give_no_maps(model: DepthModel) -> None:
    assert model.predict([]) == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_picture_is_refused(model: DepthModel, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"images\[1\]: expected uint8 \(H, W, 3\)"):
        model.predict([picture(8, 8), image])


def test_it_says_what_it_is(model: DepthModel) -> None:
    data = (WEIGHTS / "embedded.safetensors").read_bytes()
    assert len(data) < 8 << 20
    assert (model.model_id, model.device, model.dtype) == ("embedded", "cpu", "float32")
    assert model.weights_sha256 == hashlib.sha256(data).hexdigest()


def test_the_card_tells_how_the_weights_came_about() -> None:
    card = json.loads((WEIGHTS / "embedded.json").read_text("utf-8"))
    text = (WEIGHTS / "embedded.card.md").read_text("utf-8")
    data = (WEIGHTS / "embedded.safetensors").read_bytes()
    assert card["weights_sha256"] == hashlib.sha256(data).hexdigest()
    assert card["weights_sha256"] in text
    assert card["bytes"] == len(data)
    assert card["stages"]
    assert all({"name", "seed", "steps", "worlds"} <= stage.keys() for stage in card["stages"])
    assert {"commit", "script", "data", "machine", "figures"} <= card.keys()


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:  # noqa: ANN001
    package = tmp_path / "weights"
    package.mkdir()
    (package / "embedded.safetensors").write_bytes(b"x")
    (package / "embedded.json").write_text('{"weights_sha256": "0"}')
    monkeypatch.setattr("pearl_tools.depth.embedded.files", lambda _: tmp_path)
    with pytest.raises(ModelUnavailable, match="damaged"):
        load_depth_model()
    (package / "embedded.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match="missing from this installation"):
        load_depth_model()


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "import pearl_tools.depth\n"
        "print([name for name in ('torch', 'timm', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
