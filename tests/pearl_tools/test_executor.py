from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_media import FakeDepth, photo
from numpy.typing import NDArray

from pearl_tools import executor as executor_module
from pearl_tools.crop import Crop
from pearl_tools.errors import PearlError, ToolBug, fail
from pearl_tools.executor import ExecutorSettings, ToolExecutor
from pearl_tools.media import as_medium
from pearl_tools.pixels import Pixels, pixel_sha256
from pearl_tools.tool import Result
from pearl_tools.types import MediaMap, Medium, Observation, ToolCall

PHOTO = photo()
MEDIA = {"i0": PHOTO}


def call(tool: str = "crop", id: str = "c1", **arguments: Any) -> ToolCall:  # noqa: A002
    return ToolCall(id=id, tool=tool, arguments={"image": "i0", **arguments})


def crop_of(*bbox: float) -> ToolCall:
    return call(bbox=list(bbox))


def facts(observation: Observation) -> Any:
    """All of an observation that must not depend on how it was run."""
    record = observation.to_record()
    execution = record.exec and msgspec.structs.replace(
        record.exec, cache=None, duration_ms=None, attempts=None
    )
    pixels = [m.pixels.tobytes() for m in observation.media]
    return msgspec.structs.replace(record, exec=execution), pixels


def replace_tool(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    """Let the registry's crop run another function for a test."""
    changed = type("Changed", (Crop,), {"run": lambda _, calls, context: run(calls, context)})()
    monkeypatch.setattr(executor_module, "find_tool", lambda _: changed)


# -- stages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (ToolCall(id="c1", tool="nope", arguments="{bad"), "parse.not_json"),
        (ToolCall(id="c1", tool="nope", arguments="{}"), "schema.unknown_tool"),
        (ToolCall(id="c1", tool="crop", arguments="{bad"), "parse.not_json"),
        (call(bbox=[5, 5], image="o9"), "schema.length"),
        (call(bbox=[5, 5, 1, 1], image="o9"), "reference.unknown_medium"),
        (call(bbox=[5, 5, 1, 1]), "geometry.wrong_unit"),
    ],
)
def test_first_stage_that_fails_is_reported(request_: ToolCall, code: str) -> None:
    observation = ToolExecutor().run(request_, MEDIA)
    assert observation.status == "error"
    assert observation.error is not None
    assert observation.error.code == code
    assert (observation.media, observation.exec) == ((), None)


def test_unknown_medium_names_those_there_are() -> None:
    error = ToolExecutor().run(call(bbox=[0, 0, 1, 1], image="i1"), MEDIA).error
    assert error is not None
    assert str(error).startswith("arguments.image: expected one of i0, got i1")


@pytest.mark.parametrize("tool", ["crop", "zoom", "depth"])
def test_tools_refuse_a_depth_map(tool: str) -> None:
    executor = ToolExecutor(depth_model=FakeDepth())
    depth = executor.run(call("depth"), MEDIA).media[0]
    box = {} if tool == "depth" else {"bbox": [0, 0, 1, 1]}
    error = executor.run(call(tool, image="o1", **box), {**MEDIA, "o1": depth}).error
    assert error is not None
    assert error.code == "reference.wrong_kind"
    assert error.got == "o1, a depth"
    assert "(i0)" in error.hint


def test_observation_is_json_as_the_contract_prints_it() -> None:
    good = json.loads(
        msgspec.json.encode(ToolExecutor().run(crop_of(0, 0, 0.5, 0.5), MEDIA).to_record())
    )
    assert good["status"] == "ok"
    assert good["error"] is None
    assert good["effective"]["box_px"] == [0, 0, 50, 40]
    assert good["effective"]["box_root"] == [0, 0, 50, 40]
    assert good["effective"]["adjustments"] == []
    bad = json.loads(
        msgspec.json.encode(ToolExecutor().run(crop_of(1.2, 0, 1.5, 1), MEDIA).to_record())
    )
    assert bad["status"] == "error"
    assert bad["media"] == []
    assert set(bad["error"]) == {
        "code",
        "path",
        "expected",
        "got",
        "hint",
        "fault_owner",
        "retryable",
    }
    assert bad["error"]["code"] == "geometry.outside"


# -- what a tool does wrong -----------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("bad"), IndexError("bad"), KeyError("bad")])
def test_exception_inside_a_tool_is_our_bug_and_stops_the_run(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(calls: object, workplace: object) -> list[NDArray[np.uint8]]:
        raise error

    replace_tool(monkeypatch, run=broken)
    with pytest.raises(ToolBug, match=r"tool crop 1\.0, call c1 on i0 \(100x80 px") as raised:
        ToolExecutor().run(crop_of(0, 0, 1, 1), MEDIA)
    assert raised.value.__cause__ is error
    assert type(error).__name__ in str(raised.value)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((79, 99, 3), np.uint8),
        np.zeros((80, 100, 3), np.float32),
        np.zeros((80, 100), np.uint8),
        None,
    ],
)
def test_result_that_breaks_the_promise_is_our_bug(
    monkeypatch: pytest.MonkeyPatch, pixels: Any
) -> None:
    replace_tool(monkeypatch, run=lambda *_: [Result((pixels,))])
    with pytest.raises(ToolBug, match=r"expected uint8 \(80, 100, 3\), got"):
        ToolExecutor().run(crop_of(0, 0, 1, 1), MEDIA)


