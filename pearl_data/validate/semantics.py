"""The semantic stage: rules against well-formed records that would teach something wrong.

A mistake that the record declares (``fault``, for injected mistakes) is not a finding. Rules:

- *repeated call*: same tool and arguments as an earlier call, unless the environment failed it.
- *unused observation*: a call returned media, no later call takes them, no later thought names
  them, and nothing is said after them: the next step's thought (for the last step the concluding
  thought) is blank. An observation that is followed by a thought counts as seen.
- *insufficient calls*: the answer counts as supported (or as said by a tool), the question needs a
  tool, and its family a view or a depth map that no successful call made.
- *unfaithful crop*: views of the picture of a target or region were made, and none holds it.
- *answer*: not among the choices, not that of the task though called supported, resting on
  evidence in media that are not of this record, or not following from the evidence of its family
  (:mod:`pearl_data.validate.families`).
- *identity*: the id of an expert's record ends in digits of the hash of its pictures, question and
  choices, and they are not those of this record: one of them was taken from another.
- *words*: a mark of a chat template in the question, a choice, the answer or a label.
- *dangling media*: made by no call, or one of several roots that neither a call nor evidence names,
  unless people asked the question: they may show pictures beside the one that matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from pearl_data.containment import holds
from pearl_data.findings import Finding, finding
from pearl_data.trajectory import (
    Call,
    Task,
    Trajectory,
    canonical_json,
    identity_sha256,
    named_media,
)
from pearl_data.validate.families import check_family, needed_tools
from pearl_data.validate.references import ROOT_KINDS
from pearl_data.wording import NO_MARKS, alike, chat_mark
from pearl_tools.errors import listed
from pearl_tools.registry import TOOLS
from pearl_tools.types import Box, MediaRecord, Region

#: Verdicts under which a record claims that its answer is that of the task, and rests on calls.
_SAYS_RIGHT = frozenset({"supported", "unverified"})
#: The id of a medium in a thought.
_ID = re.compile(r"(?<![A-Za-z0-9])[a-z][0-9]+(?![A-Za-z0-9])")
#: What synth puts behind the key of a record: the first digits of its identity.
_IDENTITY_DIGITS = re.compile(r"-([0-9a-f]{10})\Z")


def check_semantics(trajectory: Trajectory, media: dict[str, MediaRecord]) -> Iterator[Finding]:
    """Everything that the rules above find and the record does not declare."""
    declared = trajectory.fault
    for each in _all(trajectory, media):
        if declared and declared.code == each.code:
            step = f"steps[{declared.step}]"
            if each.path.startswith(step) or not each.path.startswith("steps["):
                continue
        yield each


def _all(trajectory: Trajectory, media: dict[str, MediaRecord]) -> Iterator[Finding]:
    yield from _identity(trajectory)
    yield from _answer(trajectory, media)
    yield from _words(trajectory.task)
    yield from check_family(trajectory.task)
    yield from _repeated(trajectory)
    yield from _unused(trajectory)
    yield from _dangling(trajectory, media)
    done = [call for step in trajectory.steps for call in step.calls if call.result.status == "ok"]
    yield from _insufficient(trajectory, done)
    yield from _unfaithful(trajectory.task, done, media)


def _identity(trajectory: Trajectory) -> Iterator[Finding]:
    if trajectory.origin != "expert" or trajectory.id[-11:-10] != "-":
        return  # the quick way for most records: this stage runs in microseconds
    digits = _IDENTITY_DIGITS.search(trajectory.id)
    if digits is None:
        return
    identity = identity_sha256(trajectory)[: len(digits[1])]
    if digits[1] != identity:
        expected = f"an id that ends in {identity}, the hash of its pictures, question and choices"
        hint = "a picture, the question or the choices are those of another record"
        yield finding("semantic.identity", "id", expected, trajectory.id, hint)


def _answer(trajectory: Trajectory, media: dict[str, MediaRecord]) -> Iterator[Finding]:
    task, final = trajectory.task, trajectory.final
    choices = task.choices
    if choices:
        among = "one of " + listed(choices, 20)
        for path, answer in (("task.answer", task.answer), ("final.answer", final.answer)):
            if answer not in choices:
                yield finding("semantic.answer_not_in_choices", path, among, answer)
        places: dict[str, int] = {}
        for index, choice in enumerate(choices):
            place = places.setdefault(alike(choice), index)
            if place != index:
                got = f"{choice}, like {choices[place]}"
                path = f"task.choices[{index}]"
                yield finding("semantic.ambiguous", path, "choices that differ", got)
    elif task.answer_type == "choice":
        yield finding("semantic.ambiguous", "task.choices", "choices to choose from", "none")
    if task.answer_type == "number" and not _is_number(task.answer):
        yield finding("schema.type", "task.answer", "a number in digits", task.answer)
    if final.verdict in _SAYS_RIGHT and not _same(final.answer, task.answer):
        hint = "call it unsupported, or correct it"
        expected = f"{task.answer}, as the task says"
        yield finding("semantic.answer_contradicts", "final.answer", expected, final.answer, hint)
    if trajectory.origin == "expert" and final.verdict in _SAYS_RIGHT:
        verdict = "unverified" if task.answer_source == "tool" else "supported"
        if final.verdict != verdict:
            hint = "an answer of the tool alone is not confirmed by an annotation"
            expected = f"{verdict}: the answer is from the {task.answer_source}"
            yield finding("semantic.answer_contradicts", "final.verdict", expected, final.verdict,
                          hint)  # fmt: skip
    for index, evidence in enumerate(task.evidence):
        medium = media.get(evidence.media)
        if medium is None or medium.parent is not None:
            path = f"task.evidence[{index}].media"
            expected = "a root of this record: " + ", ".join(
                m.id for m in trajectory.media if m.parent is None
            )
            yield finding("semantic.answer_contradicts", path, expected, evidence.media)


def _words(task: Task) -> Iterator[Finding]:
    """Tokens of a chat template in texts."""
    words = [task.question, task.answer, *task.choices, *(each.label for each in task.evidence)]
    joined = "\n".join(words)
    if "<" not in joined and "[" not in joined:
        return
    texts = {"task.question": task.question, "task.answer": task.answer}
    texts |= {f"task.choices[{i}]": choice for i, choice in enumerate(task.choices)}
    texts |= {f"task.evidence[{i}].label": each.label for i, each in enumerate(task.evidence)}
    for path, text in texts.items():
        if ("<" in text or "[" in text) and (mark := chat_mark(text)):
            yield finding("schema.pattern", path, NO_MARKS, mark)


def _repeated(trajectory: Trajectory) -> Iterator[Finding]:
    if sum(len(step.calls) for step in trajectory.steps) < 2:
        return
    seen: dict[bytes, tuple[int, int]] = {}
    for i, step in enumerate(trajectory.steps):
        for j, call in enumerate(step.calls):
            error = call.result.error
            if call.arguments is None or (error and error.fault_owner == "environment"):
                continue
            first = seen.setdefault(canonical_json([call.tool, call.arguments]), (i, j))
            if first != (i, j):
                path, got = f"steps[{i}].calls[{j}]", "the call of steps[{}].calls[{}] again"
                expected = "a call that differs from all earlier ones"
                yield finding("semantic.repeated_call", path, expected, got.format(*first))


def _unused(trajectory: Trajectory) -> Iterator[Finding]:
    steps = trajectory.steps
    thoughts = [*(step.thought for step in steps), trajectory.final.thought]
    if all(map(str.strip, thoughts[1:])):
        return
    paths: list[str] = []
    taken: set[str] = set()
    said: set[str] = set()
    for i in range(
        len(steps) - 1, -1, -1
    ):  # backwards: the media used and the words after each step
        said.update(_ID.findall(thoughts[i + 1]))
        if not thoughts[i + 1].strip():
            paths += [
                f"steps[{i}].calls[{j}].result.media[{k}]"
                for j, call in reversed([*enumerate(steps[i].calls)])
                for k, name in reversed([*enumerate(call.result.media)])
                if name not in taken and name not in said
            ]
        taken.update(name for call in steps[i].calls for name in named_media(call))
    for path in reversed(paths):
        expected = "a later call or thought that uses it"
        yield finding("semantic.unused_observation", path, expected, "silence")


def _dangling(trajectory: Trajectory, media: dict[str, MediaRecord]) -> Iterator[Finding]:
    calls = [call for step in trajectory.steps for call in step.calls]
    made = {name for call in calls for name in call.result.media}
    roots = [medium.id for medium in media.values() if medium.kind in ROOT_KINDS]
    needless: set[str] = set()
    if len(roots) > 1:
        taken = {evidence.media for evidence in trajectory.task.evidence}
        taken.update(name for call in calls for name in named_media(call))
        # existing questions may show pictures besides the one that holds the answer
        context = trajectory.task.family in ("given", "other") and not taken.isdisjoint(roots)
        needless = set() if context else set(roots) - taken
    for index, medium in enumerate(trajectory.media):
        if medium.kind not in ROOT_KINDS and medium.id not in made:
            got, expected = f"{medium.id}, which no call returned", "a call that made it"
            yield finding("semantic.dangling_media", f"media[{index}]", expected, got)
        elif medium.id in needless and medium.kind in ROOT_KINDS:
            got, expected = (
                f"{medium.id}, which no call or evidence names",
                "a call or evidence that uses it",
            )
            yield finding("semantic.dangling_media", f"media[{index}]", expected, got)


def _insufficient(trajectory: Trajectory, done: list[Call]) -> Iterator[Finding]:
    if trajectory.final.verdict not in _SAYS_RIGHT:
        return
    tools = {call.tool for call in done}
    for needed in needed_tools(trajectory.task):
        if not needed & tools:
            expected = f"a successful {' or '.join(sorted(needed))} call for {_what(trajectory)}"
            got = ", ".join(sorted(tools)) or "no successful call"
            yield finding("semantic.insufficient_calls", "steps", expected, got)


def _unfaithful(task: Task, done: list[Call], media: dict[str, MediaRecord]) -> Iterator[Finding]:
    wanted = [
        (index, evidence)
        for index, evidence in enumerate(task.evidence)
        if evidence.role != "pair" and evidence.media in media
    ]
    views = _views(done, media) if wanted else {}
    for index, evidence in wanted:
        root, seen = media[evidence.media], views.get(evidence.media)
        if not seen:
            continue
        x0, y0, x1, y1 = evidence.bbox
        box = (x0 * root.width, y0 * root.height, x1 * root.width, y1 * root.height)
        if not any(holds(view, box) for view in seen):
            expected = f"a view that holds {evidence.label} at {[round(v, 1) for v in box]} px"
            got = "; ".join(str([round(v, 1) for v in view]) for view in islice(seen, 8))
            path = f"task.evidence[{index}].bbox"
            yield finding("semantic.unfaithful_crop", path, expected, got)


def _views(done: list[Call], media: dict[str, MediaRecord]) -> dict[str, dict[Box, None]]:
    """The boxes of each root that views showed, in its pixels, in order, without duplicates."""
    roots: dict[str, str] = {}
    views: dict[str, dict[Box, None]] = {}
    for call in done:
        if TOOLS[call.tool].shows == "view" and isinstance(call.effective, Region):
            shown = {_root_of(name, media, roots) for name in named_media(call)}
            if len(shown) == 1:
                views.setdefault(shown.pop(), {})[call.effective.box_root] = None
    return views


def _root_of(name: str, media: dict[str, MediaRecord], known: dict[str, str]) -> str:
    """The root of a medium; stops if parents form a cycle or leave the record. Results are
    added to ``known``.
    """
    way: dict[str, None] = {}
    while name not in known and name not in way:
        way[name] = None
        medium = media.get(name)
        if medium is None or medium.parent is None:
            break
        name = medium.parent
    root = known.get(name, name)
    known.update(dict.fromkeys(way, root))
    return root


def _what(trajectory: Trajectory) -> str:
    return f"a question of family {trajectory.task.family}"


def _same(one: str, other: str) -> bool:
    return one == other or one.strip().casefold() == other.strip().casefold()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
