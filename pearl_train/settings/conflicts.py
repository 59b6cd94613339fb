"""Choices that are right each by itself and wrong together, known before anything is opened.

Left out: what only the model or the number of processes decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pearl_tools.errors import UsageError
from pearl_train.settings.config import Config


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


def _spread_of_one(config: Config) -> Iterator[Conflict]:
    """A statistic over the samples of a forward pass is nothing where there is one sample."""
    options, size = config.objective, min(config.optim.micro_batch, config.optim.batch)
    if options.name != "pearl" or not options.weight or size > 1:
        return
    small = "optim.micro_batch" if config.optim.micro_batch == 1 else "optim.batch"
    for name in ("variance_hinge", "sigreg"):
        if weight := getattr(options, name):
            yield Conflict(
                (f"objective.{name}", small, "objective.weight", "objective.name"),
                f"0 with {small} 1",
                f"{weight:g}",
                "it compares the samples of a forward pass, of which one has nothing to compare "
                f"with: set {small} to 2 at least, better to 8 or more",
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
    _spread_of_one,
    _frozen_rows_of_a_shard,
    _pause_before_no_answer,
)
