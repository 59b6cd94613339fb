"""Transformers models under our convention: which way round, only safetensors, clear refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_depth_models import (
    ARCHITECTURES,
    depth_anything,
    dpt_of_dinov2,
    glpn,
    last_layer,
    random_model,
    save,
)
from transformers import DepthAnythingForDepthEstimation, DPTForSemanticSegmentation

from pearl_tools.depth import load_depth_model
from pearl_tools.depth.huggingface import TransformersDepth
from pearl_tools.depth.outputs import parse_spec
from pearl_tools.depth.sizes import LONGEST_PX
from pearl_tools.errors import ModelUnavailable, UnknownModel

OUTPUTS = {
    "depth_anything": "relative_inverse",
    "dpt": "relative_inverse",
    "glpn": "metric",
    "zoedepth": "metric",
}


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = ((40, 60, 3), (70, 64, 3), (40, 60, 3))
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_saved_models_of_four_architectures_predict_offline(name: str, tmp_path: Path) -> None:
    model = load_depth_model(str(random_model(name, tmp_path)))
    assert (model.output, model.dtype, len(model.weights_sha256)) == (OUTPUTS[name], "float32", 64)
    maps = model.predict(pictures())
    assert len(maps) == 3
    assert all(m.dtype == np.float32 and m.ndim == 2 and np.isfinite(m).all() for m in maps)
    np.testing.assert_allclose(model.predict(pictures()[2:])[0], maps[2], rtol=1e-2, atol=1e-4)


def test_the_recorded_name_holds_the_kind_and_loads_the_same_model(tmp_path: Path) -> None:
    model = load_depth_model(str(random_model("dpt", tmp_path)))
    assert model.model_id == f"{tmp_path}#relative_inverse"
    again = load_depth_model(model.model_id)
    assert (again.model_id, again.weights_sha256) == (model.model_id, model.weights_sha256)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("preprocessor_config.json", "image_mean", [0.1, 0.1, 0.9]),
        ("config.json", "head_in_index", -2),
    ],
)
def test_another_setting_makes_another_model(
    name: str, field: str, value: object, tmp_path: Path
) -> None:
    """Else a synthesis that was interrupted would go on with other maps, unnoticed."""
    before = load_depth_model(str(random_model("dpt", tmp_path)))
    path = tmp_path / name
    settings = json.loads(path.read_text())
    assert settings[field] != value
    path.write_text(json.dumps({**settings, field: value}))
    after = load_depth_model(str(tmp_path))
    assert after.weights_sha256 != before.weights_sha256
    image = pictures()[0]
    assert not np.array_equal(after.predict([image])[0], before.predict([image])[0])


def test_a_model_without_a_size_of_its_own_sees_the_whole_picture(tmp_path: Path) -> None:
    """Its processor pads, which would shift the picture; without, the patches leave out 13 px."""
    torch.manual_seed(0)
    network, processor = dpt_of_dinov2()
    for part in (network.neck, network.head):  # as they begin, all maps are alike to 7 digits
        for weight in part.parameters():
            if weight.ndim == 4:
                torch.nn.init.kaiming_normal_(weight)
    with torch.no_grad():  # else the ReLU at the end may give nothing but 0
        last_layer(network).weight.abs_()
        last_layer(network).bias.fill_(1)
    model = load_depth_model(str(save(tmp_path, network, processor)))
    image = np.random.default_rng(0).integers(0, 256, (69, 69, 3), dtype=np.uint8)
    for window in (np.s_[:, -3:], np.s_[-3:]):
        other = image.copy()
        other[window] = 0
        assert not np.array_equal(model.predict([image])[0], model.predict([other])[0])


@pytest.mark.parametrize(("make", "multiple"), [(dpt_of_dinov2, 14), (glpn, 32)])
@pytest.mark.parametrize(
    "shape", [(3000, 4000, 3), (5000, 30, 3), (20, 33, 3)], ids=["large", "long", "small"]
)
def test_a_model_without_a_size_of_its_own_sees_a_bounded_picture(
    make: Any, multiple: int, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    model = TransformersDepth(parse_spec(str(save(tmp_path, *make()))))
    network, entered = model._model, []

    def smaller(pixel_values: torch.Tensor, **more: Any) -> Any:
        entered.append(tuple(pixel_values.shape[-2:]))
        return network(pixel_values=pixel_values[..., : 2 * multiple, : 2 * multiple], **more)

    model._model = smaller  # what enters is asked; to compute on all of it takes long
    (given,) = model.predict([np.zeros(shape, np.uint8)])
    assert np.isfinite(given).all()
    [(height, width)] = entered
    assert height % multiple == width % multiple == 0
    assert multiple <= min(height, width) <= max(height, width) <= LONGEST_PX
    assert max(height, width) > min(max(shape), LONGEST_PX) - multiple
    if min(shape[:2]) > 100:
        assert width / height == pytest.approx(shape[1] / shape[0], rel=0.02)


def test_a_model_with_a_size_of_its_own_keeps_it(tmp_path: Path) -> None:
    assert TransformersDepth(parse_spec(str(random_model("dpt", tmp_path))))._size is None


def test_metric_depth_is_turned_into_its_inverse(tmp_path: Path) -> None:
    torch.manual_seed(0)
    raw, processor = depth_anything(metric=True)
    model = load_depth_model(str(save(tmp_path, raw, processor)))
    image = pictures()[0]
    with torch.no_grad():
        inputs = processor(images=[image], return_tensors="pt")
        metres = raw.eval()(**inputs).predicted_depth[0].numpy()
    np.testing.assert_allclose(model.predict([image])[0], 1 / metres, rtol=1e-3)


def test_only_the_caller_overrules_what_is_declared(tmp_path: Path) -> None:
    random_model("glpn", tmp_path)
    declared, told = (load_depth_model(f"{tmp_path}{kind}") for kind in ("", "#inverse"))
    assert (declared.output, told.output) == ("metric", "inverse")
    image = pictures()[0]
    np.testing.assert_allclose(
        declared.predict([image])[0], 1 / told.predict([image])[0], rtol=1e-5
    )


def test_a_process_that_has_run_a_model_can_still_train_one(tmp_path: Path) -> None:
    """BEiT, ZoeDepth's encoder, keeps tensors between calls, for all its models at once."""
    load_depth_model(str(random_model("zoedepth", tmp_path))).predict(pictures())
    model, processor = ARCHITECTURES["zoedepth"]()
    inputs = processor(images=pictures()[:1], return_tensors="pt", do_pad=False)
    model.train()(**inputs).predicted_depth.mean().backward()


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    model, processor = glpn()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    processor.save_pretrained(tmp_path)
    with pytest.raises(ModelUnavailable, match="safetensors"):
        load_depth_model(str(tmp_path))


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    model, processor = depth_anything()
    state = {k: v for k, v in model.state_dict().items() if k != "head.conv3.weight"}
    model.save_pretrained(tmp_path, state_dict=state)
    processor.save_pretrained(tmp_path)
    with pytest.raises(ModelUnavailable, match=r"1 missing, such as head\.conv3\.weight"):
        load_depth_model(str(tmp_path))


