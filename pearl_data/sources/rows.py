"""One row of existing questions: its fields and its checks.

A null field counts as absent. Answers, choices and ids may be numbers or text. Unused columns are
kept (``source.extra``); a name that looks like a misspelt field is an error. Image placeholders at
the ends of a question are removed, and the original question is kept too.
Not here: files and pictures (:mod:`pearl_data.sources.jsonl`), other tools' rows
(:mod:`pearl_data.sources.foreign`).
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Final, Literal

import msgspec

from pearl_data.containment import WHOLE_SHARE, is_whole
from pearl_data.trajectory import canonical_json
from pearl_data.wording import NO_MARKS, alike, chat_mark, without_picture_marks
from pearl_tools.errors import ToolError, ToolFailure, fail, tool_error
from pearl_tools.strict_json import decode_error
from pearl_tools.types import Box

Scalar = str | int | float
Unit = Literal["fraction", "pixel"]

#: A box may overshoot its picture by this much, through rounding; it is clipped.
OVERSHOOT_PX: Final = 1.0
_MOST_EXTRA_BYTES: Final = 64_000
#: Other words for the units.
_UNITS = {
    **dict.fromkeys(("px", "pixels", "absolute"), "pixel"),
    **dict.fromkeys(("fractions", "relative", "normalized", "normalised"), "fraction"),
}
#: ``(B)``, ``B.`` and ``B`` are the letter B; ``B. blue`` is a choice that says its own.
_LETTER = re.compile(r"\(?([A-Za-z])[).:]?\Z")
_LETTERED = re.compile(r"\(?([A-Za-z])[).:]\s*\S")
#: Names of our fields in other tools, for the hint when a field is missing.
_SYNONYMS = {
    "question": ("query", "prompt", "text", "instruction", "problem", "input"),
    "answer": ("label", "response", "output", "ground_truth", "solution", "gt", "answers"),
    "image": ("image_path", "img", "img_path", "file_name", "filename", "path", "image_file"),
    "choices": ("options", "candidates", "candidate_answers"),
    "evidence": ("bbox", "bboxes", "boxes", "box", "regions", "objects"),
}


class RowEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """A box of evidence for the answer, in the unit of its row."""

    bbox: tuple[float, float, float, float]
    label: str = "the part that matters"
    media: Annotated[str, msgspec.Meta(pattern="^i[0-9]{1,6}$")] = "i0"
    role: Literal["target", "pair", "region"] = "target"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row; ``extra`` holds its unused columns."""

    question: Annotated[str, msgspec.Meta(min_length=1)]
    answer: Scalar
    evidence: list[RowEvidence] = []
    choices: list[Scalar] = []
    image: str | None = None
    images: list[str] = []
    bbox_unit: Unit = "fraction"
    id: Scalar | None = None
    dataset: str | None = None
    licence: str = "unknown"
    extra: dict[str, Any] = {}

    @property
    def pictures(self) -> list[str]:
        """Names of the pictures, i0 first."""
        return self.images or [self.image or ""]


def read_row(value: dict[str, Any], path: str) -> Row:
    """The row in the JSON object ``value``; raises :class:`ToolFailure` with a path below
    ``path``.
    """
    value = _without_nulls(value)
    if "licence" not in value and "license" in value:
        value["licence"] = value.pop("license")
    extra = _extra(value, Row, path)
    for name in _SYNONYMS["choices"]:
        if "choices" not in value and isinstance(extra.get(name), list | dict):
            hint = f"rename {name!r} to 'choices'"
            got = "choices under another name"
            raise fail("schema.unknown_field", f"{path}.{name}", "a field of a row", got, hint)
    lettered = value.get("choices")
    if isinstance(lettered, dict):
        value["choices"] = list(lettered.values())
        value["answer"] = _of_letters(value.get("answer"), lettered, f"{path}.answer")
    unit = value.get("bbox_unit")
    if isinstance(unit, str):
        value["bbox_unit"] = _UNITS.get(unit.casefold(), unit)
    evidence = value.get("evidence")
    evidence = [evidence] if isinstance(evidence, dict) else evidence
    if isinstance(evidence, list):
        evidence = [{"bbox": item} if isinstance(item, list) else item for item in evidence]
        items = [_without_nulls(item) if isinstance(item, dict) else item for item in evidence]
        value["evidence"] = items
        more = [
            _extra(item, RowEvidence, f"{path}.evidence[{i}]") if isinstance(item, dict) else {}
            for i, item in enumerate(items)
        ]
        extra |= {"evidence": more} if any(more) else {}
    if len(canonical_json(extra)) > _MOST_EXTRA_BYTES:
        largest = max(extra, key=lambda name: len(canonical_json(extra[name])))
        most = f"at most {_MOST_EXTRA_BYTES} bytes beside the fields that are used"
        raise fail("schema.length", f"{path}.{largest}", most, "more", "remove this column")
    try:
        row = msgspec.convert(value, Row)
    except msgspec.ValidationError as error:
        fault = decode_error(error, path, "a row as documented")
        field = fault.path.rpartition(".")[2]
        found = [name for name in _SYNONYMS.get(field, ()) if name in extra]
        if fault.code == "schema.missing_field" and found:
            fault = msgspec.structs.replace(fault, hint=f"rename {found[0]!r} to {field!r}")
        raise ToolFailure(fault) from None
    question = without_picture_marks(row.question, len(row.pictures))
    if question != row.question:
        extra = {**extra, "question": row.question}
        row = msgspec.structs.replace(row, question=question)
    if (choice := _meant(row)) is not None:
        extra = {**extra, "answer": row.answer}
        row = msgspec.structs.replace(row, answer=choice)
    return msgspec.structs.replace(row, extra=extra)


