"""Conflicts between choices that are valid separately; checked before anything is opened.

Not here: conflicts with the model. Those with the number of processes have their own function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pearl_tools.errors import UsageError
from pearl_train.settings.config import Config
from pearl_train.settings.passes import smallest_pass


class Conflict(NamedTuple):
    """Why ``keys`` (dotted) do not go together; the first of them is the one to change."""

    keys: tuple[str, ...]
    expected: str
    got: str
    hint: str

    def __str__(self) -> str:
        return f"{self.keys[0]}: expected {self.expected}, got {self.got}; {self.hint}"


def conflicts(config: Config) -> Iterator[Conflict]:
    """Everything in ``config`` that excludes something else in it."""
    for rule in _RULES:
        yield from rule(config)


def refuse_conflicts(config: Config) -> None:
    """Raises ``UsageError`` with the conflicts of a configuration that was not read from files."""
    if found := [str(conflict) for conflict in conflicts(config)]:
        raise UsageError("\n".join(found))


def refuse_small_passes(config: Config, processes: int) -> None:
    """Raises ``UsageError`` where so many processes leave one too few samples in a pass."""
    if found := [str(conflict) for conflict in spread_of_one(config, processes)]:
        raise UsageError("\n".join(found))


def _gradient_into_the_target(config: Config) -> Iterator[Conflict]:
    options = config.objective
    source = options.target.source
    if options.name == "pearl" and not options.stop_gradient and source != "online":
        yield Conflict(
            ("objective.stop_gradient", "objective.target.source", "objective.name"),
            f"true with objective.target.source {source!r}",
            "false",
            "only the online target can carry gradient",
        )


def spread_of_one(config: Config, processes: int = 1) -> Iterator[Conflict]:
    """A statistic over the samples of a forward pass is nothing where there is one sample."""
    options, optim = config.objective, config.optim
    if options.name != "pearl" or not options.weight:
        return
    if smallest_pass(optim.batch, optim.micro_batch, processes) > 1:
        return
    cut = f"optim.batch {optim.batch} and optim.micro_batch {optim.micro_batch}"
    if processes > 1:
        cut += f" in {processes} processes"
    for name in ("variance_hinge", "sigreg"):
        if weight := getattr(options, name):
            yield Conflict(
                (
                    f"objective.{name}",
                    "optim.batch",
                    "optim.micro_batch",
                    "objective.weight",
                    "objective.name",
                ),
                f"0 with {cut}, which leaves a forward pass with one sample",
                f"{weight:g}",
                "it compares the samples of a forward pass: make optim.batch a multiple of "
                "optim.micro_batch and of the processes, with 2 samples in each at least, better 8",
            )


def _frozen_rows_of_a_shard(config: Config) -> Iterator[Conflict]:
    options, full = config.objective, config.model.lora is None
    wanted = options.name == "pearl" and options.weight and options.pred == "frozen"
    if wanted and full and config.parallel == "fsdp2":
        yield Conflict(
            ("objective.pred", "parallel", "model.lora", "objective.weight", "objective.name"),
            '"trained" with parallel = "fsdp2" and full fine-tuning',
            '"frozen"',
            'rows of a sharded matrix cannot be held: use model.lora or parallel = "ddp"',
        )


def _pause_before_no_answer(config: Config) -> Iterator[Conflict]:
    options = config.objective
    if options.name == "sft" and options.view == "chat" and options.pause_tokens:
        yield Conflict(
            ("objective.pause_tokens", "objective.view", "objective.name"),
            '0 with objective.view "chat"',
            str(options.pause_tokens),
            'they stand before the answer alone: set objective.view to "answer" or "trajectory"',
        )


_RULES: tuple[Callable[[Config], Iterator[Conflict]], ...] = (
    _gradient_into_the_target,
    spread_of_one,
    _frozen_rows_of_a_shard,
    _pause_before_no_answer,
)
