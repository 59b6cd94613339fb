"""The reference stage: every id names one thing, a call only takes what is there by then, and its
text says what it took.

Arguments of failed calls are not looked into: that they refer to nothing may be why they failed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

import msgspec

from pearl_data.findings import Finding, finding, from_tool_error
from pearl_data.trajectory import Trajectory, canonical_json
from pearl_tools.registry import TOOLS
from pearl_tools.strict_json import decode_error, decode_json
from pearl_tools.types import PICTURE_KINDS, MediaRecord

#: Kinds that exist before any call; calls make all others.
ROOT_KINDS = frozenset({"image", "video", "frame"})
#: Most media that a finding lists as expected.
_NAMED = 20


def check_references(trajectory: Trajectory, media: dict[str, MediaRecord]) -> Iterator[Finding]:
    """Unknown, too early, doubled or wrong ids; ``media`` is the trajectory's media by id."""
    yield from _media(trajectory, media)
    yield from _calls(trajectory, media)
    steps = len(trajectory.steps)
    fault = trajectory.fault
    if fault:
        last = steps - 1
        if fault.step > last:
            yield _index("fault.step", f"a step 0 to {last}", fault.step)
        later = fault.recovered_at
        if later is not None and not fault.step < later <= steps:
            yield _index("fault.recovered_at", f"a step {fault.step + 1} to {steps}", later)
    if len(trajectory.loss_mask) != steps:
        yield finding(
            "schema.length", "loss_mask", f"{steps} items, one per step", len(trajectory.loss_mask)
        )


def _media(trajectory: Trajectory, media: dict[str, MediaRecord]) -> Iterator[Finding]:
    if len(media) != len(trajectory.media):
        yield from _doubled("media", [medium.id for medium in trajectory.media])
    names = [m.name_in_sample for m in trajectory.media if m.name_in_sample]
    if len(set(names)) != len(names):
        yield from _doubled("media", [m.name_in_sample for m in trajectory.media], "name_in_sample")
    for index, medium in enumerate(trajectory.media):
        parent = medium.parent
        if parent is None:
            if medium.kind not in ROOT_KINDS:
                expected = f"the medium that this {medium.kind} was made from"
                yield finding("reference.unknown_medium", f"media[{index}].parent", expected, None)
        elif parent not in media:
            expected = _one_of(media)
            yield finding("reference.unknown_medium", f"media[{index}].parent", expected, parent)
        elif parent == medium.id:
            yield finding(
                "reference.not_yet", f"media[{index}].parent", "an earlier medium", parent
            )


def _calls(trajectory: Trajectory, media: dict[str, MediaRecord]) -> Iterator[Finding]:
    there = {m.id for m in trajectory.media if m.parent is None or m.kind in ROOT_KINDS}
    ids: list[str] = []
    for i, step in enumerate(trajectory.steps):
        for j, call in enumerate(step.calls):
            ids.append(call.id)
            result = call.result
            if result.status == "error" or call.arguments is None:
                continue
            if trajectory.origin == "expert":  # imported texts keep the dialect they came in
                yield from _raw(call.arguments_raw, call.arguments, (i, j))
            tool = TOOLS[call.tool]
            for argument, source in tool.named_media(call.arguments):
                kinds = tool.kinds_of(argument)
                if source in there and media[source].kind in kinds:
                    continue
                path = f"steps[{i}].calls[{j}].arguments.{argument}"
                if source not in there:
                    yield _absent(path, source, media, there)
                else:
                    expected = "a picture" if kinds <= PICTURE_KINDS else " or ".join(sorted(kinds))
                    got = f"{source}, a {media[source].kind}"
                    yield finding("reference.wrong_kind", path, expected, got)
            for k, name in enumerate(result.media):
                if name in media and name not in there:
                    there.add(name)
                    continue
                path = f"steps[{i}].calls[{j}].result.media[{k}]"
                if name not in media:
                    hint = "a result names media that the record lists under media"
                    yield finding("result.missing_media", path, _one_of(media), name, hint)
                else:
                    expected = "a medium that no earlier call made"
                    yield finding("reference.duplicate_id", path, expected, name)
    if len(set(ids)) != len(ids):
        yield from _doubled_calls(trajectory)


def _raw(text: str, arguments: dict[str, Any], place: tuple[int, int]) -> Iterator[Finding]:
    """The text of an ok call says what was understood."""
    path = f"steps[{place[0]}].calls[{place[1]}].arguments_raw"
    try:
        said = decode_json(text)
    except msgspec.DecodeError as error:
        yield from_tool_error(decode_error(error, path, "the arguments as JSON"), "")
        return
    if said != arguments:
        expected = f"the arguments of the call, {canonical_json(arguments).decode()}"
        yield finding("schema.combination", path, expected, text)


def _absent(path: str, name: str, media: dict[str, MediaRecord], there: set[str]) -> Finding:
    if name in media:
        known = list(islice((name for name in media if name in there), _NAMED))
        expected = f"a medium that is there by then: {', '.join(known)}"
        return finding("reference.not_yet", path, expected, name)
    return finding("reference.unknown_medium", path, _one_of(media), name)


def _doubled(path: str, ids: list[str | None] | list[str], field: str = "id") -> Iterator[Finding]:
    places: dict[str, int] = {}
    for index, name in enumerate(ids):
        if name is None or (place := places.setdefault(name, index)) == index:
            continue
        expected = "a name of its own" if field != "id" else "an id of its own"
        got = f"{name}, that of {path}[{place}]"
        yield finding("reference.duplicate_id", f"{path}[{index}].{field}", expected, got)


def _doubled_calls(trajectory: Trajectory) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for i, step in enumerate(trajectory.steps):
        for j, call in enumerate(step.calls):
            where = f"steps[{i}].calls[{j}]"
            first = seen.setdefault(call.id, where)
            if first != where:
                got = f"{call.id}, that of {first}"
                yield finding("reference.duplicate_id", f"{where}.id", "an id of its own", got)


def _index(path: str, expected: str, got: int) -> Finding:
    return finding("reference.index_out_of_range", path, expected, got)


def _one_of(media: Collection[str]) -> str:
    names = list(islice(media, _NAMED))
    more = f" and {len(media) - _NAMED} more" if len(media) > _NAMED else ""
    return "one of " + (", ".join(names) + more or "no media at all")
