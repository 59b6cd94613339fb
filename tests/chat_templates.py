"""Chat templates as published models have them, and faulty ones, for tiny processors."""

from __future__ import annotations

from typing import Any

import pytest

#: Qwen2.5-VL's: a default system message, pictures in a frame.
QWEN = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

#: LLaVA 1.5's: pictures before texts, and nothing that ends an assistant's turn.
LLAVA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ message['role'].upper() + ': '}}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)

#: Idefics3's: a colon, with a space only before text, and turns that end with a special token.
IDEFICS = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

#: Contents as texts only, trimmed; pictures are written by the user of the template.
_PLAIN = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] | trim }}"
    "{% else %}{% for part in message['content'] %}{{ PART }}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_IMAGE = "'<|vision_start|><|image_pad|><|vision_end|>' if part['type'] == 'image'"

#: Takes the contents of assistants only as texts: a list is written out as Python would.
TEXTS_ONLY = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'user' %}{% for part in message['content'] %}"
    "{{ " + _IMAGE + " else part['text'] }}{% endfor %}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

#: Shows only the first picture of a turn.
ONE_PICTURE = _PLAIN.replace(
    "{{ PART }}",
    "{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif loop.first %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}",
)

#: Loses what assistants say.
MUTE = _PLAIN.replace(
    "{{ PART }}",
    "{{ " + _IMAGE + " else (part['text'] if message['role'] != 'assistant' else '') }}",
).replace("{{ message['content'] | trim }}", "")

#: Demands that user and assistant alternate, the user first.
ALTERNATING = (
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}"
    + _PLAIN.replace("{{ PART }}", "{{ " + _IMAGE + " else part['text'] }}")
)

#: Opens an assistant's turn otherwise than its prompt does.
CHANGING = _PLAIN.replace("{{ PART }}", "{{ " + _IMAGE + " else part['text'] }}").replace(
    "<|im_start|>{{ message['role'] }}\n",
    "<|im_start|>{{ message['role'] if message['role'] != 'assistant' else 'model' }}\n",
)

#: Pictures next to each other without anything between.
BARE = _PLAIN.replace(
    "{{ PART }}", "{{ '<|image_pad|>' if part['type'] == 'image' else part['text'] }}"
)


def put(monkeypatch: pytest.MonkeyPatch, processor: Any, template: str | None) -> None:
    """Give ``processor`` a template with its own token for pictures; None leaves it its own."""
    if template is not None:
        written = template.replace("<image>", str(processor.image_token))
        monkeypatch.setattr(processor, "chat_template", written)