def test_the_layer_that_published_files_leave_out_is_not_missed(tmp_path: Path) -> None:
    """Intel/dpt-large and its likes come without it, because it has nothing to add to."""
    model, processor = depth_anything()
    unused = "neck.fusion_stage.layers.0.residual_layer1."
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(unused)}
    assert len(state) < len(model.state_dict())
    model.save_pretrained(tmp_path, state_dict=state)
    processor.save_pretrained(tmp_path)
    loaded = load_depth_model(str(tmp_path))
    whole = DepthAnythingForDepthEstimation.eval(model)
    with torch.no_grad():
        inputs = processor(images=pictures()[:1], return_tensors="pt")
        expected = whole(**inputs).predicted_depth[0].numpy()
    np.testing.assert_allclose(loaded.predict(pictures()[:1])[0], expected, rtol=1e-3, atol=1e-5)


def test_a_model_for_another_task_is_refused_by_its_architecture(tmp_path: Path) -> None:
    folder = random_model("dpt", tmp_path)
    depth = DPTForSemanticSegmentation.config_class.from_pretrained(folder)
    DPTForSemanticSegmentation(depth).save_pretrained(folder)
    with pytest.raises(ModelUnavailable, match="got DPTForSemanticSegmentation"):
        load_depth_model(str(folder))


