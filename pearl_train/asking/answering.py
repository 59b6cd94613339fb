"""A model that is asked questions: directly, after pause tokens, after latents, or with tools.

(I0, Q) and ordinary greedy decoding is all that ``sft``, ``pearl`` and a model before training get;
every objective is asked in the same words, and what answers at once begins with ``Answer:``. The
rivals get what they were trained with: ``sft`` with pause tokens those, ``lvr`` its fixed number of
latents, each the last hidden state fed back as the next input, ``tools`` the loop of real tools.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pearl_data.formats.chat import ANSWER_PREFIX, Seen, Turn, context_turns, observation_turn
from pearl_tools.errors import ModelUnavailable, PearlError, ToolError, tool_error
from pearl_tools.pixels import Pixels
from pearl_tools.types import Medium
from pearl_train.asking.decoding import Decoder, Generated, Standing
from pearl_train.asking.evaluate import UNANSWERED, Answered
from pearl_train.asking.explicit_tools import Picture, Spoken, ToolExecutor, ask
from pearl_train.asking.likelihood import ChoiceLikelihood, replies, weigh
from pearl_train.asking.questions import Question
from pearl_train.asking.scoring import up_to_answer
from pearl_train.errors import Refused
from pearl_train.model.backbone import Backbone
from pearl_train.settings.config import Config
from pearl_train.views.batch import EncodedSample
from pearl_train.views.encode import Encoder, encode_dialogue, encode_replies, prepare_picture

if TYPE_CHECKING:
    from pearl_train.views.pictures import Prepared

#: A refused picture with a higher ratio of its sides is refused for its shape, not its size.
NARROW = 20

Mode = Literal["direct", "pause", "lvr", "tools"]
Latents = Literal["fed-back", "dummies"]


class Thought(NamedTuple):
    """What stood between question and answer in latent space, for diagnosis.

    ``latents`` (n, H) as fed back; ``visual`` (N, H) the features of the root pictures.
    """

    latents: Tensor
    visual: Tensor


def mode_of(config: Config) -> Mode:
    """How a model trained by ``config`` is asked."""
    objective = config.objective
    if objective.name == "tools":
        return "tools"
    if objective.name == "lvr":
        return "lvr"
    return "pause" if objective.name == "sft" and objective.pause_tokens else "direct"


@dataclass
class Answerer:
    """A network with its encoder, asked in one ``mode``.

    Args:
        backbone: the network; put into evaluation mode.
        encoder: of the same processor, with the data configuration that training had.
        config: limits of decoding (``evaluate``), number of pause tokens and latents.
        mode: as :func:`mode_of` says, or ``direct`` for a model that was not trained by us.
        executor: runs the tools in mode ``tools``, and only there.
        latents: ``dummies`` puts the token ``<|lvr|>`` itself where latents would be fed back.
        watch: is given the latents of every question, for diagnosis.

    """

    backbone: Backbone
    encoder: Encoder
    config: Config
    mode: Mode = "direct"
    executor: ToolExecutor | None = None
    latents: Latents = "fed-back"
    watch: Callable[[Thought], None] | None = None

    def __post_init__(self) -> None:
        self.backbone.eval()
        if self.mode == "tools":
            self.executor = self.executor or ToolExecutor()
            with suppress(ModelUnavailable):  # it is told when a call needs it
                self.executor.depth_model()  # loading is not charged to a question

    @torch.no_grad()
    def answer(self, question: Question) -> Answered:
        """The reply to ``question``, and the likelihood of each of its choices.

        Errors name its key and shard, if it has any. Raises ``Refused`` for a question that the
        processor or the tokenizer cannot handle.
        """
        try:
            start = time.perf_counter()
            asked = self._with_tools if self.mode == "tools" else self._at_once
            answered, before_answer = asked(question)
            self._synchronise()
            spent = time.perf_counter() - start
            ranked = self._weighed(question, before_answer)
        except Refused as refused:
            raise Refused(f"{question.where}{refused}", refused.reason) from refused
        except PearlError as error:
            raise type(error)(f"{question.where}{error}") from error
        return replace(answered, latency_s=spent, likelihoods=ranked)

    def _at_once(self, question: Question) -> tuple[Answered, _BeforeAnswer]:
        """The answer begins right after the question, or after pause tokens or latents."""
        pictures = self.pictures(question.media)
        turns = self.context(question)
        decoder = Decoder(self.backbone)
        pauses = self.config.objective.pause_tokens if self.mode == "pause" else 0
        asked = self.encoded(turns, pictures, prefill=ANSWER_PREFIX, pause_tokens=pauses)
        thoughts = pauses
        if self.mode == "lvr":
            bare = self.encoded(turns, pictures)
            prefill = asked.context.ids[len(bare.context.ids) :]
            decoder.read(bare.context, bare.images)
            thoughts = self._think(decoder, prefill)
        else:
            decoder.read(asked.context, asked.images)
        prompted = _Prompted(decoder, decoder.standing, turns, pictures)
        generated = decoder.generate(self.config.evaluate.max_new_tokens, self.encoder.stop_ids)
        answered = Answered(
            reply=self.words(generated),
            opening=ANSWER_PREFIX,
            tokens=_spent(generated),
            latency_s=0.0,
            ended=generated.ended,
            thought_tokens=thoughts,
        )
        return answered, lambda: prompted

    def _weighed(
        self, question: Question, before_answer: _BeforeAnswer
    ) -> tuple[ChoiceLikelihood, ...]:
        """How likely each choice is where the reply comes to its answer."""
        if not question.choices or (prompted := before_answer()) is None:
            return ()
        decoder, begun, turns, pictures, opening = prompted
        stated = replies(question.choices, self.encoder.data.answers, opening)
        tokens = encode_replies(turns, stated, pictures, encoder=self.encoder, prefill=opening)
        decoder.back_to(begun)
        return weigh(decoder, question.choices, tokens)

    def _think(self, decoder: Decoder, prefill: Sequence[int]) -> int:
        """Latents between their marks, then the beginning of the answer; tokens of the first."""
        tokens = self.backbone.tokens
        decoder.read_ids([tokens.lvr_start])
        found = []
        for _ in range(self.config.objective.lvr.latents):
            assert decoder.state is not None
            found.append(decoder.state)
            if self.latents == "fed-back":
                decoder.read_vector(decoder.state, stands_for=tokens.lvr)
            else:
                decoder.read_ids([tokens.lvr])
        if self.watch:
            visual = torch.cat([features.values for features in decoder.features])
            self.watch(Thought(torch.stack(found), visual))
        decoder.read_ids([tokens.lvr_end, *prefill])
        return len(found) + 2

    def _with_tools(self, question: Question) -> tuple[Answered, _BeforeAnswer]:
        """The answer comes after calls, if it comes."""
        assert self.executor is not None
        limits = self.config.evaluate
        speaker = _Speaker(self, question)
        run = ask(
            speaker,
            question.media,
            self.executor,
            max_turns=limits.max_turns,
            turn_tokens=limits.tool_turn_tokens,
        )
        answered = Answered(
            reply=run.reply,
            tokens=run.tokens,
            latency_s=0.0,
            ended=run.answered,
            turns=run.turns,
            tools=run.tools,
            errors=run.errors + speaker.unseen,
            notes=() if run.answered else (UNANSWERED,),
        )
        return answered, lambda: speaker.before_answer() if run.answered else None

    def context(self, question: Question) -> tuple[Turn, ...]:
        """(I0, Q) as turns."""
        data = self.encoder.data
        return context_turns(
            question.text,
            question.choices,
            tuple(question.media),
            system=data.system,
            answers=data.answers,
        )

    def pictures(self, media: Mapping[str, Medium]) -> dict[str, Prepared]:
        """All of ``media`` as the processor prepares them."""
        return {name: self.prepared(name, medium.pixels) for name, medium in media.items()}

    def prepared(self, name: str, pixels: Pixels) -> Prepared:
        """One picture as the processor prepares it."""
        image = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
        return prepare_picture(image, name, self.encoder)

    def encoded(
        self,
        turns: Sequence[Turn],
        pictures: Mapping[str, Prepared],
        *,
        prefill: str = "",
        pause_tokens: int = 0,
    ) -> EncodedSample:
        """A conversation that the model is to continue, as tokens."""
        return encode_dialogue(
            turns, pictures, encoder=self.encoder, prefill=prefill, pause_tokens=pause_tokens
        )

    def words(self, generated: Generated) -> str:
        """Generated tokens as text, special ones left out."""
        text: str = self.encoder.tokenizer.decode(generated.ids, skip_special_tokens=True)
        return text

    def _synchronise(self) -> None:
        if self.backbone.device.type == "cuda":
            torch.cuda.synchronize(self.backbone.device)


class _Prompted(NamedTuple):
    """A decoder that was told ``turns`` and the ``opening`` of a reply, and where it stood then."""

    decoder: Decoder
    begun: Standing
    turns: tuple[Turn, ...]
    pictures: Mapping[str, Prepared]
    opening: str = ANSWER_PREFIX


#: Where a reply comes to its answer, None where it never did; made when it is asked for, so that
#: it takes no part in latency.
_BeforeAnswer = Callable[[], _Prompted | None]


class _Speaker:
    """The model in a conversation; what was read of it is kept from turn to turn."""

    def __init__(self, model: Answerer, question: Question) -> None:
        self._model = model
        self._decoder = Decoder(model.backbone)
        self._turns = list(model.context(question))
        self._pictures = model.pictures(question.media)
        self.unseen: Counter[str] = Counter()
        """Observations whose pictures the processor refuses, by ``stage.code``."""

    def say(self, max_tokens: int) -> Spoken:
        """The next turn, greedily decoded."""
        encoded = self._model.encoded(self._turns, self._pictures)
        self._decoder.continue_as(encoded.context, encoded.images)
        generated = self._decoder.generate(max_tokens, self._model.encoder.stop_ids)
        text = self._model.words(generated)
        # what stands before every reply is the template's, which writes it again
        written = text.removeprefix(self._model.encoder.template.glue)
        self._turns.append(Turn("assistant", (written,)))
        return Spoken(text, _spent(generated), generated.ended)

    def before_answer(self) -> _Prompted:
        """Where the last turn, which states an answer, comes to it."""
        *turns, last = self._turns
        template = self._model.encoder.template
        opening = template.defused(up_to_answer(str(last.content[0])))
        encoded = self._model.encoded(turns, self._pictures, prefill=opening)
        self._decoder.continue_as(encoded.context, encoded.images)
        return _Prompted(
            self._decoder, self._decoder.standing, tuple(turns), self._pictures, opening
        )

    def hear(self, seen: Sequence[Seen], pictures: Mapping[str, Picture]) -> None:
        """The results of the tools become the next turn, in the form of training; a picture that
        the processor refuses becomes an error that the model can learn from.
        """
        shown = []
        for one in seen:
            try:
                made = {name: self._model.prepared(name, pictures[name]) for name in one.media}
            except Refused as refused:
                error = _unseen(one, pictures, refused)
                self.unseen[error.code] += 1
                shown.append(Seen((), "", error))
            else:
                self._pictures |= made
                shown.append(one)
        self._turns.append(observation_turn(shown))


def _unseen(seen: Seen, pictures: Mapping[str, Picture], refused: Refused) -> ToolError:
    """The error for an observation with a picture that the processor refuses."""
    height, width = min((pictures[name].shape[:2] for name in seen.media), key=min)
    narrow = max(height, width) > NARROW * min(height, width)
    return tool_error(
        "geometry.aspect_ratio" if narrow else "geometry.too_small",
        "arguments",
        "a picture that the model takes",
        f"{width}x{height} px",
        f"{refused}; take a box that is less narrow",
        fault_owner="caller",
    )


def _spent(generated: Generated) -> int:
    """Tokens generated, the one that ended the turn among them."""
    return len(generated.ids) + generated.ended
