"""Weights of a run other than those of its end: of its best checkpoint, of a step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_models import drawn_picture

from pearl_tools.errors import BadInput, PearlError, UsageError
from pearl_train.asking.predict import predict
from pearl_train.asking.trained import find, weights_sha256
from pearl_train.cli.export import export as export_command
from pearl_train.comparing.examine import examine
from pearl_train.run.folder import RunFolder
from pearl_train.settings.load import load_config
from pearl_train.training.at_checkpoint import chosen, network_at
from pearl_train.training.checkpoint import MANIFEST
from pearl_train.training.exported import export_run
from pearl_train.training.loop import train

CHOICES = ["optim.steps=3", "optim.batch=2", "optim.micro_batch=2", "optim.lr=0.01",
           "checkpoint.every=1", "checkpoint.keep_last=3", "model.lora.rank=2",
           "evaluate.max_new_tokens=2", "log.tensorboard=false"]  # fmt: skip
BEST = 2


@pytest.fixture(scope="module")
def run(
    tiny_data: Path, tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Three steps with adapters and all that pearl trains besides; the second is the best."""
    out = tmp_path_factory.mktemp("run") / "run"
    config = load_config([], CHOICES, {"model.id": str(tiny_folder("fast_vlm"))})
    train(config, tiny_data, out, progress=False)
    for step, loss in ((1, 3.0), (BEST, 1.0), (3, 2.0)):
        validated(out, step, loss)
    return out


def validated(run: Path, step: int, loss: float | None) -> None:
    """Say that the checkpoint at ``step`` had this validation loss."""
    path = run / "checkpoints" / f"step-{step:06d}" / MANIFEST
    manifest = json.loads(path.read_bytes())
    assert manifest["validation"] is not None, "the data have a split val"
    path.write_text(json.dumps({**manifest, "validation": loss}))


def digest(run: Path, checkpoint: str) -> str:
    with network_at(str(run), checkpoint) as at:
        return weights_sha256(find(str(run), at=at))


def test_each_step_has_weights_of_its_own_and_the_last_those_of_the_end(run: Path) -> None:
    digests = [digest(run, str(step)) for step in (1, 2, 3)]
    assert len(set(digests)) == 3
    assert digests[BEST - 1] == digest(run, "best")
    assert digests[2] == digest(run, "last"), "as the run itself wrote them"


def test_the_best_is_asked_examined_and_exported_under_its_step(
    run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    drawn_picture(3).save(photo)
    with network_at(str(run), "best") as at:
        assert at is not None
        assert predict(str(run), [photo], "Which colour?", at=at).model == f"run, step {BEST}"
        found = examine(str(run), tiny_data, split="test", limit=1, at=at)
    assert not at.folder.exists(), "nothing of it is left"
    assert (found.model, found.checkpoint) == (f"run, step {BEST}", BEST)
    assert examine(str(run), tiny_data, split="test", limit=1).checkpoint is None
    assert len(list((run / "eval").glob("*/scores.json"))) == 2
    card = RunFolder(run).card.read_text()
    assert card.count("**checkpoint of step 2**") == 1
    folder = tmp_path / "best"
    arguments = [str(run), "--to", str(folder), "--checkpoint", "best"]
    told = CliRunner().invoke(export_command, arguments)
    assert told.exit_code == 0, told.output
    assert weights_sha256(find(str(folder))) == digest(run, str(BEST))
    assert "checkpoint, after step 2 of 3" in (folder / "README.md").read_text()
    assert (folder / "README.md").read_text().count("mode `direct`") == 1, "its own scores alone"
    end = export_run(run, tmp_path / "end")
    assert (
        load_file(end / "model.safetensors").keys()
        == load_file(folder / "model.safetensors").keys()
    )
    assert "checkpoint" not in (end / "README.md").read_text()


def test_a_run_that_is_not_finished_has_checkpoints(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "model")
    with pytest.raises(UsageError, match="--resume"):
        export_run(copy, tmp_path / "to")
    assert digest(copy, "1") == digest(run, "1")


@pytest.mark.parametrize(
    ("checkpoint", "kind", "told"),
    [
        ("7", UsageError, r"There are steps 1 \(validation loss 3\), 2 \(.* 1\), 3 .*, and last"),
        ("newest", UsageError, r"--checkpoint newest: expected last, best or a step\. There are"),
        ("1", BadInput, r"step-000001 is damaged: state\.json has other bytes.* There are steps"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    run: Path, tmp_path: Path, checkpoint: str, kind: type[PearlError], told: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "checkpoints" / "step-000001" / "state.json").write_text("{}")
    with pytest.raises(kind, match=told):
        chosen(RunFolder(copy), checkpoint)


def test_the_best_of_none_that_was_measured_is_no_checkpoint(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    for step in (1, 2, 3):
        validated(copy, step, None)
    with pytest.raises(UsageError, match=r"no split val, .* There are steps 1, 2, 3, and last"):
        chosen(RunFolder(copy), "best")
    text = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(text.replace("keep_best = true", "keep_best = false"))
    with pytest.raises(UsageError, match=r"checkpoint\.keep_best = false, which may have removed"):
        chosen(RunFolder(copy), "best")


def test_only_a_run_has_checkpoints(tiny_folder: Callable[[str], Path]) -> None:
    with (
        pytest.raises(UsageError, match="expected the folder of a run, which alone has"),
        network_at(str(tiny_folder("fast_vlm")), "best"),
    ):
        pass
