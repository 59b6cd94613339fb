"""Options that are read only under another choice: the one table of it.

Given where nothing reads it, an option changes nothing, which is a mistake to be told. As with what
an objective does not read (:mod:`pearl_train.settings.reads`), a file may be run as a variant of
itself: a later layer that takes away what its options rest on is no mistake. Nor is an option that
only says again what holds anyway: nothing that was wished for is ignored. So ``log.on_collapse``
has no row: where no views can collapse, there is nothing to stop for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pearl_train.settings.config import Config
from pearl_train.settings.faults import Fault, Given, Key, dotted, shown
from pearl_train.settings.reads import at, is_plain, says_off


class Condition(NamedTuple):
    """``option`` (dotted; a table stands for all in it) is read where ``reads`` says so.

    ``by`` is the choice that decides it, ``needs`` says what to set for it to be read.
    """

    option: str
    by: str
    needs: str
    reads: Callable[[Config], bool]


def _predicts(config: Config) -> bool:
    return config.objective.name == "pearl" and config.objective.weight > 0


def _pearl_predicts(config: Config) -> bool:
    return config.objective.name != "pearl" or _predicts(config)


def _uses_tools(config: Config) -> bool:
    return config.objective.name == "tools"


def _lies_here(model_id: str) -> bool:
    return model_id == "nano" or Path(model_id).expanduser().is_dir()


_OF_LAMBDA = ("warmup", "pred_tokens", "pred", "pred_position", "distance", "loss_dropout",
              "variance_hinge", "sigreg", "stop_gradient", "target", "nextlat")  # fmt: skip

CONDITIONS: tuple[Condition, ...] = (
    *(
        Condition(
            f"objective.{name}", "objective.weight", "objective.weight above 0", _pearl_predicts
        )
        for name in _OF_LAMBDA
    ),
    Condition(
        "objective.pred",
        "objective.pred_tokens",
        "objective.pred_tokens to 1 at least",
        lambda config: config.objective.pred_tokens > 0,
    ),
    Condition(
        "objective.target.ema_decay",
        "objective.target.source",
        'objective.target.source = "ema"',
        lambda config: config.objective.target.source == "ema",
    ),
    Condition(
        "objective.target.cache",
        "objective.target.source",
        'objective.target.source = "frozen-base"',
        lambda config: config.objective.target.source == "frozen-base",
    ),
    Condition(
        "objective.target.read",
        "objective.target.include_answer",
        "objective.target.include_answer = true: without a conclusion its place is the last",
        lambda config: (
            config.objective.target.read != "before-conclusion"
            or config.objective.target.include_answer
        ),
    ),
    Condition(
        "model.freeze_vision",
        "model.lora.targets",
        "no model.lora.targets: without it adapters are in the language model alone",
        lambda config: config.model.lora is None or config.model.lora.targets is None,
    ),
    Condition(
        "model.revision",
        "model.id",
        "model.id to a hub id: what lies here has no revisions",
        lambda config: not _lies_here(config.model.id),
    ),
    Condition("evaluate.max_turns", "objective.name", 'objective.name = "tools"', _uses_tools),
    Condition(
        "evaluate.tool_turn_tokens", "objective.name", 'objective.name = "tools"', _uses_tools
    ),
)
"""A row holds for every objective that reads its option at all."""


def idle_faults(config: Config, given: Given, keys: Iterable[Key]) -> Iterator[Fault]:
    """Choices among ``keys``, other than the default, that nothing reads as ``config`` stands.

    A choice given by a file is none where a later layer gave what it rests on.
    """
    for key in keys:
        if is_plain(config, key) or says_off(config, key):
            continue
        for condition in CONDITIONS:
            if not _holds_of(condition, key) or condition.reads(config):
                continue
            by: Key = tuple(condition.by.split("."))
            if given.is_varied(key, by):
                continue
            yield Fault(
                where=dotted(key),
                origin=given.origin(key),
                expected=f"an option that is read with {condition.by} = {_shown(config, by)}",
                got=shown(given.value(key)),
                hint=f"leave it out, or set {condition.needs}",
                rests_on=(key, by),
            )
            break


def _holds_of(condition: Condition, key: Key) -> bool:
    option = tuple(condition.option.split("."))
    return key[: len(option)] == option


def _shown(config: Config, key: Key) -> str:
    value = at(config, key)
    return f"{value:g}" if isinstance(value, float) else shown(value)
