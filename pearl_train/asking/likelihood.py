"""How likely a model holds each of the choices, beside what it says: a second reading of an answer.

A model that was trained little says words that are no choice, and may still hold one of the choices
for more likely than the others. So each is read as the reply that states it, after exactly what
generation begins from (question, pause tokens or latents, ``Answer:``), and ranked by the mean
log-probability of its tokens. lm-evaluation-harness reads multiple choice so, too, with two
differences: it divides by characters (``acc_norm``), we by tokens; and it leaves the end of the
reply out, which we count, so that "1" is not likelier than "12" for being its beginning.

A model that calls tools is read where its last turn comes to ``Answer:``, after all that its calls
showed and all that it said of it. One that comes to no answer holds no choice for the likeliest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pearl_data.formats.chat import ANSWER_PREFIX, letter
from pearl_tools.types import Record
from pearl_train.asking.scoring import AnswerForm

if TYPE_CHECKING:
    from pearl_train.asking.decoding import Decoder

RULE = "mean token log-likelihood, end included"
"""Named among what an evaluation is of: lines read by another rule are others."""
RULE_WITH_TOOLS = f"{RULE}, after its own last words"
"""The same of a model that calls tools."""


class ChoiceLikelihood(Record, frozen=True, kw_only=True):
    """One choice as a reply.

    ``log_likelihood`` (nats) is the log-probability of all its ``tokens``, the end of the reply
    among them, over the tokens that the model may say; ``per_token`` their mean, by which choices
    are ranked; ``probability`` its exponential, scaled so that those of all choices add up to 1.
    """

    choice: str
    log_likelihood: float
    tokens: int
    per_token: float
    probability: float


def replies(choices: Sequence[str], form: AnswerForm, opening: str = ANSWER_PREFIX) -> list[str]:
    """The reply that begins with ``opening`` and states each choice, in the words of training.

    >>> replies(["red", "blue"], "letter")
    ['Answer: (A)', 'Answer: (B)']
    """
    stated = choices if form == "text" else [letter(number) for number in range(len(choices))]
    return [f"{opening} {words.strip()}" for words in stated]


def weigh(
    decoder: Decoder, choices: Sequence[str], tokens: Sequence[Sequence[int]]
) -> tuple[ChoiceLikelihood, ...]:
    """How likely each of ``choices`` is, in their order, from where ``decoder`` stands.

    ``tokens`` are those of each choice, from there to the end of the reply. The decoder is left as
    it was.
    """
    sums = [sum(decoder.log_probabilities(ids)) for ids in tokens]
    means = [total / len(ids) for total, ids in zip(sums, tokens, strict=True)]
    likeliest_mean = max(means)
    shares = [math.exp(mean - likeliest_mean) for mean in means]
    return tuple(
        ChoiceLikelihood(
            choice=choice,
            log_likelihood=total,
            tokens=len(ids),
            per_token=mean,
            probability=share / sum(shares),
        )
        for choice, total, ids, mean, share in zip(
            choices, sums, tokens, means, shares, strict=True
        )
    )


def likeliest(found: Sequence[ChoiceLikelihood]) -> str | None:
    """The choice with the highest mean, the first of equals; None without choices."""
    return max(found, key=lambda one: one.per_token).choice if found else None
