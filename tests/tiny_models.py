"""Random image-text-to-text models small enough for a unit test, one per family, saved to a folder.

Each folder loads with plain ``AutoModelForImageTextToText`` and ``AutoProcessor``, offline. Hidden
size 32, two layers, a byte-level tokenizer of a few hundred tokens. The families differ where real
ones do: tied and untied LM heads, spare embedding rows (Qwen), 1-D and 3-D positions, several
tiles per picture (Idefics3, InternVL), features added in deeper layers (Qwen3-VL), turn formats.

    folder = tiny_model_folder("qwen3_vl", tmp_path)

Fixtures: ``tiny_folder(family)`` in ``tests/pearl_train/conftest.py``, cached per session.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import transformers as hf
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

FAMILIES: tuple[str, ...] = (
    "qwen2_5_vl",
    "qwen3_vl",
    "llava",
    "idefics3",
    "internvl",
    "fast_vlm",
)

MORE_FAMILIES: tuple[str, ...] = ("qwen2_vl", "smolvlm")
"""Close relatives: enough to check their packing once."""

IMAGE_MARKS: dict[str, str] = {
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen3_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "llava": "<image>\n",
    "idefics3": "<image>",
    "internvl": "<IMG_CONTEXT>",
    "fast_vlm": "<image>",
    "qwen2_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "smolvlm": "<image>",
}
"""What a template writes for a picture."""

HIDDEN = 32
SPREAD = 0.2
"""Standard deviation of random weights: large enough that pictures and context sway the logits."""

_WORDS = [
    "Which colour is the small object left of the red cube? Answer: red, green, blue, yellow.",
    "I look closer at the picture. The crop shows a small yellow sphere near the edge.",
    '<tool_call>\n{"name": "crop", "arguments": {"bbox": [0.1, 0.25, 0.5, 0.75]}}\n</tool_call>',
    "How many objects are there? Which one is nearer, A or B? Choices: (A) one, (B) two, (C) three",
    "o1: crop of i0 at 64 x 64 px. Error code: geometry.inverted; give x0 < x1 and y0 < y1.",
    "user assistant system User: Assistant: USER: ASSISTANT: depth zoom image The answer is",
] * 3

#: A list or a string as content; {start}, {user} ... are filled in per family.
_TURNS = """\
{%- for message in messages -%}
{{- OPEN(message['role']) -}}
{%- if message['content'] is string -%}{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}{{- 'IMAGE' -}}
{%- elif part['type'] == 'text' -%}{{- part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- 'CLOSE' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'PROMPT' -}}{%- endif -%}
"""


def _template(opening: str, image: str, close: str, prompt: str) -> str:
    turns = _TURNS.replace("OPEN(message['role'])", opening)
    return turns.replace("IMAGE", image).replace("CLOSE", close).replace("PROMPT", prompt)


_CHATML = ("'<|im_start|>' + message['role'] + '\\n'", "<|im_end|>\\n", "<|im_start|>assistant\\n")


def _chatml(image: str) -> str:
    opening, close, prompt = _CHATML
    return _template(opening, image, close, prompt)


_USER_COLON = _template("message['role'].upper() + ': '", "<image>\\n", "</s>\\n", "ASSISTANT: ")
_IDEFICS = _template(
    "'<|im_start|>' + message['role'].capitalize() + ': '",
    "<image>",
    "<end_of_utterance>\\n",
    "<|im_start|>Assistant: ",
)


def _tokenizer(special: list[str], eos: str, named: dict[str, str] | None = None) -> object:
    """Byte-level BPE with ``special`` as its first ids; ``named`` become attributes."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        min_frequency=2,
        special_tokens=["<pad>", *special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_WORDS, trainer)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",  # noqa: S106  # not a password
        eos_token=eos,
        extra_special_tokens=named or {},
        clean_up_tokenization_spaces=False,
        model_max_length=100_000,
    )


