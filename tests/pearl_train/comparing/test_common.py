"""All rows train on the samples that every row can take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_samples import tiny_sample, with_picture

from pearl_data.shards import BlockResult, DatasetWriter
from pearl_tools.errors import BadInput, UsageError
from pearl_train.comparing.compare import Comparison, Request, compare
from pearl_train.report.comparison import render
from pearl_train.report.comparison_table import footnotes, main_rows, table_text
from pearl_train.run.folder import NOT_COMMON, OF_VALIDATION, RunFolder
from pearl_train.settings.variants import parse_variants
from pearl_train.training.loader import TrainingData
from pearl_train.views.batch import Batch

Model = Callable[[str], Path]
SETTINGS = ("optim.steps=2", "optim.batch=2", "optim.micro_batch=2", "log.tensorboard=false",
            "evaluate.max_new_tokens=3", "evaluate.max_turns=1",
            "evaluate.tool_turn_tokens=3")  # fmt: skip
#: The whole trajectory of three of the twelve samples fits, R of seven, every answer.
NARROW = "data.max_tokens=330"


def request(data: Path, model: Path, out: Path, objectives: str, *sets: str) -> Request:
    variants, flags = parse_variants(objectives), {"model.id": str(model)}
    return Request(data=data, out=out, variants=variants, sets=[*SETTINGS, *sets], flags=flags)


def rows_of(asked: Request) -> dict[str, RunFolder]:
    return {v.name: RunFolder(asked.out / "runs" / v.name) for v in asked.variants}


@pytest.fixture(scope="module")
def narrow(
    tiny_data: Path, tiny_folder: Model, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Request, Comparison, dict[str, list[str]]]:
    """A comparison in which some trajectories are too long for some rows, and what each row saw."""
    asked = request(
        tiny_data,
        tiny_folder("fast_vlm"),
        tmp_path_factory.mktemp("narrow") / "out",
        "sft,pearl,tools,sft+view=chat",
        NARROW,
    )
    seen: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patch:
        batches = TrainingData.batches

        def noted(
            data: TrainingData, start: int = 0, stop: int | None = None
        ) -> Iterator[list[Batch]]:
            found: list[str] = []
            if not start:
                seen.append(found)
            for step in batches(data, start, stop):
                found += [key for batch in step for key in batch.keys]
                yield step

        patch.setattr(TrainingData, "batches", noted)
        made = compare(asked)
    return asked, made, dict(zip((v.name for v in asked.variants), seen, strict=True))


def test_every_row_trains_on_the_same_samples_in_the_same_order(
    narrow: tuple[Request, Comparison, dict[str, list[str]]],
) -> None:
    asked, found, seen = narrow
    lost = found.cannot_take
    assert 0 < lost["pearl"] < lost["tools"] == lost["sft+view=chat"] < 12
    assert "sft" not in lost
    assert (found.train_samples, found.train_of) == (12 - lost["tools"], 12)
    assert len({tuple(keys) for keys in seen.values()}) == 1
    assert len(seen["sft"]) == 4, "no batch has a gap"
    folders = rows_of(asked)
    apart = [folder.read_without() for folder in folders.values()]
    assert all(one == apart[0] for one in apart)
    assert len(apart[0]) == lost["tools"]
    assert set(seen["sft"]) & apart[0].keys() == set()
    for folder in folders.values():
        facts = folder.read_data()
        assert facts.samples == found.train_samples
        trained = {n: k for n, k in facts.left_out.items() if not n.startswith(OF_VALIDATION)}
        assert trained == {NOT_COMMON: lost["tools"]}
        assert f"- {NOT_COMMON}: {lost['tools']} samples" in folder.card.read_text()


def test_the_head_of_text_and_page_says_how_many(
    narrow: tuple[Request, Comparison, dict[str, list[str]]],
) -> None:
    _, found, _ = narrow
    lost = found.cannot_take
    words = (
        f"{found.train_samples} of 12 trajectories (those every row can use: pearl cannot use "
        f"{lost['pearl']}, tools cannot use {lost['tools']}, "
    )
    assert words in table_text(found).splitlines()[0]
    assert words in render(found, b"png").partition("<table>")[0]
    assert not [line for line in table_text(found).splitlines() if "did not see exactly" in line]


def test_rows_asked_otherwise_than_they_were_trained_are_marked(
    narrow: tuple[Request, Comparison, dict[str, list[str]]],
) -> None:
    _, found, _ = narrow
    assert [row.asked for row in found.rows] == [
        "Answer:",
        "Answer:",
        "Answer:",
        "its own turns, with tools",
        "Answer:",
    ]
    assert [row.otherwise for row in found.rows] == [False, False, False, False, True]
    names = [cells[0] for cells in main_rows(found)][2:]
    assert names == ["base", "sft", "pearl", "tools", "sft+view=chat †"]
    [note] = footnotes(found)
    assert note.startswith("† sft+view=chat: trained to write thoughts and calls first")
    assert note in table_text(found).splitlines()
    assert "† sft+view=chat: trained" in render(found, b"png")
    head = re.findall(r"<th[^>]*>(.*?)</th>", render(found, b"png"))
    assert "asked" in head


def test_a_run_is_resumed_with_its_own_samples_and_rows_may_be_fewer(
    narrow: tuple[Request, Comparison, dict[str, list[str]]],
) -> None:
    asked, found, _ = narrow
    fewer = Request(**{**vars(asked), "variants": parse_variants("sft,pearl")})
    again = compare(fewer)
    assert again.rows[1].training == found.rows[1].training
    assert again.train_samples == found.train_samples, "what the runs were trained on"


def test_a_row_that_cannot_take_what_others_were_trained_on_is_refused(
    tiny_data: Path, tiny_folder: Model, tmp_path: Path
) -> None:
    asked = request(tiny_data, tiny_folder("fast_vlm"), tmp_path / "out", "sft", NARROW)
    assert compare(asked).train_samples == 12
    more = Request(**{**vars(asked), "variants": parse_variants("sft,tools")})
    with pytest.raises(UsageError, match=r"got sft, which train on more; \d of them .*--samples"):
        compare(more)
    each = compare(Request(**{**vars(more), "samples": "each"}))
    assert each.rows[2].training is not None
    assert "each row on those it can use: tools cannot use" in table_text(each)
    assert rows_of(more)["tools"].read_without() == {}


def test_nothing_that_every_row_can_take_is_an_error_that_says_why(
    tiny_data: Path, tiny_folder: Model, tmp_path: Path
) -> None:
    model = tiny_folder("fast_vlm")
    asked = request(tiny_data, model, tmp_path, "sft,tools", "data.max_tokens=150")
    with pytest.raises(BadInput, match=r"none of 12: .*tools cannot use 12; .*data\.max_tokens"):
        compare(asked)


def test_a_refused_picture_takes_no_part_and_its_question_is_unanswerable(
    tiny_folder: Model, tmp_path: Path
) -> None:
    made = [tiny_sample(n) for n in range(5)] + [tiny_sample(n, "test") for n in (200, 201)]
    made[4] = with_picture(made[4], "i0", 1210, 6)
    made[6] = with_picture(made[6], "i0", 1210, 6)
    with DatasetWriter.open(tmp_path / "set", {}, tools={}) as writer:
        writer.add_block(0, BlockResult(len(made), made, [], []))
        writer.close()
    model, out = tiny_folder("qwen2_5_vl"), tmp_path / "out"
    asked = request(tmp_path / "set", model, out, "sft,lvr", "objective.lvr.latents=2")
    with pytest.raises(BadInput, match=r"row sft: .* of 5 samples .* got 1: train-004"):
        compare(asked)
    found = compare(Request(**{**vars(asked), "sets": [*asked.sets, "data.max_dropped_share=0.5"]}))
    assert (found.train_samples, found.train_of) == (4, 5)
    assert {row.result.overall.accuracy.n for row in found.rows} == {2}
    assert [row.result.overall.unanswerable for row in found.rows] == [1, 1, 1]
    assert footnotes(found)[-1].endswith("counted as wrong: base 1, sft 1, lvr 1.")
