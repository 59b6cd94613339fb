"""The grounded expert: knows the evidence, plans real calls for it, and checks their results.

It is an expert because it knows where the answer is; it is honest because every call is executed
and the plan fails (:class:`Unsupported`) if the result disagrees: a view that misses the evidence,
a depth map that contradicts the annotation, or an undecided map that is the only source of the
answer. A question that needs no tool is answered without a call.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence

import numpy as np

from pearl_data.containment import WHOLE_SHARE, holds, is_whole
from pearl_data.experts import words
from pearl_data.experts.base import (
    Conclusion,
    ExpertSettings,
    Plan,
    PlannedCall,
    PlannedStep,
    Unsupported,
)
from pearl_data.experts.boxes import around, outward, within
from pearl_data.experts.depth_reading import DECISIVE_SHARE, margin_share, place_in_range, reading
from pearl_data.experts.words import Voice
from pearl_data.randomness import rng_for
from pearl_data.sources.base import DEPTH_TRUTH_MARGIN
from pearl_data.sources.comparing import relation_of
from pearl_data.sources.facts import long_side_px
from pearl_data.sources.nouns import one
from pearl_data.sources.tasks import is_relation
from pearl_data.trajectory import Evidence, Family, Task
from pearl_tools.errors import ToolError, tool_error
from pearl_tools.types import Box, MediaMap, Medium, Observation, Region

#: A view is never smaller than this share of its picture's sides, so that it has some context.
_SMALLEST_VIEW = 0.06

#: Families whose answer depends on the exact box: the reason to view it, the words for a yes (or a
#: count), and the words for a no (or none).
_EXACTLY: dict[Family, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "count": (words.COUNT_WHY, words.COUNT_SHOWED, words.COUNT_NONE),
    "presence": (words.PRESENCE_WHY, words.PRESENT_SHOWED, words.ABSENT_SHOWED),
    "whole": (words.WHOLE_WHY, words.WHOLE_HELD, words.WHOLE_CUT),
    "part": (words.PART_WHY, words.PART_THERE, words.PART_ELSEWHERE),
}
#: The same for answers without a tool.
_PLAINLY: dict[Family, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "count": (words.PLAIN_COUNT, words.PLAIN_COUNT_NONE),
    "presence": (words.PLAIN_PRESENT, words.PLAIN_ABSENT),
    "whole": (words.WHOLE_HELD, words.WHOLE_CUT),
    "part": (words.PART_THERE, words.PART_ELSEWHERE),
}

#: What a closer look shows, if the answer is a name or a text.
_DETAIL: dict[Family, tuple[str, ...]] = {
    "identity": words.IDENTITY_SHOWED,
    "read": words.READ_SHOWED,
}

_Steps = Generator[PlannedStep, list[Observation], str]


class GroundedExpert:
    """Plans for questions that carry their evidence. See the module for what it promises."""

    name = "grounded/1"

    def __init__(self, settings: ExpertSettings) -> None:
        self._tools = settings.tools
        self._model_px = settings.model_long_side_px

    def plan(self, task: Task, media: MediaMap, seed: int) -> Plan:
        """The plan for ``task``; its calls refer to the ids in ``media``."""
        rng = rng_for(seed, "grounded", task.question, task.answer)
        return _PlanOf(task, media, self._tools, self._model_px, rng).run()


class _PlanOf:
    """One plan being carried out: its question, its media and its voice."""

    def __init__(
        self,
        task: Task,
        media: MediaMap,
        tools: Sequence[str],
        model_px: int,
        rng: random.Random,
    ) -> None:
        self.task, self.media, self.tools = task, media, tools
        self.model_px, self.rng, self.voice = model_px, rng, Voice(rng)
        self.answer = task.answer
        self.targets = [e for e in task.evidence if e.role == "target"]
        self.pair = [e for e in task.evidence if e.role == "pair"]
        self.regions = [e for e in task.evidence if e.role == "region"]

    def run(self) -> Plan:
        """Steps by family, then the conclusion."""
        if not self.task.needs_tool:
            return self._conclusion(self._plainly())
        if self.pair:
            self._need("depth")
            self._need_one_pair()
        if self.pair and self.targets:
            showed = yield from self._compare_then_look()
        elif self.pair:
            showed = yield from self._compare("")
        elif self.task.family in _EXACTLY:
            why, yes, no = _EXACTLY[self.task.family]
            places = self.regions if self.task.family == "count" else self.targets
            showed = yield from self._exactly(places[0], why, self._yes_or_no(yes, no))
        else:
            showed = yield from self._look_at_each(self.targets + self.regions)
        return self._conclusion(showed)

    def _conclusion(self, showed: str) -> Conclusion:
        ending = self.voice.say(words.SO_ANSWER, answer=self.answer)
        return Conclusion(f"{showed} {ending}".strip(), self.answer)

    def _plainly(self) -> str:
        """The reason why no tool is needed, and the fact that the whole picture shows."""
        family = self.task.family
        if family == "relation":
            a, b = self.pair
            why = self.voice.say(words.PLAIN_PAIR, a=a.label, b=b.label)
            relation = relation_of(self.task)
            if relation is None:
                return why
            says = is_relation(relation)
            showed = self.voice.say(words.PLAIN_RELATION, answer=self.answer, is_relation=says)
            return f"{why} {showed}"
        place = (self.regions or self.targets)[0]
        if family not in _PLAINLY:
            why = self.voice.say(words.PLAIN_WHY, it=place.label)
            return f"{why} {self.voice.say(words.PLAIN_DETAIL, answer=self.answer)}"
        everywhere = place.bbox == (0, 0, 1, 1)
        wordings = words.PLAIN_PICTURE if everywhere else words.PLAIN_PLACE
        why = self.voice.say(wordings, it=place.label)
        return f"{why} {self._yes_or_no(*_PLAINLY[family])}"

    def _yes_or_no(self, yes: tuple[str, ...], no: tuple[str, ...]) -> str:
        """Words for the result; ``no`` if the answer is no, or the count is 0."""
        return self.voice.say(no if self.answer in ("no", "0") else yes, n=self.answer)

    def _compare_then_look(self) -> _Steps:
        target = self.targets[0]
        if self.rng.random() < 0.3 and "crop" in self.tools:
            a, b = self.pair
            why = self.voice.say(words.BOTH_WHY, a=a.label, b=b.label)
            calls = [self._crop_call(e.media, self._roomy(e.bbox)) for e in (a, b)]
            seen = yield from self._step(why, calls, [a, b])
            showed = self.voice.say(words.BOTH_SHOWED, a=a.label, b=b.label)
            compared = yield from self._compare(showed)
            if self.rng.random() < 0.5 and "zoom" in self.tools:
                view = seen[0 if a.label == target.label else 1]
                nearer = f"{compared} {self.voice.say(words.WILL_ZOOM)}"
                yield from self._closer(target, view, nearer)
                return self._detail()
            return f"{compared} {self._detail()}"
        compared = yield from self._compare("")
        opening = f"{compared} {self.voice.say(words.NOW_DETAIL)}"
        return (yield from self._look(target, opening, self._detail()))

    def _compare(self, before: str) -> _Steps:
        """One depth call; raises :class:`Unsupported` unless the map agrees with the annotation or,
        if it is the only source of the answer, is clear.
        """
        a, b = self.pair
        why = self.voice.say(words.DEPTH_WHY, a=a.label, b=b.label)
        call = PlannedCall("depth", {"image": a.media})
        (depth,) = yield from self._step(f"{before} {why}".strip(), [call], [])
        values = np.asarray(depth.pixels, dtype=np.float32)
        readings = {e.label: reading(values, e.bbox) for e in (a, b)}
        by_tool = self.task.answer_source == "tool"
        nearer = max(readings, key=readings.__getitem__) if by_tool else self._nearer_label()
        farther = b.label if nearer == a.label else a.label
        margin = margin_share(values, readings[nearer], readings[farther])
        if by_tool:
            if margin < DEPTH_TRUTH_MARGIN:
                raise Unsupported(_undecided(nearer, farther, margin))
            self.answer = nearer
        elif margin < DECISIVE_SHARE:
            raise Unsupported(_contradiction(nearer, farther, margin))
        return self.voice.say(
            words.DEPTH_SHOWED,
            a=a.label,
            b=b.label,
            da=f"{place_in_range(values, readings[a.label]):.2f}",
            db=f"{place_in_range(values, readings[b.label]):.2f}",
            near=nearer,
        )

    def _nearer_label(self) -> str:
        """The label of the nearer of the pair: the target's, or the answer itself."""
        labels = [e.label for e in self.pair]
        nearer = self.targets[0].label if self.targets else self.task.answer
        if len(set(labels)) != 2 or nearer not in labels:
            expected = f"an answer that is one of the pair: {labels}"
            raise Unsupported(tool_error("semantic.ambiguous", "task.evidence", expected, nearer))
        return nearer

    def _exactly(self, evidence: Evidence, whys: tuple[str, ...], showed: str) -> _Steps:
        """One view of the evidence box and nothing around it; returns ``showed``.

        For questions whose answer would change with what lies beside the box.
        """
        _need_a_part(evidence)
        tool = self.rng.choice(self._lookers())
        why = self.voice.say(whys, it=evidence.label)
        will = self.voice.say(words.WILL_TAKE if tool == "crop" else words.WILL_ENLARGE)
        call = PlannedCall(tool, {"image": evidence.media, "bbox": list(evidence.bbox)})
        yield from self._step(f"{why} {will}", [call], [evidence])
        return showed

    def _look_at_each(self, places: Sequence[Evidence]) -> _Steps:
        """One or two calls for each place; returns what the last one showed."""
        showed = ""
        for place in places:
            last = place is places[-1]
            here = self._detail() if last else self.voice.say(words.SEEN_PART, it=place.label)
            showed = yield from self._look(place, showed, here)
        return showed

    def _look(self, target: Evidence, before: str, showed: str) -> _Steps:
        """One or two calls that bring ``target`` close; returns ``showed``."""
        _need_a_part(target)
        lookers = self._lookers()
        first = self.rng.choice(lookers)
        closer = first == "crop" and self.rng.random() < 0.35
        px = self._px(target)
        small = px <= self.model_px / 6
        wordings = words.TOO_SMALL if small else words.LARGE_ENOUGH
        why = self.voice.say(wordings, it=target.label, px=words.pixels(px))
        will = self.voice.say(words.WILL_CROP if first == "crop" else words.WILL_ZOOM)
        box = self._roomy(target.bbox, most=1.6 if closer else 0.8)
        call = PlannedCall(first, {"image": target.media, "bbox": list(box)})
        thought = f"{before} {why} {will}" if not before else f"{before} {will}"
        (view,) = yield from self._step(thought.strip(), [call], [target])
        if closer:
            second = self.voice.say(words.THEN_CLOSER, it=target.label)
            yield from self._closer(target, view, second)
        return showed

    def _closer(self, target: Evidence, view: Medium, thought: str) -> _Steps:
        """A call on ``view`` that brings ``target`` closer still."""
        root = self.media[target.media].record
        assert view.record.box_root is not None
        inside = within(target.bbox, view.record.box_root, root.width, root.height)
        box = around(inside, self.rng, least=0.05, most=0.3, smallest=_SMALLEST_VIEW)
        tool = "zoom" if "zoom" in self.tools else "crop"
        call = PlannedCall(tool, {"image": view.record.id, "bbox": list(box)})
        yield from self._step(thought, [call], [target])
        return ""

    def _step(
        self, thought: str, calls: list[PlannedCall], evidence: Sequence[Evidence]
    ) -> Generator[PlannedStep, list[Observation], list[Medium]]:
        """Carries out one step; every call must succeed and show its evidence."""
        observations = yield PlannedStep(thought, calls)
        for index, observation in enumerate(observations):
            if observation.error is not None:
                raise Unsupported(observation.error)
            if index < len(evidence):
                self._check_shows(observation, evidence[index])
        return [observation.media[0] for observation in observations]

    def _check_shows(self, observation: Observation, evidence: Evidence) -> None:
        effective = observation.effective
        root = self.media[evidence.media].record
        assert isinstance(effective, Region)
        box = evidence.bbox
        needed = (
            box[0] * root.width, box[1] * root.height, box[2] * root.width, box[3] * root.height
        )  # fmt: skip
        if not holds(effective.box_root, needed):
            raise Unsupported(
                tool_error(
                    "semantic.unfaithful_crop",
                    "effective.box_root",
                    f"a view that holds {evidence.label} at {[round(v, 1) for v in needed]}",
                    list(effective.box_root),
                )
            )

    def _crop_call(self, image: str, box: Box) -> PlannedCall:
        return PlannedCall("crop", {"image": image, "bbox": list(box)})

    def _roomy(self, box: Box, most: float = 0.8) -> Box:
        view = around(box, self.rng, least=0.15, most=most, smallest=_SMALLEST_VIEW)
        return outward(box) if is_whole(view) else view

    def _px(self, target: Evidence) -> int:
        root = self.media[target.media].record
        px = long_side_px(target.bbox, root.width, root.height, self.model_px)
        return max(1, round(px))

    def _detail(self) -> str:
        wordings = _DETAIL.get(self.task.family, words.DETAIL_SHOWED)
        return self.voice.say(wordings, answer=self.answer, one=one(self.answer))

    def _lookers(self) -> list[str]:
        lookers = [tool for tool in ("crop", "zoom") if tool in self.tools]
        if not lookers:
            self._need("crop")
        return lookers

    def _need_one_pair(self) -> None:
        """Two things of one picture: distances in different pictures cannot be compared."""
        if len(self.pair) != 2 or self.pair[0].media != self.pair[1].media:
            got = [f"{e.label} in {e.media}" for e in self.pair]
            expected = "exactly two things of one picture to compare"
            raise Unsupported(tool_error("semantic.ambiguous", "task.evidence", expected, got))

    def _need(self, tool: str) -> None:
        if tool not in self.tools:
            expected = f"the tool {tool}, which this question needs"
            got = f"--tools {','.join(self.tools)}"
            raise Unsupported(
                tool_error("semantic.insufficient_calls", "task", expected, got, f"enable {tool}")
            )


def _undecided(nearer: str, farther: str, margin: float) -> ToolError:
    return tool_error(
        "semantic.ambiguous",
        "task.answer",
        f"a depth map on which {nearer} and {farther} differ by {DEPTH_TRUTH_MARGIN:.0%} of its"
        " range or more",
        f"{margin:.1%}",
        "with --depth-truth tool only clear maps give an answer; annotate depth_rank for the rest",
    )


def _need_a_part(evidence: Evidence) -> None:
    """Raise :class:`Unsupported` for a view of the whole picture: it shows nothing closer."""
    if is_whole(evidence.bbox):
        expected = f"a part of the picture, at most {WHOLE_SHARE:.0%} of it"
        raise Unsupported(
            tool_error("geometry.whole_image", "task.evidence", expected, list(evidence.bbox))
        )


def _contradiction(nearer: str, farther: str, margin: float) -> ToolError:
    return tool_error(
        "semantic.observation_contradicts",
        "task.answer",
        f"a depth map on which {nearer} is nearer than {farther} by {DECISIVE_SHARE:.0%} of its"
        " range",
        f"{margin:+.1%}",
        "the annotation stands; what the tool shows does not support it",
    )
