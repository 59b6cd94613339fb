from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from tiny_samples import tiny_sample

from pearl_data.shards import DatasetReader, Sample
from pearl_tools.errors import BadInput, UsageError
from pearl_train.asking.evaluate import (
    SCORES,
    UNANSWERABLE,
    UNANSWERED,
    Answered,
    Evaluation,
    Task,
    evaluate,
    line_of,
)
from pearl_train.asking.item_lines import ITEMS, Header, ItemLine, read_lines
from pearl_train.asking.likelihood import ChoiceLikelihood
from pearl_train.asking.questions import Question, item_of, opened, places
from pearl_train.errors import BY_PROCESSOR, Refused
from pearl_train.report.card_scores import scores
from pearl_train.report.scores import scores_text

Says = Callable[[Question], Answered]


class Fake:
    """A model that says what a function says, and remembers what it was asked."""

    def __init__(self, says: Says) -> None:
        self.says = says
        self.asked: list[str] = []

    def answer(self, question: Question) -> Answered:
        self.asked.append(question.key)
        return self.says(question)


def first_choice(question: Question) -> Answered:
    return Answered(reply=f" {question.choices[0]}", tokens=2, latency_s=0.01 * len(question.key))


@pytest.fixture
def task(tiny_data: Path) -> Task:
    header = Header(model="fake", data="set", split="test", mode="direct", options={"seed": 0})
    return Task(header, DatasetReader(tiny_data))


def asked_samples(task: Task) -> list[Sample]:
    return [task.reader[number] for number in places(task.reader, "test")]


def test_accuracy_has_counts_intervals_and_chance(task: Task) -> None:
    found = evaluate(Fake(first_choice), task)
    right = sum(sample.trajectory.task.answer == "red" for sample in asked_samples(task))
    [family] = found.families
    assert family.family == "attribute"
    assert (family.accuracy.k, family.accuracy.n) == (right, 4)
    assert family.accuracy.low is not None
    assert family.chance == pytest.approx(1 / 3)
    assert found.overall.accuracy == family.accuracy
    assert (found.latency_ms_median, found.tokens_mean, found.tools) == (80, 2, None)


def test_a_reply_that_states_nothing_is_unparsed(task: Task) -> None:
    found = evaluate(Fake(lambda _: Answered(reply="red or blue", tokens=3, latency_s=0)), task)
    assert (found.overall.unparsed, found.overall.accuracy.k) == (4, 0)
    assert found.overall.lenient.k > 0


def test_a_question_that_the_model_refuses_is_wrong_and_named(task: Task, tmp_path: Path) -> None:
    keys = [sample.trajectory.id for sample in asked_samples(task)]

    def first_refused(question: Question) -> Answered:
        if question.key == keys[0]:  # the one that warms up, too
            raise Refused("i0: 4000x10 px", BY_PROCESSOR)
        return Answered(reply=" red", tokens=2, latency_s=0.05)

    model = Fake(first_refused)
    found = evaluate(model, task, tmp_path)
    right = sum(sample.trajectory.task.answer == "red" for sample in asked_samples(task)[1:])
    assert (found.overall.accuracy.k, found.overall.accuracy.n) == (right, 4)
    assert (found.overall.unanswerable, found.overall.unparsed) == (1, 0)
    assert found.unanswerable == {keys[0]: "i0: 4000x10 px"}
    assert found.overall.by_likelihood is not None
    assert found.overall.by_likelihood.n == 1, "of the others no choice was ranked"
    assert (found.latency_ms_median, found.tokens_mean) == (50, 2), "of what was asked"
    said = scores_text(found)
    assert f"1 questions: {UNANSWERABLE}\n  {keys[0]} (i0: 4000x10 px)" in said
    card = scores(tmp_path)
    assert "1 of these questions cannot be put to this model" in card
    assert f"({keys[0]}); they count as wrong" in card
    again = Fake(first_refused)
    assert evaluate(again, task, tmp_path) == found
    assert again.asked == []


def test_a_model_that_refuses_every_question_is_an_error(task: Task) -> None:
    def refuses(question: Question) -> Answered:
        raise Refused("no picture at all", BY_PROCESSOR)

    with pytest.raises(BadInput, match=r"got 4 that it refuses, test-200 for one: no picture"):
        evaluate(Fake(refuses), task)


def test_the_likeliest_choice_is_a_reading_of_its_own(task: Task) -> None:
    """What a model says and what it holds for the likeliest are judged apart."""

    def torn(question: Question) -> Answered:
        weighed = tuple(
            ChoiceLikelihood(
                choice=choice,
                log_likelihood=-2.0 * number,
                tokens=2,
                per_token=-1.0 * number,
                probability=1 / 3,
            )
            for number, choice in enumerate(question.choices)
        )
        return Answered(reply="hm", tokens=1, latency_s=0, likelihoods=weighed)

    found = evaluate(Fake(torn), task)
    right = sum(sample.trajectory.task.answer == "red" for sample in asked_samples(task))
    ranked = found.overall.by_likelihood
    assert ranked is not None
    assert (ranked.k, ranked.n) == (right, 4)
    assert (found.overall.accuracy.k, found.overall.unparsed) == (0, 4)
    item = item_of(asked_samples(task)[0], "tar")
    line = line_of(item, torn(item.question), "text")
    assert line.likeliest == "red"
    assert line.log_likelihoods == [0.0, -1.0, -2.0]
    text = scores_text(found)
    assert text.splitlines()[1].endswith("by likelihood [95 %]")
    assert text.splitlines()[2].endswith(f" 4  {right}/4: {ranked}")
    unranked = evaluate(Fake(first_choice), task)
    assert unranked.overall.by_likelihood is None
    assert "by likelihood" not in scores_text(unranked)


