"""The part of a card that says how to ask the model: plain transformers, in the words of training.

The lines run as they stand, and give what ``pearl-train predict`` gives, but where an objective
answers in a way of its own.
"""

from __future__ import annotations

import json

from pearl_train.settings.config import Config
from pearl_train.views.chat import ANSWER_PREFIX, question_text

_LINES = """from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

folder = {folder}
model = AutoModelForImageTextToText.from_pretrained(folder)
processor = AutoProcessor.from_pretrained(folder)

picture = Image.open("photo.jpg").convert("RGB")
question = {question}
messages = [
{messages}
]
inputs = processor.apply_chat_template(
    messages, continue_final_message=True, tokenize=True, return_dict=True, return_tensors="pt"
)
reply = model.generate(**inputs, max_new_tokens={most}, do_sample=False)
print(processor.decode(reply[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""


def usage(config: Config, folder: str, command: str) -> str:
    """The section: ``folder`` is where the network lies from the card, ``command`` how
    ``pearl-train`` names it.
    """
    where = "this folder" if folder == "." else f"the folder of this file, which holds {folder}/"
    return (
        f"## Use\n\nWith plain transformers, in {where}:\n\n"
        f"```python\n{_lines(config, folder)}```\n\n{_way_of_its_own(config)}"
        f'With the toolkit: `pearl-train predict {command} --image photo.jpg --question "..."`.\n'
    )


def _lines(config: Config, folder: str) -> str:
    asked = question_text("Which is nearer?", ["the cup", "the lamp"], answers=config.data.answers)
    turns: list[tuple[str, list[str]]] = [
        ("user", ['{"type": "image", "image": picture}', '{"type": "text", "text": question}']),
        ("assistant", [_text(ANSWER_PREFIX)]),
    ]
    if config.data.system.strip():
        turns.insert(0, ("system", [_text(config.data.system.strip())]))
    return _LINES.format(
        folder=_quoted(folder),
        question=_quoted(asked),
        messages="\n".join(
            f'    {{"role": "{role}", "content": [{", ".join(parts)}]}},' for role, parts in turns
        ),
        most=config.evaluate.max_new_tokens,
    )


def _text(words: str) -> str:
    return f'{{"type": "text", "text": {_quoted(words)}}}'


def _quoted(value: str) -> str:
    """``value`` as a Python string in double quotes."""
    return json.dumps(value, ensure_ascii=False)


def _way_of_its_own(config: Config) -> str:
    """What these lines leave out of how the model was trained to answer; most need nothing."""
    objective = config.objective
    lacks = {
        "lvr": f"the {objective.lvr.latents} latents that it was trained to think in",
        "tools": "the tools that it was trained to call (`pearl-train eval` runs them)",
        "sft": f"the {objective.pause_tokens} pause tokens that it was trained with",
        "pearl": "",
    }[objective.name]
    if not lacks or (objective.name == "sft" and not objective.pause_tokens):
        return ""
    return f"These lines let it answer at once, without {lacks}.\n\n"
