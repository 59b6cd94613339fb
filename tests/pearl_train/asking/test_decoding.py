from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import FAMILIES
from tiny_rows import stock_inputs, tokenised
from transformers import AutoModelForImageTextToText, AutoProcessor

from pearl_train.asking.decoding import Decoder
from pearl_train.model.backbone import Backbone
from pearl_train.model.tokens import add_special_tokens
from pearl_train.views.batch import EncodedImage, Span

PROMPT = "{0} Which colour is the small object? Answer:"
LONGER = "{0} Which colour? user o1: crop {1:100x40} The answer is"


def backbone_of(folder: Path) -> Backbone:
    network = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    return Backbone(network, processor, add_special_tokens(network, processor))


def span_of(backbone: Backbone, family: str, text: str) -> tuple[Span, list[EncodedImage]]:
    ids, names = tokenised(backbone.processor, family, text)
    image_token = backbone.processor.image_token_id
    images = []
    for name in names:
        one: dict[str, Any] = dict(stock_inputs(backbone.processor, family, name))
        tokens = int((one.pop("input_ids") == image_token).sum())
        for key in ("attention_mask", "mm_token_type_ids"):
            one.pop(key, None)
        images.append(EncodedImage(medium=name, inputs=one, tokens=tokens))
    span = Span(
        ids=tuple(ids),
        learn=(False,) * len(ids),
        is_image=tuple(i == image_token for i in ids),
        images=tuple(range(len(images))),
    )
    return span, images


@pytest.fixture(scope="module", params=FAMILIES)
def tiny(
    request: pytest.FixtureRequest, tiny_folder: Callable[[str], Path]
) -> tuple[str, Backbone]:
    return request.param, backbone_of(tiny_folder(request.param))


def generated_by_transformers(backbone: Backbone, family: str, text: str, most: int) -> list[int]:
    inputs = stock_inputs(backbone.processor, family, text)
    found = backbone.plain.generate(
        **inputs,
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        suppress_tokens=list(backbone.tokens.all),
    )
    return found[0, inputs["input_ids"].shape[1] :].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("text", [PROMPT, LONGER])
def test_tokens_are_those_of_transformers_generate(tiny: tuple[str, Backbone], text: str) -> None:
    family, backbone = tiny
    decoder = Decoder(backbone)
    decoder.read(*span_of(backbone, family, text))
    chosen = decoder.generate(8, stops=())
    assert chosen.ids == generated_by_transformers(backbone, family, text, 8)
    assert not chosen.ended


def test_reading_in_pieces_with_later_pictures_changes_nothing(tiny: tuple[str, Backbone]) -> None:
    family, backbone = tiny
    pieces = [
        span_of(backbone, family, text)
        for text in ("{0} Which colour? user", " o1: crop {1:100x40} The", " answer is")
    ]
    one_by_one, at_once = Decoder(backbone), Decoder(backbone)
    for span, images in pieces:
        one_by_one.read(span, images)
    at_once.read(joined([span for span, _ in pieces]), [i for _, images in pieces for i in images])
    torch.testing.assert_close(at_once.state, one_by_one.state, atol=2e-5, rtol=1e-4)
    assert at_once.generate(4, ()).ids == one_by_one.generate(4, ()).ids


def joined(spans: Sequence[Span]) -> Span:
    pictures = sum(len(span.images) for span in spans)
    return Span(
        ids=tuple(i for span in spans for i in span.ids),
        learn=tuple(i for span in spans for i in span.learn),
        is_image=tuple(i for span in spans for i in span.is_image),
        images=tuple(range(pictures)),
    )


def test_a_reply_in_other_tokens_is_read_again_as_its_words(tiny: tuple[str, Backbone]) -> None:
    family, backbone = tiny
    prompt, images = span_of(backbone, family, PROMPT)
    reply, _ = span_of(backbone, family, " yellow, I see")
    later, later_images = span_of(backbone, family, " o1: crop {1:100x40}")
    whole = joined([prompt, reply, later])
    decoder, fresh = Decoder(backbone), Decoder(backbone)
    decoder.continue_as(prompt, images)
    decoder.read_ids([reply.ids[0], backbone.tokens.lvr, backbone.tokens.lvr])
    decoder.continue_as(whole, [*images, *later_images])
    fresh.read(whole, [*images, *later_images])
    assert decoder.ids == fresh.ids
    torch.testing.assert_close(decoder.state, fresh.state, atol=2e-5, rtol=1e-4)
    assert decoder.generate(3, ()).ids == fresh.generate(3, ()).ids


def test_a_tokens_own_embedding_as_a_vector_is_that_token(tiny: tuple[str, Backbone]) -> None:
    family, backbone = tiny
    by_id, by_vector = Decoder(backbone), Decoder(backbone)
    span, images = span_of(backbone, family, PROMPT)
    latent = backbone.tokens.lvr
    for decoder in (by_id, by_vector):
        decoder.read(span, images)
    by_id.read_ids([latent])
    vector = backbone.embed(torch.tensor(latent)).detach()
    by_vector.read_vector(vector, stands_for=latent)
    torch.testing.assert_close(by_id.state, by_vector.state)
    assert by_id.ids == by_vector.ids


def test_a_stop_token_ends_a_turn_and_is_not_part_of_it(tiny: tuple[str, Backbone]) -> None:
    family, backbone = tiny
    decoder = Decoder(backbone)
    decoder.read(*span_of(backbone, family, PROMPT))
    eight = generated_by_transformers(backbone, family, PROMPT, 8)
    stop = eight[3]
    chosen = decoder.generate(8, stops={stop})
    assert chosen.ended
    assert chosen.ids == eight[: eight.index(stop)]


def test_tokens_of_ours_are_never_said(tiny: tuple[str, Backbone]) -> None:
    family, backbone = tiny
    decoder = Decoder(backbone)
    decoder.read(*span_of(backbone, family, PROMPT))
    assert decoder.state is not None
    likeliest = int(backbone.logits(decoder.state[None])[0].argmax())
    tokens = backbone.tokens
    backbone.tokens = tokens._replace(lvr=likeliest)
    try:
        assert decoder.generate(1, ()).ids != [likeliest]
    finally:
        backbone.tokens = tokens


def test_nothing_is_generated_without_a_prompt(tiny: tuple[str, Backbone]) -> None:
    with pytest.raises(ValueError, match="prompt"):
        Decoder(tiny[1]).generate(1, ())
