"""The decoding of replies: the same in ``predict``, ``eval``, ``compare`` and exports.

Greedy decoding over every token except ours, until a stop token. Other settings in the base's
``generation_config.json`` (sampling, a repetition penalty) are not used: they were made for chats,
and a penalty on tokens of the question would change answers that repeat its words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import GenerationConfig

from pearl_train.model.tokens import SpecialTokens
from pearl_train.views.templates import ChatTemplate

#: Settings that change greedy decoding, with their neutral values.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1.0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "bad_words_ids": (None, []),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "sequence_bias": (None, {}),
    "exponential_decay_length_penalty": (None,),
    "guidance_scale": (None, 1.0),
}


def decoding(
    processor: Any, tokens: SpecialTokens, *, max_new_tokens: int | None = None
) -> GenerationConfig:
    """The generation config of a model with ``processor``, to which ``tokens`` were added."""
    stops = ChatTemplate(processor).stop_ids
    pad = processor.tokenizer.pad_token_id
    config: Any = GenerationConfig
    made: GenerationConfig = config(
        do_sample=False,
        eos_token_id=list(stops),
        pad_token_id=stops[0] if pad is None else pad,
        bos_token_id=processor.tokenizer.bos_token_id,
        suppress_tokens=sorted(tokens.all),
        max_new_tokens=max_new_tokens,
    )
    return made


def not_used(base: GenerationConfig, ours: Sequence[int] = ()) -> list[str]:
    """Settings of ``base`` that would change greedy decoding, as ``name = value``; a ban on
    ``ours`` does not count.

    >>> not_used(GenerationConfig(repetition_penalty=1.05, do_sample=True))
    ['repetition_penalty = 1.05']
    """
    found = []
    for name, plain in _PLAIN.items():
        value = getattr(base, name, None)
        if name == "suppress_tokens" and value and set(value) <= set(ours):
            continue
        if value not in plain:
            found.append(f"{name} = {value}")
    return found
