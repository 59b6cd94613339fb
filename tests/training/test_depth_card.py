"""The card of the shipped depth weights: written from its JSON, by picture where held out."""

import hashlib
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from scripts import load_script

from pearl_tools.depth.network import DepthNetwork

export = load_script("training/depth/export.py", neighbours=True)


def test_the_card_is_what_its_json_says() -> None:
    text = (export.WEIGHTS / "embedded.card.md").read_text("utf-8")
    assert text == export.card_text(export.read_card())


def test_the_card_has_every_held_out_picture_beside_another_network_and_the_rule() -> None:
    rows = export.read_card()["held_out"]
    pictures = {(row["set"], row["picture"]) for row in rows}
    redwood = {("redwood", f"{number:05d}") for number in range(5)}
    assert pictures == {("motorcycle", "motorcycle"), *redwood, ("redwood", None)}
    for place in pictures:
        methods = [row["method"] for row in rows if (row["set"], row["picture"]) == place]
        assert methods == ["embedded", "fast_depth_224.tflite", "rule: lower is nearer"]
    for row in rows:
        ordinal = row["ordinal"]
        assert ordinal["low"] < ordinal["value"] < ordinal["high"]
        told = f"{ordinal['value']:.3f} [{ordinal['low']:.2f}, {ordinal['high']:.2f}]"
        assert re.search(
            rf"{re.escape(row['method'])} \| {re.escape(told)}",
            export.card_text(export.read_card()),
        )


def test_exported_weights_are_whole_tilted_and_named_by_their_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "WEIGHTS", tmp_path / "weights")
    average = {name: value + 1 for name, value in DepthNetwork().state_dict().items()}
    stages = [{"name": "first", "steps": 4}, {"name": "second", "steps": 2}]
    export.export(average, stages, renderers=["worlds-0"], notes="a trial")
    path = tmp_path / "weights" / "embedded.safetensors"
    stored = load_file(path)
    assert float(stored["tilt"]) == pytest.approx(export.TILT)
    for name, value in average.items():
        if name != "tilt" and value.dtype.is_floating_point:
            assert stored[name].dtype == (torch.float16 if value.ndim > 1 else torch.float32)
            torch.testing.assert_close(stored[name].float(), value, rtol=1e-3, atol=1e-3)
    missing, unexpected = DepthNetwork().load_state_dict(stored, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    card = export.read_card()
    assert card["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (card["stages"], card["notes"], card["held_out"]) == (stages, "a trial", [])
    text = (tmp_path / "weights" / "embedded.card.md").read_text("utf-8")
    assert "Stage second: steps 2." in text
    assert "Not evaluated yet" in text
