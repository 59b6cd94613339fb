"""The validation split is read before a run's first checkpoint would find it wanting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_samples import with_long_validation

Examine = Callable[..., Any]


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_validation_split_of_which_little_can_be_read(
    kept: int, examined: Examine, tmp_path: Path
) -> None:
    data = with_long_validation(tmp_path / "set", kept=kept)
    limit = "data.max_tokens=300" if kept < 3 else "data.max_tokens=3000"
    found = examined("fast_vlm", limit, data=data, until="validation").report.checks[-1]
    assert (found.check, found.status) == ("validation", "warn" if kept < 3 else "pass")
    assert found.figures.get("left out, text-too-long", 0) == 3 - kept
    assert ("no validation loss" in found.told) == (not kept)
    assert ("data.max_tokens (300)" in found.remedy) == (kept < 3)


def test_a_damaged_validation_sample(examined: Examine, tmp_path: Path) -> None:
    data = with_long_validation(tmp_path / "set", kept=3)
    shard = max((data / "shards").glob("*.tar"))  # each split has shards of its own
    content = bytearray(shard.read_bytes())
    picture = content.rindex(b"\xff\xd8\xff")
    content[picture : picture + 400] = bytes(400)
    shard.write_bytes(content)
    found = examined(
        "fast_vlm", "data.max_tokens=3000", data=data, until="validation"
    ).report.checks[-1]
    assert (found.check, found.status) == ("validation", "fail")
    assert f"shards/{shard.name}, sample v2" in found.told
    assert "first checkpoint" in found.remedy


def test_nothing_is_said_of_a_validation_split_that_is_trained_on(examined: Examine) -> None:
    found = examined("llava", "data.split=val", until="validation").report.checks[-1]
    assert (found.status, found.remedy) == ("skip", "")
