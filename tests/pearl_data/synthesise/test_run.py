from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from drawn import coco_set, picture

from pearl_data.depth_eval.selftest import pictures
from pearl_data.shards import DatasetReader
from pearl_data.sources import open_source, parse_source
from pearl_data.sources.base import QuestionSettings
from pearl_data.synthesise import SynthesisSettings, run, synthesise
from pearl_data.synthesise.block import SlotResult
from pearl_data.synthesise.run import _Need
from pearl_data.validate import validate_paths
from pearl_tools.errors import BadInput, UsageError
from pearl_tools.executor import ExecutorSettings


class Stopped(Exception):
    """The point that a test wanted to reach."""


def _stop(*_: object, **__: object) -> None:
    raise Stopped


def settings(path: Path, images: Path, **changes: object) -> SynthesisSettings:
    kind = "jsonl" if path.suffix == ".jsonl" else "coco"
    fields: dict[str, object] = {
        "source": parse_source(f"{kind}:{path}", images),
        "questions": QuestionSettings(tools=["crop", "zoom"], seed=3),
        "executor": ExecutorSettings(),
        "samples_per_shard": 20,
    }
    return SynthesisSettings(**{**fields, **changes})  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    """Everything that identical work must make identical: all but timings and the page."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parts[-2] != "timings"
    }


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set", images=24)
    for workers in (0, 1, 2, 4):
        synthesise(tmp_path / f"w{workers}", settings(path, tmp_path / "set"), workers=workers)
    one = files(tmp_path / "w0")
    assert len([name for name in one if name.startswith("shards/")]) >= 2
    assert files(tmp_path / "w1") == one
    assert files(tmp_path / "w2") == one
    assert files(tmp_path / "w4") == one


class Seer:
    """Knows the self-test's pictures, up to what ``view`` makes of them; elsewhere the row."""

    model_id, output, weights_sha256, device, dtype = "seer", "inverse", "0" * 64, "cpu", "float32"
    libraries: tuple[str, ...] = ()

    def __init__(self, view: Callable[[np.ndarray], np.ndarray]) -> None:
        self.view = view

    def predict(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        shown = {p.image.tobytes(): p.inverse_m for p in pictures()}
        rows = np.arange(32, dtype=np.float32)[:, None].repeat(32, axis=1)
        return [self.view(shown.get(image.tobytes(), rows)).astype(np.float32) for image in images]


def of_depth(folder: Path) -> SynthesisSettings:
    """About distances, on drawn pictures."""
    path = coco_set(folder, images=24)
    return settings(path, folder, questions=QuestionSettings(tools=["depth"], seed=3))


def test_a_worker_loads_the_depth_model_once_and_uses_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, asked, threads = [], [], []

    class Counting(Seer):
        def predict(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
            asked.append(len(images))
            return super().predict(images)

    def load(*_: object, **__: object) -> Seer:
        loaded.append(Counting(lambda inverse: inverse))
        return loaded[-1]

    monkeypatch.setattr("pearl_tools.executor.load_depth_model", load)
    monkeypatch.setattr(run, "one_thread", lambda *, depth: threads.append(depth))
    chosen = of_depth(tmp_path / "set")
    computer = run.BlockComputer(chosen, test=False)
    for index in range(3):
        computer.run(index)
    assert len(asked) > 1
    assert len(loaded) == 1
    assert threads == [True]
    run.BlockComputer(settings(tmp_path / "set" / "set.coco.json", tmp_path / "set"), test=False)
    assert threads == [True, False], "torch is not loaded for nothing"


def test_the_library_of_another_depth_model_is_part_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(Seer):
        libraries: tuple[str, ...] = ("transformers", "no-such-library")

    chosen = of_depth(tmp_path / "set")

    def libraries(model: Seer) -> dict[str, str]:
        monkeypatch.setattr("pearl_tools.executor.load_depth_model", lambda *_, **__: model)
        source = open_source(chosen.source, chosen.questions)
        depth = run.BlockComputer(chosen, source, test=False).facts
        found: dict[str, str] = run.configuration(chosen, source, depth)["libraries"]
        return found

    shipped = libraries(Seer(lambda inverse: inverse))
    assert list(shipped) == ["numpy", "pillow", "opencv-python", "torch", "timm"]
    other = libraries(Other(lambda inverse: inverse))
    more = {"transformers": version("transformers"), "no-such-library": "absent"}
    assert other == {**shipped, **more}


def synthesise_with(view: Callable[[np.ndarray], np.ndarray], out: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pearl_tools.executor.load_depth_model", lambda *_, **__: Seer(view))
        questions = QuestionSettings(tools=["depth"], seed=3)
        source = parse_source("rendered", None)
        synthesise(
            out,
            SynthesisSettings(
                source=source, questions=questions, executor=ExecutorSettings(), limit=1
            ),
        )


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (lambda inverse: -inverse, "'seer': larger = farther, .* no metric depth"),
        (lambda inverse: inverse * np.nan, "'seer': values that are not finite"),
    ],
    ids=["flipped", "nan"],
)
def test_a_depth_model_of_the_opposite_sign_writes_nothing(
    tmp_path: Path, view: Callable[[np.ndarray], np.ndarray], told: str
) -> None:
    with pytest.raises(BadInput, match=told):
        synthesise_with(view, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_depth_model_whose_sign_is_unclear_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:  # what follows the check is not of interest here
        patch.setattr("pearl_data.synthesise.run.DatasetWriter.open", _stop)
        with pytest.raises(Stopped):
            synthesise_with(np.zeros_like, tmp_path / "out")
        assert "warning: depth model 'seer': not correlated" in capsys.readouterr().err
        with pytest.raises(Stopped):
            synthesise_with(lambda inverse: inverse, tmp_path / "out")
        assert "warning" not in capsys.readouterr().err


def test_no_more_blocks_are_computed_ahead_than_a_limit_needs() -> None:
    written = 0
    need = _Need(20, lambda: written)
    assert need.blocks(4) == 4, "one for each worker, while nobody knows what a block yields"
    need.saw([SlotResult(sample=object(), quarantined=[], timings=[])] * 6)  # type: ignore[arg-type]
    written = 6
    assert need.blocks(4) == 3, "14 more, 6 a block"
    written = 19
    assert need.blocks(4) == 1
    assert _Need(None, lambda: 0).blocks(4) == 8
    assert _Need(6, lambda: 0, most_in_block=28).blocks(4) == 1, "one block holds more than that"
    assert _Need(200, lambda: 0, most_in_block=28).blocks(4) == 8


def test_another_seed_asks_something_else(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set")
    synthesise(tmp_path / "a", settings(path, tmp_path / "set"))
    other = QuestionSettings(tools=["crop", "zoom"], seed=4)
    synthesise(tmp_path / "b", settings(path, tmp_path / "set", questions=other))
    assert DatasetReader(tmp_path / "a").keys() != DatasetReader(tmp_path / "b").keys()


def test_what_is_written_is_valid_and_replays_equal(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set")
    summary = synthesise(tmp_path / "out", settings(path, tmp_path / "set"))
    report = validate_paths([tmp_path / "out"], replay=True)
    assert summary.written >= 10
    assert report.findings == []
    assert {tool: count.equal == count.calls for tool, count in report.replay.items()} == {
        "crop": True,
        "zoom": True,
    }


def test_inputs_are_written_quarantined_or_duplicates(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture([("red", (32, 24, 96, 72))]))
    row = {
        "image": "a.png",
        "question": "What colour?",
        "choices": ["red", "blue"],
        "answer": "red",
        "evidence": [{"bbox": [0.1, 0.1, 0.3, 0.3]}],
    }
    rows = [row, row, {**row, "image": "gone.png"}, {**row, "question": "Which colour?"}]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    summary = synthesise(tmp_path / "out", settings(path, folder))
    assert (summary.inputs, summary.written, summary.quarantined, summary.duplicates) == (
        4,
        2,
        1,
        1,
    )
    (line,) = (tmp_path / "out/quarantine/000000.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"]["code"] == "reference.no_such_file"
    assert json.loads(line)["record"]["image"] == "gone.png"


def test_the_limit_is_met_exactly_for_any_number_of_workers(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set", images=10)
    for workers in (1, 2):
        limited = settings(path, tmp_path / "set", limit=13)
        summary = synthesise(tmp_path / f"w{workers}", limited, workers=workers)
        assert summary.written == 13
    assert files(tmp_path / "w1") == files(tmp_path / "w2")


def test_one_picture_is_never_in_both_splits(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set", images=12)
    synthesise(tmp_path / "out", settings(path, tmp_path / "set", val_share=0.4))
    splits: dict[str, set[str]] = {}
    for sample in DatasetReader(tmp_path / "out"):
        root = sample.trajectory.media[0].pixel_sha256
        splits.setdefault(root, set()).add(sample.trajectory.split)
    assert all(len(names) == 1 for names in splits.values())
    assert set.union(*splits.values()) == {"train", "val"}


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set")
    synthesise(tmp_path / "out", settings(path, tmp_path / "set"))
    with pytest.raises(BadInput, match="val_share"):
        synthesise(tmp_path / "out", settings(path, tmp_path / "set", val_share=0.5))


def test_a_finished_set_is_left_as_it_is(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set")
    first = synthesise(tmp_path / "out", settings(path, tmp_path / "set"))
    before = files(tmp_path / "out")
    assert synthesise(tmp_path / "out", settings(path, tmp_path / "set")) == first
    assert files(tmp_path / "out") == before


def test_misuse_is_told_before_anything_is_written(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set")
    for changes, words in (
        ({"questions": QuestionSettings(tools=["crop", "magnify"])}, "magnify"),
        ({"questions": QuestionSettings(tools=[])}, "--tools"),
        ({"source": parse_source("rendered", None)}, "--limit"),
    ):
        with pytest.raises(UsageError, match=words):
            synthesise(tmp_path / "out", settings(path, tmp_path / "set", **changes))
    assert not (tmp_path / "out").exists()


def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set", images=120)
    command = [
        sys.executable, "-m", "pearl_data.cli.main", "synth", "--tools", "crop,zoom",
        "--source", f"coco:{path}", "--images", str(tmp_path / "set"), "--samples-per-shard", "20",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["tools", "."])}
    out = tmp_path / "killed"
    process = subprocess.Popen([*command, "--out", str(out)], env=environment)
    deadline = time.monotonic() + 60
    while not (out / "shards/000001.tar").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert '"kind":"summary"' not in (out / "manifest.jsonl").read_text()
    for folder in (out, tmp_path / "whole"):
        subprocess.run([*command, "--out", str(folder)], env=environment, check=True)
    keep = {n: d for n, d in files(out).items() if n != "index.html"}
    assert keep == {n: d for n, d in files(tmp_path / "whole").items() if n != "index.html"}


def test_real_coco_photographs_become_a_valid_set(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "coco"
    summary = synthesise(tmp_path / "out", settings(folder / "test_coco.json", folder))
    assert summary.written >= 5
    assert validate_paths([tmp_path / "out"], replay=True).findings == []


def test_other_pictures_are_another_set(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set")
    synthesise(tmp_path / "out", settings(path, tmp_path / "set"))
    first = min((tmp_path / "set").glob("*.png"))
    shutil.copytree(tmp_path / "set", tmp_path / "other", ignore=shutil.ignore_patterns(first.name))
    with pytest.raises(BadInput, match=r"source\.pictures"):
        synthesise(tmp_path / "out", settings(path, tmp_path / "other"))


def test_the_wrong_pictures_do_not_block_the_folder_for_the_right_ones(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set")
    (tmp_path / "empty").mkdir()
    nothing = synthesise(tmp_path / "out", settings(path, tmp_path / "empty"))
    assert (nothing.written, nothing.quarantined) == (0, 3)
    right = settings(path, tmp_path / "set")
    assert synthesise(tmp_path / "out", right) == synthesise(tmp_path / "direct", right)
    assert files(tmp_path / "out") == files(tmp_path / "direct")


@pytest.mark.parametrize(("first", "then"), [(11, 17), (20, 43), (17, None), (None, 90)])
def test_a_finished_set_grows_to_what_one_run_makes(
    tmp_path: Path, first: int | None, then: int | None
) -> None:
    path = coco_set(tmp_path / "set", images=9)
    for name, limit, workers in (("out", first, 0), ("out", then, 2), ("direct", then, 0)):
        asked = settings(path, tmp_path / "set", limit=limit, val_share=0.3)
        before = samples_of(tmp_path / "out") if name == "out" and limit == then else {}
        synthesise(tmp_path / name, asked, workers=workers)
        after = samples_of(tmp_path / name)
        assert {key: after[key] for key in before} == before
    assert files(tmp_path / "out") == files(tmp_path / "direct")


def samples_of(folder: Path) -> dict[str, dict[str, bytes]]:
    reader = DatasetReader(folder)
    return {key: reader.members(number) for number, key in enumerate(reader.keys())}


def test_a_smaller_limit_than_what_is_there_is_refused(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set")
    synthesise(tmp_path / "out", settings(path, tmp_path / "set", limit=11))
    before = files(tmp_path / "out")
    with pytest.raises(BadInput, match="holds 11 trajectories, expected a limit of at least"):
        synthesise(tmp_path / "out", settings(path, tmp_path / "set", limit=10))
    assert files(tmp_path / "out") == before


def test_every_one_of_many_places_is_looked_at(tmp_path: Path) -> None:
    boxes = [(20 + 50 * k, 30 + 30 * (k % 2), 40 + 50 * k, 50 + 30 * (k % 2)) for k in range(5)]
    (tmp_path / "a.png").write_bytes(picture([("red", box) for box in boxes]))
    evidence = [
        {"bbox": [x0, y0, x1, y1], "label": f"box {k}"} for k, (x0, y0, x1, y1) in enumerate(boxes)
    ]
    row = {"image": "a.png", "bbox_unit": "pixel", "question": "All of one colour?",
           "choices": ["yes", "no"], "answer": "yes", "evidence": evidence}  # fmt: skip
    path = tmp_path / "фото.jsonl"
    path.write_text(json.dumps(row))
    summary = synthesise(tmp_path / "out", settings(path, tmp_path))
    assert (summary.written, summary.quarantined) == (1, 0)
    assert not validate_paths([tmp_path / "out"], replay=True).findings
    (sample,) = DatasetReader(tmp_path / "out")
    assert sum(len(step.calls) for step in sample.trajectory.steps) >= 5


def test_terminated_it_says_so_and_leaves_no_worker(tmp_path: Path) -> None:
    path = coco_set(tmp_path / "set", images=400)
    command = [
        sys.executable, "-m", "pearl_data.cli.main", "synth", "--tools", "crop,zoom",
        "--source", f"coco:{path}", "--images", str(tmp_path / "set"), "--samples-per-shard", "20",
        "--workers", "2", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["tools", "."])}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "out/shards/000000.tar").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.terminate()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to resume" in told
    assert "Traceback" not in told
    deadline = time.monotonic() + 20
    while _lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(process.pid)


def _lives(session: int) -> bool:
    """Whether any process of a session is left."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_was_not_asked_is_said_at_once_and_on_the_card(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = coco_set(tmp_path / "set")
    document = json.loads(path.read_text())
    for number, item in enumerate(document["annotations"]):
        item["attributes"] |= {"track_id": number, "lit": "yes"}
    path.write_text(json.dumps(document))
    synthesise(tmp_path / "out", settings(path, tmp_path / "set"), workers=2)
    lines = ["attributes not asked (only yes and no): lit",
             "attributes not asked (bookkeeping): track_id"]  # fmt: skip
    assert [line for line in capfd.readouterr().err.splitlines() if "not asked" in line] == [
        f"synth: {line}" for line in lines
    ]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "How the source was read:\n\n    " + "\n    ".join(lines) + "\n\n" in card
