"""Selection of the attributes to ask about: those that can be seen in a picture.

Attributes also hold bookkeeping: ids, orders, scores, flags, and words for "no value". These are
not asked, and :class:`Attributes` says so. Not here: the questions (:mod:`.tasks`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pearl_data.sources.facts import fold
from pearl_data.sources.vocabulary import TEXT_ATTRIBUTE
from pearl_tools.errors import UsageError, listed

#: An attribute with more values than this is not asked, unless its values are text to read.
MOST_VALUES = 50
#: With at least so many things, values that nearly all differ are names, not properties.
_ENOUGH_THINGS, _NAMES_SHARE = 10, 0.8
#: Most values counted for one attribute; one with more is dropped anyway.
_COUNTED = 20_000
_LONGEST_VALUE = 40
_LARGEST = 1e15


def _folded(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: Folded names of bookkeeping attributes.
_BOOKKEEPING = _folded("""
    annotator annotatorid area attributes author bbox box boxid by camera category categoryid
    categoryname checked class classid classname comment comments conf confidence created
    createdat crowd data dataset date deleted difficult difficulty embedding exported file
    fileid filename frame frameid frameindex framenumber generated group groupid groupno guid
    height hidden id ids ignore image imageid index instance instanceid interpolated iou job
    keyframe keypoints label labelid labelname labeltype layer level licence license locked mask
    name note notes numkeypoints objectid objid occluded occlusion order outside path personid
    pid points polygon prob probability quality remark remarks reviewed rotation score scores
    segmentation shapetype source split status subset time timestamp track trackid trackingid
    tracks truncated truncation uid updated updatedat url user username uuid verified version
    visibility visible weight width worker workerid x y z zindex zorder
    """)
#: Last words of names of bookkeeping attributes: ``vehicle_id``, ``box_score``.
_BOOKKEEPING_ENDS = _folded(
    "id ids uuid guid index idx score confidence timestamp no nr code date level"
)
#: Words of names of bookkeeping attributes, in any place: ``occlusion level``, ``reviewed on``.
_BOOKKEEPING_WORDS = _folded("""
    annotated annotation annotator bbox checked filename labeled labeler labelled labeller occluded
    occlusion reviewed reviewer split supercategory tracking truncated truncation visibility
    """)
#: Values that nobody reads off a picture: codes of colours, dates, addresses, names of files.
_NOT_SEEN = re.compile(
    r"#[0-9a-f]{3,8}|(?:rgb|bgr|hsv|hsl|lab)a?\s*\(.*\)|\d{4}-\d\d-\d\d.*|\d\d/\d\d/\d{4}"
    r"|[a-z]+://.*|\S+\.(?:png|jpe?g|json|xml|txt)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?\s*%?")
#: Values, folded to letters and digits, that mean "no value".
_NO_VALUE = _folded("""
    ambiguous any blank canttell cannottell default dontknow empty idontknow illegible misc missing
    na nan nil none notapplicable notavailable notgiven notset notsure notvisible novalue null other
    others tbd todo unclear uncertain undefined undetermined unidentified unk unknown unlabeled
    unlabelled unreadable unset unspecified unsure
    """)
_FLAGS = _folded("yes no true false maybe y n t f on off 0 1")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")


class Attributes:
    """Counts the attributes of a set, then selects those to ask: all usable, or ``chosen``."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._things: Counter[str] = Counter()
        self._numbers: Counter[str] = Counter()
        self._unsaid: dict[str, set[str]] = {}
        self._values: dict[str, dict[str, str]] = {}

    def words(self, attributes: Any) -> dict[str, str]:
        """``attributes`` of one thing as name -> words, counted; empty values are dropped.

        A list of {"name", "value"} objects counts as well. One name or value in several spellings
        comes out in its first.
        """
        if isinstance(attributes, list):
            pairs = [i for i in attributes if isinstance(i, dict)]
            attributes = {i.get("name"): i.get("value") for i in pairs}
        if not isinstance(attributes, dict):
            return {}
        words: dict[str, str] = {}
        for given, value in attributes.items():
            if not isinstance(given, str) or not (key := _key(given)):
                continue
            name = self._names.setdefault(key, key if key == "color" else given.strip())
            if (text := self._said(name, value)) is not None:
                words[name] = text
        return words

    def _said(self, name: str, value: Any) -> str | None:
        """The words of a value, counted; None for an empty value. A list of one value, and an
        object with a ``value``, are that value.
        """
        if isinstance(value, dict) and "value" in value:
            value = value["value"]
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, int | float):
            self._numbers[name] += 1
            text = f"{value:g}" if abs(value) < _LARGEST else ""
        elif isinstance(value, str):
            text = " ".join(value.split())
            self._numbers[name] += _NUMBER.fullmatch(text) is not None
        else:
            return None
        plain = "".join(c for c in text.casefold() if c.isalnum())
        if (
            plain in _NO_VALUE
            or not plain
            or len(text) > _LONGEST_VALUE
            or (name != TEXT_ATTRIBUTE and _NOT_SEEN.fullmatch(text))
        ):
            unsaid = self._unsaid.setdefault(name, set())
            if len(unsaid) < _COUNTED:
                unsaid.add(text[:_LONGEST_VALUE])
            return None
        self._things[name] += 1
        values = self._values.setdefault(name, {})
        if len(values) < _COUNTED:
            values.setdefault(fold(text), text)
        return values.get(fold(text), text)

    def chosen(self, names: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
        """(names to ask, name -> why it is not asked); ``names``, if given, are all that is asked.

        Raises ``UsageError`` if nothing has one of ``names``.
        """
        if names is not None:
            wanted = {_key(name) for name in names}
            missing = sorted(name for name in names if _key(name) not in self._names)
            if missing:
                known = listed(sorted(self._names.values()), 12) or "none"
                msg = f"--attributes: expected names of the file ({known}), got {listed(missing)}"
                raise UsageError(msg)
            asked = [name for key, name in self._names.items() if key in wanted]
            rest = {n: "not among --attributes" for n in self._names.values() if n not in asked}
            return sorted(asked), dict(sorted(rest.items()))
        dropped = {name: why for name in self._names.values() if (why := self._why_not(name))}
        asked = [name for name in self._values if name not in dropped]
        return sorted(asked), dict(sorted(dropped.items()))

    def no_values(self, asked: Sequence[str]) -> dict[str, list[str]]:
        """Name -> values that mean "no value", for the attributes to ask."""
        return {name: sorted(self._unsaid[name]) for name in asked if name in self._unsaid}

    def _why_not(self, name: str) -> str:
        """The reason not to ask ``name``; empty if it is asked."""
        values, things = self._values.get(name, {}), self._things[name]
        last = [word.casefold() for word in _WORD.findall(name)][-1:]
        words = {word.casefold() for word in _WORD.findall(name)}
        if (
            fold(name) in _BOOKKEEPING
            or words & _BOOKKEEPING_WORDS
            or (last and last[0] in _BOOKKEEPING_ENDS)
        ):
            return "bookkeeping"
        if not values:
            return "no usable value"
        if values.keys() <= _FLAGS:
            return "only yes and no"
        if self._numbers[name] == things and last[:1] != ["number"] and name != TEXT_ATTRIBUTE:
            return "only numbers"
        if name != TEXT_ATTRIBUTE and len(values) > MOST_VALUES:
            return f"more than {MOST_VALUES} values"
        if (
            name != TEXT_ATTRIBUTE
            and things >= _ENOUGH_THINGS
            and len(values) > _NAMES_SHARE * things
        ):
            return f"{len(values)} different values on {things} things"
        return ""


def _key(name: str) -> str:
    key = fold(name)
    return "color" if key == "colour" else key
