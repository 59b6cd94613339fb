"""The usage section of a card: plain transformers, with the prompts of training.

The lines run unchanged and give the replies of ``pearl-train predict``, except for objectives with
their own decoding. Pictures are opened upright, in sRGB and on white; the processor and the
generation config of the folder do the rest.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pearl_data.formats.chat import ANSWER_PREFIX, question_text
from pearl_train.settings.config import Config

_LINES = """{imports}

{load}

picture = ImageOps.exif_transpose(Image.open("photo.jpg"))
with contextlib.suppress(KeyError, OSError, ImageCms.PyCMSError):  # without a profile that applies
    profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
    if "srgb" not in ImageCms.getProfileDescription(profile).lower():
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        srgb = ImageCms.createProfile("sRGB")
        picture = ImageCms.profileToProfile(picture, profile, srgb, outputMode=mode)
if picture.mode.startswith("I;16"):  # to 8 bits: plain conversion cuts off
    picture = picture.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
if picture.has_transparency_data:
    picture = picture.convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
picture = picture.convert("RGB")
{shrink}question = {question}
messages = [
{messages}
]
inputs = processor.apply_chat_template(
    messages, continue_final_message=True, tokenize=True, return_dict=True, return_tensors="pt"
)
reply = model.generate(**inputs, max_new_tokens={most}, do_sample=False)
print(processor.decode(reply[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""

_IMPORTS = """import contextlib
import io
{first}from PIL import Image, ImageCms, ImageOps
{peft}from transformers import AutoModelForImageTextToText, AutoProcessor{more}{nano}"""

_MODEL = """folder = {folder}
model = AutoModelForImageTextToText.from_pretrained(folder)
processor = AutoProcessor.from_pretrained(folder)"""

_ADAPTER = """folder = {folder}
processor = AutoProcessor.from_pretrained(folder)
model = AutoModelForImageTextToText.from_pretrained({base}{revision}, dtype={dtype}
if len(processor.tokenizer) > model.get_input_embeddings().num_embeddings:
    model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
model = PeftModel.from_pretrained(model, folder)
model.generation_config = GenerationConfig.from_pretrained(folder)"""

_SHRINK = """scale = math.sqrt({most} / (picture.width * picture.height))
if scale < 1:
    size = max(1, int(picture.width * scale)), max(1, int(picture.height * scale))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
"""


def usage(config: Config, folder: str, command: str, network: Path | None = None) -> str:
    """The section: ``folder`` is the network's path from the card, ``command`` its name for
    ``pearl-train``, ``network`` its path from here (``folder``).
    """
    where = "this folder" if folder == "." else f"the folder of this file, which holds {folder}/"
    return (
        f"## Use\n\nWith plain transformers, in {where}:\n\n"
        f"```python\n{_lines(config, folder, network or Path(folder))}```\n\n"
        f"{_REPLIES}{_way_of_its_own(config)}"
        f'With the toolkit: `pearl-train predict {command} --image photo.jpg --question "..."`.\n'
    )


def adapter_usage(config: Config, network: Path) -> str:
    """The same section for an adapter alone, in the folder of its card; ``network`` is that one."""
    return (
        "## Use\n\nWith plain transformers and peft, in this folder:\n\n"
        f"```python\n{_lines(config, '.', network, adapter=True)}```\n\n"
        f"{_REPLIES}{_way_of_its_own(config)}"
        "The base gets the rows of the tokens that the trainer added, then the adapter, unmerged, "
        "all in float32, as in the evaluation. To merge it, stay in float32 "
        "(`model.merge_and_unload()`): bfloat16 rounds most of a small update away.\n"
    )


_REPLIES = (
    "Replies are decoded greedily, without the tokens that the trainer added: "
    "`generation_config.json` says so.\n\n"
)


def _pixels_left(config: Config, network: Path) -> int | None:
    """The pixel limit, if the processor in ``network`` does not apply it."""
    most = config.model.max_pixels
    try:
        document: Any = json.loads((network / "processor_config.json").read_bytes())
        size = document["image_processor"]["size"]
        kept = size["longest_edge"] if "shortest_edge" in size else None
    except (OSError, ValueError, LookupError, TypeError):
        kept = None
    return None if kept == most else most


def _lines(config: Config, folder: str, network: Path, *, adapter: bool = False) -> str:
    asked = question_text("Which is nearer?", ["the cup", "the lamp"], answers=config.data.answers)
    turns: list[tuple[str, list[str]]] = [
        ("user", ['{"type": "image", "image": picture}', '{"type": "text", "text": question}']),
        ("assistant", [_text(ANSWER_PREFIX)]),
    ]
    if config.data.system.strip():
        turns.insert(0, ("system", [_text(config.data.system.strip())]))
    most = _pixels_left(config, network)
    return _LINES.format(
        imports=_IMPORTS.format(
            first="\n" if most is None else "import math\n\n",
            peft="from peft import PeftModel\n" * adapter,
            more=", GenerationConfig" * adapter,
            nano="\n\nfrom pearl_train.model.load import NANO" * (adapter and _is_nano(config)),
        ),
        load=_loading(config, folder, adapter=adapter),
        shrink="" if most is None else _SHRINK.format(most=most),
        question=_quoted(asked),
        messages="\n".join(
            f'    {{"role": "{role}", "content": [{", ".join(parts)}]}},' for role, parts in turns
        ),
        most=config.evaluate.max_new_tokens,
    )


def _loading(config: Config, folder: str, *, adapter: bool) -> str:
    if not adapter:
        return _MODEL.format(folder=_quoted(folder))
    revision = config.model.revision
    return _ADAPTER.format(
        folder=_quoted(folder),
        base="NANO" if _is_nano(config) else _quoted(config.model.id),
        revision=f", revision={_quoted(revision)}" if revision else "",
        dtype='"bfloat16").float()' if config.model.dtype == "bfloat16" else '"float32")',
    )


def _is_nano(config: Config) -> bool:
    return config.model.id == "nano"


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
