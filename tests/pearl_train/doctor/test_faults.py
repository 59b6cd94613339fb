"""Each fault is found by the check that is there for it, and told with names and a remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pearl_data.formats.chat import Turn
from pearl_data.shards import DatasetReader
from pearl_train.doctor import Finding, Report
from pearl_train.doctor.patient import Patient
from pearl_train.objectives.distance import DISTANCES, cosine
from pearl_train.views.batch import PADDING, EncodedSample

Examine = Callable[..., Any]


def failed(report: Report, check: str) -> Finding:
    """The finding of ``check``, the first that failed."""
    found = next(f for f in report.checks if f.status == "fail")
    assert found.check == check, found
    assert not report.ok
    return found


@pytest.fixture
def copied(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A function from a family to a copy of its tiny model that may be spoilt."""
    return lambda family: Path(shutil.copytree(tiny_folder(family), tmp_path / "model"))


def test_data_that_are_not_there(examined: Examine, tmp_path: Path) -> None:
    report = examined("llava", data=tmp_path / "nowhere", until="samples").report
    assert "nowhere" in failed(report, "data").told
    assert "pearl-data synth wrote" in failed(report, "data").remedy
    assert report.status == 2
    assert next(f for f in report.checks if f.check == "samples").status == "skip"


def test_data_whose_run_has_not_ended_are_to_be_finished(
    examined: Examine, tiny_data: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    lines = (data / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (data / "manifest.jsonl").write_bytes(b"".join(lines[:-1]))
    report = examined("llava", data=data, until="samples").report
    found = failed(report, "data")
    assert "--allow-unfinished" in found.told
    assert found.remedy == ""
    assert report.status == 1


def test_a_split_without_samples(examined: Examine) -> None:
    found = failed(examined("llava", "data.split=dev", until="data").report, "data")
    assert "train (12)" in found.told


def test_a_processor_without_an_image_processor(
    examined: Examine, copied: Callable[[str], Path]
) -> None:
    folder = copied("llava")
    for path in folder.glob("*processor_config.json"):
        path.unlink()
    settings = folder / "tokenizer_config.json"
    settings.write_text(
        json.dumps(json.loads(settings.read_text()) | {"processor_class": "UnknownProcessor"})
    )
    found = failed(examined(folder, until="processor").report, "model")
    assert "image" in found.told
    assert "processor" in found.told
    assert found.remedy


def test_a_template_that_drops_pictures(examined: Examine, copied: Callable[[str], Path]) -> None:
    folder = copied("llava")
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("'<image>\\n'", "''"))
    found = failed(examined(folder, until="processor").report, "processor")
    assert "chat template" in found.told
    assert "picture" in found.told


@pytest.mark.parametrize(
    ("family", "other"),
    [
        ("llava", "fast_vlm"),
        ("fast_vlm", "llava"),
        ("qwen2_5_vl", "qwen3_vl"),
        ("llava", "idefics3"),
    ],
)
def test_the_processor_of_another_model(
    examined: Examine,
    copied: Callable[[str], Path],
    tiny_folder: Callable[[str], Path],
    family: str,
    other: str,
) -> None:
    folder = copied(family)
    kept = {"config.json", "model.safetensors", "generation_config.json"}
    for path in [path for path in tiny_folder(other).iterdir() if path.name not in kept]:
        shutil.copy(path, folder)
    report = examined(folder, until="overfit", samples=2).report
    found = failed(report, "forward")
    assert "train-" in found.told
    assert "shards/" in found.told
    assert "does not belong to this model" in found.remedy
    assert report.checks[-1].status == "skip"


def test_weights_that_are_not_finite(examined: Examine, copied: Callable[[str], Path]) -> None:
    folder = copied("llava")
    weights = load_file(folder / "model.safetensors")
    name = min(weights)
    weights[name].view(-1)[0] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    report = examined(folder, until="gradients").report
    found = failed(report, "model")
    assert "NaN" in found.told
    assert name.split(".", 1)[1] in found.told
    assert "weights" in found.remedy
    assert "not the data" in found.remedy
    assert report.status == 1


def test_weights_that_break_after_loading_are_named_by_the_forward_pass(
    examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Patient.few

    def spoilt(self: Patient, most: int = 4) -> list[EncodedSample]:
        self.backbone.plain.lm_head.weight.data[3] = float("nan")
        return whole(self, most)

    monkeypatch.setattr(Patient, "few", spoilt)
    report = examined("llava", until="gradients", samples=2).report
    found = failed(report, "forward")
    assert "lm_head.weight" in found.told
    assert "the weights are broken, not the data" in found.remedy
    later = [f for f in report.checks if f.check == "gradients"]
    assert [(f.status, "forward" in f.told) for f in later] == [("skip", True)]


def test_finite_weights_that_overflow_are_traced_to_their_module(
    examined: Examine, copied: Callable[[str], Path]
) -> None:
    folder = copied("llava")
    weights = load_file(folder / "model.safetensors")
    name = next(n for n in weights if n.endswith("layers.0.mlp.down_proj.weight"))
    weights[name].fill_(3e38)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    report = examined(folder, until="pred apart", samples=2).report
    found = failed(report, "forward")
    assert "language_model.layers.0.mlp.down_proj" in found.told
    assert "too large" in found.remedy
    assert [f.check for f in report.checks if f.status == "fail"] == ["forward"]


def test_a_damaged_shard_is_to_be_validated(
    examined: Examine, tiny_data: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "set"))
    shard = next((data / "shards").glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:-512])
    report = examined("llava", data=data, until="data").report
    assert failed(report, "data").remedy.startswith(f"run pearl-data validate {data}")
    assert report.status == 1


