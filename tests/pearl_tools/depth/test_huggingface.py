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
    dpt,
    dpt_of_dinov2,
    glpn,
    last_layer,
    random_model,
    save,
    zoedepth,
)
from transformers import (
    BitImageProcessor,
    ConvNextImageProcessor,
    DepthAnythingForDepthEstimation,
    DPTForSemanticSegmentation,
    DPTImageProcessor,
    ZoeDepthImageProcessor,
)

from pearl_tools.depth import load_depth_model
from pearl_tools.depth.huggingface import TransformersDepth
from pearl_tools.depth.outputs import parse_spec
from pearl_tools.depth.processor_size import LONGEST_RESIZED_PX
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


def varied(network: Any) -> Any:
    """``network`` with random weights that tell pictures apart: as they begin, all maps of ZoeDepth
    and of DPT over DINOv2 are alike to 7 digits.
    """
    for name, weight in network.named_parameters():
        if weight.ndim == 4 and "backbone" not in name:
            torch.nn.init.kaiming_normal_(weight)
    if network.config.model_type in {"depth_anything", "dpt"}:
        with torch.no_grad():  # else the ReLU at the end may give nothing but 0
            last_layer(network).weight.abs_()
            last_layer(network).bias.fill_(1)
    return network


def varied_model(folder: Path, make: Any, processor: Any = None) -> TransformersDepth:
    torch.manual_seed(0)
    network, own = make()
    return TransformersDepth(parse_spec(str(save(folder, varied(network), processor or own))))


