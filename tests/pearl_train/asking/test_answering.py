from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chat_templates
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_samples import tiny_sample, with_picture
from trajectories import RampModel

from pearl_data.formats.chat import ANSWER_PREFIX, Seen, Turn, answer_text, step_text
from pearl_data.shards import Sample
from pearl_tools.errors import BadInput
from pearl_tools.executor import ToolExecutor
from pearl_train.asking.answering import Answerer, Mode, Thought, _Speaker, mode_of
from pearl_train.asking.decoding import Generated
from pearl_train.asking.explicit_tools import ask
from pearl_train.asking.questions import Question, item_of
from pearl_train.asking.trained import encoder_for
from pearl_train.errors import Refused
from pearl_train.model.backbone import Backbone, Fills
from pearl_train.model.build import build_backbone
from pearl_train.settings.config import (
    Config,
    EvaluateConfig,
    LvrConfig,
    ModelConfig,
    ObjectiveConfig,
)
from pearl_train.views.batch import PREFIX, EncodedSample, Rows, ViewPlan
from pearl_train.views.encode import encode_sample

LATENTS = 3


#: One of each kind: positions in space with deeper features, tiles, plain text positions.
KINDS = ("qwen3_vl", "idefics3", "llava")


@pytest.fixture(scope="module", params=KINDS)
def backbone(request: pytest.FixtureRequest, tiny_folder: Callable[[str], Path]) -> Backbone:
    return build_backbone(ModelConfig(id=str(tiny_folder(request.param))))


def answerer(backbone: Backbone, mode: Mode = "direct", **more: Any) -> Answerer:
    config = Config(
        objective=ObjectiveConfig(pause_tokens=2, lvr=LvrConfig(latents=LATENTS)),
        evaluate=EvaluateConfig(max_new_tokens=6, max_turns=3, tool_turn_tokens=3),
    )
    encoder = encoder_for(backbone, config)
    return Answerer(backbone, encoder, config, mode=mode, **more)


def question(number: int = 0) -> Question:
    return item_of(tiny_sample(number), "tar").question


