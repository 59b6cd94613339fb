"""Lengths are those of the encoded samples; those scanned are spread over the whole split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_samples import changed, tiny_sample, with_second_root

from pearl_data.shards import BlockResult, DatasetReader, DatasetWriter
from pearl_data.trajectory import Trajectory
from pearl_tools.errors import BadInput
from pearl_train.doctor.even import spread
from pearl_train.doctor.lengths import percentile, scanned
from pearl_train.doctor.ranking import (
    BY_MEASURE,
    BY_TOKENS,
    Measures,
    likely_longest,
    measures,
)


@given(st.integers(1, 300), st.integers(1, 50))
def test_spread_takes_distinct_samples_from_everywhere(number: int, most: int) -> None:
    taken = spread(range(number), most)
    assert len(taken) == min(number, most)
    assert taken == sorted(set(taken))
    assert taken[0] == 0
    assert taken[-1] >= number - number // most - 1


@given(st.lists(st.integers(0, 99), min_size=1, max_size=40), st.floats(0.01, 1))
def test_a_percentile_is_not_exceeded_by_its_share(values: list[int], share: float) -> None:
    found = percentile(values, share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9


def test_the_longest_sample_and_the_figures_are_those_encoded(
    examined: Callable[..., Any],
) -> None:
    report, patient = examined("llava", until="lengths", samples=12)
    figures = report.checks[-1].figures
    lengths = {}
    for number in patient.numbers:
        encoded = patient.encode(number)
        row = [encoded.context, *encoded.branches.values(), encoded.target]
        lengths[encoded.key] = sum(len(span.ids) for span in row)
    assert figures["tokens_per_sample"]["max"] == max(lengths.values())
    assert lengths[figures["longest"]] == max(lengths.values())
    assert figures["tokens_per_picture"] == {"min": 16, "median": 16, "p95": 16, "max": 16}


LONG_PLACE, MANY_PLACE = 7, 17


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four samples; one has a long thought, another two root pictures of its own."""
    samples = [tiny_sample(6 * n) for n in range(24)]
    long = samples[LONG_PLACE].trajectory
    words = msgspec.structs.replace(long.steps[0], thought="I look again. " * 60)
    samples[LONG_PLACE] = changed(samples[LONG_PLACE], steps=[words, *long.steps[1:]])
    samples[MANY_PLACE] = with_second_root(samples[MANY_PLACE], 5)
    folder = tmp_path_factory.mktemp("many") / "set"
    with DatasetWriter.open(folder, {}, tools={}) as writer:
        writer.add_block(0, BlockResult(len(samples), samples, [], []))
        writer.close()
    return folder


def test_the_longest_of_a_large_split_is_found_by_its_record(
    many: Path, examined: Callable[..., Any]
) -> None:
    """A run pays for it, so memory is measured of it; distributions stay those of a fair draw."""
    report, patient = examined("llava", until="lengths", samples=3, data=many)
    key = patient.reader.places[LONG_PLACE].line.key
    assert patient.scan.longest.key == key
    assert key not in {one.key for one in patient.scan.samples}
    assert report.checks[-1].told.startswith(f"longest sample of 24 by their records {key}:")
    assert report.checks[-1].figures["tokens_per_sample"]["max"] < patient.scan.longest.tokens
    assert next(f for f in report.checks if f.check == "samples").told.startswith("3 of 24")
    tokens = {n: scanned(patient.encode(n), n).tokens for n in patient.numbers}
    assert patient.scan.longest.tokens == max(tokens.values())


def test_each_measure_brings_its_own(many: Path) -> None:
    reader = DatasetReader(many)
    by_pictures = likely_longest(reader, range(24), {0: 100, 8: 100, 16: 100})
    assert by_pictures.records == 24
    assert {LONG_PLACE, MANY_PLACE} <= set(by_pictures.first)
    assert not {0, 8, 16} & set(by_pictures.first)
    most = BY_TOKENS + BY_MEASURE * (len(Measures._fields) + 1)
    assert len(by_pictures.first) <= most


def test_a_record_that_cannot_be_read_is_heard_of(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = DatasetReader(many)
    whole = reader.record

    def torn(number: int) -> Trajectory:
        if number == 5:
            raise BadInput("sample 5: torn")
        return whole(number)

    monkeypatch.setattr(reader, "record", torn)
    ranked = likely_longest(reader, range(24), {0: 100, 8: 120})
    assert ranked.first[0] == 5
    assert ranked.records == 23


def test_large_pictures_count_as_they_are_made_smaller() -> None:
    record = tiny_sample(0).trajectory
    full, small = measures(record), measures(record, max_pixels=100)
    assert full.root_pixels == record.media[0].width * record.media[0].height > 100
    assert (small.roots, small.root_pixels) == (1, 100)
    assert small.told == full.told > 0
