"""The tiny models behave as published ones do where it matters to the trainer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import FAMILIES, drawn_picture
from transformers import AutoModelForImageTextToText, AutoProcessor


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_loads_with_the_auto_classes_and_sees_its_pictures(
    family: str, tiny_folder: Callable[[str], Path]
) -> None:
    folder = tiny_folder(family)
    network = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    assert hasattr(processor, "image_processor")
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Which one?"}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}, {"role": "assistant", "content": "red"}],
        tokenize=False,
    )
    assert "red" in text

    def logits(numbers: tuple[int, int]) -> torch.Tensor:
        pictures = [drawn_picture(number) for number in numbers]
        inputs = processor(text=[text], images=[pictures], return_tensors="pt")
        with torch.no_grad():
            return network(**inputs).logits[0, -1]

    assert not torch.allclose(logits((0, 1)), logits((0, 2)), atol=1e-3)
    assert torch.equal(logits((0, 1)), logits((0, 1)))
