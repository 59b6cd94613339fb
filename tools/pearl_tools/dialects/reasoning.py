"""Reasoning in replies: text in it that looks like a call is not a call.

Rules, the same for all dialects:

- Reasoning ends at the first closing tag: no published model nests it, and templates split there.
  So a tag that the reasoning only mentions does not hide later calls.
- A closing tag without an opening one ends reasoning that began where the reasoning before it
  ended, or before the text: templates write ``<think>`` into the prompt, and nested tags leave one.
- Unclosed reasoning extends to the end of the text: the reply was truncated.
- Code fences have no effect: models put real calls into them.
- A tag of reasoning inside a call (in a label) is data.
"""

from __future__ import annotations

import re
from collections.abc import Callable

#: Tags of published models: Qwen, DeepSeek and most others; Claude; EXAONE; LLaVA-CoT; Seed-OSS;
#: Magistral; Kimi-VL; Sky-T1 and OpenThinker; Command A.
_TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
_CLOSING = {
    opening.lower(): re.compile(re.escape(closing), re.IGNORECASE) for opening, closing in _TAGS
}
_TAG = re.compile("|".join(re.escape(tag) for pair in _TAGS for tag in pair), re.IGNORECASE)


def next_tag(text: str, start: int = 0) -> re.Match[str] | None:
    """The first tag of reasoning from ``start`` on, opening or closing."""
    return _TAG.search(text, start)


def outside_reasoning(
    text: str, mark: re.Pattern[str], end_of: Callable[[re.Match[str]], int]
) -> list[re.Match[str]]:
    """Every match of ``mark`` outside reasoning, in order.

    ``end_of`` returns the end of a match's content, in which marks and tags do not count.

    >>> text = "<think>a1</think> a2 <think>a3"
    >>> [m[0] for m in outside_reasoning(text, re.compile("a."), re.Match.end)]
    ['a2']
    """
    found: list[re.Match[str]] = []
    since_reasoning = position = 0
    tag = next_tag(text)
    while True:
        if tag and tag.start() < position:
            tag = next_tag(text, position)
        match = mark.search(text, position, tag.start() if tag else len(text))
        if match:
            found.append(match)
            position = max(end_of(match), match.end())
        elif tag is None:
            return found
        else:
            closing = _CLOSING.get(tag[0].lower())
            if closing is None:  # unopened: all text since the last reasoning is reasoning
                del found[since_reasoning:]
                position = tag.end()
            else:
                end = closing.search(text, tag.end())
                position = end.end() if end else len(text)
            since_reasoning = len(found)
