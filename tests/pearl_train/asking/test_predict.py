from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click import Command
from click.testing import CliRunner
from PIL import Image
from tiny_models import drawn_picture
from transformers import AutoModelForImageTextToText, AutoProcessor

from pearl_tools.errors import BadInput, UsageError
from pearl_train.asking.predict import Prediction, predict
from pearl_train.asking.trained import EXPORTED, find, weights_sha256
from pearl_train.cli.eval import evaluate as eval_command
from pearl_train.cli.export import export as export_command
from pearl_train.cli.predict import predict as predict_command
from pearl_train.comparing.examine import examine
from pearl_train.errors import NoAnswer
from pearl_train.report.card import _summary, _training, write_card
from pearl_train.run.folder import RunFolder
from pearl_train.settings.config import Config, ObjectiveConfig
from pearl_train.settings.load import load_config
from pearl_train.training.exported import export_run
from pearl_train.training.loop import train

SETS = ["evaluate.max_new_tokens=3", "data.system=Be brief.", "log.tensorboard=false"]
SHORT = [*SETS, "optim.steps=1", "optim.batch=2", "optim.micro_batch=2"]


@pytest.fixture(scope="module")
def run(
    tiny_data: Path, tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished run of the latent baseline, one step long."""
    out = tmp_path_factory.mktemp("run") / "run"
    model = str(tiny_folder("fast_vlm"))
    config = load_config([], SHORT, {"model.id": model, "objective.name": "lvr"})
    train(config, tiny_data, out, progress=False)
    return out


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    drawn_picture(3).save(path)
    return path


def test_a_run_answers_as_it_was_trained_to(run: Path, photo: Path) -> None:
    found = predict(str(run), [photo], "Which colour?", ["red", "blue"])
    assert (found.model, found.mode) == ("run", "lvr")
    assert found.stated in {None, "red", "blue"}
    assert found.answer == predict(str(run), [photo], "Which colour?", ["red", "blue"]).answer
    assert find(str(run)).config.data.system == "Be brief."


def test_an_export_answers_as_its_run_and_loads_with_plain_transformers(
    run: Path, photo: Path, tmp_path: Path
) -> None:
    folder = export_run(run, tmp_path / "export")
    network = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    assert hasattr(processor, "image_processor")
    assert network.get_input_embeddings().weight.shape[0] >= len(processor.tokenizer)
    assert (folder / EXPORTED).is_file()
    ours, theirs = (predict(str(place), [photo], "Which colour?") for place in (run, folder))
    assert (ours.answer, ours.mode) == (theirs.answer, theirs.mode)
    assert weights_sha256(find(str(run))) == weights_sha256(find(str(folder)))
    with pytest.raises(UsageError, match="new or empty folder"):
        export_run(run, folder)


def test_the_card_of_an_export_is_right_where_it_lies(run: Path, tmp_path: Path) -> None:
    """Every file that it names is there, and it names no place of the run."""
    folder = export_run(run, tmp_path / "mine")
    card = (folder / "README.md").read_text()
    assert "# mine\n" in card
    assert 'folder = "."' in card
    assert "`pearl.toml`" in card
    assert "pearl-train predict mine" in card
    assert "RUN" not in card
    assert "config.toml" not in card
    assert str(tmp_path.parent) not in card
    assert "base_model" not in card, "a folder here is no model of the hub"
    for name in [*re.findall(r"\]\((\S+)\)", card), *re.findall(r"in `(\S+)`\.\n", card)]:
        assert (folder / name).is_file(), name
    assert (folder / "curves.png").read_bytes() == (run / "curves.png").read_bytes()


def test_a_model_that_lost_its_weights_is_no_model_and_is_written_again(
    run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    weights = copy / "model" / "model.safetensors"
    whole = weights.read_bytes()
    for damage in (weights.unlink, lambda: weights.write_bytes(whole[:-100])):
        damage()
        with pytest.raises(UsageError, match="got one with a damaged model/"):
            export_run(copy, tmp_path / "export")
        assert not (tmp_path / "export").exists()
        folder = RunFolder(copy)
        train(folder.read_config(), tiny_data, copy, resume=True, progress=False)
        assert weights.read_bytes() == whole


def test_more_choices_than_letters_are_misuse(run: Path, photo: Path) -> None:
    choices = [f"choice {n}" for n in range(27)]
    with pytest.raises(UsageError, match="at most 26 to letter, got 27"):
        predict(str(run), [photo], "Which?", choices, sets=["data.answers=letter"])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "sft"}, "trained on the answers alone"),
        ({"name": "sft", "view": "trajectory"}, "trained on answers and trajectories"),
        ({"name": "sft", "view": "chat"}, "trained on whole trajectories, calls included"),
        ({"name": "pearl", "weight": 0.0}, "the control, no embedding was predicted"),
        ({"name": "pearl"}, "trained to predict the embedding"),
    ],
)
def test_a_card_says_what_was_learnt(fields: dict[str, Any], told: str) -> None:
    config = Config(objective=ObjectiveConfig(**fields))
    assert told in _summary(config)
    of_term = "distance cosine" in _training(config, [], None)
    assert of_term == (fields == {"name": "pearl"})


def test_an_export_may_fill_the_folder_where_one_is(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export_run(run, Path())
    assert "# here\n" in (tmp_path / "here" / "README.md").read_text()


def test_a_folder_has_its_name_however_it_is_written(
    run: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_data)
    scores = examine(f"{run}/", Path(), split="test", limit=1, out=tmp_path / "eval")
    assert (scores.model, scores.data) == ("run", tiny_data.name)
    monkeypatch.chdir(run)
    assert {find(f"{run}/").name, find(".").name, find("./model/..").name} == {"run"}
    assert write_card(RunFolder(Path())).read_text().count("# run\n") == 1


def test_any_model_can_be_asked_directly(tiny_folder: Callable[[str], Path], photo: Path) -> None:
    found = predict(str(tiny_folder("llava")), [photo, photo], "Which colour?", sets=SETS[:2])
    assert found.mode == "direct"
    assert [picture["id"] for picture in found.pictures] == ["i0", "i1"]


def test_a_model_trained_with_tools_is_asked_without_and_says_so(
    run: Path, photo: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "tools")
    config = tmp_path / "tools" / "config.toml"
    config.write_text(config.read_text().replace('name = "lvr"', 'name = "tools"'))
    found = predict(str(tmp_path / "tools"), [photo], "Which colour?")
    assert (found.mode, len(found.notes)) == ("direct", 1)
    assert "no tool runs" in found.notes[0]


@pytest.mark.parametrize("option", ["evaluate.max_turns=3", "evaluate.tool_turn_tokens=9"])
def test_what_tools_alone_read_is_refused_with_a_remedy_that_works(
    option: str, run: Path, tiny_folder: Callable[[str], Path], photo: Path, tiny_data: Path
) -> None:
    for where, kind in (
        (tiny_folder("fast_vlm"), "which was not trained here, so is asked at once"),
        (run, "which is a model of objective lvr"),
    ):
        for told in (
            refused(str(where), "--image", str(photo), "--question", "?", "--set", option),
            refused(str(where), "--data", str(tiny_data), "--set", option, command=eval_command),
        ):
            assert isinstance(told, UsageError)
            assert f"expected a choice that is read of {where}, {kind}, got " in str(told)
            assert "leave it out; evaluate.max_new_tokens limits its answer" in str(told)
            assert "objective.name" not in str(told), "that is refused, too"
    find(str(run), ["evaluate.max_new_tokens=3", "evaluate.max_turns=6", "objective.lvr.latents=2"])
    with pytest.raises(UsageError, match=r"of objective lvr reads it"):
        find(str(tiny_folder("fast_vlm")), ["objective.lvr.latents=2"])


def test_an_unfinished_run_says_how_to_go_on(run: Path, photo: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.mkdir()
    shutil.copyfile(run / "config.toml", half / "config.toml")
    with pytest.raises(UsageError, match="--resume"):
        predict(str(half), [photo], "Which colour?")


def test_scores_of_a_run_lie_in_its_folder_and_in_its_card(run: Path, tiny_data: Path) -> None:
    found = examine(str(run), tiny_data, split="test")
    assert (found.mode, found.overall.accuracy.n) == ("lvr", 4)
    assert found.thought_tokens_mean == 8 + 2
    assert len(list((run / "eval").glob("*/scores.json"))) == 1
    assert examine(str(run), tiny_data, split="test") == found
    assert "mode `lvr`" in RunFolder(run).card.read_text()


def test_scores_on_questions_of_the_training_say_so(run: Path, tiny_data: Path) -> None:
    assert not examine(str(run), tiny_data, split="test", limit=1).trained_on
    assert examine(str(run), tiny_data, split="train", limit=1).trained_on
    assert "split `train`, mode `lvr`, **questions it was trained on**" in (
        RunFolder(run).card.read_text()
    )


def test_other_ways_of_decoding_are_kept_apart(run: Path, tiny_data: Path) -> None:
    before = set((run / "eval").glob("*"))
    examine(str(run), tiny_data, split="test", sets=["objective.lvr.latents=2"], limit=1)
    assert len(set((run / "eval").glob("*")) - before) == 1


def test_scores_of_a_few_questions_do_not_replace_those_of_all(run: Path, tiny_data: Path) -> None:
    examine(str(run), tiny_data, split="test")
    before = {path: path.read_bytes() for path in (run / "eval").glob("*/scores.json")}
    assert examine(str(run), tiny_data, split="test", limit=2).overall.accuracy.n == 2
    assert {path: path.read_bytes() for path in before} == before


def test_the_command_prints_the_answer_alone(run: Path, photo: Path) -> None:
    arguments = [str(run), "--image", str(photo), "--question", "Which?", "--choices", "red, blue"]
    plain = CliRunner().invoke(predict_command, arguments)
    assert plain.exit_code == 0, plain.output
    as_json = json.loads(CliRunner().invoke(predict_command, [*arguments, "--json"]).stdout)
    assert plain.stdout.strip() == (as_json["stated"] or as_json["answer"])


def test_the_command_tells_what_opening_changed(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    turned = Image.new("RGB", (60, 30), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(path, exif=exif)
    found = CliRunner().invoke(predict_command, [str(run), "--image", str(path), "--question", "?"])
    assert "i0: opened with exif_orientation:6" in found.stderr


def test_the_commands_eval_and_export_work(run: Path, tiny_data: Path, tmp_path: Path) -> None:
    arguments = [str(run), "--data", str(tiny_data), "--split", "test"]
    table = CliRunner().invoke(eval_command, arguments)
    assert table.exit_code == 0, table.output
    assert "attribute  4" in table.stdout
    scores = json.loads(CliRunner().invoke(eval_command, [*arguments, "--json"]).stdout)
    assert scores["overall"]["accuracy"]["n"] == 4
    exported = CliRunner().invoke(export_command, [str(run), "--to", str(tmp_path / "to")])
    assert exported.exit_code == 0, exported.output
    assert (tmp_path / "to" / "model.safetensors").is_file()


def test_choices_that_are_not_stated_are_ranked(run: Path, photo: Path) -> None:
    arguments = [str(run), "--image", str(photo), "--question", "Which?", "--choices",
                 "a zebra,an open door"]  # fmt: skip
    done = CliRunner().invoke(predict_command, arguments)
    assert done.exit_code == 0, done.output
    found = predict(str(run), [photo], "Which?", ["a zebra", "an open door"])
    assert found.stated is None
    assert sum(one.probability for one in found.likelihoods) == pytest.approx(1)
    assert done.stdout == f"{found.answer}\n"
    ranked, reply = done.stderr.splitlines()[-2:]
    assert reply == "the reply was:"
    first, second = sorted(found.likelihoods, key=lambda one: -one.per_token)
    assert ranked == (
        f"the reply states none of the choices; by likelihood: {first.choice} "
        f"({100 * first.probability:.1f} %), {second.choice} ({100 * second.probability:.1f} %)"
    )
    as_json = json.loads(CliRunner().invoke(predict_command, [*arguments, "--json"]).stdout)
    assert as_json["stated"] is None
    assert [one["choice"] for one in as_json["likelihoods"]] == ["a zebra", "an open door"]
    assert predict(str(run), [photo], "Which?").likelihoods == []


def test_choices_given_one_by_one_may_hold_commas(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def predicted(where: str, images: Any, question: str, choices: Any, **options: Any) -> Any:
        asked.append(choices)
        answer = "a\x1b[2J\u202eb\r\nc\t\xe9"
        return Prediction(answer=answer, stated=None, likelihoods=[], model="m", mode="direct",
                          ended=True, tokens=3, latency_ms=1.0, pictures=[], notes=[])  # fmt: skip

    monkeypatch.setattr("pearl_train.asking.predict.predict", predicted)
    base = ["nano", "--image", str(photo), "--question", "?"]
    for given in (["--choices", "2,5 m", "--choices", " 3 m"], ["--choices", "2,5 m"], []):
        done = CliRunner().invoke(predict_command, [*base, *given])
        assert done.exit_code == 0, done.output
        assert done.stdout == "a\\x1b[2J\\u202eb\\r\nc\t\xe9\n", "the reply steers no terminal"
        assert "by likelihood" not in done.stderr, "nothing was weighed"
    assert asked == [["2,5 m", "3 m"], ["2", "5 m"], []]
    again = ["--choices", "red", "--choices", ""]
    monkeypatch.undo()
    assert "got nothing as number 2 of 'red', ''" in str(refused(*base, *again))


def refused(*arguments: str, command: Command = predict_command) -> Exception:
    """The error of ``pearl-train predict``, or another, and what it printed before."""
    done = CliRunner().invoke(command, [*arguments], standalone_mode=False)
    assert done.exception is not None, done.output
    done.exception.add_note(done.stdout)
    return done.exception


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--question", " "], "--question: expected words, got ' '"),
        (["--question", "?", "--choices", "a,,b"], "got nothing as number 2 of 'a', '', 'b'"),
        (["--question", "?", "--choices", "a,b,"], "got nothing as number 3"),
        (["--question", "?", "--choices", "red, Red."], "got 'Red.' again in 'red', 'Red.'"),
    ],
)
def test_what_asks_nothing_is_misuse(photo: Path, options: list[str], told: str) -> None:
    error = refused("nano", "--image", str(photo), *options)
    assert isinstance(error, UsageError)
    assert told in str(error)


def changed(model: Path, to: Path, change: Callable[[Any], None]) -> Path:
    """A copy of ``model`` with other weights."""
    shutil.copytree(model, to)
    network = AutoModelForImageTextToText.from_pretrained(to)
    with torch.no_grad():
        change(network)
    network.save_pretrained(to)
    return to


def test_scores_that_are_no_numbers_are_a_failure(
    tiny_folder: Callable[[str], Path], photo: Path, tmp_path: Path
) -> None:
    """Every weight is finite: only what follows from them is not."""
    model = changed(
        tiny_folder("llava"), tmp_path / "model", lambda network: network.lm_head.weight.fill_(3e38)
    )
    error = refused(str(model), "--image", str(photo), "--question", "Which?")
    assert isinstance(error, BadInput)
    assert str(error).startswith("expected finite scores for token ")
    assert "model.dtype=float32" in str(error)


def test_a_model_that_says_nothing_is_a_failure(
    tiny_folder: Callable[[str], Path], photo: Path, tmp_path: Path
) -> None:
    processor = AutoProcessor.from_pretrained(tiny_folder("llava"))

    def silence(network: Any) -> None:
        network.lm_head.weight[processor.tokenizer.eos_token_id] = 0
        network.lm_head.weight.clamp_(-1e-6, 1e-6)
        network.model.language_model.norm.weight.zero_()  # all scores are alike, and the first wins

    model = changed(tiny_folder("llava"), tmp_path / "model", silence)
    arguments = [str(model), "--image", str(photo), "--question", "Which?", "--set",
                 "evaluate.max_new_tokens=2"]  # fmt: skip
    error = refused(*arguments)
    assert isinstance(error, NoAnswer)
    assert str(error).startswith("model: expected words as a reply, got none (")
    assert error.__notes__ == [""]
    as_json = refused(*arguments, "--json")
    assert isinstance(as_json, NoAnswer)
    assert json.loads(as_json.__notes__[0])["answer"] == ""
