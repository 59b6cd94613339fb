"""A picture that the model's processor refuses costs its sample, not the run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_samples import changed, tiny_sample, with_picture

from pearl_data.shards import BlockResult, DatasetWriter
from pearl_tools.errors import BadInput, UsageError
from pearl_train.cli.run import run as run_command
from pearl_train.errors import BY_PROCESSOR, BY_TOKENIZER, REFUSALS, UNLETTERED
from pearl_train.run.folder import RunFolder
from pearl_train.settings.config import Config, DataConfig
from pearl_train.settings.load import load_config
from pearl_train.training.checkpoint import newest_whole
from pearl_train.training.loop import train
from pearl_train.views.encode import Encoder
from pearl_train.views.left_out import too_many_refused
from pearl_train.views.tally import Account, Tally

Model = Callable[[str], Path]


def dataset(folder: Path, medium: str, strips: int = 1, samples: int = 12) -> Path:
    """Samples of ``train`` of which the last few hold a picture that no Qwen takes."""
    made = []
    for number in range(samples):
        sample = tiny_sample(number)
        made.append(with_picture(sample, medium, 1210, 6) if number >= samples - strips else sample)
    with DatasetWriter.open(folder, {}, tools={}) as writer:
        writer.add_block(0, BlockResult(len(made), made, [], []))
        writer.close()
    return folder


def configured(tiny_folder: Model, *sets: str) -> Config:
    """Four steps of six: two epochs."""
    shared = ["optim.steps=4", "optim.batch=6", "optim.micro_batch=3", "checkpoint.every=1",
              "log.tensorboard=false"]  # fmt: skip
    return load_config([], [*shared, *sets], {"model.id": str(tiny_folder("qwen2_5_vl"))})


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def test_a_refused_picture_is_a_drop_up_to_the_share_then_an_error_that_can_be_resumed(
    tmp_path: Path, tiny_folder: Model
) -> None:
    data = dataset(tmp_path / "set", "i0")
    allowed = configured(tiny_folder, "objective.name=sft", "data.max_dropped_share=0.1")
    straight = train(allowed, data, tmp_path / "straight", progress=False)
    assert straight.left_out == {f"dropped: {BY_PROCESSOR}": 1}
    assert straight.samples == 22, "two epochs of the eleven that are left"

    strict = configured(tiny_folder, "objective.name=sft")
    assert strict.data.max_dropped_share == 0.01
    with pytest.raises(BadInput) as refused:
        train(strict, data, tmp_path / "run", progress=False)
    said = str(refused.value)
    assert "of 12 samples to be refused (data.max_dropped_share), got 1: train-011" in said
    assert "medium i0" in said
    assert "1210x6 px" in said
    assert "--set data.max_dropped_share=" in said
    stopped = newest_whole(RunFolder(tmp_path / "run").checkpoints, print)
    assert stopped is not None
    step = said.removeprefix("step ").partition(":")[0]
    assert str(stopped.step) == step, "what was learned until then is kept"

    # resumed as it is it comes to the same point; with a larger share it ends as if never stopped
    with pytest.raises(BadInput, match="got 1: train-011"):
        train(strict, data, tmp_path / "run", resume=True, progress=False)
    resume = ["--resume", str(tmp_path / "run"), "--set", "data.max_dropped_share=0.1"]
    told = CliRunner().invoke(run_command, resume)
    assert told.exit_code == 0, told.output
    assert weights(tmp_path / "run") == weights(tmp_path / "straight")
    assert RunFolder(tmp_path / "run").read_data().left_out == straight.left_out
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"- dropped: {BY_PROCESSOR}: 1 samples" in card


@pytest.mark.parametrize("workers", [0, 2])
def test_words_that_the_tokenizer_refuses_and_choices_beyond_the_alphabet(
    workers: int, tmp_path: Path, tiny_folder: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the model does not take is a drop with its reason; also from a loader's worker."""
    many = [f"colour {number}" for number in range(27)]
    made = [tiny_sample(number) for number in range(12)]
    made[2] = changed(made[2], task__choices=many, task__answer=many[0])
    made[7] = changed(made[7], task__question="Where is the \N{SNOWMAN}?")
    with DatasetWriter.open(tmp_path / "set", {}, tools={}) as writer:
        writer.add_block(0, BlockResult(len(made), made, [], []))
        writer.close()
    ids = Encoder.ids

    def strict(encoder: Encoder, text: str) -> list[int]:
        tokenizer = encoder.tokenizer
        encoder.tokenizer = refusing if "\N{SNOWMAN}" in text else tokenizer
        try:
            return ids(encoder, text)
        finally:
            encoder.tokenizer = tokenizer

    def refusing(text: str, **options: bool) -> None:
        raise ValueError("no such character")

    monkeypatch.setattr(Encoder, "ids", strict)
    sets = ["data.max_dropped_share=0.2", "data.answers=letter", f"data.workers={workers}"]
    config = configured(tiny_folder, "objective.name=sft", *sets)
    result = train(config, tmp_path / "set", tmp_path / "run", progress=False)
    assert result.left_out == {f"dropped: {BY_TOKENIZER}": 1, f"dropped: {UNLETTERED}": 1}
    assert result.samples == 20