def test_a_missing_model_names_itself_the_reason_and_two_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelUnavailable) as caught:
        load_depth_model("nobody/no-such-depth-model")
    message = str(caught.value)
    assert "'nobody/no-such-depth-model'" in message
    assert "--depth-model embedded" in message
    assert "pass its folder" in message


@pytest.mark.parametrize(
    "name", ["nonsense", "/nowhere/at/all", "a/b/c", "x" * 5000, "embedded#metric"]
)
def test_a_name_that_no_model_can_have_is_told_what_names_are_known(name: str) -> None:
    with pytest.raises(UnknownModel, match=r"expected (`embedded`, the folder|no kind after)"):
        load_depth_model(name)


@pytest.mark.parametrize(
    ("left_out", "missing"),
    [
        ("*", r"config\.json, preprocessor_config\.json, weights in \*\.safetensors;"),
        ("config.json", r"config\.json;"),
        ("preprocessor_config.json", r"preprocessor_config\.json;"),
        ("*.safetensors", r"weights in \*\.safetensors; .* pytorch_model\.bin, are never read"),
    ],
)
def test_a_folder_that_is_no_snapshot_is_told_what_one_holds(
    left_out: str, missing: str, tmp_path: Path
) -> None:
    random_model("dpt", tmp_path)
    for path in tmp_path.glob(left_out):
        path.unlink()
    with pytest.raises(ModelUnavailable, match=rf"got a folder without {missing}"):
        load_depth_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.json", "{", r": expected JSON in config\.json, got Expecting property name"),
        ("config.json", "[]", r": expected a JSON object, \{\.\.\.\}, in config\.json, got \[\];"),
        ("preprocessor_config.json", "[]", r", in preprocessor_config\.json, got \[\]; download"),
        ("preprocessor_config.json", "3", r", in preprocessor_config\.json, got 3; download"),
        (
            "processor_config.json",
            "\xff",
            r": expected JSON in processor_config\.json, got 'utf-8'",
        ),
        ("model.safetensors", "x", r" cannot be loaded: \w+"),
    ],
)
def test_damaged_files_of_a_snapshot_are_one_clear_line(
    name: str, content: str, told: str, tmp_path: Path
) -> None:
    random_model("dpt", tmp_path)
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelUnavailable, match=f"{tmp_path}'.*{told}"):
        load_depth_model(str(tmp_path))


def test_weights_of_another_shape_are_named_with_both_shapes(tmp_path: Path) -> None:
    model, processor = depth_anything()
    state = model.state_dict()
    (out, *rest), name = state["head.conv3.weight"].shape, "head.conv3.weight"
    state[name] = torch.zeros(out + 1, *rest)
    model.save_pretrained(tmp_path, state_dict=state)
    processor.save_pretrained(tmp_path)
    with pytest.raises(ModelUnavailable) as caught:
        load_depth_model(str(tmp_path))
    assert str(caught.value) == (
        f"depth model '{tmp_path}': {name} in its files has shape {(out + 1, *rest)}, expected "
        f"{(out, *rest)} by config.json, and 0 more differ: these files belong to two models; "
        "download the snapshot again"
    )


@pytest.mark.filterwarnings("error")
def test_pictures_that_cannot_be_written_to_give_no_warning(tmp_path: Path) -> None:
    model = load_depth_model(str(random_model("dpt", tmp_path)))
    image = pictures()[0]
    image.setflags(write=False)  # as every opened picture is
    (given,) = model.predict([image])
    np.testing.assert_array_equal(given, model.predict([image.copy()])[0])