def test_who_comes_to_no_answer_holds_no_choice_for_the_likeliest(task: Task) -> None:
    lost = Answered(reply="", tokens=1, latency_s=0, ended=False, notes=(UNANSWERED,))
    ranked = evaluate(Fake(lambda _: lost), task).overall.by_likelihood
    assert ranked is not None
    assert (ranked.k, ranked.n) == (0, 4)
    item = item_of(asked_samples(task)[0], "tar")
    open_question = item._replace(expected=item.expected._replace(choices=()))
    assert line_of(open_question, lost, "text").likeliest_correct is None


def test_an_interrupted_evaluation_goes_on_where_it_stopped(task: Task, tmp_path: Path) -> None:
    def dies_at_the_third(question: Question) -> Answered:
        if len(dying.asked) == 4:  # the first is asked twice, to warm up
            raise KeyboardInterrupt
        return first_choice(question)

    dying = Fake(dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        evaluate(dying, task, tmp_path)
    assert len(read_lines(tmp_path / ITEMS)[1]) == 2
    with (tmp_path / ITEMS).open("ab") as stream:
        stream.write(b'{"key": "torn')
    going_on = Fake(first_choice)
    found = evaluate(going_on, task, tmp_path)
    keys = [sample.trajectory.id for sample in asked_samples(task)]
    assert going_on.asked == [keys[2], keys[2], keys[3]]
    assert found == evaluate(Fake(first_choice), task)
    assert msgspec.json.decode((tmp_path / SCORES).read_bytes(), type=Evaluation) == found
    nobody = Fake(first_choice)
    assert evaluate(nobody, task, tmp_path) == found
    assert nobody.asked == []


def test_lines_of_another_evaluation_are_not_continued(task: Task, tmp_path: Path) -> None:
    evaluate(Fake(first_choice), task, tmp_path)
    header = msgspec.structs.replace(task.header, options={"seed": 1})
    with pytest.raises(BadInput, match="other options"):
        evaluate(Fake(first_choice), task._replace(header=header), tmp_path)


def test_what_is_no_list_of_lines_is_refused(tmp_path: Path) -> None:
    (tmp_path / ITEMS).write_text("nothing\n")
    with pytest.raises(BadInput, match="expected the lines of an evaluation"):
        read_lines(tmp_path / ITEMS)


def test_tool_calls_and_errors_are_counted_by_code(task: Task) -> None:
    def with_tools(question: Question) -> Answered:
        return Answered(
            reply="",
            tokens=20,
            latency_s=0,
            turns=3,
            tools={"crop": 2, "unreadable": 1},
            errors={"geometry.inverted": 1, "parse.no_call": 1},
            notes=(UNANSWERED,),
        )

    header = msgspec.structs.replace(task.header, mode="tools")
    found = evaluate(Fake(with_tools), task._replace(header=header))
    tools = found.tools
    assert tools is not None
    assert tools.calls == {"crop": 8, "unreadable": 4}
    assert tools.by_code == {"geometry.inverted": 4, "parse.no_call": 4}
    assert (tools.error_share.k, tools.error_share.n) == (4, 12)
    assert (tools.turns_mean, tools.unanswered) == (3, 4)
    text = scores_text(found)
    assert "tool calls: 8 crop, 4 unreadable; with an error: 4 (33.3 %" in text
    assert "4 geometry.inverted" in text


def test_only_the_first_so_many_are_asked_if_so_wished(task: Task) -> None:
    assert evaluate(Fake(first_choice), task._replace(limit=2)).overall.accuracy.n == 2


def test_the_same_questions_give_the_same_lines(task: Task, tmp_path: Path) -> None:
    lines: list[list[ItemLine]] = []
    for name in ("a", "b"):
        evaluate(Fake(first_choice), task, tmp_path / name)
        lines.append(read_lines(tmp_path / name / ITEMS)[1])
    assert lines[0] == lines[1]


def test_a_split_without_samples_is_refused_naming_those_there_are(tiny_data: Path) -> None:
    with pytest.raises(UsageError, match=r"split 'nope'.*test, train, val"):
        places(DatasetReader(tiny_data), "nope")


def test_a_question_holds_roots_only(tiny_data: Path) -> None:
    with_two_roots = tiny_sample(7)
    assert list(item_of(with_two_roots, "tar").question.media) == ["i0", "i1"]


def test_a_sample_without_its_picture_is_named(tiny_data: Path) -> None:
    sample = tiny_sample(0)
    bare = sample._replace(members={})
    with pytest.raises(BadInput, match="tar, sample train-000: expected the bytes of i0"):
        item_of(bare, "tar")


def test_pictures_of_people_are_opened_upright(tmp_path: Path) -> None:
    turned = Image.new("RGB", (40, 20))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    [medium] = opened([tmp_path / "turned.jpg"], "What is it?").media.values()
    assert (medium.record.width, medium.record.height) == (20, 40)
    assert medium.record.changes == ["exif_orientation:6"]


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    with pytest.raises(BadInput, match=r"notes\.png.*expected a picture"):
        opened([path], "What is it?")


def test_a_reply_is_judged_with_the_opening_that_was_given(task: Task) -> None:
    """What follows the line of the answer does not count, whoever wrote ``Answer:``."""

    def talkative(question: Question) -> Answered:
        said = f" {question.choices[0]}\nIt is in the middle."
        return Answered(reply=said, tokens=9, latency_s=0.1, opening="Answer:")

    plain = evaluate(Fake(first_choice), task).overall
    assert evaluate(Fake(talkative), task).overall.accuracy == plain.accuracy
    assert plain.unparsed == 0
