"""Every option has its row: read always, or refused where another choice leaves it unread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pearl_tools.errors import UsageError
from pearl_train.settings.config import Config, LoraConfig, ModelConfig
from pearl_train.settings.load import load_config, presets, resolved_toml
from pearl_train.settings.variants import chosen_variants

ALWAYS = {
    "seed",
    "parallel",
    "model.id",
    "model.dtype",
    "model.attention",
    "model.checkpoint_activations",
    "model.max_pixels",
    "model.lora.rank",
    "model.lora.alpha",
    "model.lora.dropout",
    "model.lora.targets",
    "data.allow_unfinished",
    "data.split",
    "data.system",
    "data.answers",
    "data.max_dropped_share",
    "data.max_tokens",
    "data.too_long",
    "data.workers",
    "objective.name",
    "optim.steps",
    "optim.batch",
    "optim.micro_batch",
    "optim.lr",
    "optim.schedule",
    "optim.warmup",
    "optim.weight_decay",
    "optim.betas",
    "optim.clip",
    "log.every",
    "log.panel_every",
    "log.tensorboard",
    "log.wandb",
    "log.on_collapse",
    "checkpoint.every",
    "checkpoint.keep_last",
    "checkpoint.keep_best",
    "evaluate.split",
    "evaluate.max_new_tokens",
}
"""Read by every run, or where the data, the number of processes or the command decide."""

PLAIN = ("0", "true", "{}")
"""Values that TOML writes without quotes."""

SFT, TOOLS, LVR = "objective.name=sft", "objective.name=tools", "objective.name=lvr"
NO_JEPA = "objective.weight=0"
RESTATING = [
    ("model.freeze_vision=true", "model.lora={}"),
    ("objective.nextlat=none", NO_JEPA),
    ("objective.nextlat=none", SFT),
    ("objective.nextlat=none", LVR),
    ("objective.weight=0", TOOLS),
    ("objective.weight=0", "objective.nextlat=none", SFT),
    *(("log.on_collapse=stop", under) for under in (SFT, LVR, TOOLS, NO_JEPA)),
]
"""What only says again what holds anyway: the options that loops over objectives give to all."""

UNREAD = [
    ("model.freeze_vision=true", "model.lora.targets=.*mlp.*"),
    ("model.revision=main", "model.id=nano"),
    ("objective.view=trajectory", TOOLS),
    ("objective.weight=0.5", SFT),
    ("objective.warmup=5", NO_JEPA),
    ("objective.warmup=5", LVR),
    ("objective.pred_tokens=2", NO_JEPA),
    ("objective.pred=frozen", NO_JEPA),
    ("objective.pred=frozen", "objective.pred_tokens=0"),
    ("objective.pred_position=end-of-question", NO_JEPA),
    ("objective.distance=smooth-l1", NO_JEPA),
    ("objective.loss_dropout=0.5", NO_JEPA),
    ("objective.variance_hinge=1", NO_JEPA),
    ("objective.sigreg=1", NO_JEPA),
    ("objective.stop_gradient=false", "objective.target.source=online", NO_JEPA),
    ("objective.pause_tokens=2", "objective.view=chat", SFT),
    ("objective.pause_tokens=2", "objective.name=pearl"),
    ("objective.target.source=frozen-base", NO_JEPA),
    ("objective.target.source=ema", TOOLS),
    ("objective.target.read=mean", NO_JEPA),
    ("objective.target.read=before-conclusion", "objective.target.include_answer=false"),
    ("objective.target.include_image=true", NO_JEPA),
    ("objective.target.include_answer=false", NO_JEPA),
    ("objective.target.wrong_steps=true", NO_JEPA),
    ("objective.target.ema_decay=0.9", "objective.target.source=frozen-base"),
    ("objective.target.cache=kept", "objective.target.source=ema"),
    ("objective.target.ema_decay=0.9", NO_JEPA),
    ("objective.nextlat.cross_entropy=1", NO_JEPA),
    ("objective.lvr.weight=1", SFT),
    ("objective.lvr.latents=4", SFT),
    ("objective.lvr.max_latents=4", TOOLS),
    ("evaluate.max_turns=2", SFT),
    ("evaluate.tool_turn_tokens=9", LVR),
]


def leaves(kind: type[msgspec.Struct] = Config, at: str = "") -> set[str]:
    found = set()
    for field in msgspec.structs.fields(kind):
        parts = getattr(field.type, "__args__", (field.type,))
        below = [p for p in parts if isinstance(p, type) and issubclass(p, msgspec.Struct)]
        for part in below:
            found |= leaves(part, f"{at}{field.name}.")
        if not below or field.name == "nextlat":
            found.add(at + field.name)
    return found


def test_every_option_has_a_row() -> None:
    conditional = {given.partition("=")[0] for given, *_ in UNREAD}
    assert not conditional & ALWAYS
    assert conditional | ALWAYS | {row[0].partition("=")[0] for row in RESTATING} == leaves()


@pytest.mark.parametrize("row", RESTATING, ids=" with ".join)
@pytest.mark.parametrize("as_file", [False, True])
def test_what_holds_anyway_may_be_said(
    row: tuple[str, ...], *, as_file: bool, tmp_path: Path
) -> None:
    if not as_file:
        load_config([], row)
        return
    file = tmp_path / "own.toml"
    lines = (pair.partition("=") for pair in row)
    file.write_text("".join(f"{k} = {v if v in PLAIN else repr(v)}\n" for k, _, v in lines))
    load_config([file])


@pytest.mark.parametrize(("row"), UNREAD, ids=" with ".join)
def test_an_option_that_another_choice_leaves_unread_is_refused(row: tuple[str, ...]) -> None:
    option, *under = row
    key, _, value = option.partition("=")
    with pytest.raises(UsageError) as caught:
        load_config([], [option, *under])
    told = str(caught.value)
    assert told.startswith(f"{key} (--set): expected "), "and nothing else"
    assert f"got {value}" in told.replace('"', "")
    assert "leave it out" in told or "set objective.view" in told
    load_config([], under)


def test_the_remedy_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        load_config([], ["objective.target.ema_decay=0.9"])
    assert str(caught.value) == (
        "objective.target.ema_decay (--set): expected an option that is read with "
        'objective.target.source = "frozen-base", got 0.9; leave it out, or set '
        'objective.target.source = "ema"'
    )
    load_config([], ["objective.target.ema_decay=0.9", "objective.target.source=ema"])


def test_what_lies_in_a_folder_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.revision .*a hub id"):
        load_config([], ["model.revision=main"], {"model.id": str(tmp_path)})
    load_config([], ["model.revision=main", "model.id=some/model"])


def test_a_file_may_be_run_as_a_variant_of_itself(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    text = "[objective]\nname = 'pearl'\n{}\n[objective.target]\nsource = 'ema'\nema_decay = 0.9\n"
    file.write_text(text.format(""))
    assert load_config([file], [NO_JEPA]).objective.weight == 0
    assert load_config([file], ["objective.target.source=online"]).objective.target.ema_decay == 0.9
    own = tmp_path / "own.toml"
    own.write_text("[objective.target]\nema_decay = 0.5\n")
    with pytest.raises(UsageError, match=r"ema_decay .*own.toml"):
        load_config(["nano", own])
    file.write_text(text.format("weight = 0"))
    with pytest.raises(UsageError, match="2 faults"):
        load_config([file])
    file.write_text(resolved_toml(load_config([], [NO_JEPA])))
    assert load_config([file]).objective.weight == 0, "what was resolved can be read again"


@pytest.mark.parametrize("name", presets())
@pytest.mark.parametrize("change", [SFT, TOOLS, LVR, NO_JEPA, "model.lora={}"])
def test_presets_can_be_varied(name: str, change: str) -> None:
    load_config([name], [change])


def test_a_comparison_shares_what_one_of_its_rows_reads() -> None:
    decay = ["objective.target.ema_decay=0.9"]
    assert chosen_variants("sft,pearl,pearl+target.source=ema", [], decay)
    with pytest.raises(UsageError, match=r"ema_decay .*--set"):
        chosen_variants("sft,pearl", [], decay)
    with pytest.raises(UsageError, match=r"ema_decay \(--objectives\)"):
        chosen_variants("sft,pearl+target.ema_decay=0.9")
    assert chosen_variants("sft,lvr", [], ["log.on_collapse=stop"])
    assert chosen_variants("sft,tools", [], ["evaluate.max_turns=2", "evaluate.max_new_tokens=3"])


def test_a_default_may_be_given_anywhere() -> None:
    plain: dict[str, Any] = msgspec.to_builtins(Config(model=ModelConfig(lora=LoraConfig())))
    given = [
        f"objective.target.{name}={str(value).lower()}"
        for name, value in plain["objective"]["target"].items()
    ]
    load_config([], [SFT, *given])
