"""Replay: run every recorded chain of calls again from the original bytes, and compare.

A later call runs on the new output of the earlier one, not on the stored one, so the whole chain is
checked. Pixels must be equal, unless the tool declares a tolerance; a map must then come from the
same weights and agree within the tolerance. Samples run concurrently, so that depth runs in
batches. Not here: reading samples, and checking their records, which must come first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from pearl_data.findings import Finding, finding
from pearl_data.shards.sample import Sample
from pearl_data.trajectory import Call, Result, named_media
from pearl_data.validate.geometry import settings_of
from pearl_data.validate.report import ReplayCount
from pearl_tools.depth import DepthModel
from pearl_tools.errors import ModelUnavailable, ToolFailure, UsageError
from pearl_tools.executor import ExecutorSettings, ToolExecutor, ToolRequest
from pearl_tools.media import open_image
from pearl_tools.pixels import decode_npy
from pearl_tools.registry import TOOLS
from pearl_tools.types import Effective, Medium, Observation, ToolCall

#: Whether these are errors depends on the settings of the run.
_BY_SETTINGS = frozenset({"partly_outside", "too_small", "whole_image"})
_OUTCOMES = ("equal", "within_tolerance", "differ", "failed", "skipped")


class _Place(NamedTuple):
    """One recorded call and where it stands in its record."""

    path: str
    call: Call


class _Chain:
    """One sample on its way through its calls."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.findings: list[Finding] = []
        self.media: dict[str, Medium] = {}
        self.numbers = {medium.id: i for i, medium in enumerate(sample.trajectory.media)}
        self.waiting = [
            _Place(f"steps[{i}].calls[{j}]", call)
            for i, step in enumerate(sample.trajectory.steps)
            for j, call in enumerate(step.calls)
        ]
        self.waiting.reverse()
        self._open_roots()

    def find(self, code: str, path: str, expected: object, got: object, hint: str = "") -> None:
        """Note one finding about this sample."""
        key = self.sample.trajectory.id
        self.findings.append(finding(code, path, str(expected), got, hint, key=key))

    def _open_roots(self) -> None:
        for index, record in enumerate(self.sample.trajectory.media):
            if record.parent is not None or record.kind != "image":
                continue
            data = self.sample.members.get(record.name_in_sample or "")
            if data is None:
                continue  # the members' check has said so
            try:
                medium = open_image(data, id=record.id, name=record.name_in_sample or "")
            except ToolFailure as failure:
                error = failure.error
                self.find(error.code, f"media[{index}]", error.expected, error.got, error.hint)
                continue
            if medium.record.pixel_sha256 != record.pixel_sha256:
                self.find(
                    "result.hash_mismatch",
                    f"media[{index}].pixel_sha256",
                    f"{record.pixel_sha256[:12]}..., decoded when it was written",
                    f"{medium.record.pixel_sha256[:12]}... decoded now",
                    "the file was swapped, or another decoder version reads it",
                )
            for field in ("width", "height", "changes"):
                was, is_now = getattr(record, field), getattr(medium.record, field)
                if was != is_now:
                    code = "replay_differs" if field == "changes" else "size_mismatch"
                    self.find(f"result.{code}", f"media[{index}].{field}", is_now, was)
            self.media[record.id] = medium


