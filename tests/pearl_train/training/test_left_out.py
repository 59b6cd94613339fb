"""What was left out of a run stays counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tiny_samples import with_long_validation

from pearl_data.shards.files import file_sha256
from pearl_train.run.folder import RunFolder
from pearl_train.run.result import RunResult
from pearl_train.settings.config import Config
from pearl_train.settings.load import load_config
from pearl_train.training.loop import train
from pearl_train.views.tally import Account, Tally


def test_processes_count_a_sample_once() -> None:
    one = Tally(dropped={"too-long": {"a": "", "b": ""}})
    one.merge(Tally(dropped={"too-long": {"b": ""}, "text-too-long": {"c": ""}}))
    assert one.counts() == {"dropped: too-long": 2, "dropped: text-too-long": 1}


Model = Callable[[str], Path]


def narrow(tiny_folder: Model, *sets: str) -> Config:
    """Four steps of three, an epoch of the tiny data, in rows that a few samples do not fit."""
    shared = ["optim.steps=4", "optim.batch=3", "optim.micro_batch=3", "data.max_tokens=345",
              "checkpoint.every=2", "log.tensorboard=false"]  # fmt: skip
    flags = {"model.id": str(tiny_folder("qwen2_5_vl"))}
    return load_config([], [*shared, *sets], flags)


def stopped_after(
    steps: int, config: Config, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that something ends in the update after so many."""
    from pearl_train.training import session

    before, done = session.update, list[int]()

    def until(*args: Any, **options: Any) -> Any:
        done.append(1)
        if len(done) > steps:
            raise OSError("the disk is full")
        return before(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(session, "update", until)
        with pytest.raises(OSError, match="disk"):
            train(config, data, out, progress=False)


def told(result: RunResult) -> list[Any]:
    """What a run says was left out or changed: its result, ``data.json`` and card."""
    folder = RunFolder(Path(result.out))
    card = [line for line in folder.card.read_text().splitlines() if line.endswith(" samples")]
    return [result.left_out, folder.read_data().left_out, card]


def without_counts(checkpoint: Path) -> None:
    """The checkpoint as releases wrote it that kept no counts."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    state = json.loads((checkpoint / "state.json").read_text())
    del state["left_out"]
    (checkpoint / "state.json").write_text(json.dumps(state))
    manifest["sha256"]["state.json"] = file_sha256(checkpoint / "state.json")
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


def test_a_stop_forgets_nothing_that_was_left_out_or_changed(
    tmp_path: Path, tiny_folder: Model, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = narrow(tiny_folder)
    straight = train(config, tiny_data, tmp_path / "straight", progress=False)
    assert straight.left_out == {"changed: downscaled": 2}
    stopped_after(3, config, tiny_data, tmp_path / "stopped", monkeypatch)
    stopped = RunFolder(tmp_path / "stopped")
    assert stopped.read_data().left_out == {"changed: downscaled": 2}
    assert "- changed: downscaled: 2 samples\n" in stopped.card.read_text()
    again = train(config, tiny_data, tmp_path / "stopped", resume=True, progress=False)
    assert told(again) == told(straight)

    # and what was found when targets were made, in this run or another, is what training finds
    for number in range(2):
        cached = narrow(
            tiny_folder,
            "objective.target.source=frozen-base",
            f"objective.target.cache={tmp_path / 'cache'}",
        )
        if number:
            monkeypatch.setattr("pearl_train.training.assemble.fill", pytest.fail)
        found = train(cached, tiny_data, tmp_path / f"cached-{number}", progress=False)
        assert found.left_out == straight.left_out
    targets = [{f.name for f in (tmp_path / f"cached-{n}" / "targets").iterdir()} for n in (0, 1)]
    assert targets[0] == targets[1]
    weights = [(tmp_path / f"cached-{n}" / "model" / "model.safetensors") for n in (0, 1)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_checkpoint_that_kept_no_counts_is_gone_on_from(
    tmp_path: Path, tiny_folder: Model, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = narrow(tiny_folder), RunFolder(tmp_path / "run")
    stopped_after(2, config, tiny_data, run.path, monkeypatch)
    without_counts(run.checkpoints / "step-000002")
    found = train(config, tiny_data, run.path, resume=True, progress=False)
    assert found.left_out == {"changed: downscaled": 1}, "those of the last two steps"

    # a finished run of such a release, whose data.json has the counts, is only completed
    facts = run.read_data()
    run.data.write_bytes(
        msgspec.json.encode(msgspec.structs.replace(facts, left_out={"changed: downscaled": 2}))
    )
    without_counts(run.checkpoints / "step-000004")
    again = train(config, tiny_data, run.path, resume=True, progress=False)
    assert again.left_out == {"changed: downscaled": 2}


def test_an_account_is_the_same_in_whatever_order_samples_come() -> None:
    one, other = Tally(), Tally()
    for key in "abc":
        one.change(key, "downscaled")
    for key in "cbab":
        other.change(key, "downscaled")
    states = [json.dumps(Account({"": tally}).state()) for tally in (one, other)]
    assert states[0] == states[1]


@pytest.mark.parametrize("kept", [0, 1])
def test_validation_samples_that_are_left_out_are_told_and_stop_nothing(
    kept: int, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    data = with_long_validation(tmp_path / "set", kept=kept)
    sets = ["optim.steps=2", "optim.batch=2", "optim.micro_batch=2", "log.tensorboard=false",
            "data.max_tokens=300", "checkpoint.every=1"]  # fmt: skip
    config = load_config([], sets, {"model.id": str(tiny_folder("fast_vlm")),
                                    "objective.name": "sft"})  # fmt: skip
    result = train(config, data, tmp_path / "run", progress=False)
    assert result.left_out == {"validation, dropped: text-too-long": 3 - kept}
    assert (result.validation is not None) == bool(kept)
    facts = RunFolder(tmp_path / "run").read_data()
    assert facts.validation_samples == kept
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"- validation, dropped: text-too-long: {3 - kept} samples" in card
    assert ("1 of split `val` for the validation loss" in card) == bool(kept)
