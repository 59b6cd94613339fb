"""What a finished run was, for scripts and for people."""

from __future__ import annotations

from pearl_data.progress import duration
from pearl_tools.types import Record
from pearl_train.run.training_line import shown


class RunResult(Record, frozen=True, kw_only=True):
    """What a finished run was. ``losses`` are the means over the last ``log.every`` updates."""

    out: str
    objective: str
    model: str
    steps: int
    samples: int
    tokens: int
    losses: dict[str, float]
    validation: float | None
    trained_parameters: int
    processes: int
    device: str
    seconds: float
    """Of this session, with reading the data, checkpoints and validation."""
    tokens_per_s: float
    peak_memory_bytes: int | None
    warnings: list[str]
    left_out: dict[str, int] = {}

    def told(self) -> list[str]:
        """The result in a few lines for people."""
        losses = ", ".join(
            f"{name} {shown(value)}" for name, value in self.losses.items() if name != "grad_norm"
        )
        where = (
            f"{self.processes} processes on {self.device}" if self.processes > 1 else self.device
        )
        took = f"{duration(self.seconds)} in this session on {where}"
        rate = f", {self.tokens_per_s:.0f} tokens/s" if self.tokens_per_s else ", nothing was left"
        what = f"{self.trained_parameters:,} weights trained"
        lines = [
            f"{self.objective} on {self.model}: {self.steps} steps, {self.samples} samples, {what}",
            f"time:    {took}{rate}",
            f"losses:  {losses}",
        ]
        if self.validation is not None:
            lines.append(f"validation loss, at best: {shown(self.validation)}")
        lines += [f"left out or changed: {n} {what}" for what, n in sorted(self.left_out.items())]
        lines += [f"warning: {text}" for text in self.warnings]
        return [
            *lines,
            f"model:   {self.out}/model",
            f"curves:  {self.out}/curves.png",
            f"try it:  pearl-train eval {self.out} --data DIR",
        ]
