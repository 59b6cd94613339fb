"""The card of the shipped depth weights: written from its JSON, by picture where held out."""

import re

from scripts import load_script

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
