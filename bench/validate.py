"""Validation in documents per second, ours against the ``jsonschema`` package, in one run.

Both get the same trajectories in the same process, in turns; of each document the best time counts,
so that what else runs on the machine hurts neither. ``jsonschema`` gets documents that are parsed
already; ours starts from bytes. No pixels are read here: this is the cost of a record.

    python bench/validate.py                 # drawn trajectories of the tests
    python bench/validate.py scenes          # those of a dataset
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import jsonschema
import msgspec

from pearl_data.schemas import trajectory_schema
from pearl_data.shards import DatasetReader
from pearl_data.trajectory import canonical_json
from pearl_data.validate import check_text
from pearl_data.validate.schema import parse, read_record, validator

ROUNDS = 20
AIM = 20.0


@click.command()
@click.argument("dataset", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--documents", default=60, show_default=True, type=click.IntRange(min=1))
def main(dataset: Path | None, documents: int) -> None:
    """Print documents per second of every way to validate, and how many times jsonschema's."""
    texts = _stored(dataset, documents) if dataset else _drawn(documents)
    parsed = [msgspec.json.decode(text) for text in texts]
    oracle = jsonschema.Draft202012Validator(trajectory_schema())
    compiled = validator()
    ways: list[tuple[str, Callable[[Any], object], list[Any]]] = [
        ("jsonschema: iter_errors, parsed", lambda d: list(oracle.iter_errors(d)), parsed),
        ("ours: schema alone, parsed", compiled.is_valid, parsed),
        ("ours: parse", parse, texts),
        ("ours: parse, schema, typed record", read_record, texts),
        ("ours: the whole record, all stages", check_text, texts),
    ]
    for text, document in zip(texts, parsed, strict=True):
        assert not check_text(text), "the documents must be valid: both then do all their work"
        assert not list(oracle.iter_errors(document))
    rates = _measure(ways)
    size = sum(map(len, texts)) / len(texts)
    calls = sum(len(step["calls"]) for d in parsed for step in d["steps"]) / len(parsed)
    print(f"{len(texts)} trajectories of {size:.0f} bytes and {calls:.1f} calls on average")
    print(f"{'':38}{'documents/s':>12}{'us each':>10}{'times':>8}")
    base = rates[0]
    for (name, *_), rate in zip(ways, rates, strict=True):
        print(f"{name:38}{rate:12.0f}{1e6 / rate:10.1f}{rate / base:8.1f}")
    print(f"aim: {AIM:.0f} times jsonschema for the whole; here {rates[-1] / base:.1f}")


def _measure(ways: list[tuple[str, Callable[[Any], object], list[Any]]]) -> list[float]:
    """Documents per second of each way, from the best time of every document."""
    best = [[float("inf")] * len(items) for _, _, items in ways]
    for _ in range(ROUNDS):
        for (_, run, items), times in zip(ways, best, strict=True):
            for index, item in enumerate(items):
                start = time.perf_counter()
                run(item)
                times[index] = min(times[index], time.perf_counter() - start)
    return [len(times) / sum(times) for times in best]


def _stored(dataset: Path, documents: int) -> list[bytes]:
    reader = DatasetReader(dataset)
    return [reader.members(index)["json"] for index in range(min(documents, len(reader)))]


def _drawn(documents: int) -> list[bytes]:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from trajectories import build_sample  # type: ignore[import-not-found]

    return [
        canonical_json(
            build_sample(
                f"s{seed:06d}",
                seed=seed,
                depth=seed % 2 == 0,
                second_crop=seed % 3 == 0,
                zoom=seed % 4 == 0,
            ).trajectory
        )
        for seed in range(documents)
    ]


if __name__ == "__main__":
    main()