def test_missing_result_is_our_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_tool(monkeypatch, run=lambda *_: [])
    with pytest.raises(ToolBug, match="expected 1 results, got 0"):
        ToolExecutor().run(crop_of(0, 0, 1, 1), MEDIA)


def test_machine_out_of_memory_stops_the_run_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(calls: object, workplace: object) -> list[NDArray[np.uint8]]:
        raise MemoryError("no more")

    replace_tool(monkeypatch, run=greedy)
    with pytest.raises(PearlError, match=r"execution\.out_of_memory: tool crop") as raised:
        ToolExecutor().run(crop_of(0, 0, 1, 1), MEDIA)
    assert not isinstance(raised.value, ToolBug)


def test_range_error_inside_a_tool_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    def picky(calls: object, workplace: object) -> list[NDArray[np.uint8]]:
        raise fail("schema.range", "arguments.bbox", "something else", "this")

    replace_tool(monkeypatch, run=picky)
    executor = ToolExecutor()
    observation = executor.run(crop_of(0, 0, 1, 1), MEDIA)
    assert observation.error is not None
    assert (observation.error.code, observation.error.fault_owner) == ("schema.range", "caller")
    assert observation.exec is not None
    assert executor.run(crop_of(0, 0, 1, 1), MEDIA).exec.cache == "miss"  # type: ignore[union-attr]  # it ran


class HoleyDepth(FakeDepth):
    def map_of(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        depth = super().map_of(image)
        depth[0, 0] = np.nan
        return depth


def test_depth_that_is_not_finite_is_an_error_of_the_tool() -> None:
    error = ToolExecutor(depth_model=HoleyDepth()).run(call("depth"), MEDIA).error
    assert error is not None
    assert (error.code, error.fault_owner) == ("result.not_finite", "tool")
    assert error.got == "1 of 96 values are not finite"


# -- ids, cache, batches --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "expected"), [(["i0"], "o1"), (["i0", "i1", "o1"], "o2"), (["i0", "o2"], "o3")]
)
def test_new_media_are_numbered_on(known: list[str], expected: str) -> None:
    media: MediaMap = dict.fromkeys(known, PHOTO)
    [result] = ToolExecutor().run(crop_of(0, 0, 1, 1), media).media
    assert result.record.id == expected


def test_second_time_is_a_hit_with_equal_content() -> None:
    executor = ToolExecutor()
    first, second = (executor.run(crop_of(0.1, 0.1, 0.9, 0.9), MEDIA) for _ in range(2))
    assert first.exec is not None
    assert second.exec is not None
    assert (first.exec.cache, second.exec.cache) == ("miss", "hit")
    assert (first.exec.attempts, second.exec.attempts) == (1, 1)
    assert facts(first) == facts(second)
    executor.clear_cache()
    assert executor.run(crop_of(0.1, 0.1, 0.9, 0.9), MEDIA).exec.cache == "miss"  # type: ignore[union-attr]  # it ran


def test_a_call_on_an_opened_picture_hashes_no_root_and_equals_one_on_its_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: list[tuple[int, ...]] = []

    def counting(pixels: Pixels) -> str:
        hashed.append(pixels.shape)
        return pixel_sha256(pixels)

    monkeypatch.setattr("pearl_tools.types.pixel_sha256", counting)
    opened = as_medium(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))
    executor = ToolExecutor()
    calls = [crop_of(0, 0, 0.5, 0.5), crop_of(0, 0, 0.5, 0.5)]
    first, again = (executor.run(call, {"i0": opened}) for call in calls)
    assert hashed == []
    assert again.exec is not None
    assert again.exec.cache == "hit"
    known = Medium(facts=opened.record, pixels=opened.pixels)
    assert hashed == [(60, 80, 3)]
    assert opened.record is opened.record
    assert hashed == [(60, 80, 3)]
    same = ToolExecutor().run(calls[0], {"i0": known})
    assert (same.media, same.effective, same.text) == (first.media, first.effective, first.text)


def test_cached_result_gets_the_ids_of_its_own_conversation() -> None:
    executor = ToolExecutor()
    executor.run(crop_of(0, 0, 0.5, 0.5), MEDIA)
    other = {"i0": photo(20, 20), "i1": photo(id="i1"), "o1": PHOTO}
    observation = executor.run(call(image="i1", bbox=[0, 0, 0.5, 0.5]), other)
    assert observation.exec is not None
    assert observation.exec.cache == "hit"
    record = observation.media[0].record
    assert (record.id, record.parent) == ("o2", "i1")
    assert observation.text.startswith("o2 is a crop of i1")