def test_a_direct_answer_is_what_plain_transformers_generates(backbone: Backbone) -> None:
    asked = question()
    model, processor = answerer(backbone), backbone.processor
    picture = Image.fromarray(np.asarray(asked.media["i0"].pixels))
    words = f"{asked.text}\nChoices: {', '.join(asked.choices)}"
    content = [{"type": "image"}, {"type": "text", "text": words}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    inputs = begun(processor(text=[prompt], images=[[picture]], return_tensors="pt"), processor)
    with torch.no_grad():
        ids = backbone.plain.generate(
            **inputs,
            max_new_tokens=6,
            do_sample=False,
            eos_token_id=list(model.encoder.stop_ids),
            pad_token_id=0,
            suppress_tokens=list(backbone.tokens.all),
        )[0, inputs["input_ids"].shape[1] :].tolist()
    if ids[-1] in model.encoder.stop_ids:
        ids = ids[:-1]
    found = model.answer(asked)
    assert found.reply == processor.tokenizer.decode(ids, skip_special_tokens=True)
    assert (found.turns, found.thought_tokens) == (1, 0)
    assert found.latency_s > 0
    assert model.answer(asked).reply == found.reply


def begun(inputs: Any, processor: Any) -> dict[str, torch.Tensor]:
    """``inputs`` with the beginning of the reply, which is tokenised by itself as in training."""
    more = torch.tensor([processor.tokenizer(ANSWER_PREFIX, add_special_tokens=False)["input_ids"]])
    fill = {
        "input_ids": more,
        "attention_mask": torch.ones_like(more),
        "mm_token_type_ids": torch.zeros_like(more),
    }
    return {
        name: torch.cat([value, fill[name]], dim=1) if name in fill else value
        for name, value in inputs.items()
    }


def test_pause_tokens_stand_between_the_question_and_the_answer(backbone: Backbone) -> None:
    direct, pause = answerer(backbone), answerer(backbone, "pause")
    found = pause.answer(question())
    assert found.thought_tokens == 2
    sample = encoded_sample(pause, tiny_sample(0), ViewPlan(("answer",), pause_tokens=2))
    prompt = pause.encoded(
        pause.context(question()),
        pause.pictures(question().media),
        prefill=ANSWER_PREFIX,
        pause_tokens=2,
    ).context.ids
    trained = sample.context.ids + sample.branches["answer"].ids
    assert trained[: len(prompt)] == prompt
    assert direct.answer(question()).thought_tokens == 0


def test_latents_are_the_last_hidden_state_fed_back(backbone: Backbone) -> None:
    thoughts: list[Thought] = []
    model = answerer(backbone, "lvr", watch=thoughts.append)
    found = model.answer(question())
    assert found.thought_tokens == LATENTS + 2
    [thought] = thoughts
    assert thought.latents.shape == (LATENTS, backbone.hidden_size)
    bare = model.encoded(model.context(question()), model.pictures(question().media))
    tokens = backbone.tokens
    ids = [*bare.context.ids, tokens.lvr_start, *[tokens.lvr] * LATENTS]
    start = len(bare.context.ids)
    rows = Rows(
        ids=torch.tensor([ids]),
        branch=torch.full((1, len(ids)), PREFIX),
        is_image=torch.tensor([[*bare.context.is_image, *[False] * (LATENTS + 1)]]),
        images=(tuple(range(len(bare.images))),),
    )
    features = backbone.image_features(
        dict(bare.images[0].inputs), [image.tokens for image in bare.images]
    )
    columns = torch.arange(start + 1, start + 1 + LATENTS)
    fills = Fills(torch.zeros(LATENTS, dtype=torch.long), columns, thought.latents)
    with torch.no_grad():
        hidden = backbone.hidden(rows, features, fills=fills)[0]
    torch.testing.assert_close(hidden[columns - 1], thought.latents, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(features.values, thought.visual, atol=1e-5, rtol=1e-4)


def test_dummies_leave_the_latents_out(backbone: Backbone) -> None:
    seen: dict[str, Thought] = {}
    answerer(backbone, "lvr", watch=lambda t: seen.setdefault("real", t)).answer(question())
    dummy = answerer(
        backbone, "lvr", latents="dummies", watch=lambda t: seen.setdefault("dummies", t)
    )
    dummy.answer(question())
    real, blank = seen["real"].latents, seen["dummies"].latents
    torch.testing.assert_close(real[0], blank[0])
    assert not torch.allclose(real[1], blank[1])


@pytest.mark.parametrize("template", [None, chat_templates.LLAVA], ids=["own", "spaced"])
@pytest.mark.parametrize("number", [1, 2, 3, 7])
def test_the_tool_loop_reads_the_tokens_of_training(
    backbone: Backbone, number: int, template: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that says what the expert said sees, token by token, what it was trained on."""
    chat_templates.put(monkeypatch, backbone.processor, template)
    sample = tiny_sample(number)
    model = answerer(backbone, "tools", executor=ToolExecutor(depth_model=RampModel()))
    lines = expert_lines(sample)
    glue = model.encoder.template.glue  # a model says the space that it was trained to say, too
    model.words = lambda _: glue + next(lines)  # type: ignore[method-assign]  # the script
    item = item_of(sample, "tar")
    speaker = _Speaker(model, item.question)
    assert model.executor is not None
    run = ask(speaker, item.question.media, model.executor, max_turns=8, turn_tokens=2)
    assert run.answered
    encoded = encoded_sample(model, sample, ViewPlan(("trajectory",)))
    trained = encoded.context.ids + encoded.branches["trajectory"].ids
    read = tuple(speaker._decoder.ids[:-1])  # the last one is what this random model said
    assert read == trained[: len(read)]
    assert len(read) > len(encoded.context.ids)


def expert_lines(sample: Sample) -> Iterator[str]:
    record = sample.trajectory
    for step in record.steps:
        yield step_text(step.thought, step.calls)
    yield f"{record.final.thought}\n{ANSWER_PREFIX} {answer_text(record.task)}"


def encoded_sample(model: Answerer, sample: Sample, plan: ViewPlan) -> EncodedSample:
    encoded = encode_sample(sample, "tar", plan, model.encoder)
    assert isinstance(encoded, EncodedSample)
    return encoded


def test_a_model_that_never_answers_is_told_apart(backbone: Backbone) -> None:
    model = answerer(backbone, "tools", executor=ToolExecutor(depth_model=RampModel()))
    model.words = lambda _: "hm"  # type: ignore[method-assign]  # the script
    found = model.answer(question())
    assert found.reply == ""
    assert found.turns == 3
    assert found.errors == {"parse.no_call": 3}
    assert found.notes == ("no answer within the turns",)


def test_each_objective_is_asked_as_it_was_trained() -> None:
    def mode(**options: Any) -> str:
        return mode_of(Config(objective=ObjectiveConfig(**options)))

    assert mode(name="sft") == mode(name="pearl") == mode(name="pearl", pause_tokens=4) == "direct"
    assert mode(name="sft", pause_tokens=4) == "pause"
    assert (mode(name="lvr"), mode(name="tools")) == ("lvr", "tools")


def test_an_error_names_the_question(backbone: Backbone) -> None:
    model = answerer(backbone)

    def broken(generated: Generated) -> str:
        raise BadInput("no words")

    model.words = broken  # type: ignore[method-assign]  # the fault
    with pytest.raises(BadInput, match="tar, sample train-000: no words"):
        model.answer(question())


def test_a_question_whose_picture_the_processor_refuses(tiny_folder: Callable[[str], Path]) -> None:
    model = answerer(build_backbone(ModelConfig(id=str(tiny_folder("qwen2_5_vl")))))
    strip = item_of(with_picture(tiny_sample(0), "i0", 1210, 6), "tar").question
    with pytest.raises(Refused, match=r"tar, sample train-000: medium i0: .* 1210x6 px"):
        model.answer(strip)


def test_a_view_that_the_processor_refuses_is_an_error_that_the_model_hears(
    tiny_folder: Callable[[str], Path],
) -> None:
    """A crop that the model asked for may be a strip: the question goes on."""
    made = build_backbone(ModelConfig(id=str(tiny_folder("qwen2_5_vl"))))
    model = answerer(made, mode="tools")
    speaker = _Speaker(model, question())
    whole = np.zeros((60, 80, 3), dtype=np.uint8)
    strip = np.zeros((3, 900, 3), dtype=np.uint8)
    speaker._turns.append(Turn("assistant", ("look",)))
    speaker.hear([Seen(("o1",), "fine"), Seen(("o2",), "too long")], {"o1": whole, "o2": strip})
    assert speaker.unseen == {"geometry.aspect_ratio": 1}
    assert set(speaker._pictures) == {"i0", "o1"}
    said = "".join(part for part in speaker._turns[-1].content if isinstance(part, str))
    assert said.startswith("o1: fine\nError geometry.aspect_ratio: medium o2")
    assert speaker.say(2).tokens <= 2
