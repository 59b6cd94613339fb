from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from torch import Tensor

from pearl_tools.errors import UsageError
from pearl_train.asking.evaluate import Answered, Evaluation, line_of, summarise
from pearl_train.asking.item_lines import Header, ItemLine
from pearl_train.asking.questions import Item, Question
from pearl_train.asking.scoring import Expected
from pearl_train.asking.statistics import paired, rate
from pearl_train.comparing.blind_rule import BlindRule, most_frequent
from pearl_train.comparing.compare import (
    PAGE,
    PICTURE,
    RESULT,
    Comparison,
    Request,
    Row,
    compare,
)
from pearl_train.comparing.held_out import Asked
from pearl_train.comparing.latents import LatentDiagnosis
from pearl_train.comparing.training_cost import Training, training_cost
from pearl_train.errors import Diverged
from pearl_train.model.backbone import Backbone
from pearl_train.objectives.target import embed_rows
from pearl_train.report.comparison import render
from pearl_train.report.comparison_table import MAIN, conclusions, family_tables, table_text
from pearl_train.run.folder import RunFolder
from pearl_train.settings.config import Config, ObjectiveConfig, OptimConfig, TargetConfig
from pearl_train.settings.variants import differences, other_choices, parse_variants
from pearl_train.views.batch import Batch

SETTINGS = (
    "optim.steps=2",
    "optim.batch=2",
    "optim.micro_batch=2",
    "log.every=1",
    "log.tensorboard=false",
    "evaluate.max_new_tokens=3",
    "evaluate.max_turns=2",
    "evaluate.tool_turn_tokens=3",
    "objective.lvr.latents=2",
)


def request(data: Path, model: Path, out: Path, objectives: str, *sets: str) -> Request:
    return Request(
        data=data,
        out=out,
        variants=parse_variants(objectives),
        sets=[*SETTINGS, *sets],
        flags={"model.id": str(model)},
    )


@pytest.fixture(scope="module")
def compared(
    tiny_data: Path, tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Request, Comparison]:
    """All four objectives on the tiny data, two steps each."""
    out = tmp_path_factory.mktemp("compared") / "out"
    asked = request(tiny_data, tiny_folder("fast_vlm"), out, "sft,lvr,pearl,tools")
    return asked, compare(asked)


def test_every_objective_has_a_row_on_the_same_questions(
    compared: tuple[Request, Comparison],
) -> None:
    _, found = compared
    assert [row.name for row in found.rows] == ["base", "sft", "lvr", "pearl", "tools"]
    assert [row.result.mode for row in found.rows] == ["direct", "direct", "lvr", "direct", "tools"]
    assert {row.result.overall.accuracy.n for row in found.rows} == {4}
    assert [row.against is None for row in found.rows] == [False, True, False, False, False]
    assert [row.tools is None for row in found.rows] == [True, True, True, True, False]
    assert found.rows[0].training is None
    for row in found.rows[1:]:
        assert row.training is not None
        assert row.training.seconds is not None
    assert found.chance == pytest.approx(1 / 3)
    assert found.latents is not None
    assert (found.latents.latents, found.latents.questions) == (2, 4)
    assert found.latents.right_region.n == 8


def test_the_same_data_order_and_seed_stand_behind_all_rows(
    compared: tuple[Request, Comparison],
) -> None:
    asked, found = compared
    configs = [RunFolder(asked.out / "runs" / r.name).read_config() for r in found.rows[1:]]
    first = msgspec.structs.replace(configs[0], objective=ObjectiveConfig())
    for config in configs:
        assert msgspec.structs.replace(config, objective=ObjectiveConfig()) == first
    facts = [RunFolder(asked.out / "runs" / r.name).read_data() for r in found.rows[1:]]
    assert len({(fact.manifest_sha256, fact.split, fact.samples) for fact in facts}) == 1


def test_page_picture_and_figures_are_written(compared: tuple[Request, Comparison]) -> None:
    asked, found = compared
    page = (asked.out / PAGE).read_text()
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page.replace("http-equiv", "")
    with Image.open(asked.out / PICTURE) as picture:
        assert picture.format == "PNG"
    assert msgspec.json.decode((asked.out / RESULT).read_bytes(), type=Comparison) == found
    table = table_text(found)
    for row in found.rows:
        assert f"{row.result.overall.accuracy.k}/4" in table
        ranked = row.result.overall.by_likelihood
        assert ranked is not None
        assert f"{ranked.k}/4: {ranked}" in table, "counted as accuracy is"
        assert f"{ranked.k}/4: {str(ranked).partition(' [')[0]}" in page
        assert f">{row.name} by likelihood</th>" in page
    assert ">by likelihood [95 %]</th>" in page


