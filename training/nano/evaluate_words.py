"""How often the nano model says again what was said before, in texts it has never seen.

Leaves out scenes (`evaluate.py`).
"""

import random
from collections.abc import Iterator, Sequence

import torch
from batches import IGNORED, to_batch
from captions import Told
from recalled import KINDS
from samples import assistant, words_alone
from transformers import FastVlmForConditionalGeneration, LlavaProcessor

_BATCH = 40
NAMES = {
    "said_again": "words of a list, all again",
    "picked": "an offered name, again by its colour or shape",
    "kept": "what belongs to a name, or the name to it",
    "concluded": "a finding, again as the conclusion",
}


@torch.inference_mode()
def words_said_again(
    model: FastVlmForConditionalGeneration, processor: LlavaProcessor, count: int
) -> Iterator[tuple[str, list[bool]]]:
    """Of `count` texts of each kind: its name, and whether the last words that are to be said again
    are the likeliest ones, each after the right ones before it.
    """
    for kind in dict.fromkeys(KINDS):
        texts = [kind(random.Random(f"{kind.__name__}/{number}")) for number in range(count)]
        right: list[bool] = []
        for start in range(0, count, _BATCH):
            right += _right(model, processor, texts[start : start + _BATCH])
        yield NAMES[kind.__name__], right


def _right(
    model: FastVlmForConditionalGeneration, processor: LlavaProcessor, texts: Sequence[Told]
) -> list[bool]:
    made = [words_alone(line or "Words.", assistant(text)) for line, text in texts]
    batch = to_batch(made, processor)
    likeliest = model.lm_head(model.model(input_ids=batch.ids)[0]).argmax(dim=-1)
    right = []
    for ids, labels, guessed in zip(
        batch.ids.tolist(), batch.labels.tolist(), likeliest.tolist(), strict=True
    ):
        # the last learnt token ends the turn
        end = max(column for column, label in enumerate(labels) if label != IGNORED)
        begin = end
        while labels[begin - 1] != IGNORED:
            begin -= 1
        right.append(guessed[begin - 1 : end - 1] == ids[begin:end])
    return right
