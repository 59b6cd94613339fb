"""An export answers as the model that was measured: its card's lines, run as they stand, say what
``predict`` says of any picture; and it is refused once a byte of it is another.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_media import other_profile
from PIL import Image, ImageCms
from safetensors.torch import load_file
from tiny_models import drawn_picture
from transformers import AutoModelForImageTextToText, GenerationConfig

from pearl_data.formats.chat import ANSWER_PREFIX
from pearl_tools.errors import BadInput, UsageError
from pearl_train.asking.predict import predict
from pearl_train.asking.questions import opened
from pearl_train.asking.scoring import stated_part
from pearl_train.asking.trained import find, open_answerer
from pearl_train.comparing.examine import examine
from pearl_train.model.build import build_backbone
from pearl_train.model.load import load_model
from pearl_train.model.manifest import MANIFEST, check_manifest
from pearl_train.run.folder import RunFolder
from pearl_train.settings.config import ModelConfig
from pearl_train.settings.load import load_config
from pearl_train.training.at_checkpoint import backbone_at, chosen
from pearl_train.training.exported import export_adapter, export_run
from pearl_train.training.loop import train

LIMIT = 60 * 45
CHOICES = ["optim.steps=2", "optim.batch=2", "optim.micro_batch=2", "optim.lr=0.02",
           "objective.name=sft", "evaluate.max_new_tokens=6", f"model.max_pixels={LIMIT}",
           "log.tensorboard=false"]  # fmt: skip
ASKED, CHOSEN = "Which is nearer?", ["the cup", "the lamp"]


def pictures() -> dict[str, tuple[str, Image.Image, dict[str, Any]]]:
    """Pictures that plain ``convert("RGB")`` shows otherwise than they are, and large ones."""
    exif = Image.Exif()
    exif[0x0112] = 6
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    clear = drawn_picture(2, 120, 90).convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 60, 90))
    half = drawn_picture(1, 90, 120).convert("LA")
    half.putalpha(Image.linear_gradient("L").resize(half.size))
    return {
        "rotated": ("JPEG", drawn_picture(3, 160, 60), {"exif": exif, "quality": 95}),
        "clear": ("PNG", clear, {}),
        "grey-clear": ("PNG", half, {}),
        "palette": ("PNG", drawn_picture(0, 80, 60).quantize(8), {"transparency": 0}),
        "large": ("JPEG", drawn_picture(3, 1200, 900), {"quality": 95}),
        "long": ("PNG", drawn_picture(2, 900, 100), {}),
        "profile": ("PNG", drawn_picture(1, 90, 120), {"icc_profile": other_profile()}),
        "profile-clear": ("PNG", clear, {"icc_profile": other_profile()}),
        "profile-large": ("JPEG", drawn_picture(3, 1200, 900), {"icc_profile": other_profile()}),
        "grey-16": ("PNG", Image.fromarray(deep), {}),
        "profile-srgb": ("PNG", drawn_picture(1, 90, 70), {"icc_profile": srgb}),
        "profile-unfit": ("PNG", drawn_picture(1, 90, 120), {"icc_profile": b"none"}),
    }


@pytest.fixture(
    scope="module", params=["qwen2_5_vl", "qwen3_vl", "internvl", "fast_vlm", "llava", "idefics3"]
)
def run(
    request: pytest.FixtureRequest,
    tiny_data: Path,
    tiny_folder: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run of a base whose own generation config would say something else."""
    place = tmp_path_factory.mktemp(request.param)
    base = shutil.copytree(tiny_folder(request.param), place / "base")
    # as published ones: no space behind the prompt, which a tokenizer could join with the answer
    template = base / "chat_template.jinja"
    text = template.read_text()
    for prompt in ("ASSISTANT: '", "Assistant: '"):
        text = text.replace(prompt, prompt.replace(": ", ":"))
    template.write_text(text)
    GenerationConfig(
        repetition_penalty=9.0, do_sample=True, temperature=3.0, no_repeat_ngram_size=1
    ).save_pretrained(base)
    train(load_config([], CHOICES, {"model.id": str(base)}), tiny_data, place / "run",
          progress=False)  # fmt: skip
    return place / "run"


