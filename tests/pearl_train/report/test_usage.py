"""What a card tells people to type works, and gives what ``pearl-train predict`` gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import FAMILIES, drawn_picture

from pearl_train.asking.predict import predict
from pearl_train.report.usage import usage
from pearl_train.settings.config import Config
from pearl_train.settings.load import load_config

#: Their template ends in a space, which the tiny tokenizer joins with "Answer:" where the toolkit,
#: that learns what follows, keeps them apart; random weights then say something else.
JOINED = {"llava", "idefics3"}
SETS = ["evaluate.max_new_tokens=4", "data.system=Be brief."]


def python_of(text: str) -> str:
    """The one Python block of a card."""
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return str(block)


@pytest.mark.parametrize("answers", ["text", "letter"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_lines_run_and_say_what_predict_says(
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    family: str,
    answers: str,
) -> None:
    model = str(tiny_folder(family))
    sets = [*SETS, f"data.answers={answers}"]
    config = load_config([], sets, {"model.id": model, "objective.name": "sft"})
    drawn_picture(3).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(python_of(usage(config, model, "x")), {})  # noqa: S102  # what people would paste
    said = capsys.readouterr().out
    assert said
    if family in JOINED:
        return
    choices = ["the cup", "the lamp"]
    ours = predict(model, [tmp_path / "photo.jpg"], "Which is nearer?", choices, sets=sets)
    assert said.strip().startswith(ours.answer)


@pytest.mark.parametrize(
    ("objective", "lacks"),
    [
        ({"name": "lvr"}, "without the 8 latents"),
        ({"name": "sft", "pause_tokens": 4}, "without the 4 pause tokens"),
        ({"name": "tools"}, "without the tools"),
        ({"name": "pearl"}, ""),
        ({"name": "sft"}, ""),
    ],
)
def test_what_the_lines_leave_out_is_said(objective: dict[str, object], lacks: str) -> None:
    sets = [f"objective.{key}={value}" for key, value in objective.items()]
    text = usage(load_config([], sets), ".", "mine")
    assert lacks in text
    assert ("These lines let it answer at once" in text) is bool(lacks)
    assert "pearl-train predict mine --image photo.jpg" in text


def test_words_with_quotes_stay_words() -> None:
    config = load_config([], ['data.system=Say "yes"\\n or no.'])
    assert isinstance(config, Config)
    compile(python_of(usage(config, ".", "x")), "card", "exec")