def test_choices_of_training_stay_as_they_were_when_a_run_is_resumed(
    tmp_path: Path, tiny_folder: Model, tiny_data: Path
) -> None:
    train(configured(tiny_folder, "optim.steps=1"), tiny_data, tmp_path / "run", progress=False)
    told = CliRunner().invoke(run_command, ["--resume", str(tmp_path / "run"), "--set", "seed=1"])
    assert isinstance(told.exception, UsageError)
    assert "remove --set seed=1" in str(told.exception)


@pytest.mark.parametrize("source", ["online", "frozen-base"])
def test_a_refused_picture_of_r_costs_only_who_reads_r(
    source: str, tmp_path: Path, tiny_folder: Model
) -> None:
    data = dataset(tmp_path / "set", "o1")
    sets = [f"objective.target.source={source}", "data.max_dropped_share=0.1"]
    pearl = train(configured(tiny_folder, *sets), data, tmp_path / "pearl", progress=False)
    assert pearl.left_out == {f"dropped: {BY_PROCESSOR}": 1}
    sft = configured(tiny_folder, "objective.name=sft")
    assert train(sft, data, tmp_path / "sft", progress=False).left_out == {}


def test_targets_of_which_too_many_are_refused_stop_the_run_before_its_first_step(
    tmp_path: Path, tiny_folder: Model
) -> None:
    data = dataset(tmp_path / "set", "o1", strips=2)
    sets = ["objective.target.source=frozen-base", "data.max_dropped_share=0.1"]
    for _ in range(2):  # also of targets that are made already
        with pytest.raises(BadInput, match=r"10 % of 12 samples .* got 2: train-010.*train-011"):
            train(configured(tiny_folder, *sets), data, tmp_path / "run", progress=False)


def test_a_refused_validation_picture_stops_nothing(tmp_path: Path, tiny_folder: Model) -> None:
    made = [tiny_sample(number) for number in range(6)]
    made += [with_picture(tiny_sample(100, "val"), "i0", 1210, 6), tiny_sample(101, "val")]
    with DatasetWriter.open(tmp_path / "set", {}, tools={}) as writer:
        writer.add_block(0, BlockResult(len(made), made, [], []))
        writer.close()
    config = configured(tiny_folder, "optim.steps=1")
    result = train(config, tmp_path / "set", tmp_path / "run", progress=False)
    assert result.left_out == {f"validation, dropped: {BY_PROCESSOR}": 1}
    assert result.validation is not None


@pytest.mark.parametrize(("refused", "samples", "share", "wrong"), [
    (0, 10, 0.0, False),
    (1, 10, 0.0, True),
    (1, 100, 0.01, False),
    (2, 100, 0.01, True),
    (1, 99, 0.01, True),
    (10, 10, 1.0, False),
])  # fmt: skip
def test_the_share_is_of_the_samples_of_the_split(
    refused: int, samples: int, share: float, wrong: bool
) -> None:
    found = {reason: {f"{reason}-{n}": "why"} for reason in REFUSALS for n in range(0)}
    found[BY_PROCESSOR] = {f"s{n}": "why" for n in range(refused)}
    found["too-long"] = {f"long-{n}": "" for n in range(samples)}
    data = DataConfig(max_dropped_share=share)
    assert bool(too_many_refused(found, samples, data)) == wrong


def test_processes_judge_the_same_samples_whoever_met_them() -> None:
    """Each met some; after an exchange all know all, and a sample met twice counts once."""
    known = [{"a": "", "b": ""}, {"b": "", "c": ""}]
    accounts = [
        Account({"": Tally(dropped={BY_PROCESSOR: dict(met)})}, samples=200) for met in known
    ]
    assert [bool(account.too_many_refused()) for account in accounts] == [False, False]
    states = [account.state() for account in accounts]
    for account in accounts:
        for state in states:
            account.add(state)
    said = {account.too_many_refused() for account in accounts}
    assert len(said) == 1
    assert "got 3: a (), b (), c ()" in said.pop()
    assert math.isclose(DataConfig().max_dropped_share, 0.01)