def _text(tokenizer: object, **more: object) -> dict[str, object]:
    """What the text configurations share."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": SPREAD,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    } | more


def _vision(**more: object) -> dict[str, object]:
    return {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": SPREAD,
    } | more


_QWEN_SPECIAL = [
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]


def _qwen_ids(tokenizer: object) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}


def _qwen2_5_vl() -> tuple[nn.Module, object]:
    tokenizer = _tokenizer(_QWEN_SPECIAL, "<|im_end|>")
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}
    text = _text(tokenizer, rope_parameters=rope, tie_word_embeddings=True)
    text["vocab_size"] = len(tokenizer) + 64  # spare rows, as in the published models
    config = hf.Qwen2_5_VLConfig(
        text_config=text,
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "out_hidden_size": HIDDEN,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "initializer_range": SPREAD,
        },
        tie_word_embeddings=True,
        **_qwen_ids(tokenizer),
    )
    processor = hf.Qwen2_5_VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(
            size={"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 16}
        ),
        tokenizer=tokenizer,
        video_processor=hf.Qwen2VLVideoProcessor(),
        chat_template=_chatml("<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


def _qwen3_vl() -> tuple[nn.Module, object]:
    tokenizer = _tokenizer(_QWEN_SPECIAL, "<|im_end|>")
    rope = {
        "rope_type": "default",
        "mrope_section": [2, 1, 1],
        "mrope_interleaved": True,
        "rope_theta": 10_000.0,
    }
    text = _text(tokenizer, rope_parameters=rope, head_dim=8)
    config = hf.Qwen3VLConfig(
        text_config=text,
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "out_hidden_size": HIDDEN,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
            "initializer_range": SPREAD,
        },
        tie_word_embeddings=True,
        **_qwen_ids(tokenizer),
    )
    processor = hf.Qwen3VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(
            patch_size=16, size={"shortest_edge": 32 * 32, "longest_edge": 32 * 32 * 16}
        ),
        tokenizer=tokenizer,
        video_processor=hf.Qwen3VLVideoProcessor(),
        chat_template=_chatml("<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return hf.Qwen3VLForConditionalGeneration(config), processor


def _qwen2_vl() -> tuple[nn.Module, object]:
    newer, processor = _qwen2_5_vl()
    text = newer.config.text_config.to_dict() | {"model_type": "qwen2_vl_text"}
    config = hf.Qwen2VLConfig(
        text_config=text,
        vision_config={
            "depth": 2,
            "embed_dim": 16,
            "hidden_size": HIDDEN,
            "num_heads": 2,
            "initializer_range": SPREAD,
        },
        tie_word_embeddings=True,
        **_qwen_ids(processor.tokenizer),
    )
    processor = hf.Qwen2VLProcessor(
        image_processor=processor.image_processor,
        tokenizer=processor.tokenizer,
        video_processor=processor.video_processor,
        chat_template=processor.chat_template,
    )
    return hf.Qwen2VLForConditionalGeneration(config), processor


def _llava() -> tuple[nn.Module, object]:
    tokenizer = _tokenizer(["<image>", "</s>"], "</s>")
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(
            **_vision(image_size=28, patch_size=7, projection_dim=16)
        ),
        text_config=hf.LlamaConfig(**_text(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
        vision_feature_layer=-2,
        tie_word_embeddings=False,
    )
    processor = hf.LlavaProcessor(
        image_processor=hf.CLIPImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        ),
        tokenizer=tokenizer,
        patch_size=7,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_USER_COLON,
    )
    return hf.LlavaForConditionalGeneration(config), processor


def _idefics3() -> tuple[nn.Module, object]:
    places = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    marks = ["<|im_start|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    tokenizer = _tokenizer([*marks, "<global-img>", *places], "<end_of_utterance>")
    config = hf.Idefics3Config(
        vision_config=_vision(image_size=32, patch_size=8),
        text_config=hf.LlamaConfig(**_text(tokenizer)),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    processor = hf.Idefics3Processor(
        image_processor=hf.Idefics3ImageProcessor(
            size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
        ),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=_IDEFICS,
    )
    return hf.Idefics3ForConditionalGeneration(config), processor


def _smolvlm() -> tuple[nn.Module, object]:
    """With Idefics3's processor, as its own wants a package (num2words) for videos."""
    older, processor = _idefics3()
    config = hf.SmolVLMConfig(
        vision_config=_vision(image_size=32, patch_size=8),
        text_config=older.config.text_config,
        image_token_id=older.config.image_token_id,
        scale_factor=2,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    return hf.SmolVLMForConditionalGeneration(config), processor


def _internvl() -> tuple[nn.Module, object]:
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = _tokenizer(["<|im_start|>", "<|im_end|>", *named.values()], "<|im_end|>", named)
    config = hf.InternVLConfig(
        vision_config=_vision(image_size=[28, 28], patch_size=[7, 7]),
        text_config=hf.Qwen2Config(**_text(tokenizer)),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    processor = hf.InternVLProcessor(
        image_processor=hf.GotOcr2ImageProcessor(
            size={"height": 28, "width": 28}, crop_to_patches=True, min_patches=1, max_patches=3
        ),
        tokenizer=tokenizer,
        video_processor=hf.InternVLVideoProcessor(size={"height": 28, "width": 28}),
        image_seq_length=4,
        chat_template=_chatml("<IMG_CONTEXT>"),
    )
    return hf.InternVLForConditionalGeneration(config), processor


def _fast_vlm() -> tuple[nn.Module, object]:
    """Built like the nano model: a timm ResNet without batch statistics, a tied Qwen2."""
    tokenizer = _tokenizer(["<|im_start|>", "<|im_end|>", "<image>"], "<|im_end|>")
    config = hf.FastVlmConfig(
        vision_config=hf.TimmWrapperConfig(
            architecture="resnet18d",
            do_pooling=False,
            hidden_size=32,
            num_labels=0,
            model_args={
                "layers": [1, 1, 1, 1],
                "channels": [8, 16, 16, 32],
                "stem_width": 8,
                "norm_layer": "groupnorm1",
            },
        ),
        text_config=hf.Qwen2Config(**_text(tokenizer, tie_word_embeddings=True)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
        tie_word_embeddings=True,
    )
    side = {"height": 64, "width": 64}
    processor = hf.LlavaProcessor(
        image_processor=hf.ViTImageProcessor(size=side, do_convert_rgb=True),
        tokenizer=tokenizer,
        patch_size=32,
        vision_feature_select_strategy="full",
        chat_template=_chatml("<image>"),
    )
    return hf.FastVlmForConditionalGeneration(config), processor


_BUILDERS: dict[str, Callable[[], tuple[nn.Module, object]]] = {
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "llava": _llava,
    "idefics3": _idefics3,
    "internvl": _internvl,
    "fast_vlm": _fast_vlm,
    "qwen2_vl": _qwen2_vl,
    "smolvlm": _smolvlm,
}


def tiny_model_folder(family: str, path: Path) -> Path:
    """The folder ``path/family`` with a random model of ``family`` and its processor.

    The weights are the same each time; an existing folder is returned as it is.
    """
    folder = path / family
    if (folder / "config.json").is_file():
        return folder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network, processor = _BUILDERS[family]()
    network.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    network.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def drawn_picture(number: int, width_px: int = 64, height_px: int = 48) -> Image.Image:
    """A picture with a coloured box on a ground; ``number`` decides colours and places."""
    shade = 40 + 37 * number % 160
    image = Image.new("RGB", (width_px, height_px), (shade, 230 - shade, 90 + 11 * number % 100))
    pen = ImageDraw.Draw(image)
    x, y = 4 + 7 * number % (width_px // 2), 3 + 5 * number % (height_px // 2)
    colour = ((200, 30, 40), (30, 180, 60), (40, 60, 210), (220, 200, 30))[number % 4]
    pen.rectangle((x, y, x + width_px // 3, y + height_px // 3), fill=colour)
    return image