class Replayer:
    """Runs samples again, in groups, and keeps the counts by tool.

    ``settings`` are those of the run that made the samples; without them each call's own record
    says how boxes were treated. ``depth_model`` replaces the model that the settings name: a model,
    or a name or folder to load it by.
    """

    def __init__(
        self,
        settings: ExecutorSettings | None = None,
        *,
        depth_model: DepthModel | str | None = None,
    ) -> None:
        self._depth_model = depth_model
        self._settings = _runnable(settings) if settings else None
        self._executors: dict[ExecutorSettings, ToolExecutor] = {}
        self._counts: dict[str, Counter[str]] = {}

    def counts(self) -> dict[str, ReplayCount]:
        """Replayed calls by tool, so far."""
        return {
            tool: ReplayCount(
                calls=count.total(), **{outcome: count[outcome] for outcome in _OUTCOMES}
            )
            for tool, count in sorted(self._counts.items())
        }

    def run(self, samples: Sequence[Sample]) -> list[list[Finding]]:
        """The findings of each sample. Raises ``ModelUnavailable`` where depth cannot run."""
        chains = [_Chain(sample) for sample in samples]
        while waiting := [chain for chain in chains if chain.waiting]:
            groups: dict[ExecutorSettings, list[tuple[_Chain, _Place]]] = {}
            for chain in waiting:
                place = chain.waiting.pop()
                settings = self._ask(chain, place)
                if settings is None:
                    self._count(place.call, "skipped")
                else:
                    groups.setdefault(settings, []).append((chain, place))
            for settings, asked in groups.items():
                self._run(settings, asked)
        return [chain.findings for chain in chains]

    def _ask(self, chain: _Chain, place: _Place) -> ExecutorSettings | None:
        """The settings to run a call with, None where it cannot be run again."""
        call = place.call
        error = call.result.error
        if call.arguments is None or (error and error.stage == "execution"):
            return None
        if error is None and not all(name in chain.media for name in named_media(call)):
            return None  # what it was made from could not be made again: reported there
        if self._settings:
            return self._settings
        if error and error.code.partition(".")[2] in _BY_SETTINGS:
            return None
        try:
            return settings_of(call)
        except UsageError:
            return None  # the geometry stage has said so

    def _run(self, settings: ExecutorSettings, asked: list[tuple[_Chain, _Place]]) -> None:
        if settings not in self._executors:
            self._executors[settings] = self._executor(settings)
        requests = [
            ToolRequest(
                ToolCall(id=place.call.id, tool=place.call.tool, arguments=place.call.arguments),
                dict(chain.media),
            )
            for chain, place in asked
            if place.call.arguments is not None
        ]
        try:
            observations = self._executors[settings].run_many(requests)
        except ModelUnavailable as error:
            if self._depth_model is not None:
                raise  # what somebody has just named
            msg = (
                f"replay of {asked[0][0].sample.trajectory.id}: its {error}; if the model is "
                "elsewhere now, say where with --depth-model"
            )
            raise ModelUnavailable(msg) from error
        for (chain, place), observation in zip(asked, observations, strict=True):
            self._count(place.call, _compare(chain, place, observation))

    def _executor(self, settings: ExecutorSettings) -> ToolExecutor:
        if isinstance(self._depth_model, str):
            return ToolExecutor(msgspec.structs.replace(settings, depth_model=self._depth_model))
        return ToolExecutor(settings, depth_model=self._depth_model)

    def _count(self, call: Call, outcome: str) -> None:
        self._counts.setdefault(call.tool, Counter())[outcome] += 1


def recorded_settings(config: dict[str, Any]) -> ExecutorSettings | None:
    """The executor's settings in a dataset's configuration, None where it has none."""
    try:
        return msgspec.convert(config["executor"], ExecutorSettings)
    except (KeyError, msgspec.ValidationError, UsageError):
        return None


def _runnable(settings: ExecutorSettings) -> ExecutorSettings:
    """``settings`` on a device that is here."""
    import torch

    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        return msgspec.structs.replace(settings, device="cpu")
    return settings


def _compare(chain: _Chain, place: _Place, now: Observation) -> str:
    """The outcome of one call; findings go to the chain, new media into its map."""
    path, call = place
    then = call.result
    if now.error or then.error:
        return _compare_errors(chain, path, then, now)
    if len(now.media) != len(then.media) or call.effective is None or now.effective is None:
        expected, got = f"{len(then.media)} media", f"{len(now.media)}"
        chain.find("result.replay_differs", f"{path}.result.media", expected, got)
        return "differ"
    outcome = "equal"
    for field in _facts(call.effective) | _facts(now.effective):
        was, is_now = (_facts(each).get(field) for each in (call.effective, now.effective))
        if was != is_now:
            chain.find("result.replay_differs", f"{path}.effective.{field}", is_now, was)
            outcome = "differ"
    for position, (name, medium) in enumerate(zip(then.media, now.media, strict=True)):
        if name not in chain.numbers:
            return "failed"  # the reference stage has said so
        renamed = msgspec.structs.replace(medium.record, id=name)
        chain.media[name] = Medium(facts=renamed, pixels=medium.pixels)
        outcome = max(outcome, _compare_pixels(chain, place, position, now), key=_OUTCOMES.index)
    if (
        chain.sample.trajectory.origin == "expert"
        and [medium.record.id for medium in now.media] == then.media
        and now.text != then.text
    ):
        chain.find("result.replay_differs", f"{path}.result.text", now.text, then.text)
        outcome = max(outcome, "differ", key=_OUTCOMES.index)
    return outcome


