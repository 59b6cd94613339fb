"""Samples encoded for tests, and what can be asked of the result."""

from __future__ import annotations

from collections.abc import Callable

from tiny_samples import tiny_sample

from pearl_data.formats.chat import Show, Turn, context_turns
from pearl_data.shards import Sample
from pearl_train.views.batch import EncodedSample, Span, ViewPlan
from pearl_train.views.encode import (
    Encoder,
    encode_sample,
)
from pearl_train.views.pictures import open_picture

Make = Callable[..., Encoder]
EVERYTHING = ViewPlan(("answer", "trajectory", "pred", "lvr"), 4, 2, target=True)
ANSWER = ViewPlan(("answer",))
CROP, DEPTH, TWO_ROOTS, WRONG_FIRST = (tiny_sample(n) for n in (0, 2, 7, 5))


def encode(
    sample: Sample, encoder: Encoder, plan: ViewPlan = EVERYTHING, shard: str = "shard-0"
) -> EncodedSample:
    made = encode_sample(sample, shard, plan, encoder)
    assert isinstance(made, EncodedSample), made
    return made


def spans(encoded: EncodedSample) -> dict[str, Span]:
    found = {"context": encoded.context, **encoded.branches}
    return found if encoded.target is None else {**found, "target": encoded.target}


def text(encoder: Encoder, ids: object) -> str:
    return encoder.tokenizer.decode(list(ids))


def learned(encoder: Encoder, span: Span) -> str:
    return text(encoder, [i for i, learn in zip(span.ids, span.learn, strict=True) if learn])


def as_messages(sample: Sample, turns: tuple[Turn, ...]) -> list[dict[str, object]]:
    return [
        {
            "role": turn.role,
            "content": [
                {"type": "image", "image": open_picture(sample, part.medium)}
                if isinstance(part, Show)
                else {"type": "text", "text": part}
                for part in turn.content
            ],
        }
        for turn in turns
    ]


def whole(encoder: Encoder, sample: Sample, turns: tuple[Turn, ...], *, prompt: bool) -> dict:
    """What transformers itself makes of a conversation, pictures and all."""
    return encoder.processor.apply_chat_template(
        as_messages(sample, turns),
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=prompt,
    )


def question_of(sample: Sample) -> tuple[Turn, ...]:
    task, media = sample.trajectory.task, sample.trajectory.media
    return context_turns(task.question, task.choices, [m.id for m in media if m.parent is None])


def pairs(span: Span) -> list[tuple[int, bool]]:
    return list(zip(span.ids, span.is_image, strict=True))