def test_results_cannot_be_changed_behind_the_cache() -> None:
    [result] = ToolExecutor().run(crop_of(0, 0, 0.5, 0.5), MEDIA).media
    with pytest.raises(ValueError, match="read-only"):
        result.pixels[0, 0, 0] = 1


def test_zero_bytes_of_cache_remember_nothing() -> None:
    executor = ToolExecutor(ExecutorSettings(cache_bytes=0))
    for _ in range(2):
        observation = executor.run(crop_of(0, 0, 0.5, 0.5), MEDIA)
        assert observation.exec is not None
        assert observation.exec.cache == "miss"


def test_other_zoom_size_is_another_result() -> None:
    box = {"bbox": [0, 0, 0.5, 0.5]}
    sizes = [
        ToolExecutor(ExecutorSettings(zoom_long_side_px=n)).run(call("zoom", **box), MEDIA).media[0]
        for n in (100, 200)
    ]
    assert [m.record.width for m in sizes] == [100, 200]


def test_depth_runs_in_batches_of_equal_shape_and_duplicates_once() -> None:
    model = FakeDepth()
    executor = ToolExecutor(depth_model=model)
    large = [photo(64 + i // 10, 48) for i in range(10)]
    pictures = [drawn(number) for number in range(10)] + large[:1]
    requests = [(call("depth"), {"i0": picture}) for picture in [*pictures, *pictures]]
    observations = executor.run_many(requests)
    assert sorted(model.batches) == [1, 2, 8]
    hits = [o.exec.cache for o in observations if o.exec]
    assert hits == ["miss"] * 11 + ["hit"] * 11
    again = executor.run_many(requests)
    assert sorted(model.batches) == [1, 2, 8]
    assert [facts(o) for o in again] == [facts(o) for o in observations]


def drawn(number: int) -> Medium:
    from pearl_tools.media import as_medium

    return as_medium(np.full((40, 50, 3), number, np.uint8))


class PickyDepth(FakeDepth):
    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        if any(image.mean() == 3 for image in images):
            raise fail("execution.decode", "media", "another picture", "3")
        return super().predict(images)


def test_failure_in_a_batch_is_blamed_on_its_own_picture() -> None:
    executor = ToolExecutor(depth_model=PickyDepth())
    observations = executor.run_many([(call("depth"), {"i0": drawn(n)}) for n in range(6)])
    assert [o.status for o in observations] == ["ok"] * 3 + ["error"] + ["ok"] * 2


requests = st.lists(
    st.one_of(
        st.builds(
            lambda tool, x, y: call(tool, bbox=[x, y, x + 0.25, y + 0.25]),
            st.sampled_from(["crop", "zoom"]),
            st.sampled_from([0.0, 0.25, 0.5, 0.9]),
            st.sampled_from([0.0, 0.25, 0.5]),
        ),
        st.just(call("depth")),
        st.just(call("zoom", center=[0.5, 0.5], factor=3)),
        st.just(ToolCall(id="c9", tool="crop", arguments="{")),
    ),
    max_size=8,
)


@given(requests)
@settings(deadline=None)
def test_many_at_once_equal_one_by_one(calls: list[ToolCall]) -> None:
    together = ToolExecutor(depth_model=FakeDepth()).run_many([(c, MEDIA) for c in calls])
    alone = [ToolExecutor(depth_model=FakeDepth()).run(c, MEDIA) for c in calls]
    assert [facts(o) for o in together] == [facts(o) for o in alone]


def test_depth_record_says_what_it_ran_with() -> None:
    execution = ToolExecutor(depth_model=FakeDepth()).run(call("depth"), MEDIA).exec
    assert execution is not None
    assert (execution.model_id, execution.weights_sha256) == ("fake", "0" * 64)
    assert (execution.device, execution.dtype, execution.seed) == ("cpu", "float32", 0)
    assert set(execution.libraries) == {"torch", "numpy"}


def test_depth_record_names_the_library_that_another_model_runs_in() -> None:
    class Other(FakeDepth):
        libraries: tuple[str, ...] = ("transformers",)

    execution = ToolExecutor(depth_model=Other()).run(call("depth"), MEDIA).exec
    assert execution is not None
    assert execution.libraries == {
        "transformers": version("transformers"),
        "numpy": version("numpy"),
    }


def test_depth_covers_the_picture_it_is_of() -> None:
    [result] = ToolExecutor(depth_model=FakeDepth()).run(call("depth"), MEDIA).media
    assert (result.record.width, result.record.height) == (12, 8)
    assert result.record.box_root == (0, 0, 100, 80)
    assert result.record.parent == "i0"


def test_crop_and_zoom_do_not_load_a_depth_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: object, **options: object) -> object:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(executor_module, "load_depth_model", load)
    assert ToolExecutor().run(crop_of(0, 0, 1, 1), MEDIA).status == "ok"
    assert ToolExecutor().run(call("zoom", bbox=[0, 0, 1, 1]), MEDIA).status == "ok"