def _of_letters(answer: Any, choices: dict[str, Any], path: str) -> Any:
    """The choice that ``answer``, a key or a choice of ``choices``, means."""
    key = _LETTER.sub(r"\1", str(answer).strip())
    if key not in choices or answer in choices.values():
        if key in choices and choices[key] != answer:
            expected = f"a key, or a text that is no other one's key, of {choices}"
            raise fail("semantic.ambiguous", path, expected, answer)
        return answer
    return choices[key]


def _meant(row: Row) -> Scalar | None:
    """The choice that the answer certainly means, if it is none as written: one that differs in
    case, spaces and punctuation only, or the one that begins with its letter.
    """
    choices = [as_text(choice) for choice in row.choices]
    answer = as_text(row.answer)
    if not answer.strip() or answer in choices:
        return None
    found = [choice for choice in choices if alike(choice) == alike(answer)]
    if not found and all(_LETTERED.match(choice) for choice in choices):
        letters = [_LETTERED.match(choice)[1] for choice in choices]  # type: ignore[index]  # all
        letter = _LETTER.sub(r"\1", answer.strip())
        found = [c for c, own in zip(choices, letters, strict=True) if own == letter]
    elif not found and (own := _LETTERED.match(answer)):  # B. blue, where blue is the second
        place, rest = ord(own[1].upper()) - ord("A"), answer[own.end() - 1 :]
        found = [c for c in choices[place : place + 1] if alike(c) == alike(rest)]
    return found[0] if len(found) == 1 else None


