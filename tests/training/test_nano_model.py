"""The packaged nano model: small, standard, and the same whatever lies beside a picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

FOLDER = Path(__file__).parents[2] / "pearl_train" / "nano"


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    return (
        transformers.AutoModelForImageTextToText.from_pretrained(FOLDER).eval(),
        transformers.AutoProcessor.from_pretrained(FOLDER),
    )


def chat(pictures: int, text: str = "The tag shows K.") -> list[dict[str, Any]]:
    content = [{"type": "image"}] * pictures
    return [
        {"role": "user", "content": content},
        {"role": "assistant", "content": [{"type": "text", "text": text}]},
    ]


def test_all_of_it_is_below_ten_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10_000_000


def test_it_loads_as_any_model_does_in_single_precision(nano: tuple[Any, Any]) -> None:
    model, processor = nano
    assert type(model).__name__ == "FastVlmForConditionalGeneration"
    assert model.dtype == torch.float32
    assert hasattr(processor, "image_processor")


def test_the_template_takes_text_pictures_and_calls_in_any_role(nano: tuple[Any, Any]) -> None:
    _, processor = nano
    call = {"function": {"name": "crop", "arguments": {"image": "i0"}}}
    text = processor.apply_chat_template(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": [{"type": "image"}, {"type": "text", "text": "b"}]},
        ],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\na<image><|im_end|>\n"
        '<|im_start|>assistant\n\n<tool_call>\n{"name": "crop", "arguments": {"image": "i0"}}\n'
        "</tool_call><|im_end|>\n"
        "<|im_start|>tool\n<image>b<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_picture_is_36_tokens_whatever_its_size(nano: tuple[Any, Any]) -> None:
    _, processor = nano
    for size in ((480, 640), (29, 38), (5, 300)):
        picture = np.zeros((*size, 3), np.uint8)
        text = processor.apply_chat_template(chat(1), tokenize=False)
        made = processor(text=[text], images=[picture], return_tensors="pt")
        assert int((made.input_ids == processor.image_token_id).sum()) == 36
        assert made.pixel_values.shape == (1, 3, 192, 192)


def test_neither_mode_nor_neighbours_change_what_a_picture_becomes(nano: tuple[Any, Any]) -> None:
    model, _ = nano
    pixels = torch.rand(3, 3, 192, 192, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        together = model.get_image_features(pixel_values=pixels).pooler_output
        alone = model.get_image_features(pixel_values=pixels[1:2]).pooler_output
        trained = model.train().get_image_features(pixel_values=pixels).pooler_output
        model.eval()
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together, trained, rtol=0, atol=0)


def test_the_card_names_these_weights() -> None:
    card = json.loads((FOLDER / "card.json").read_text())
    text = (FOLDER / "card.md").read_text()
    assert card["weights_sha256"] in text
    stages = card["recipe"]["stages"]
    last = [len(stages) - 1, stages[-1]["steps"]]
    assert card["done"] == last, "unfinished weights are not for shipping"
    for figure in card["figures"]:
        assert figure["name"] in text
