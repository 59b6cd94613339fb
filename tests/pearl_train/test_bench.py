"""The bench runs, every row of it, and its random model has the shape that it says."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from bench import runners, train
from bench.shapes import PARAMETERS, QWEN2_5_VL_3B, make
from bench.variants import CORE, MORE, RATIOS, RELEASE
from pearl_train.model.load import load_model
from pearl_train.settings.config import ModelConfig
from pearl_train.settings.load import load_config

QUICK = ["--batch", "2", "--batches", "1", "--rounds", "1", "--device", "cpu"]


@pytest.mark.parametrize("in_turns", [True, False])
def test_every_row_makes_its_steps(
    tiny_folder: Callable[[str], Path],
    tiny_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_turns: bool,
) -> None:
    monkeypatch.setattr(train, "_peak_flops", lambda *_: 1e9)
    if not in_turns:
        monkeypatch.setattr(train, "IN_TURNS", 0)
    model = ["--model", str(tiny_folder("llava")), "--data", str(tiny_data)]
    told = CliRunner().invoke(train.main, [*model, *QUICK, *(["--all"] if in_turns else [])])
    assert told.exit_code == 0, (told.output, told.exception)
    lines = told.stdout.splitlines()
    rows = [*CORE, *(MORE if in_turns else []), RELEASE]
    table = {line[:32].strip(): line[32:].split() for line in lines[2 : 2 + len(rows)]}
    assert list(table) == rows
    assert all(float(cells[-1]) >= 0 and int(cells[2]) > 0 for cells in table.values())
    assert ("in turns" in lines[0]) is in_turns
    pairs = [(line.split(":")[0], line) for line in lines[2 + len(rows) :]]
    assert [pair for pair, _ in pairs] == [f"{r.row} / {r.peer}" for r in RATIOS]
    assert "not like for like" in pairs[0][1]
    assert "no aim; like for like" in pairs[1][1]


def test_the_preset_of_the_paper_is_a_row() -> None:
    assert load_config(["qwen2_5_vl_7b_lora"]).objective in MORE.values()


def test_no_two_rows_are_the_same_objective() -> None:
    rows = [*CORE.values(), *MORE.values()]
    assert all(row not in rows[:place] for place, row in enumerate(rows))


def test_one_variant_at_a_time_is_there_while_it_is_measured(
    tiny_folder: Callable[[str], Path], tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the peak on a GPU would be that of all of them together."""
    there: list[int] = []
    build, measure = runners._backbone, train._measured
    networks: list[Callable[[], object]] = []

    def built(*arguments: object) -> object:
        made = build(*arguments)
        networks.append(weakref.ref(made))
        return made

    def measured(*arguments: object) -> object:
        there.append(sum(network() is not None for network in networks))
        return measure(*arguments)

    monkeypatch.setattr(train, "_peak_flops", lambda *_: 1e9)
    monkeypatch.setattr(runners, "_backbone", built)
    monkeypatch.setattr(train, "_measured", measured)
    monkeypatch.setattr(train, "CORE", {name: CORE[name] for name in _RATED})
    for limit in (train.IN_TURNS, 0):
        monkeypatch.setattr(train, "IN_TURNS", limit)
        model = ["--model", str(tiny_folder("llava")), "--data", str(tiny_data)]
        told = CliRunner().invoke(train.main, [*model, *QUICK])
        assert told.exit_code == 0, told.exception
    assert set(there) == {1}


_RATED = dict.fromkeys(name for r in RATIOS for name in (r.row, r.peer) if name != RELEASE)


def test_the_shape_is_that_of_the_published_model() -> None:
    network, processor = make(QWEN2_5_VL_3B, ["a b"], device="meta", dtype=torch.bfloat16)
    weights = {id(p): p for p in network.parameters()}.values()
    assert {str(p.device) for p in weights} == {"meta"}
    assert {p.dtype for p in weights} == {torch.bfloat16}
    assert sum(p.numel() for p in weights) == PARAMETERS
    assert network.lm_head.weight is network.get_input_embeddings().weight
    shape = network.config.text_config
    assert shape.rope_parameters["mrope_section"] == [16, 24, 24]
    assert shape.hidden_size // shape.num_attention_heads == 2 * (16 + 24 + 24)
    assert network.config.vision_config.fullatt_block_indexes == [7, 15, 23, 31]
    assert len(processor.tokenizer) < shape.vocab_size
    with pytest.raises(KeyError, match="qwen9"):
        make("qwen9", [], device="meta", dtype=torch.bfloat16)


def test_the_processor_of_the_shape_is_one_that_the_trainer_takes(
    tiny_folder: Callable[[str], Path],
) -> None:
    """It makes of a picture as many tokens as the published one, and has what is asked for."""
    from PIL import Image

    _, processor = make(QWEN2_5_VL_3B, ["a b"], device="meta", dtype=torch.bfloat16)
    _, known = load_model(ModelConfig(id=str(tiny_folder("qwen2_5_vl"))))
    assert type(processor) is type(known)
    assert processor.image_token == known.image_token
    picture = Image.new("RGB", (28 * 20, 28 * 10))
    made = processor(images=[picture], text=[processor.image_token], return_tensors="pt")
    assert int((made["input_ids"] == processor.image_token_id).sum()) == 200


@pytest.mark.gpu
@pytest.mark.parametrize("lora", [[], ["--lora", "8"]])
def test_the_shape_takes_steps_on_a_gpu(tiny_data: Path, lora: list[str]) -> None:
    options = ["--model", QWEN2_5_VL_3B, "--data", str(tiny_data), "--dtype", "bfloat16", *lora]
    quick = ["--batch", "2", "--batches", "1", "--rounds", "1", "--device", "cuda"]
    told = CliRunner().invoke(train.main, [*options, *quick])
    assert told.exit_code == 0, (told.output, told.exception)
    assert "one variant after the other" in told.stdout