def test_a_row_that_diverged_is_not_to_be_resumed(
    compared: tuple[Request, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(*args: object, **options: object) -> object:
        raise Diverged("step 2: no number", remedy="pearl-train run --config ...")

    monkeypatch.setattr("pearl_train.training.loop.train", diverging)
    request = dataclasses.replace(compared[0], out=tmp_path / "other")
    with pytest.raises(
        Diverged, match=r"step 2: no number\. The same comparison comes to .* --out"
    ):
        compare(request)


def test_families_have_both_readings(compared: tuple[Request, Comparison]) -> None:
    said, likely = family_tables(compared[1])
    assert said[0][-5:] == [row.name for row in compared[1].rows]
    assert [row[:2] for row in said] == [row[:2] for row in likely]
    head, *rows = likely
    assert len(rows) == len(compared[1].rows[0].result.families)
    assert head.count("sft by likelihood") == 1
    for cells, family in zip(rows, compared[1].rows[0].result.families, strict=True):
        assert len(cells) == len(head)
        ranked = family.by_likelihood
        expected = "" if ranked is None else f"{ranked.k}/{ranked.n}: {ranked}"
        assert cells[head.index("base by likelihood")] == expected


def test_finished_runs_are_kept_and_others_can_be_added(
    compared: tuple[Request, Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, found = compared
    import pearl_train.training.loop

    trained: list[str] = []
    train = pearl_train.training.loop.train

    def noted(config: Config, data: Path, out: Path, **options: bool) -> object:
        trained.append(out.name)
        return train(config, data, out, **options)

    monkeypatch.setattr(pearl_train.training.loop, "train", noted)
    more = parse_variants("sft,lvr,pearl,tools,sft+pause_tokens=2")
    again = compare(Request(**{**vars(asked), "variants": more}))
    assert trained == ["sft+pause_tokens=2"]
    assert again.rows[:5] == found.rows
    assert again.rows[5].result.mode == "pause"
    assert again.rows[5].result.thought_tokens_mean == 2


def test_rows_make_the_targets_that_they_share_once(
    tiny_data: Path,
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []

    def noted(model: Backbone, batch: Batch, options: TargetConfig) -> Tensor:
        made.extend(batch.keys)
        return embed_rows(model, batch, options)

    monkeypatch.setattr("pearl_train.objectives.target_cache.embed_rows", noted)
    rows = [f"pearl+target.source=frozen-base+weight={weight}" for weight in ("0.2", "0.5")]
    asked = request(tiny_data, tiny_folder("fast_vlm"), tmp_path / "out", ",".join(rows))
    compare(asked)
    assert len(made) == len(set(made)) == 12
    for row in rows:
        folder = RunFolder(asked.out / "runs" / row)
        assert folder.read_config().objective.target.cache is None, "a run may be moved"
        assert list(folder.targets.iterdir()), "and has its own"


def test_another_folder_for_targets_is_no_other_choice(tmp_path: Path) -> None:
    known = Config()
    target = msgspec.structs.replace(known.objective.target, cache=str(tmp_path))
    objective = msgspec.structs.replace(known.objective, target=target)
    wanted = msgspec.structs.replace(known, objective=objective)
    assert other_choices(known, wanted) == []
    assert other_choices(known, msgspec.structs.replace(wanted, seed=1)) == ["seed"]


def test_runs_with_other_choices_are_not_mixed_in(
    compared: tuple[Request, Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, _ = compared
    monkeypatch.delattr("pearl_train.comparing.compare._Session.base")  # told before any work
    other = Request(**{**vars(asked), "sets": [*asked.sets, "optim.lr=0.5"]})
    with pytest.raises(UsageError, match=r"runs/sft.*differs in optim\.lr"):
        compare(other)


def test_decoding_may_change_after_training(compared: tuple[Request, Comparison]) -> None:
    asked, found = compared
    only_sft = {"variants": parse_variants("sft"), "sets": [*asked.sets, "evaluate.max_turns=1"]}
    again = compare(Request(**{**vars(asked), **only_sft}))
    assert [row.folder for row in again.rows] == [row.folder for row in found.rows[:2]]
    longer = [*asked.sets, "evaluate.max_new_tokens=4"]
    other = compare(Request(**{**vars(asked), **only_sft, "sets": longer}))
    assert other.rows[1].folder != found.rows[1].folder
    assert other.rows[1].training == found.rows[1].training


def test_objectives_may_carry_changes() -> None:
    plain, changed = parse_variants("pearl, pearl+target.source=frozen-base+weight=0.5")
    assert plain.sets == ("objective.name=pearl",)
    assert changed.name == "pearl+target.source=frozen-base+weight=0.5"
    assert changed.sets[1:] == ("objective.target.source=frozen-base", "objective.weight=0.5")


@pytest.mark.parametrize("text", ["", "sft,sft", "ppo", "sft+../x=1", "sft+view"])
def test_what_is_no_list_of_objectives_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--objectives"):
        parse_variants(text)


def test_the_most_frequent_answer_is_that_of_training_among_what_is_offered() -> None:
    def ask(answer: str, *choices: str, family: str = "read") -> Asked:
        return Asked("k", "i", ("r",), family, answer, choices)

    train = [ask("A"), ask("A"), ask("B"), ask("3", family="count")]
    test = [
        ask("A", "B", "A"),
        ask("B", "B", "A"),
        ask("B", "B", "C"),
        ask("3", family="count"),
        ask("x", "x", "y", family="unseen"),
    ]
    found = most_frequent(train, test)
    assert (found.accuracy.k, found.accuracy.n) == (4, 5)
    assert {family: found.by_family[family].k for family in found.by_family} == {
        "read": 2,
        "count": 1,
        "unseen": 1,
    }


def test_the_cost_of_training_is_that_of_its_updates(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    lines = [
        {"step": 5, "steps_per_s": 2.0},
        {"step": 10, "steps_per_s": 1.0},
        {"step": 10, "steps_per_s": 4.0},
        {"step": 12, "steps_per_s": 2.0},
    ]
    folder.timings.write_text("".join(json.dumps(line) + "\n" for line in lines))
    cost = training_cost(folder, Config(optim=OptimConfig(steps=12)))
    assert cost == Training(steps=12, seconds=5 / 2 + 5 / 4 + 2 / 2, step_s_median=0.5)
    assert training_cost(RunFolder(tmp_path / "none"), Config()).seconds is None


def test_differences_are_named_by_their_keys() -> None:
    one = Config()
    other = Config(seed=1, objective=ObjectiveConfig(weight=0.5))
    assert differences(one, other) == ["seed", "objective.weight"]


def evaluation(name: str, verdicts: list[bool]) -> tuple[Evaluation, list[ItemLine]]:
    lines = [
        line_of(
            Item(
                Question(media={}, text="?", choices=("a", "b"), key=f"k{number}"),
                Expected("a", ("a", "b")),
                "read",
                "identity",
                (),
            ),
            Answered(reply="a" if right else "b", tokens=2, latency_s=0.01),
            "text",
        )
        for number, right in enumerate(verdicts)
    ]
    header = Header(model=name, data="set", split=None, mode="direct", options={})
    return summarise(header, lines), lines


def made_up(pearl: list[bool], sft: list[bool]) -> Comparison:
    rows = []
    for name, verdicts in (("sft", sft), ("pearl", pearl)):
        against = None if name == "sft" else paired(verdicts, sft)
        result = evaluation(name, verdicts)[0]
        rows.append(Row(name=name, result=result, against=against, training=None, folder=name))
    return Comparison(
        data="<data>",
        test="test",
        how="tested on <data>",
        train_samples=9,
        test_questions=len(sft),
        shared_pictures=2,
        seed=0,
        model="nano",
        steps=3,
        chance=0.5,
        most_frequent=BlindRule(accuracy=rate(0, len(sft)), by_family={}),
        reference="sft",
        rows=rows,
        latents=LatentDiagnosis(
            latents=4,
            questions=10,
            with_dummies=rate(5, 10),
            dummies_against_latents=paired([True, False], [True, False]),
            mutual_cosine=0.93,
            right_region=rate(1, 30),
            right_region_chance=0.25,
        ),
        sides_sha256="0" * 64,
    )


def test_a_difference_is_claimed_only_where_the_paired_test_shows_one() -> None:
    shown = conclusions(made_up([True] * 10, [False] * 10))[0]
    assert shown == (
        "pearl against sft: +100.0 points; 10 questions only pearl got right, 0 only sft; "
        "p 0.002: a difference at the 5 % level."
    )
    unshown = conclusions(made_up([True] * 3 + [False] * 7, [False] * 10))[0]
    assert unshown.endswith("p 0.250: no difference shown at the 5 % level.")


def test_the_latents_and_shared_pictures_are_told() -> None:
    text = " ".join(conclusions(made_up([True], [False])))
    assert "2 test pictures occur in training" in text
    assert "lvr with dummies for its 4 latents: 5/10 right" in text
    assert "mean cosine of 0.93" in text
    assert "by chance in 25.0 %" in text


def test_a_row_that_lost_samples_is_told() -> None:
    found = made_up([True], [False])
    lost = Training(steps=1, seconds=None, step_s_median=None, left_out={"dropped: too-long": 3})
    rows = [*found.rows[:-1], msgspec.structs.replace(found.rows[-1], training=lost)]
    [line] = [
        line
        for line in conclusions(msgspec.structs.replace(found, rows=rows))
        if "did not see exactly" in line
    ]
    assert "3 dropped: too-long" in line
    assert not any("did not see exactly" in line for line in conclusions(found))


def test_names_of_people_cannot_break_the_page() -> None:
    assert "<data>" not in render(made_up([True], [False]), b"png")


def test_the_page_shows_every_column_in_tables_that_fit_a_screen() -> None:
    """A window of 1,300 px holds eight or nine columns; a narrower one scrolls the table alone."""
    page = render(made_up([True], [False]), b"png")
    tables = re.findall(r"<table><tr>(.*?)</tr>", page)
    assert page.count('<div class="scroll"><table>') == page.count("<table>") == len(tables)
    heads = [re.findall(r"<th[^>]*>(.*?)</th>", table) for table in tables]
    assert [head[0] for head in heads] == ["objective", "objective", "family"]
    assert max(map(len, heads)) <= 9
    shown = [column.title for column in MAIN if column.title in {*heads[0], *heads[1]}]
    assert [*heads[0], *heads[1][1:]] == shown
    assert '100.0 %<br><span class="soft">[20.7, 100.0]</span>' in page
