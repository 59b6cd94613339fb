"""One question about somebody's pictures, answered without any tool.

Pictures are opened as everywhere in the toolkit (upright, 8-bit RGB); what that changed is told.
A model trained with latents or pause tokens thinks with them; one trained to call tools is asked to
answer at once, because no tool runs here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pearl_data.formats.chat import MOST_LETTERED
from pearl_tools.errors import UsageError
from pearl_tools.types import Record
from pearl_train.asking.answering import Answerer
from pearl_train.asking.likelihood import ChoiceLikelihood
from pearl_train.asking.questions import Question, opened
from pearl_train.asking.scoring import stated_choice, stated_part
from pearl_train.asking.trained import AtStep, find, open_answerer, refuse_unread
from pearl_train.errors import NoAnswer
from pearl_train.model.generation import not_used


class Prediction(Record, frozen=True, kw_only=True):
    """An answer: as the model wrote it, the choice that it states, and how likely each choice is.

    ``stated`` is None where the reply names none of the choices; ``likelihoods`` are those of the
    choices in their order (:mod:`pearl_train.asking.likelihood`), none without choices or where a
    model that calls tools came to no answer.
    ``pictures`` says of each what opening it changed. ``latency_ms`` excludes loading the model,
    opening files and weighing the choices.
    """

    answer: str
    stated: str | None
    likelihoods: list[ChoiceLikelihood]
    model: str
    mode: str
    ended: bool
    tokens: int
    latency_ms: float
    pictures: list[dict[str, str | int | list[str]]]
    notes: list[str]

    def ranking(self) -> str:
        """The choices from the likeliest down, each with its probability; empty without any."""
        ranked = sorted(self.likelihoods, key=lambda one: -one.per_token)
        return ", ".join(f"{one.choice} ({100 * one.probability:.1f} %)" for one in ranked)

    def must_say_something(self) -> None:
        """Raises ``NoAnswer`` where the reply is empty."""
        if self.answer:
            return
        how = "it ended its turn at once" if self.tokens <= 1 else f"none in {self.tokens} tokens"
        raise NoAnswer(
            f"{self.model}: expected words as a reply, got none ({how}); ask in other words, or "
            "train it further: pearl-train eval says how often it answers"
        )


def predict(
    where: str,
    pictures: Sequence[Path],
    text: str,
    choices: Sequence[str] = (),
    *,
    sets: Sequence[str] = (),
    at: AtStep | None = None,
    device: str | None = None,
) -> Prediction:
    """The answer of the model at ``where`` to ``text`` about ``pictures``.

    ``at`` as for :func:`pearl_train.asking.trained.find`. Raises ``UsageError`` or ``BadInput``
    naming the model, the picture or the option, ``BadInput`` also where what the model gives are no
    numbers. An empty reply is a prediction.
    """
    question = opened(pictures, text, choices)
    place = find(where, sets, at)
    refuse_unread(sets, ("evaluate.split",), "predict asks about the pictures given")
    notes = []
    trained_with_tools = place.trained and place.config.objective.name == "tools"
    if trained_with_tools:
        limits = ("evaluate.max_turns", "evaluate.tool_turn_tokens")
        refuse_unread(sets, limits, "no tool runs; evaluate.max_new_tokens limits the answer")
        notes.append("trained to call tools; answered at once, since no tool runs here")
    if place.config.data.answers == "letter" and len(choices) > MOST_LETTERED:
        raise UsageError(
            f"--choices: expected at most {MOST_LETTERED} to letter, got {len(choices)}; "
            "--set data.answers=text"
        )
    model = open_answerer(place, mode="direct" if trained_with_tools else None, device=device)
    base = model.backbone.plain.generation_config
    if unused := not_used(base, model.backbone.tokens.all):
        notes.append(
            f"decoded greedily, without {', '.join(unused)} of the model's generation_config.json"
        )
    return answered(model, question, place.name, notes)


def answered(
    model: Answerer, question: Question, name: str, notes: Sequence[str] = ()
) -> Prediction:
    """The answer of an opened model."""
    reply = model.answer(question)
    said = stated_part(reply.opening + reply.reply)
    form = model.config.data.answers
    return Prediction(
        answer=said,
        stated=stated_choice(said, question.choices, form) if question.choices else said or None,
        likelihoods=list(reply.likelihoods),
        model=name,
        mode=model.mode,
        ended=reply.ended,
        tokens=reply.tokens,
        latency_ms=round(1000 * reply.latency_s, 1),
        pictures=[
            {
                "id": medium.record.id,
                "width": medium.record.width,
                "height": medium.record.height,
                "changes": medium.record.changes,
            }
            for medium in question.media.values()
        ],
        notes=list(notes),
    )
