"""Choices are weighed as plain forward passes weigh them, in the tokens of training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import chat_templates
import msgspec
import pytest
import torch
from tiny_samples import tiny_sample
from torch import Tensor
from trajectories import RampModel

from pearl_data.formats.chat import step_text
from pearl_tools.executor import ToolExecutor
from pearl_train.asking.answering import Answerer, Mode, Thought
from pearl_train.asking.decoding import Decoder
from pearl_train.asking.likelihood import ChoiceLikelihood, likeliest, replies, weigh
from pearl_train.asking.questions import Question, item_of
from pearl_train.asking.trained import encoder_for
from pearl_train.model.backbone import Backbone, Fills
from pearl_train.model.build import build_backbone
from pearl_train.settings.config import (
    Config,
    DataConfig,
    EvaluateConfig,
    LvrConfig,
    ModelConfig,
    ObjectiveConfig,
)
from pearl_train.views.batch import PREFIX, EncodedSample, Rows, ViewPlan
from pearl_train.views.collate import joined
from pearl_train.views.encode import encode_replies, encode_sample

LATENTS = 3


@pytest.fixture(scope="module", params=["qwen3_vl", "idefics3", "llava"])
def backbone(request: pytest.FixtureRequest, tiny_folder: Callable[[str], Path]) -> Backbone:
    return build_backbone(ModelConfig(id=str(tiny_folder(request.param))))


def answerer(backbone: Backbone, mode: Mode, form: str = "text", **more: Any) -> Answerer:
    config = Config(
        data=DataConfig(answers="letter" if form == "letter" else "text"),
        objective=ObjectiveConfig(pause_tokens=2, lvr=LvrConfig(latents=LATENTS)),
        evaluate=EvaluateConfig(max_new_tokens=4, max_turns=2, tool_turn_tokens=3),
    )
    return Answerer(backbone, encoder_for(backbone, config), config, mode=mode, **more)


def asked() -> Question:
    """Choices of one, two and more tokens, one of them the beginning of another."""
    question = item_of(tiny_sample(0), "tar").question
    return replace(question, choices=("red", "red brick", "12", "a far blue wall"))


def branch(model: Answerer, plan: ViewPlan, choice: str) -> EncodedSample:
    """What training makes of the question where ``choice`` is right."""
    sample = tiny_sample(0)
    task = msgspec.structs.replace(
        sample.trajectory.task, choices=list(asked().choices), answer=choice
    )
    record = msgspec.structs.replace(sample.trajectory, task=task)
    encoded = encode_sample(sample._replace(trajectory=record), "tar", plan, model.encoder)
    assert isinstance(encoded, EncodedSample)
    return encoded


def plain_states(
    backbone: Backbone, encoded: EncodedSample, ids: list[int], latents: Tensor | None
) -> Tensor:
    """The (L, H) states of one row without a cache; ``latents`` stand where ``<|lvr|>`` does."""
    image = [*encoded.context.is_image, *[False] * (len(ids) - len(encoded.context.ids))]
    rows = Rows(
        ids=torch.tensor([ids]),
        branch=torch.full((1, len(ids)), PREFIX),
        is_image=torch.tensor([image]),
        images=((0,),),
    )
    first = encoded.images[0]
    features = backbone.image_features(dict(first.inputs), [first.tokens])
    fills = None
    if latents is not None:
        columns = torch.tensor([at for at, one in enumerate(ids) if one == backbone.tokens.lvr])
        fills = Fills(torch.zeros(len(columns), dtype=torch.long), columns, latents)
    with torch.no_grad():
        return backbone.hidden(rows, features, fills=fills)[0]


@pytest.mark.parametrize("form", ["text", "letter"])
@pytest.mark.parametrize("mode", ["direct", "pause", "lvr"])
def test_log_probabilities_are_those_of_a_plain_forward_pass(
    backbone: Backbone, mode: Mode, form: str
) -> None:
    thoughts: list[Thought] = []
    model = answerer(backbone, mode, form, watch=thoughts.append)
    found = model.answer(asked()).likelihoods
    assert [one.choice for one in found] == list(asked().choices)
    tokens, latents = backbone.tokens, thoughts[0].latents if thoughts else None
    for one in found:
        encoded = branch(
            model, ViewPlan(("answer",), pause_tokens=2 * (mode == "pause")), one.choice
        )
        answer = encoded.branches["answer"]
        end = max(at for at, learn in enumerate(answer.learn) if learn) + 1
        thinking = [tokens.lvr_start, *[tokens.lvr] * LATENTS, tokens.lvr_end]
        ids = [*encoded.context.ids, *(thinking if mode == "lvr" else ()), *answer.ids[:end]]
        states = plain_states(backbone, encoded, ids, latents)
        with torch.no_grad():
            scores = backbone.logits(states).float()
        scores[:, list(tokens.all)] = -torch.inf
        told = scores.log_softmax(dim=-1)
        last = range(len(ids) - one.tokens, len(ids))
        expected = sum(float(told[at - 1, ids[at]]) for at in last)
        assert one.log_likelihood == pytest.approx(expected, abs=2e-3)
        assert ids[-1] in model.encoder.stop_ids
        stated = model.encoder.tokenizer.decode(ids[-one.tokens :], skip_special_tokens=True)
        number = asked().choices.index(one.choice)
        assert stated.strip() == (f"({'ABCD'[number]})" if form == "letter" else one.choice)


@pytest.mark.parametrize("form", ["text", "letter"])
@pytest.mark.parametrize("number", [1, 3])
def test_with_tools_choices_are_weighed_after_all_that_was_seen_and_said(
    backbone: Backbone, number: int, form: str
) -> None:
    """A model that says what the expert said, up to another line before its answer."""
    sample = tiny_sample(number)
    record = sample.trajectory
    model = answerer(backbone, "tools", form, executor=ToolExecutor(depth_model=RampModel()))
    model.config = replace_in(model.config, max_turns=8)
    lines = [step_text(step.thought, step.calls) for step in record.steps]
    lines.append(f"{record.final.thought}\nAnswer: this is no choice.\nAnswer: nor is this")
    script = iter(lines)
    glue = model.encoder.template.glue
    model.words = lambda _: glue + next(script)  # type: ignore[method-assign]  # the script
    choices = ("red", "red brick", "12", "a far blue wall")
    asked_of = item_of(sample, "tar").question
    found = model.answer(replace(asked_of, choices=choices))
    assert [one.choice for one in found.likelihoods] == list(choices)
    thought = f"{record.final.thought}\nAnswer: this is no choice."
    for one in found.likelihoods:
        task = msgspec.structs.replace(record.task, choices=list(choices), answer=one.choice)
        final = msgspec.structs.replace(record.final, thought=thought)
        learned = msgspec.structs.replace(record, task=task, final=final)
        encoded = encode_sample(
            sample._replace(trajectory=learned), "tar", ViewPlan(("trajectory",)), model.encoder
        )
        assert isinstance(encoded, EncodedSample)
        view = encoded.branches["trajectory"]
        end = max(at for at, learn in enumerate(view.learn) if learn) + 1
        ids = [*encoded.context.ids, *view.ids[:end]]
        expected = log_probabilities_of(backbone, encoded, "trajectory", ids)
        assert one.log_likelihood == pytest.approx(sum(expected[-one.tokens :]), abs=2e-3)
        assert ids[-1] in model.encoder.stop_ids
        stated = model.encoder.tokenizer.decode(ids[-one.tokens :], skip_special_tokens=True)
        letter = f"({'ABCD'[choices.index(one.choice)]})"
        assert stated.strip() == (letter if form == "letter" else one.choice)


def replace_in(config: Config, **evaluate: int) -> Config:
    changed = msgspec.structs.replace(config.evaluate, **evaluate)
    return msgspec.structs.replace(config, evaluate=changed)


def log_probabilities_of(
    backbone: Backbone, encoded: EncodedSample, branch: str, ids: list[int]
) -> list[float]:
    """Of each token but the first, in one pass without a cache."""
    view = encoded.branches[branch]
    images = tuple(range(len(encoded.images)))
    assert encoded.context.images + view.images == images
    rows = Rows(
        ids=torch.tensor([ids]),
        branch=torch.full((1, len(ids)), PREFIX),
        is_image=torch.tensor([[*encoded.context.is_image, *view.is_image][: len(ids)]]),
        images=(images,),
    )
    inputs = joined([image.inputs for image in encoded.images])
    features = backbone.image_features(inputs, [image.tokens for image in encoded.images])
    with torch.no_grad():
        scores = backbone.logits(backbone.hidden(rows, features)[0]).float()
    scores[:, list(backbone.tokens.all)] = -torch.inf
    told = scores.log_softmax(dim=-1)
    return [float(told[at - 1, ids[at]]) for at in range(1, len(ids))]


def test_weighing_changes_no_reply(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    model = answerer(backbone, "direct")
    found = model.answer(asked())
    again = model.answer(asked())
    assert (found.reply, found.likelihoods) == (again.reply, again.likelihoods)
    monkeypatch.setattr(Answerer, "_weighed", lambda *_: ())
    assert model.answer(asked()).reply == found.reply


def test_a_decoder_stands_where_it_stood(backbone: Backbone) -> None:
    model = answerer(backbone, "direct")
    turns, pictures = model.context(asked()), model.pictures(asked().media)
    prompt = model.encoded(turns, pictures, prefill="Answer:")
    tokens = encode_replies(turns, ["Answer: red brick"], pictures, encoder=model.encoder)[0]
    weighed, fresh = Decoder(backbone), Decoder(backbone)
    for decoder in (weighed, fresh):
        decoder.read(prompt.context, prompt.images)
    first = weighed.log_probabilities(tokens)
    assert weighed.log_probabilities(tokens) == first
    assert weighed.ids == fresh.ids
    assert weighed.generate(5, ()).ids == fresh.generate(5, ()).ids
    torch.testing.assert_close(weighed.state, fresh.state)


def test_without_choices_or_an_answer_nothing_is_weighed(backbone: Backbone) -> None:
    assert answerer(backbone, "direct").answer(replace(asked(), choices=())).likelihoods == ()
    tools = answerer(backbone, "tools", executor=ToolExecutor(depth_model=RampModel()))
    assert tools.answer(asked()).likelihoods == ()
    call = '<tool_call>\n{"name": "depth", "arguments": {}}\n</tool_call>'
    tools.words = lambda _: f"Answer: red\n{call}"  # type: ignore[method-assign]  # the script
    assert tools.answer(asked()).likelihoods == ()


def test_a_reply_must_begin_as_generation_does(backbone: Backbone) -> None:
    model = answerer(backbone, "direct")
    turns, pictures = model.context(asked()), model.pictures(asked().media)
    with pytest.raises(ValueError, match="begins with"):
        encode_replies(turns, ["It is red"], pictures, encoder=model.encoder)


class Scripted:
    """A decoder that gives every token the log-probability that it is named by."""

    def log_probabilities(self, ids: list[float]) -> list[float]:
        return list(ids)


def scripted(**choices: list[float]) -> tuple[ChoiceLikelihood, ...]:
    decoder = cast("Decoder", Scripted())
    return weigh(decoder, list(choices), cast("list[list[int]]", list(choices.values())))


def test_length_does_not_decide() -> None:
    found = scripted(short=[-1.0, -1.0], long=[-0.5, -0.5, -0.5, -0.5, -0.5])
    assert [one.log_likelihood for one in found] == [-2.0, -2.5]
    assert [one.per_token for one in found] == [-1.0, -0.5]
    assert likeliest(found) == "long"
    assert [one.tokens for one in found] == [2, 5]
    assert found[1].probability == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert sum(one.probability for one in found) == pytest.approx(1)


def test_very_unlikely_choices_have_probabilities_and_equals_the_first() -> None:
    found = scripted(a=[-4000.0], b=[-4000.0])
    assert [one.probability for one in found] == [0.5, 0.5]
    assert likeliest(found) == "a"
    assert likeliest(()) is None


def test_replies_are_in_the_words_of_training() -> None:
    assert replies([" red ", "blue"], "text") == ["Answer: red", "Answer: blue"]


@pytest.mark.parametrize("template", [None, chat_templates.LLAVA], ids=["own", "spaced"])
@pytest.mark.parametrize(
    "reply",
    [
        "\n\nAnswer: red",
        "  It is   red.  \n Answer :red",
        "answer:",
        "<|im_end|> <image> Answer: red\nAnswer:\n",
        "née 😀 Answer:Answer: red",
    ],
)
def test_any_reply_that_states_an_answer_can_be_weighed(
    backbone: Backbone, reply: str, template: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_templates.put(monkeypatch, backbone.processor, template)
    model = answerer(backbone, "tools", executor=ToolExecutor(depth_model=RampModel()))
    model.words = lambda _: reply  # type: ignore[method-assign]  # the script
    found = model.answer(asked()).likelihoods
    assert [one.choice for one in found] == list(asked().choices)
    assert all(math.isfinite(one.log_likelihood) for one in found)
