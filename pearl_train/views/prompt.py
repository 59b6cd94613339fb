"""Questions and conversations as at inference: what the model reads before it replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from pearl_data.formats.chat import ANSWER_PREFIX, Turn, context_turns, media_of
from pearl_train.views.batch import EncodedSample
from pearl_train.views.encoder import Encoder, Growing, enough
from pearl_train.views.pictures import Prepared, shrunk


def encode_prompt(
    pictures: Sequence[Image.Image],
    question: str,
    choices: Sequence[str] = (),
    *,
    encoder: Encoder,
    key: str = "",
    prefill: str = ANSWER_PREFIX,
    pause_tokens: int = 0,
) -> EncodedSample:
    """(I0, Q) as at inference: the context, then pause tokens and ``prefill``, all in one span.

    With an empty ``prefill`` the row ends with the generation prompt.
    """
    prepared = {
        f"i{number}": prepare_picture(picture, f"i{number}", encoder)
        for number, picture in enumerate(pictures)
    }
    data = encoder.data
    turns = context_turns(
        question, choices, tuple(prepared), system=data.system, answers=data.answers
    )
    return encode_dialogue(
        turns, prepared, encoder=encoder, key=key, prefill=prefill, pause_tokens=pause_tokens
    )


def prepare_picture(picture: Image.Image, medium: str, encoder: Encoder) -> Prepared:
    """A picture for :func:`encode_dialogue`, shrunk to ``max_pixels`` if given."""
    return encoder.preparer.prepare(shrunk(picture.convert("RGB"), encoder.shrink_to), medium)


def encode_replies(
    turns: Sequence[Turn],
    replies: Sequence[str],
    pictures: Mapping[str, Prepared],
    *,
    encoder: Encoder,
    prefill: str = ANSWER_PREFIX,
) -> list[tuple[int, ...]]:
    """The tokens of each reply to ``turns`` as training learns them, to the last that ends it.

    Each reply begins with ``prefill``, whose tokens are omitted: they follow what
    :func:`encode_dialogue` makes of ``turns`` and ``prefill``.
    """
    numbers = {medium: number for number, medium in enumerate(dict.fromkeys(media_of(turns)))}
    template = encoder.template
    _, before = encoder.span(template.parts(turns, prompt=True), pictures, numbers)
    begun = tuple(encoder.following(before, template.glue + prefill))
    found = []
    for words in replies:
        parts = template.parts((Turn("assistant", (words,), learn=True),), after=turns)
        span, _ = encoder.span(parts, {}, {}, before)
        end = max(place for place, learn in enumerate(span.learn) if learn)
        if span.ids[: len(begun)] != begun:
            raise ValueError(f"expected a reply that begins with {prefill!r}, got {words!r}")
        found.append(span.ids[len(begun) : end + 1])
    return found


def encode_dialogue(
    turns: Sequence[Turn],
    pictures: Mapping[str, Prepared],
    *,
    encoder: Encoder,
    key: str = "",
    prefill: str = "",
    pause_tokens: int = 0,
) -> EncodedSample:
    """A conversation for the assistant to continue, all of it in the ``context`` span.

    ``pictures`` by the ids that ``turns`` show. The tool loop adds an assistant turn with the reply
    and an :func:`~pearl_data.formats.chat.observation_turn`, and encodes again.
    """
    media = list(dict.fromkeys(media_of(turns)))
    numbers = {medium: number for number, medium in enumerate(media)}
    span, before = encoder.span(encoder.template.parts(turns, prompt=True), pictures, numbers)
    grown = Growing()
    grown.append(span)
    enough("pause_tokens", pause_tokens, encoder.tokens.pause)
    grown.add(encoder.tokens.pause[:pause_tokens])
    if prefill:
        grown.add(encoder.following(before, encoder.template.glue + prefill))
    images = tuple(pictures[medium].image for medium in media)
    return EncodedSample(key=key, shard="", images=images, context=grown.done(), branches={})
