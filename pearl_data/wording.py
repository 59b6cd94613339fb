"""Comparison of texts as a reader sees them, and tokens of chat templates in texts.

A chat template marks pictures and turns with tokens (``<image>``, ``<|im_end|>``). In a question
they would be read as such tokens, for pictures and turns that do not exist. Not here: the wordings
of questions (:mod:`pearl_data.sources.tasks`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

#: Image placeholders of the templates of all known model families.
_PICTURE = (
    r"<\|vision_start\|>(?:<\|(?:image|video)_pad\|>)+<\|vision_end\|>"
    r"|<(?:image|video|audio|img|pic|picture)(?:_?(?:placeholder|here|token|soft_token|context))?"
    r"(?:[ _-]?\d{1,3})?\s*/?>"
    r"|<\|(?:image|video|audio|img)(?:_?(?:pad|placeholder|sentinel|token|\d{1,3}))?\|>"
    r"|\[(?:IMG|IMAGE|VIDEO)(?:_\d{1,3})?\]|<start_of_image>|<img_context>"
)
_OTHER = (
    r"<\|[^|<>\s]{1,40}\|>|</?(?:img|image|video|audio)>|\[/?INST\]|<</?SYS>>|</?s>"
    r"|\[IMG_(?:BREAK|END)\]|<(?:bos|eos|pad|unk|mask)>|<(?:start|end)_of_(?:turn|image)>"
    r"|</?(?:tool_call|tool_response|tools|think|box|ref|quad)>|<｜[^｜<>\s]{1,40}｜>"
    r"|<im_(?:patch|start|end|col)>|<fake_token_around_image>"
)
_MARK = re.compile(f"{_PICTURE}|{_OTHER}", re.IGNORECASE)
_AT_START = re.compile(rf"\s*(?:{_PICTURE})\s*", re.IGNORECASE)
_AT_END = re.compile(rf"\s*(?:{_PICTURE})\s*\Z", re.IGNORECASE)
#: The expected value for a text that holds such a token.
NO_MARKS = "words without marks of a chat template"
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)\Z")


@lru_cache(maxsize=4096)  # choices repeat
def alike(text: str) -> str:
    """A key that is equal for texts which are the same answer to a reader.

    >>> alike("Dark_red. ") == alike("dark  Red"), alike("3.0") == alike("3")
    (True, True)
    """
    plain = unicodedata.normalize("NFC", text).casefold().replace("_", " ")
    plain = " ".join(plain.split()).rstrip(".!,; ")
    return f"{float(plain):.12g}" if _NUMBER.match(plain) else plain


def chat_mark(text: str) -> str | None:
    """The first mark of a chat template in ``text``, or None.

    >>> chat_mark("Is the <image> sharp?"), chat_mark("Is a < b?")
    ('<image>', None)
    """
    found = _MARK.search(text)
    return found[0] if found else None


def without_picture_marks(text: str, pictures: int) -> str:
    r"""``text`` without the placeholders of at most ``pictures`` pictures at its start or end.
    Placeholders within a sentence stay.

    >>> without_picture_marks("<image>\nWhat colour?", 1)
    'What colour?'
    """
    left = pictures
    while left and (found := _AT_START.match(text)):
        text, left = text[found.end() :], left - 1
    while left and (found := _AT_END.search(text)):
        text, left = text[: found.start()], left - 1
    return text
