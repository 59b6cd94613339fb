"""Random models in the shape of published ones, made where they are wanted, without a download.

Step times and memory depend on shapes, not on what weights say. The shape is that of
``config.json`` of Qwen/Qwen2.5-VL-3B-Instruct; so are patch size and limits of its pictures. The
tokenizer is made of the texts at hand, about a token a word; rows of the vocabulary that it does
not use are spare, as some are in the published model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn

hf: Any = transformers  # its types are not strict
QWEN2_5_VL_3B = "qwen2_5_vl_3b_shape"
SHAPES = (QWEN2_5_VL_3B,)
PARAMETERS = 3_754_622_976
"""Of the published model, its tied LM head counted once."""

_TEXT: dict[str, Any] = {
    "vocab_size": 151_936,
    "hidden_size": 2048,
    "intermediate_size": 11_008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128_000,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "rope_parameters": {
        "rope_type": "default",
        "mrope_section": [16, 24, 24],
        "rope_theta": 1_000_000.0,
    },
}
_VISION: dict[str, Any] = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
#: Pixels of a picture at least and at most.
_PIXELS = {"shortest_edge": 56 * 56, "longest_edge": 12_845_056}
_SPECIAL = {
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
}
_TURNS = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\n' -}}
{%- if message['content'] is string -%}{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- elif part['type'] == 'text' -%}{{- part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""


def make(
    name: str, texts: Iterable[str], *, device: str, dtype: torch.dtype, attention: str = "sdpa"
) -> tuple[nn.Module, Any]:
    """The network of the shape ``name`` in evaluation mode on ``device``, and its processor.

    ``texts`` are what the tokenizer is made of. On the device ``meta`` nothing is computed and no
    memory taken. Raises ``KeyError`` for another name.
    """
    if name not in SHAPES:
        raise KeyError(name)
    processor = _processor(texts)
    network = hf.Qwen2_5_VLForConditionalGeneration
    tokenizer = processor.tokenizer
    config = hf.Qwen2_5_VLConfig(
        text_config={**_TEXT, "pad_token_id": tokenizer.pad_token_id},
        vision_config=_VISION,
        tie_word_embeddings=True,
        **{key: tokenizer.convert_tokens_to_ids(token) for key, token in _SPECIAL.items()},
    )
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        made: Any = network._from_config(config, dtype=dtype, attn_implementation=attention)  # noqa: SLF001  # what Auto's from_config calls
    return made.eval(), processor


def _processor(texts: Iterable[str]) -> Any:
    tokenizer = _tokenizer(texts)
    return hf.Qwen2_5_VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(size=_PIXELS),
        tokenizer=tokenizer,
        video_processor=hf.Qwen2VLVideoProcessor(),
        chat_template=_TURNS,
    )


def _tokenizer(texts: Iterable[str]) -> Any:
    """Byte-level BPE, its special tokens first."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=20_000,
        min_frequency=2,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>", *_SPECIAL.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<|endoftext|>",  # noqa: S106  # not a password
        eos_token="<|im_end|>",  # noqa: S106  # not a password
        clean_up_tokenization_spaces=False,
    )
