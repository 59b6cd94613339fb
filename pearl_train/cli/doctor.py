"""``pearl-train doctor``: options in, one call of :func:`pearl_train.doctor.examine`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pearl_data.command_line import allow_unfinished_option, json_option
from pearl_data.progress import stage
from pearl_data.terminal import print_json, say
from pearl_data.terminated import on_interrupt
from pearl_train.cli.choices import (
    chosen_config,
    config_options,
    data_option,
    model_option,
    objective_option,
)

if TYPE_CHECKING:
    from pearl_train.doctor import Finding


@click.command(epilog="Example: pearl-train doctor --data scenes --objective pearl --out look")
@data_option("Dataset folder of pearl-data synth.")
@model_option
@objective_option
@config_options
@click.option(
    "--samples",
    type=click.IntRange(1, 10**6),
    default=200,
    show_default=True,
    metavar="N",
    help="Encode at most this many samples: spread over the split, plus the longest ones.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write doctor.json, sample.html (tokens in colours) and pictures.png there.",
)
@allow_unfinished_option
@json_option
@click.pass_context
def doctor(
    context: click.Context,
    data: Path,
    model: str | None,
    objective: str | None,
    configs: tuple[str, ...],
    sets: tuple[str, ...],
    samples: int,
    out: Path | None,
    allow_unfinished: bool,
    as_json: bool,
) -> None:
    """Before the first step: what will the model see, does it fit, will it learn.

    Takes the choices of `pearl-train run`, trains nothing that is kept. Each check passes, warns or
    fails with a remedy. Exit 0 if none failed; 2 if one found that --data or --model names what it
    cannot be; else 1.
    """
    on_interrupt("interrupted; nothing was kept: the same command starts over")
    stage("doctor", "loading torch and transformers")
    from pearl_train.doctor import examine
    from pearl_train.doctor.findings import summary, told
    from pearl_train.doctor.page import write_files

    def tell(finding: Finding) -> None:
        if not as_json:
            for line in told(finding):
                say(line)

    config = chosen_config(
        configs,
        sets,
        {
            "model.id": model,
            "objective.name": objective,
            "data.allow_unfinished": allow_unfinished or None,
        },
    )
    stage("doctor", f"opening {data} and the model {config.model.id}")
    report, patient = examine(data, config, samples=samples, tell=tell)
    written = write_files(report, patient.sheet, out) if out else []
    if as_json:
        print_json(report)
    else:
        say(summary(report))
        for path in written:
            say(f"wrote {path}")
    context.exit(report.status)
