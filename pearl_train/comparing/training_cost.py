"""What a run cost, from the timings in its folder."""

from __future__ import annotations

from pearl_tools.types import Record
from pearl_train.asking.statistics import quantile
from pearl_train.run.folder import RunFolder
from pearl_train.run.metrics import read_metrics
from pearl_train.settings.config import Config


class Training(Record, frozen=True, kw_only=True):
    """What training cost: updates, seconds in all and per update (median), on this machine.

    Without validation and checkpoints; None where the run wrote no timings. ``left_out`` counts the
    samples that did not fit, by what became of them: a row that has some did not learn from exactly
    what the others did.
    """

    steps: int
    seconds: float | None
    step_s_median: float | None
    left_out: dict[str, int] = {}


def training_cost(folder: RunFolder, config: Config) -> Training:
    """What the run in ``folder`` cost, from its timings; of a stretch done twice the later."""
    windows = {int(line["step"]): line for line in read_metrics(folder.timings)}
    seconds = {
        step: 1 / line["steps_per_s"] for step, line in windows.items() if line.get("steps_per_s")
    }
    steps = sorted(seconds)
    spent = [
        (step - before) * seconds[step] for before, step in zip([0, *steps], steps, strict=False)
    ]
    return Training(
        steps=config.optim.steps,
        seconds=sum(spent) if spent else None,
        step_s_median=quantile(list(seconds.values()), 0.5),
        left_out=folder.read_data().left_out if folder.data.is_file() else {},
    )