def _facts(effective: Effective) -> dict[str, Any]:
    """The fields of an effective request that replay compares."""
    facts = {"kind": effective.__struct_config__.tag, **msgspec.structs.asdict(effective)}
    facts.pop("adjustments", None)  # follow from the arguments, which are compared
    return facts


def _compare_errors(chain: _Chain, path: str, then: Result, now: Observation) -> str:
    was = then.error.code if then.error else "ok"
    if now.error and now.error.code == was:
        return "equal"
    if now.error and not then.error:
        chain.find("result.replay_failed", f"{path}.result", "ok, as it was", str(now.error))
        return "failed"
    got = now.error.code if now.error else "ok"
    chain.find("result.replay_differs", f"{path}.result.error", f"{got}, as it is now", was)
    return "differ"


def _compare_pixels(chain: _Chain, place: _Place, position: int, now: Observation) -> str:
    """Compare one medium with its record: by hash, or by value within the tool's tolerance."""
    name, medium = place.call.result.media[position], now.media[position]
    index = chain.numbers[name]
    record = chain.sample.trajectory.media[index]
    if medium.record.pixel_sha256 == record.pixel_sha256:
        return "equal"
    tolerances = TOOLS[place.call.tool].tolerance
    data = chain.sample.members.get(record.name_in_sample or "")
    where = f"media[{index}].pixel_sha256"
    if tolerances is None:
        chain.find(
            "result.replay_differs",
            where,
            f"the pixels that {place.call.tool} gives now",
            f"other pixels in {record.name_in_sample or record.id}",
            "the observation was swapped or edited, or another version of the tool made it",
        )
        return "differ"
    if data is None:
        expected = f"{record.name_in_sample or 'a member'}, the map to compare with"
        path = f"media[{index}].name_in_sample"
        chain.find("parse.missing_member", path, expected, "no such member")
        return "failed"
    then_exec, now_exec = place.call.exec, now.exec
    if then_exec and now_exec and then_exec.weights_sha256 != now_exec.weights_sha256:
        chain.find(
            "result.replay_failed",
            f"{place.path}.exec.weights_sha256",
            f"the weights of the record ({then_exec.model_id})",
            f"{now_exec.model_id} with {str(now_exec.weights_sha256)[:12]}... here",
            "maps of different models cannot be compared; use the recorded model",
        )
        return "failed"
    same_device = bool(then_exec and now_exec and then_exec.device == now_exec.device)
    tolerance = tolerances.same_device if same_device else tolerances.other_device
    difference = _difference(data, np.asarray(medium.pixels, dtype=np.float32))
    if difference is not None and difference <= tolerance:
        return "within_tolerance"
    shown = "another shape" if difference is None else f"{difference:.2g} of its range"
    expected = f"the map that {place.call.tool} computes now, within {tolerance:g} of its range"
    chain.find("result.replay_differs", where, expected, shown)
    return "differ"


def _difference(
    data: bytes, now: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> float | None:
    """Largest difference as a share of the recorded map's range; None for unlike shapes."""
    try:
        then = decode_npy(data)
    except ToolFailure:
        return None
    if then.shape != now.shape:
        return None
    span = float(then.max() - then.min())
    largest = float(np.abs(then.astype(np.float64) - now).max())
    return largest / span if span > 0 else (0.0 if largest == 0 else float("inf"))
