"""Loading: whatever cannot be trained is refused at once, by name, with what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    MllamaConfig,
    MllamaForConditionalGeneration,
)

from pearl_tools.errors import BadInput, UsageError
from pearl_train.model import load
from pearl_train.model.load import check_family, load_model
from pearl_train.settings.config import LoraConfig, ModelConfig

WEIGHTS = "model.safetensors"


@pytest.fixture
def copy_of(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A function that copies a tiny model's folder, to be broken."""
    return lambda family: Path(shutil.copytree(tiny_folder(family), tmp_path / family))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_gives_network_and_processor(
    family: str, tiny_folder: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_folder(family)
    capfd.readouterr()
    network, processor = load_model(ModelConfig(id=str(folder), attention="eager"))
    assert not network.training
    assert hasattr(processor, "image_processor")
    assert network.config._attn_implementation == "eager"
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert capfd.readouterr().err == ""


def test_an_unknown_id_offline_names_id_reason_and_both_ways_out() -> None:
    with pytest.raises(UsageError) as caught:
        load_model(ModelConfig(id="someone/some-model"))
    message = str(caught.value)
    for part in (
        "someone/some-model",
        "HF_HUB_OFFLINE is set",
        "couldn't find them in the cached files",
        "hf download someone/some-model",
        "--model FOLDER",
    ):
        assert part in message


def test_a_name_that_no_hub_takes_is_refused_in_the_same_way() -> None:
    with pytest.raises(UsageError, match=r"'no such model!' is no folder here.*--model FOLDER"):
        load_model(ModelConfig(id="no such model!"))


def test_a_missing_nano_model_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "NANO", tmp_path)
    with pytest.raises(UsageError, match="make nano-model"):
        load_model(ModelConfig())


def test_a_folder_without_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"found no config\.json"):
        load_model(ModelConfig(id=str(tmp_path)))


def test_a_model_that_sees_nothing_is_refused(tmp_path: Path) -> None:
    config = LlamaConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=8
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"expected an image-text-to-text model.*'llama'"):
        load_model(ModelConfig(id=str(tmp_path)))


def altered(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def test_weights_that_are_not_finite_are_named(copy_of: Callable[[str], Path]) -> None:
    name = "model.language_model.layers.1.mlp.up_proj.weight"

    def spoil(weights: dict[str, Any]) -> None:
        key = next(key for key in weights if key.endswith("layers.1.mlp.up_proj.weight"))
        weights[key][2, 3] = float("nan")

    folder = altered(copy_of("qwen2_5_vl"), spoil)
    with pytest.raises(BadInput, match=f"NaN or infinity in {name}"):
        load_model(ModelConfig(id=str(folder)))


def test_missing_weights_are_named(copy_of: Callable[[str], Path]) -> None:
    def drop(weights: dict[str, Any]) -> None:
        del weights[next(key for key in weights if key.endswith("layers.0.mlp.down_proj.weight"))]

    folder = altered(copy_of("fast_vlm"), drop)
    with pytest.raises(UsageError, match=r"missing: model.language_model.layers.0.mlp.down_proj"):
        load_model(ModelConfig(id=str(folder)))


def test_a_torn_file_of_weights_is_refused(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("fast_vlm")
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:999])
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_model(ModelConfig(id=str(folder)))


def test_a_processor_that_cannot_see_is_refused(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("fast_vlm")
    path = folder / "processor_config.json"
    path.write_text(json.dumps({"processor_class": "NobodysProcessor"}))
    tokens = folder / "tokenizer_config.json"
    tokens.write_text(
        json.dumps(json.loads(tokens.read_text()) | {"processor_class": "NobodysProcessor"})
    )
    with pytest.raises(UsageError, match="without image_processor"):
        load_model(ModelConfig(id=str(folder)))


def test_a_processor_without_chat_template_is_refused(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("qwen3_vl")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match="without chat_template"):
        load_model(ModelConfig(id=str(folder)))


def test_families_that_packing_cannot_serve_are_refused() -> None:
    with torch.device("meta"):
        bidirectional = Gemma3ForConditionalGeneration(Gemma3Config())
        cross_attending = MllamaForConditionalGeneration(MllamaConfig())
    with pytest.raises(UsageError, match=r"in gemma3 tokens of a picture see later ones.*qwen3_vl"):
        check_family(bidirectional, "some-id", "gemma3")
    with pytest.raises(UsageError, match="mllama takes no picture features computed beforehand"):
        check_family(cross_attending, "some-id", "mllama")


def test_half_precision_weights_only_where_they_stay_frozen(
    tiny_folder: Callable[[str], Path],
) -> None:
    folder = str(tiny_folder("llava"))
    full, _ = load_model(ModelConfig(id=folder, dtype="bfloat16"))
    lora, _ = load_model(ModelConfig(id=folder, dtype="bfloat16", lora=LoraConfig()))
    assert full.dtype == torch.float32
    assert lora.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("shape", "told"),
    [((0,), "stage3_gather_16bit_weights"), ((0, 32), "zero_to_fp32"), ((3, 32), "different")],
)
def test_weights_of_other_shapes_are_named_with_both_shapes(
    copy_of: Callable[[str], Path], shape: tuple[int, ...], told: str
) -> None:
    """Those without elements are what ZeRO-3 leaves of a shard."""
    folder = copy_of("llava")
    weights = load_file(folder / WEIGHTS)
    (name,) = [key for key in weights if "layers.1.self_attn.q_proj.weight" in key
               and "vision" not in key]  # fmt: skip
    weights[name] = torch.zeros(shape)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(UsageError) as caught:
        load_model(ModelConfig(id=str(folder)))
    message = str(caught.value)
    assert f"layers.1.self_attn.q_proj.weight {shape}, expected (32, 32)" in message
    assert told in message
    assert "\n" not in message
