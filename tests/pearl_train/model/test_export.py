"""An exported folder is a plain transformers model that gives the trained network's logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import FAMILIES
from tiny_rows import stock_inputs
from transformers import AutoModelForImageTextToText, AutoProcessor

from pearl_tools.errors import BadInput, UsageError
from pearl_train.model.backbone import Backbone
from pearl_train.model.build import build_backbone
from pearl_train.model.export import export_model
from pearl_train.settings.config import LoraConfig, ModelConfig

TEXT = "user {0}Which?\n<|pred_1|><|pred_2|><|lvr_start|>Answer: red\n"


def trained(folder: Path, lora: LoraConfig | None) -> Backbone:
    """A backbone whose weights have moved, trained rows included."""
    backbone = build_backbone(ModelConfig(id=str(folder), lora=lora))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in backbone.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.05)
    return backbone


@torch.no_grad()
def logits(network: Any, processor: Any, family: str) -> torch.Tensor:
    return network(**stock_inputs(processor, family, TEXT)).logits


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4, alpha=8)], ids=["full", "lora"])
def test_plain_from_pretrained_gives_equal_logits(
    family: str,
    lora: LoraConfig | None,
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    backbone = trained(tiny_folder(family), lora)
    expected = logits(backbone.network, backbone.processor, family)
    folder = export_model(backbone, tmp_path / "out")
    assert torch.equal(logits(backbone.network, backbone.processor, family), expected)  # untouched
    network = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    assert type(processor) is type(backbone.processor)
    assert hasattr(processor, "image_processor")
    assert processor.chat_template == backbone.processor.chat_template
    again = logits(network, processor, family)
    if lora is None:
        assert torch.equal(again, expected)
    else:
        assert torch.allclose(again, expected, atol=2e-5)
    tied = network.get_input_embeddings().weight is network.get_output_embeddings().weight
    assert tied is backbone.plain.config.tie_word_embeddings
    assert not (tmp_path / "out.partial").exists()
    (tmp_path / "usual").touch()
    usual = (tmp_path / "usual").stat().st_mode
    assert {file.stat().st_mode for file in folder.rglob("*")} == {usual}, "what the umask says"


def test_an_export_trains_on_with_the_tokens_it_has(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    backbone = trained(tiny_folder("llava"), LoraConfig(rank=4))
    folder = export_model(backbone, tmp_path / "out")
    again = build_backbone(ModelConfig(id=str(folder)), seed=5)
    assert again.tokens == backbone.tokens
    assert torch.allclose(
        again.embed(torch.tensor(again.tokens.pred)),
        backbone.embed(torch.tensor(backbone.tokens.pred)),
    )


def test_weights_can_be_halved(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    backbone = build_backbone(ModelConfig(id=str(tiny_folder("llava"))))
    folder = export_model(backbone, tmp_path / "out", dtype=torch.bfloat16)
    assert AutoModelForImageTextToText.from_pretrained(folder).dtype == torch.bfloat16
    assert backbone.plain.dtype == torch.float32


def test_a_folder_with_something_in_it_is_refused(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("x")
    backbone = build_backbone(ModelConfig(id=str(tiny_folder("llava"))))
    with pytest.raises(UsageError, match="expected a new or empty folder"):
        export_model(backbone, tmp_path)


def test_weights_that_are_not_finite_are_not_exported(
    tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    backbone = build_backbone(ModelConfig(id=str(tiny_folder("llava"))))
    with torch.no_grad():
        backbone.plain.lm_head.weight[1, 1] = float("inf")
    with pytest.raises(BadInput, match=r"NaN or infinity in lm_head\.weight"):
        export_model(backbone, tmp_path / "out")
    assert not (tmp_path / "out").exists()
