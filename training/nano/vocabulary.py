"""The nano model's tokenizer: byte-level BPE over captions and the toolkit's own wordings.

Any text round-trips, because all 256 bytes are tokens. A digit is always one token, and so is a
capital that stands alone: the `K` of a tag is the same token in a sentence, in a list of choices
and as an answer. Leaves out the chat template (`network.py`).
"""

from collections.abc import Iterable, Iterator

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pearl_data.experts import words
from pearl_data.sources import wordings
from pearl_tools import registry

IMAGE, START, END, PAD = "<image>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SPARE = tuple(f"<|spare_{number}|>" for number in range(8))
"""Untrained tokens for those who train further and need marks of their own."""

#: In turn: one digit; one capital that begins no word; a word with the space before it; a comma
#: and space between numbers; punctuation; one space.
_PIECES = r"\d|[A-Z](?![a-z])| ?[A-Z]?[a-z]+|, (?=\d)|[^A-Za-z\d\s]+|\s"


def toolkit_texts() -> Iterator[str]:
    """Wordings that the toolkit's trajectories use: questions, thoughts, tools."""
    for module in (words, wordings):
        for value in vars(module).values():
            lists = value.values() if isinstance(value, dict) else (value,)
            for texts in lists:
                if isinstance(texts, tuple) and all(isinstance(text, str) for text in texts):
                    yield from texts
    for tool in registry.TOOLS.values():
        yield tool.spec.description
        yield f'{{"bbox":[0.25,0.5,0.75,1],"image":"i0"}} {tool.spec.name}'


def train_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """A tokenizer of at most `size` tokens, learnt from these texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, START, END, IMAGE, *SPARE]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START, IMAGE, *SPARE],
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