def as_text(value: Scalar) -> str:
    """A text or number as plain text: 3.0 becomes ``3``."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def check_row(row: Row, path: str) -> None:
    """Raise :class:`ToolFailure` for a well-formed row that no picture can make usable."""
    problem = _problem(row, path)
    if problem is not None:
        raise ToolFailure(problem)


def _problem(row: Row, path: str) -> ToolError | None:
    if bool(row.image) == bool(row.images):
        expected = "either image or images"
        hint = _renaming(row, "image")
        got = "both" if row.image else "neither"
        return tool_error("schema.combination", path, expected, got, hint)
    problem = _wording_problem(row, path)
    if problem is not None:
        return problem
    choices = [as_text(choice) for choice in row.choices]
    if choices and as_text(row.answer) not in choices:
        hint = _lettered_hint(as_text(row.answer), choices)
        return tool_error(
            "semantic.answer_not_in_choices",
            f"{path}.answer",
            f"one of {choices}",
            row.answer,
            hint,
        )
    if len(choices) == 1:
        hint = "give wrong choices as well, or no choices"
        return tool_error("schema.length", f"{path}.choices", "none, or two or more", 1, hint)
    keys = [alike(choice) for choice in choices]
    if len(set(keys)) != len(keys):
        expected = "choices that differ in more than case, spaces and punctuation"
        return tool_error("semantic.ambiguous", f"{path}.choices", expected, choices)
    pair = [item for item in row.evidence if item.role == "pair"]
    if pair and (len(pair) != 2 or pair[0].media != pair[1].media):
        return tool_error(
            "semantic.ambiguous",
            f"{path}.evidence",
            "no or exactly two items with role pair, in one picture",
            [f"{item.label} in {item.media}" for item in pair],
        )
    if not row.evidence:
        return tool_error(
            "semantic.insufficient_calls",
            f"{path}.evidence",
            "at least one box of evidence for the answer",
            "none",
            _renaming(row, "evidence") or "without a box a tool has nothing to show",
        )
    return None


def _lettered_hint(answer: str, choices: list[str]) -> str:
    """Advice on an answer that is a letter, or a number of a choice; empty for another."""
    letter = _LETTER.sub(r"\1", answer.strip())
    place = ord(letter.upper()) - ord("A") if len(letter) == 1 and letter.isalpha() else -1
    if not 0 <= place < len(choices) and not answer.strip().isdecimal():
        return ""
    hint = f"write the choice itself, such as {choices[max(place, 0)]!r}"
    return hint + ', or the choices as {"A": ..., "B": ...} with one of these keys as the answer'


def _wording_problem(row: Row, path: str) -> ToolError | None:
    """The error for a text that is blank, or holds a token of a chat template, or None."""
    texts = {"question": row.question, "answer": as_text(row.answer)}
    texts |= {f"choices[{i}]": as_text(choice) for i, choice in enumerate(row.choices)}
    texts |= {f"evidence[{i}].label": item.label for i, item in enumerate(row.evidence)}
    for field, text in texts.items():
        if not text.strip():
            got = "only white space"
            return tool_error("schema.length", f"{path}.{field}", "some text", got)
        if mark := chat_mark(text):
            hint = "allowed is one per picture at the start or end of a question; remove the others"
            return tool_error("schema.pattern", f"{path}.{field}", NO_MARKS, mark, hint)
    return None


def box_fraction(box: Box, unit: Unit, width: int, height: int, path: str) -> Box:
    """``box`` as fractions of its picture, ``width`` x ``height`` px; overshoot of at most
    :data:`OVERSHOOT_PX` is cut. Raises :class:`ToolFailure`: a ``geometry`` code.
    """
    sides = (width, height, width, height)
    if unit == "pixel" and max(box) <= 1 and min(box) >= 0:
        hint = 'remove "bbox_unit": these are fractions of the picture'
        raise fail("geometry.wrong_unit", path, f"pixels of {width}x{height}", box, hint)
    if unit == "fraction" and (max(box) > 2 or min(box) < -1):
        hint = 'add "bbox_unit": "pixel" to the row if these are pixels'
        raise fail("geometry.wrong_unit", path, "fractions 0..1", box, hint)
    if not (box[0] < box[2] and box[1] < box[3]):
        code = "geometry.inverted" if box[0] > box[2] or box[1] > box[3] else "geometry.zero_area"
        hint = "give the corners [x0, y0, x1, y1], not [x, y, width, height]"
        raise fail(code, path, "x0 < x1 and y0 < y1", box, hint)
    fraction = box if unit == "fraction" else tuple(v / s for v, s in zip(box, sides, strict=True))
    over = max(max(-v, v - 1) * side for v, side in zip(fraction, sides, strict=True))
    if over > OVERSHOOT_PX:
        raise fail("geometry.partly_outside", path, "inside its picture", box)
    x0, y0, x1, y1 = (min(1.0, max(0.0, value)) for value in fraction)
    if not (x0 < x1 and y0 < y1):
        raise fail("geometry.outside", path, "inside its picture", box)
    return (x0, y0, x1, y1)


def check_part(box: Box, path: str) -> None:
    """Raise :class:`ToolFailure` for a box, in fractions, that is its whole picture: a crop of it
    shows nothing closer.
    """
    if is_whole(box):
        most = f"a part of the picture, at most {WHOLE_SHARE:.0%} of it"
        hint = "give the box of the thing that holds the answer"
        raise fail("geometry.whole_image", path, most, box, hint)


def _without_nulls(value: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if each is not None}


def _extra(value: dict[str, Any], kind: type[msgspec.Struct], path: str) -> dict[str, Any]:
    """The fields of ``value`` that ``kind`` does not use, removed from it. Raises for a name that
    looks like a misspelling of an absent field of ``kind``, which would otherwise be ignored.
    """
    known = {field for field in kind.__struct_fields__ if field != "extra"}
    extra = {name: value.pop(name) for name in list(value) if name not in known}
    absent = sorted(known - value.keys())
    for name in extra:
        plain = name.casefold().replace("-", "_").strip()
        for meant in difflib.get_close_matches(plain, absent, n=1, cutoff=0.85):
            hint = f"did you mean {meant!r}?"
            expected = "a field of a row, or a column with a name of its own"
            raise fail("schema.unknown_field", f"{path}.{name}", expected, name, hint)
    return extra


def _renaming(row: Row, field: str) -> str:
    found = [name for name in _SYNONYMS[field] if name in row.extra]
    return f"rename {found[0]!r} to {field!r}" if found else ""
