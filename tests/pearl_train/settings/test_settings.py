"""Configurations: layers win in order, every fault is told at once, presets are what they say."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pearl_tools.errors import UsageError
from pearl_train.objectives.sft import written_branches
from pearl_train.settings.config import (
    Config,
    LoraConfig,
    NextLatConfig,
    ObjectiveConfig,
    OptimConfig,
)
from pearl_train.settings.conflicts import refuse_small_passes
from pearl_train.settings.elsewhere import ELSEWHERE
from pearl_train.settings.faults import known_keys
from pearl_train.settings.load import (
    load_config,
    preset_path,
    presets,
    read_resolved,
    resolved_toml,
)
from pearl_train.settings.variants import chosen_variants


def faults(*args: object) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(*args)  # type: ignore[arg-type]
    return str(caught.value)


def test_later_layers_win_key_by_key(tmp_path: Path) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text("seed = 1\n[optim]\nlr = 1.0\nsteps = 1\nbatch = 1\n")
    second.write_text("[optim]\nlr = 2.0\nsteps = 2\n")
    config = load_config([first, second], ["optim.lr=3.0"], {"seed": 4, "model.id": None})
    assert (config.optim.batch, config.optim.steps, config.optim.lr) == (1, 2, 3.0)
    assert (config.seed, config.model.id) == (4, "nano")


def test_nano_is_the_preset_of_the_nano_model_alone() -> None:
    preset = tomllib.loads(preset_path("nano").read_text())  # type: ignore[union-attr]
    assert load_config().optim.steps == preset["optim"]["steps"]
    assert load_config([], ["optim.lr=0.5"]).log.every == preset["log"]["every"]
    assert load_config([], [], {"model.id": "elsewhere"}).optim == OptimConfig(lr=1e-5)
    assert load_config([], ["model.id=elsewhere"]).optim == OptimConfig(lr=1e-5)


def test_hints_name_keys_that_exist() -> None:
    for theirs, key in ELSEWHERE.items():
        named = re.match(r"--[a-z]+$|[a-z_.0-9]+", key)
        assert named, (theirs, key)
        assert named[0].startswith("--") or named[0] in known_keys(), (theirs, key)
        assert theirs.lower().replace("-", "_") == theirs, "as ours() looks it up"


def test_all_faults_are_told_together_with_their_origin(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[optim]\nlrate = 1\nsteps = 0\n[modle]\nid = 'x'\n")
    told = faults(
        [file, "absent.toml"], ["optim.lr=fast", "foo", "optim=3"], {"objective.name": "p"}
    )
    assert told.startswith("8 faults in the configuration:")
    assert f"optim.lrate ({file}): expected a known key, got 1; did you mean optim.lr?" in told
    assert f"optim.steps ({file}): expected at least 1, got 0" in told
    assert f"modle ({file}): expected a known key" in told
    assert "did you mean model?" in told
    assert "absent.toml: expected a TOML file or the name of a preset, got No such file" in told
    assert 'optim.lr (--set): expected a number, got "fast"' in told
    assert "--set: expected key=value, got foo; for example --set optim.lr=1e-4" in told
    assert "optim (--set): expected a table, got 3" in told
    assert "objective.name (command line): expected one of " in told


def test_conflicts_are_told_together_with_faults_of_other_choices(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        "[objective]\nstop_gradient = false\nvariance_hinge = 1.0\npause_tokens = 2\n"
        "[objective.target]\nsource = 'ema'\n[optim]\nmicro_batch = 1\nlrr = 1\n"
    )
    told = faults([file], ["optim.betas=[0.9, 1.0]", "log.every=often"])
    assert told.startswith("6 faults in the configuration:")
    assert f"objective.stop_gradient ({file}): expected true with objective.target.source" in told
    assert f"objective.variance_hinge ({file}): expected 0 with optim.batch 16 and " in told
    assert f"objective.pause_tokens ({file}): expected an option that objective pearl reads" in told
    assert "optim.lrr" in told
    assert "optim.betas[1]" in told
    assert "log.every" in told


def test_a_conflict_with_a_choice_that_is_wrong_itself_is_not_told() -> None:
    told = faults([], ["objective.stop_gradient=false", "objective.target.source=emma"])
    assert told.startswith("objective.target.source (--set): expected one of ema")
    told = faults([], ["objective.pause_tokens=2", "objective.name=sfd"])
    assert told.startswith("objective.name")


@pytest.mark.parametrize("option", ["variance_hinge", "sigreg"])
@pytest.mark.parametrize(("batch", "micro_batch"), [(8, 1), (1, 8), (5, 4)])
def test_a_spread_over_one_sample_is_refused(option: str, batch: int, micro_batch: int) -> None:
    given = [f"objective.{option}=0.1", f"optim.batch={batch}", f"optim.micro_batch={micro_batch}"]
    cut = f"optim.batch {batch} and optim.micro_batch {micro_batch}"
    assert f"expected 0 with {cut}, which leaves a forward pass with one sample" in faults(
        [], given
    )
    load_config([], [given[0], "optim.batch=6", "optim.micro_batch=4"])
    assert "an option that is read with objective.weight = 0" in faults(
        [], [*given, "objective.weight=0"]
    )


def test_so_many_processes_that_one_has_one_sample_are_refused() -> None:
    config = load_config([], ["objective.sigreg=1", "optim.batch=4", "optim.micro_batch=4"])
    refuse_small_passes(config, 2)
    with pytest.raises(UsageError, match="micro_batch 4 in 4 processes, which leaves a forward"):
        refuse_small_passes(config, 4)


def test_other_conflicts_are_refused() -> None:
    frozen = ["objective.pred=frozen", "parallel=fsdp2"]
    assert 'objective.pred (--set): expected "trained" with parallel' in faults([], frozen)
    load_config([], [*frozen, "model.lora={}"])
    pause = ["objective.name=sft", "objective.view=chat", "objective.pause_tokens=2"]
    assert 'objective.pause_tokens (--set): expected 0 with objective.view "chat"' in faults(
        [], pause
    )


@pytest.mark.parametrize(
    ("objective", "option", "reader"),
    [
        ("pearl", "pause_tokens=4", "sft reads it"),
        ("sft", "stop_gradient=false", "pearl reads it"),
        ("sft", "target.source=ema", "pearl reads it"),
        ("sft", "nextlat.cross_entropy=1", "pearl reads it"),
        ("sft", "lvr.weight=1", "lvr reads it"),
        ("tools", "view=trajectory", "sft and pearl read it"),
        ("lvr", "weight=0.5", "pearl reads it"),
    ],
)
def test_an_option_that_the_objective_does_not_read_is_told(
    objective: str, option: str, reader: str
) -> None:
    told = faults([], [f"objective.{option}"], {"objective.name": objective})
    assert f"(--set): expected an option that objective {objective} reads, got " in told
    assert reader in told


def test_a_file_for_another_objective_may_be_run_as_its_control(tmp_path: Path) -> None:
    sft = {"objective.name": "sft"}
    assert load_config(["qwen3_vl_4b"], [], sft).objective.loss_dropout == 0.5
    assert load_config([], [], sft).objective.target.source == "frozen-base"
    file = tmp_path / "mine.toml"
    file.write_text("[objective]\nsigreg = 1.0\n")
    assert "objective.sigreg" in faults([file], [], sft)
    file.write_text("[objective]\nname = 'sft'\nsigreg = 1.0\n")
    assert "objective.sigreg" in faults([file])
    file.write_text("[objective]\nname = 'pearl'\nsigreg = 1.0\n")
    assert load_config([file], [], sft).objective.name == "sft"
    file.write_text(resolved_toml(load_config([file], [], sft)))
    assert load_config([file]).objective.sigreg == 1.0, "what was resolved can be read again"


def test_a_choice_that_was_taken_back_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[objective.nextlat]\ncross_entropy = 1.0\n")
    sft = {"objective.name": "sft"}
    assert load_config([file], ["objective.nextlat=none"], sft).objective.nextlat is None
    assert load_config([file], ["objective.nextlat.cross_entropy=0"], sft).objective.name == "sft"


def test_a_default_changes_nothing_and_may_be_given() -> None:
    load_config([], ["objective.name=sft", "objective.stop_gradient=true"])


def test_rows_of_a_comparison_share_choices_but_not_their_own() -> None:
    shared = ["objective.pause_tokens=2", "objective.sigreg=0.1"]
    assert len(chosen_variants("sft,pearl", [], shared)) == 2
    with pytest.raises(UsageError, match=r"objective.sigreg .*that objective sft, lvr reads|lvr"):
        chosen_variants("sft,lvr", [], shared)
    with pytest.raises(UsageError, match=r"sigreg \(--objectives\): .* objective sft reads"):
        chosen_variants("sft+sigreg=1,pearl")


def test_faults_of_a_comparison_are_told_together() -> None:
    with pytest.raises(UsageError) as caught:
        chosen_variants("sft,bad,pearl+wieght=1", [], ["optim.lrr=1", "objective.sigreg=1"])
    told = str(caught.value)
    assert told.startswith("3 faults in the configuration:")
    assert "--objectives: expected some of sft, lvr, pearl, tools" in told
    assert "got 'bad'" in told
    assert "objective.wieght (--objectives): expected a known key" in told
    assert "optim.lrr (--set)" in told


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("optim.lrr=1", "did you mean optim.lr?"),
        ("lr=1", "did you mean optim.lr?"),
        ("objective.lambda=1", "did you mean objective.weight?"),
        ("objective.target.sorce=ema", "did you mean objective.target.source?"),
        ("optim.objective.weight=1", "did you mean objective?"),
        ("model.lora.r=8", "did you mean model.lora.rank?"),
        ("model.lora.lora_alpha=8", "did you mean model.lora.alpha?"),
        ("lora.r=8", "did you mean model.lora?"),
        ("lora_dropout=0", "did you mean model.lora.dropout?"),
        ("optim.learning_rate=1", "did you mean optim.lr?"),
        ("learning-rate=1", "did you mean optim.lr?"),
        ("optim.learnin_rate=1", "did you mean optim.lr?"),
        ("per_device_train_batch_size=1", "did you mean optim.micro_batch, samples per forward"),
        ("gradient_accumulation_steps=1", "did you mean optim.batch, samples per step over"),
        ("optim.num_train_epochs=3", "did you mean optim.steps; an epoch is samples / "),
        ("data.max_seq_length=1", "did you mean data.max_tokens?"),
        ("model.torch_dtype=1", "did you mean model.dtype?"),
        ("model.gradient_checkpointing=true", "did you mean model.checkpoint_activations?"),
        ("rnak=1", "model.lora.rank"),
        ("wieght_decay=1", "did you mean optim.weight_decay?"),
        ("zzz=1", "the file holds seed, "),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest_known_one(given: str, hint: str) -> None:
    assert hint in faults([], [given])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("optim.betas=[0.9]", "at least 2 items, got [0.9]"),
        ("optim.betas=[0.9, 0.9, 0.9]", "at most 2 items"),
        ("optim.betas=[0.9, 1.0]", "at least 0 and less than 1, got 1.0"),
        ("optim.lr=0", "more than 0, got 0"),
        ("optim.lr=nan", "a number, got nan"),
        ("optim.lr=1e39", "at most 10, got 1e+39"),
        ("optim.weight_decay=1e39", "at most 10, got 1e+39"),
        ("optim.clip=1e39", "at most 1000000.0, got 1e+39"),
        ("objective.weight=1e39", "at most 1000000.0, got 1e+39"),
        ("objective.loss_dropout=1", "less than 1, got 1"),
        ("seed=1.5", "a whole number, got 1.5"),
        ("seed=-1", "at least 0, got -1"),
        ("seed=2020-01-01", 'a whole number, got "2020-01-01"'),
        ("optim.betas=[0.9, 07:32:00]", 'a number, got "07:32:00"'),
        ("optim.lr=true", "a number, got true"),
        ("log.wandb=1", "true or false, got 1"),
        ("model.lora.rank=0", "at least 1, got 0"),
        ("optim.batch=none", 'a whole number, got "none"'),
    ],
)
def test_a_value_out_of_range_is_told_in_plain_words(given: str, expected: str) -> None:
    assert f"expected {expected}" in faults([], [given])


def test_a_file_that_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("[optim\n")
    assert f"{file}: expected TOML, got " in faults([file])


def test_none_turns_off_what_may_be_absent() -> None:
    config = load_config([], ["optim.clip=none", "model.lora.rank=4", "objective.nextlat={}"])
    assert config.optim.clip is None
    assert config.model.lora == LoraConfig(rank=4)
    assert config.objective.nextlat == NextLatConfig()
    assert load_config(["qwen2_5_vl_7b_lora"], ["model.lora=none"]).model.lora is None


def test_a_text_that_is_no_toml_needs_no_quotes() -> None:
    config = load_config([], ["model.id=Qwen/Qwen2.5-VL-3B-Instruct", "data.system=Be brief."])
    assert config.model.id == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert config.data.system == "Be brief."


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid_and_its_header_says_what_to_expect(name: str) -> None:
    config = load_config([name])
    assert config.model.id
    header = preset_path(name).read_text().split("\n[", 1)[0]  # type: ignore[union-attr]
    for part in ("command:", "hardware:", "time:", "expected:"):
        assert part in header


def test_the_papers_schedule_is_the_papers() -> None:
    config = load_config(["qwen2_5_vl_7b_lora"])
    optim, lora = config.optim, config.model.lora
    assert lora == LoraConfig(rank=64, alpha=128, dropout=0.1)
    assert (optim.lr, optim.schedule, optim.batch) == (1e-5, "cosine", 64)
    assert (optim.weight_decay, optim.warmup, optim.steps) == (0.1, 0.05, 2500)
    assert (config.objective.weight, config.objective.pred_tokens) == (0.2, 4)
    assert config.objective.nextlat is not None
    assert written_branches(config.objective) == ("trajectory",), "L_VLM is that of the full chat"
    assert config.model.dtype == "bfloat16"
    assert config.model.checkpoint_activations


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)


@settings(deadline=None)  # it writes files
@given(
    seed=st.integers(0, 2**31),
    lr=st.floats(1e-30, 10),
    clip=st.none() | st.floats(1e-6, 100),
    system=texts,
    lora=st.none() | st.builds(LoraConfig, rank=st.integers(1, 99), targets=st.just(".*q_proj")),
    nextlat=st.none() | st.builds(NextLatConfig, cross_entropy=st.floats(0, 9)),
)
def test_what_is_resolved_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    lr: float,
    clip: float | None,
    system: str,
    lora: LoraConfig | None,
    nextlat: NextLatConfig | None,
) -> None:
    base = Config()
    config = msgspec.structs.replace(
        base,
        seed=seed,
        optim=OptimConfig(lr=lr, clip=clip),
        objective=ObjectiveConfig(nextlat=nextlat),
        model=msgspec.structs.replace(base.model, lora=lora),
        data=msgspec.structs.replace(base.data, system=system),
    )
    file = tmp_path_factory.getbasetemp() / "resolved.toml"
    file.write_text(resolved_toml(config), encoding="utf-8")
    assert read_resolved(file) == config


def test_a_mark_of_the_byte_order_is_no_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf[optim]\nsteps = 2\n")
    assert load_config([path], []).optim.steps == 2


@pytest.mark.parametrize(
    ("name", "batch", "model"),
    [
        ("qwen2_5_vl_3b_lora", 64, "Qwen/Qwen2.5-VL-3B-Instruct"),
        ("qwen2_5_vl_7b_pixelreasoner", 16, "Qwen/Qwen2.5-VL-7B-Instruct"),
    ],
)
def test_presets_of_the_paper_differ_in_what_their_names_say(
    name: str, batch: int, model: str
) -> None:
    paper, config = load_config(["qwen2_5_vl_7b_lora"]), load_config([name])
    assert (config.model.id, config.optim.batch, config.optim.lr) == (model, batch, 1e-5)
    assert (config.model.lora, config.objective) == (paper.model.lora, paper.objective)
    assert config.data == paper.data


def test_every_whole_number_has_a_largest_value() -> None:
    schema = msgspec.json.schema(Config)
    unbounded = [
        f"{name}.{field}"
        for name, section in schema["$defs"].items()
        for field, facts in section["properties"].items()
        for each in facts.get("anyOf", [facts])
        if each.get("type") == "integer" and not {"minimum", "maximum"} <= each.keys()
    ]
    assert unbounded == []


@pytest.mark.parametrize("key", ["batch", "micro_batch", "steps"])
def test_a_number_that_would_only_stand_still_is_refused(key: str) -> None:
    assert f"optim.{key} (--set): expected at most" in faults([], [f"optim.{key}=2147483648"])