def said_by_the_card(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[str, Any]:
    """What the lines of the card print, and the tensors that they give the model."""
    (block,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    capsys.readouterr()
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
        exec(block, names)  # noqa: S102  # what people would paste
    return capsys.readouterr().out.rstrip("\n"), names["inputs"]


def test_the_card_s_own_lines_say_what_predict_says(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    export_run(run, folder := tmp_path / "export")
    model = open_answerer(find(str(folder)))
    for name, (kind, picture, options) in pictures().items():
        photo = folder / "photo.jpg"  # as the lines name it; the format is read from the bytes
        picture.save(photo, kind, **options)
        said, inputs = said_by_the_card(folder, monkeypatch, capsys)
        question = opened([photo], ASKED, CHOSEN)
        asked = model.encoded(
            model.context(question), model.pictures(question.media), prefill=ANSWER_PREFIX
        )
        assert inputs["input_ids"][0].tolist() == list(asked.context.ids), name
        for key, value in asked.images[0].inputs.items():
            assert torch.equal(inputs[key], value), (name, key)
        assert said == model.answer(question).reply.rstrip("\n"), name
        for place in (run, folder) if name in {"rotated", "large"} else ():
            found = predict(str(place), [photo], ASKED, CHOSEN)
            assert found.answer == stated_part(ANSWER_PREFIX + said), (name, place)
            assert found.notes == []
    assert model.config.model.max_pixels == LIMIT


def test_generate_without_options_replies_as_measured(run: Path, tmp_path: Path) -> None:
    folder = export_run(run, tmp_path / "export")
    network = AutoModelForImageTextToText.from_pretrained(folder)
    model = open_answerer(find(str(folder)))
    config = network.generation_config
    assert config.suppress_tokens == sorted(model.backbone.tokens.all)
    assert tuple(config.eos_token_id) == model.encoder.stop_ids
    assert (config.max_new_tokens, config.do_sample) == (6, False)
    assert (config.repetition_penalty, config.no_repeat_ngram_size) == (None, None)
    document = json.loads((run / "model" / "generation_config.json").read_bytes())
    assert "repetition_penalty" not in document


def test_the_processor_keeps_the_limit_of_pixels(run: Path, tmp_path: Path) -> None:
    large = drawn_picture(1, 400, 300)
    counts = []
    for sets in ([], ["model.max_pixels=none"]):
        model = open_answerer(find(str(run), sets))
        made = model.encoder.processor.image_processor(images=[large], return_tensors="pt")
        counts.append(made["pixel_values"].shape)
    if "qwen" in run.parent.name:
        size = json.loads((run / "model" / "processor_config.json").read_bytes())
        assert size["image_processor"]["size"]["longest_edge"] == LIMIT
        assert model.encoder.shrink_to is None
        edge = model.encoder.processor.image_processor.patch_size
        assert 0 < counts[0][0] * edge * edge <= LIMIT


def test_a_base_whose_penalty_is_not_used_is_said(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_folder("fast_vlm"), tmp_path / "base")
    GenerationConfig(repetition_penalty=1.05, do_sample=True, top_k=3).save_pretrained(base)
    drawn_picture(3).save(tmp_path / "photo.png")
    found = predict(str(base), [tmp_path / "photo.png"], ASKED, sets=["evaluate.max_new_tokens=1"])
    assert [note for note in found.notes if "repetition_penalty = 1.05" in note] == found.notes
    assert len(found.notes) == 1


# Hashes


@pytest.fixture(scope="module")
def adapted(
    tiny_data: Path, tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run with adapters on a bfloat16 base, at the small rate of the paper."""
    out = tmp_path_factory.mktemp("adapted") / "run"
    sets = [*CHOICES, "model.lora.rank=4", "model.dtype=bfloat16", "optim.lr=1e-4"]
    config = load_config([], sets, {"model.id": str(tiny_folder("llava"))})
    train(config, tiny_data, out, progress=False)
    return out


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "generation_config.json", "pearl.toml"]
)
def test_one_flipped_bit_is_an_error_that_names_the_file(
    adapted: Path, tiny_data: Path, tmp_path: Path, name: str
) -> None:
    folder = export_run(adapted, tmp_path / "export")
    drawn_picture(3).save(tmp_path / "photo.png")
    check_manifest(folder)
    data = bytearray((folder / name).read_bytes())
    at = data.index(b"evaluate") if name == "pearl.toml" else len(data) - 3
    data[at] ^= 1
    (folder / name).write_bytes(data)
    told = rf"{re.escape(name)}: expected sha256 [0-9a-f]{{12}}, as it was written, got"
    if name != "pearl.toml":  # read before: its own fault is told
        with pytest.raises(BadInput, match=told):
            predict(str(folder), [tmp_path / "photo.png"], ASKED)
        with pytest.raises(BadInput, match=told):
            examine(str(folder), tiny_data, split="test", limit=1)
    with pytest.raises(BadInput, match=told):
        load_model(ModelConfig(id=str(folder)))


def test_a_lost_file_and_a_manifest_that_is_none_are_named(adapted: Path, tmp_path: Path) -> None:
    folder = export_run(adapted, tmp_path / "export")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(BadInput, match=r"chat_template\.jinja: expected a file with sha256 .*none"):
        check_manifest(folder)
    (folder / MANIFEST).write_text(f"{'0' * 64}  ../outside\n")
    with pytest.raises(BadInput, match=rf"{MANIFEST}: line 1: expected a sha256"):
        check_manifest(folder)


def test_a_card_may_be_written_anew(adapted: Path, tmp_path: Path) -> None:
    folder = export_run(adapted, tmp_path / "export")
    (folder / "README.md").write_text("# Mine\n")
    check_manifest(folder)


def test_export_refuses_a_flipped_run_and_a_resumed_run_writes_it_again(
    adapted: Path, tiny_data: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(adapted, copy)
    weights = copy / "model" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadInput, match=r"model\.safetensors: expected sha256"):
        export_run(copy, tmp_path / "export")
    assert not (tmp_path / "export").exists()
    train(RunFolder(copy).read_config(), tiny_data, copy, resume=True, progress=False)
    assert weights.read_bytes() == whole


# Adapters


def test_adapters_are_merged_without_rounding_what_was_learned(adapted: Path) -> None:
    """In bfloat16 half of so small an update was lost."""
    backbone = backbone_at(chosen(RunFolder(adapted), "2"), RunFolder(adapted).read_config())
    merged = load_file(adapted / "model" / "model.safetensors")
    network: Any = backbone.network
    checked = 0
    for name, layer in network.base_model.model.named_modules():
        if not hasattr(layer, "get_delta_weight"):
            continue
        base, update = layer.base_layer.weight, layer.get_delta_weight("default")
        assert base.dtype == torch.bfloat16
        key = next(
            k for k in merged if k.endswith(f"{name.rpartition('language_model.')[2]}.weight")
        )
        assert merged[key].dtype == torch.float32
        lost = (merged[key] - base.float() - update).norm() / update.norm()
        rounded = ((base + update.to(base.dtype)).float() - base.float() - update).norm()
        assert update.norm() > 0
        assert lost < 1e-3
        assert rounded / update.norm() > 0.2, "the update is one that bfloat16 loses"
        checked += 1
    assert checked == 14
    assert find(str(adapted)).config.model.dtype == "float32"
    assert find(str(adapted), ["model.dtype=bfloat16"]).config.model.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("family", "dtype"),
    [("llava", "float32"), ("qwen2_5_vl", "float32"), ("qwen2_5_vl", "bfloat16")],
)
def test_an_adapter_alone_answers_as_the_run_by_the_lines_of_its_card(
    tiny_data: Path,
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    family: str,
    dtype: str,
) -> None:
    out = tmp_path / "run"
    config = load_config(
        [],
        [*CHOICES, "model.lora.rank=4", f"model.dtype={dtype}"],
        {"model.id": str(tiny_folder(family))},
    )
    train(config, tiny_data, out, progress=False)
    folder = export_adapter(out, tmp_path / "adapter")
    assert (folder / "adapter_model.safetensors").is_file()
    assert not list(folder.glob("model*.safetensors"))
    options = json.loads((folder / "adapter_config.json").read_bytes())
    assert options["base_model_name_or_path"] == str(tiny_folder(family))
    check_manifest(folder)
    drawn_picture(3, 120, 90).save(folder / "photo.jpg")
    said, _ = said_by_the_card(folder, monkeypatch, capsys)
    merged = export_run(out, tmp_path / "merged")
    shutil.copy(folder / "photo.jpg", merged)
    assert said == said_by_the_card(merged, monkeypatch, capsys)[0]
    if family != "llava":  # its tiny tokenizer joins the prompt's last space with the answer
        assert said.strip() == predict(str(out), [folder / "photo.jpg"], ASKED, CHOSEN).answer
    tensors = load_file(folder / "adapter_model.safetensors")
    rows = next(value for key, value in tensors.items() if "embed_tokens" in key)
    built = build_backbone(ModelConfig(id=str(merged)))
    assert torch.allclose(rows.float(), built.embed(torch.tensor(built.tokens.all)), atol=1e-6)
    with pytest.raises(UsageError, match="got an adapter alone"):
        load_model(ModelConfig(id=str(folder)))
    with pytest.raises(UsageError, match="expected a new or empty folder"):
        export_adapter(out, folder)


def test_a_run_without_adapters_has_none_to_export(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"--adapter: expected a run with adapters \(model\.lora\)"
    ):
        export_adapter(run, tmp_path / "adapter")
