"""One strip among many pictures is found before the run meets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_samples import changed, tiny_sample, with_picture

from pearl_data.shards import BlockResult, DatasetWriter, Sample
from pearl_train.doctor.checks import Examination
from pearl_train.doctor.findings import Finding

Examine = Callable[..., Examination]


def dataset(folder: Path, samples: list[Sample]) -> Path:
    with DatasetWriter.open(folder, {}, tools={}) as writer:
        writer.add_block(0, BlockResult(len(samples), samples, [], []))
        writer.close()
    return folder


def many(split: str = "train") -> list[Sample]:
    first = 100 * (split == "val")
    return [tiny_sample(first + n, split) for n in range(40)]


def checked(examined: Examine, data: Path, *sets: str, objective: str = "pearl") -> Finding:
    """The check of samples, of which four of the forty are encoded."""
    options = {"data": data, "samples": 4, "until": "samples", "objective": objective}
    return examined("qwen2_5_vl", *sets, **options).report.checks[-1]


@pytest.mark.parametrize(
    ("medium", "width", "height"), [("i0", 1210, 6), ("i0", 6, 1210), ("o1", 1210, 6)]
)
def test_every_picture_is_looked_at_not_those_encoded(
    medium: str, width: int, height: int, examined: Examine, tmp_path: Path
) -> None:
    samples = many()
    samples[18] = with_picture(samples[18], medium, width, height)
    data = dataset(tmp_path / "set", samples)
    found = checked(examined, data)
    assert found.status == "fail"
    assert found.figures["refused"] == ["train-018"]
    assert "at most 1 % of 40 samples to be refused" in found.told
    assert f"train-018 (medium {medium}" in found.told
    assert f"{width}x{height} px" in found.told
    assert "data.max_dropped_share (0.01)" in found.remedy
    assert "validate" not in found.remedy
    allowed = checked(examined, data, "data.max_dropped_share=0.05")
    assert allowed.status == "warn"
    assert "1 of all are refused by the model and dropped" in allowed.told
    assert allowed.figures["refused"] == ["train-018"]
    if medium == "o1":  # who does not read what the tools showed takes the sample
        assert checked(examined, data, objective="sft").figures["refused"] == []


def test_a_narrow_picture_that_the_model_takes_is_no_finding(
    examined: Examine, tmp_path: Path
) -> None:
    samples = many()
    samples[18] = with_picture(samples[18], "i0", 1200, 6)
    samples[19] = with_picture(samples[19], "i0", 3, 3)
    found = checked(examined, dataset(tmp_path / "set", samples))
    assert found.status == "pass", found.told
    assert found.figures["refused"] == []


def test_more_choices_than_letters_are_found_by_the_record(
    examined: Examine, tmp_path: Path
) -> None:
    samples = many()
    choices = [f"colour {n}" for n in range(27)]
    samples[18] = changed(samples[18], task__choices=choices, task__answer=choices[0])
    data = dataset(tmp_path / "set", samples)
    found = checked(examined, data, "data.answers=letter")
    assert found.figures["refused"] == ["train-018"]
    assert 'set data.answers = "text"' in found.remedy
    assert checked(examined, data).figures["refused"] == []


def test_a_refused_validation_picture_is_told(examined: Examine, tmp_path: Path) -> None:
    samples = [*many()[:4], *many("val")]
    samples[21] = with_picture(samples[21], "i0", 1210, 6)
    data = dataset(tmp_path / "set", samples)
    found = examined("qwen2_5_vl", data=data, samples=4, until="validation").report.checks[-1]
    assert (found.check, found.status) == ("validation", "warn")
    assert found.figures["refused"] == [samples[21].trajectory.id]
    assert any("1210x6 px" in line for line in found.lines)