def unlike(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of two maps, in units of their spread: 1.1 between independent ones."""
    one, other = ((m - m.mean(dtype=float)) / m.std(dtype=float) for m in (one, other))
    return float(np.abs(one - other).mean())


def blackened(image: np.ndarray, part: slice, axis: int) -> np.ndarray:
    """A copy of ``image``, black between two shares of its height (``axis`` 0) or width (1)."""
    side = image.shape[axis]
    other = image.copy()
    start, stop = round(side * (part.start or 0)), round(side * (part.stop or 1))
    np.moveaxis(other, axis, 0)[start:stop] = 0
    return other


def seen_of(
    model: TransformersDepth, image: np.ndarray, part: slice, axis: int
) -> tuple[float, float]:
    """Where the network sees that ``part`` of the picture was blackened, in shares of the side."""
    one, other = (
        model._inputs([shown])["pixel_values"] for shown in (image, blackened(image, part, axis))
    )
    changed = (one != other).any(dim=3 - axis).any(dim=1)[0].nonzero()
    side = one.shape[2 + axis]
    return int(changed.min()) / side, (int(changed.max()) + 1) / side


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_saved_models_of_four_architectures_predict_offline(name: str, tmp_path: Path) -> None:
    model = varied_model(tmp_path, ARCHITECTURES[name])
    assert (model.output, model.dtype, len(model.weights_sha256)) == (OUTPUTS[name], "float32", 64)
    maps = model.predict(pictures())
    assert len(maps) == 3
    assert all(m.dtype == np.float32 and m.ndim == 2 and np.isfinite(m).all() for m in maps)
    alone = [model.predict([image])[0] for image in pictures()]
    assert max(map(unlike, maps, alone)) < 1e-3
    assert unlike(maps[0], alone[2]) > 0.5, "the map of another picture would have gone unnoticed"


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
    model = varied_model(tmp_path, dpt_of_dinov2)
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


PUBLISHED = {
    "depth_anything": lambda: DPTImageProcessor(
        size={"height": 518, "width": 518}, keep_aspect_ratio=True, ensure_multiple_of=14
    ),
    "zoedepth": lambda: ZoeDepthImageProcessor(
        size={"height": 384, "width": 512}, keep_aspect_ratio=True, ensure_multiple_of=32
    ),
}
"""The settings of the published models that keep the aspect ratio."""
KEEPING = [(depth_anything, "depth_anything"), (zoedepth, "zoedepth")]


@pytest.mark.parametrize(("make", "name"), KEEPING, ids=PUBLISHED)
@pytest.mark.parametrize("shape", [(480, 640), (375, 1242), (1242, 375), (100, 300), (1, 1)])
def test_ordinary_pictures_are_left_to_the_published_processor(
    make: Any, name: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    model = varied_model(tmp_path, make, PUBLISHED[name]())
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = PUBLISHED[name]()(
        images=[image], return_tensors="pt", input_data_format="channels_last", do_pad=False
    )
    assert torch.equal(model._inputs([image])["pixel_values"], expected["pixel_values"])


@pytest.mark.parametrize(("make", "name"), KEEPING, ids=PUBLISHED)
@pytest.mark.parametrize(
    "shape", [(8, 900), (900, 8), (40, 4000), (4000, 40), (10, 1000), (1, 5000), (500, 20000)]
)
def test_slim_and_long_pictures_have_bounded_maps_of_all_of_them(
    make: Any, name: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    """The processor alone makes a side of 0 of most of them, and 518 x 20720 px of the last."""
    model = varied_model(tmp_path, make, PUBLISHED[name]())
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    axis = int(shape[1] > shape[0])
    (given,) = model.predict([image])
    assert np.isfinite(given).all()
    assert int(given.shape[1] > given.shape[0]) == axis
    assert 384 <= max(given.shape) <= LONGEST_RESIZED_PX
    for end in (np.s_[:0.25], np.s_[0.75:]):
        assert seen_of(model, image, end, axis) == pytest.approx(
            (end.start or 0, end.stop or 1), abs=0.02
        )
        (other,) = model.predict([blackened(image, end, axis)])
        assert not np.array_equal(given, other)


@pytest.mark.parametrize(
    ("make", "processor", "size"),
    [
        (depth_anything, BitImageProcessor(size={"shortest_edge": 56}, crop_size=56), (56, 168)),
        (depth_anything, BitImageProcessor(size={"shortest_edge": 60}, crop_size=56), (56, 182)),
        (
            depth_anything,
            BitImageProcessor(size={"height": 64, "width": 64}, crop_size=56),
            (70, 70),
        ),
        (dpt, BitImageProcessor(size={"shortest_edge": 64}, crop_size=64), (64, 64)),
    ],
    ids=["edge", "no whole patches", "fixed", "square"],
)
def test_a_processor_that_crops_the_middle_is_given_the_whole_picture(
    make: Any, processor: Any, size: tuple[int, int], tmp_path: Path
) -> None:
    model = varied_model(tmp_path, make, processor)
    image = np.random.default_rng(0).integers(0, 256, (100, 300, 3), dtype=np.uint8)
    assert tuple(model._inputs([image])["pixel_values"].shape[-2:]) == size
    assert seen_of(model, image, np.s_[:0.3], axis=1) == pytest.approx((0, 0.3), abs=0.06)
    before, after = model.predict([image, blackened(image, np.s_[:0.3], axis=1)])
    change = np.abs(after - before).mean(axis=0)
    assert change[: len(change) // 4].min() > 0


def test_a_processor_that_crops_whatever_it_is_told_is_refused(tmp_path: Path) -> None:
    processor = ConvNextImageProcessor(size={"shortest_edge": 56})
    with pytest.raises(
        ModelUnavailable,
        match=r"#relative_inverse': ConvNextImageProcessor makes 56x56 px of a picture of "
        r"300x100 px, expected 168x56: it crops or pads, .* another image processor",
    ):
        varied_model(tmp_path, depth_anything, processor)


def test_a_size_that_is_not_known_here_is_refused(tmp_path: Path) -> None:
    processor = BitImageProcessor(size={"max_height": 56, "max_width": 56})
    with pytest.raises(ModelUnavailable, match="expected height and width, or shortest_edge, got"):
        varied_model(tmp_path, depth_anything, processor)


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