def test_a_corrupt_sample_is_named_with_its_shard(
    examined: Examine, tiny_data: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "set"))
    with DatasetReader(data) as reader:
        place = reader.places[3]
        slot = next(slot for slot in place.line.members if slot.name.startswith("i0"))
    raw = bytearray(place.path.read_bytes())
    raw[slot.offset + slot.size // 2] ^= 0xFF
    place.path.write_bytes(raw)
    report = examined("llava", data=data, until="learned", samples=12).report
    found = failed(report, "samples")
    assert place.line.key in found.told
    assert place.shard in found.told
    assert "pearl-data validate" in found.remedy
    assert next(f for f in report.checks if f.check == "learned").status == "pass"


def test_a_loss_over_nothing_names_the_samples(
    examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = (Turn("assistant", ("Answer: red",)),)
    monkeypatch.setattr("pearl_train.views.encode.answer_turns", lambda *_: silent)
    report = examined("llava", until="gradients", samples=2).report
    found = failed(report, "learned")
    assert "train-000 in shards/" in found.told
    assert "loss" in found.told
    assert next(f for f in report.checks if f.check == "gradients").status == "skip"


def test_samples_too_long_are_counted_with_the_reason(examined: Examine) -> None:
    report = examined("llava", "data.max_tokens=300", until="samples", samples=12).report
    found = failed(report, "samples")
    lost = {name: n for name, n in found.figures.items() if name.startswith("left out")}
    assert lost == {"left out, no-room-beside-i0": 1, "left out, text-too-long": 7}
    assert "8 of 12 are dropped" in found.told
    assert "data.max_tokens (300)" in found.remedy
    _, patient = examined("llava", until="samples", samples=12)
    longest = max(one.target for one in patient.scan.samples)
    limit = f"data.max_tokens={longest - 1}"
    few = examined("llava", limit, "data.too_long=drop", until="samples", samples=12).report
    assert few.checks[-1].status == "warn"
    assert "too-long" in few.checks[-1].lines[0]


def test_thinned_latents_are_told_with_the_remedy(examined: Examine) -> None:
    few = ("objective.lvr.max_latents=2",)
    report = examined("llava", *few, objective="lvr", until="samples").report
    found = report.checks[-1]
    assert (found.check, found.status) == ("samples", "warn")
    assert "with fewer latents than region tokens" in found.told
    assert found.remedy.startswith("raise objective.lvr.max_latents (2)")


def test_a_processor_that_changes_when_saved(
    examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlavaProcessor

    whole = LlavaProcessor.save_pretrained

    def brighter(self: Any, folder: Path, **more: Any) -> Any:
        self.image_processor.image_mean = [0.1, 0.1, 0.1]
        try:
            return whole(self, folder, **more)
        finally:
            self.image_processor.image_mean = before

    before = [0.48145466, 0.4578275, 0.40821073]
    monkeypatch.setattr(LlavaProcessor, "save_pretrained", brighter)
    found = failed(examined("llava", until="reload", samples=1).report, "reload")
    assert "train-000" in found.told
    assert "pixels of i0" in found.told


def test_views_that_see_each_other(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(branch: Tensor, attention: str, dtype: torch.dtype) -> Tensor:
        return (branch != PADDING).long()

    monkeypatch.setattr("pearl_train.model.backbone.attention_mask", leaking)
    found = failed(examined("llava", until="views", samples=2).report, "views")
    assert "pred of train-" in found.told
    assert "eager" in found.remedy


def test_answers_that_see_pred_tokens(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(branch: Tensor, attention: str, dtype: torch.dtype) -> Tensor:
        length = branch.shape[1]
        return torch.ones(len(branch), 1, length, length, dtype=torch.bool)

    monkeypatch.setattr("pearl_train.model.backbone.attention_mask", blind)
    found = failed(examined("llava", until="pred apart", samples=2).report, "pred apart")
    assert "[PRED]" in found.told


def test_states_that_are_no_numbers_name_sample_and_picture(
    examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Patient.encode

    def spoilt(self: Patient, number: int, *, full: bool = True) -> EncodedSample:
        made = whole(self, number, full=full)
        if made.key != "train-006":
            return made
        image = made.images[0]
        inputs = {**image.inputs, "pixel_values": image.inputs["pixel_values"] * float("nan")}
        return replace(made, images=(replace(image, inputs=inputs, content=""), *made.images[1:]))

    monkeypatch.setattr(Patient, "encode", spoilt)
    report = examined("llava", until="overfit", samples=4).report
    found = failed(report, "forward")
    assert "i0 of train-006" in found.told
    assert "train-000" not in found.told
    assert next(f for f in report.checks if f.check == "overfit").status == "skip"


def test_a_loss_that_is_not_a_number_names_the_sample(
    examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cosine

    def spoilt(predicted: Tensor, target: Tensor) -> Tensor:
        found = whole(predicted, target)
        return torch.where(target[:, 0] == target[:, 0].max(), torch.nan, found)

    monkeypatch.setitem(DISTANCES, "cosine", spoilt)  # type: ignore[arg-type]  # a dict
    found = failed(examined("llava", until="overfit", samples=4).report, "gradients")
    assert "jepa nan" in found.told
    assert "train-" in found.told


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"image_std": [1e9] * 3}, "fail", "image_std"),
        ({"do_rescale": False}, "warn", "do_rescale"),
    ],
)
def test_pictures_on_a_wrong_scale(
    examined: Examine,
    copied: Callable[[str], Path],
    change: dict[str, Any],
    status: str,
    word: str,
) -> None:
    folder = copied("llava")
    settings = folder / "processor_config.json"
    read = json.loads(settings.read_text())
    read["image_processor"] |= change
    settings.write_text(json.dumps(read))
    found = examined(folder, until="pictures", samples=1).report.checks[-1]
    assert (found.check, found.status) == ("pictures", status)
    assert word in found.remedy


@pytest.mark.parametrize("decay", ["0.1", "10"])  # the second multiplies weights by -99 a step
def test_a_learning_rate_that_diverges(examined: Examine, decay: str) -> None:
    sets = ["optim.lr=10", f"optim.weight_decay={decay}"]
    report = examined("llava", *sets, until="overfit", samples=4).report
    found = failed(report, "overfit")
    assert "lower optim.lr" in found.remedy


def test_a_learning_rate_that_teaches_nothing(
    examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pearl_train.doctor.overfit.STEPS", 10)
    report = examined("llava", "optim.lr=1e-12", until="overfit", samples=4).report
    assert "raise optim.lr" in failed(report, "overfit").remedy
    slow = examined("llava", "optim.lr=5e-4", until="overfit", samples=4).report
    assert slow.checks[-1].status == "warn"


def test_a_micro_batch_that_does_not_fit(
    examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pearl_train.doctor.memory._free_on_cpu", lambda: 8 << 20)
    choices = ("optim.micro_batch=64", "optim.batch=64")
    found = failed(examined("llava", *choices, until="memory", samples=4).report, "memory")
    assert "optim.micro_batch = " in found.remedy
    assert "available: 8." in found.lines[-1]


def test_answers_outside_their_choices(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    import msgspec

    whole = DatasetReader.__getitem__

    def mauve(self: DatasetReader, number: int) -> Any:
        sample = whole(self, number)
        record = sample.trajectory
        task = msgspec.structs.replace(record.task, choices=["mauve", "ochre"])
        return sample._replace(trajectory=msgspec.structs.replace(record, task=task))

    monkeypatch.setattr(DatasetReader, "__getitem__", mauve)
    found = failed(examined("llava", until="answers", samples=2).report, "answers")
    assert "train-000 in shards/" in found.told


def test_faults_of_a_model_and_of_data_are_told_together(examined: Examine, tmp_path: Path) -> None:
    report = examined(tmp_path, data=tmp_path / "nowhere").report
    assert [f.check for f in report.checks if f.status == "fail"] == ["data", "model"]
    assert {f.status for f in report.checks} == {"fail", "skip"}
    assert report.device == "none"


def test_pixels_that_are_no_numbers(examined: Examine, copied: Callable[[str], Path]) -> None:
    folder = copied("llava")
    for path in folder.glob("*processor_config.json"):
        text = json.loads(path.read_text())
        for settings in (text, text.get("image_processor", {})):
            if "image_std" in settings:
                settings["image_std"] = [0.0, 0.0, 0.0]
        path.write_text(json.dumps(text))
    report = examined(str(folder)).report
    found = failed(report, "pictures")
    assert "finite" in found.told
    assert ".tar" in found.told
    assert "image_std" in found.remedy
    assert next(f for f in report.checks if f.check == "forward").status == "fail"
    assert next(f for f in report.checks if f.check == "targets").status == "skip"
