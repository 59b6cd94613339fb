"""``pearl-train run``: options in, one call of :func:`pearl_train.training.loop.train`."""

from __future__ import annotations

from pathlib import Path

import click

from pearl_data.command_line import allow_unfinished_option, json_option
from pearl_data.progress import stage
from pearl_data.terminal import print_json, say
from pearl_tools.errors import UsageError
from pearl_train.cli.choices import (
    chosen_config,
    config_options,
    data_option,
    model_option,
    objective_option,
)
from pearl_train.cli.output import first_process


@click.command(epilog="Example: pearl-train run --data scenes --objective pearl --out run")
@data_option("Dataset folder of pearl-data synth.", required=False)
@model_option
@objective_option
@config_options
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run; must be new.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Resume the run in this folder, with its own choices.",
)
@click.option(
    "--on-collapse",
    type=click.Choice(["warn", "stop"]),
    help="Reaction to a collapse of the views.",
)
@allow_unfinished_option
@json_option
def run(
    data: Path | None,
    model: str | None,
    objective: str | None,
    configs: tuple[str, ...],
    sets: tuple[str, ...],
    out: Path | None,
    resume: Path | None,
    on_collapse: str | None,
    allow_unfinished: bool,
    as_json: bool,
) -> None:
    """Train a model on the trajectories in --data.

    Writes checkpoints, metrics, curves, the trained model with its processor and a model card to
    --out. Interrupted? --resume RUN continues the run; the weights end up the same, bit for
    bit on a CPU. Several GPUs: torchrun --standalone --nproc-per-node 4 -m pearl_train.cli.main
    run ...
    """
    stage("run", "loading torch and transformers")
    from pearl_train.run.folder import RunFolder
    from pearl_train.settings.load import load_config
    from pearl_train.training.loop import train

    flags = {"model.id": model, "objective.name": objective, "log.on_collapse": on_collapse,
             "data.allow_unfinished": allow_unfinished or None}  # fmt: skip
    if resume is not None:
        _alone(configs, sets, {**flags, "out": out})
        folder = RunFolder(resume)
        config = folder.read_config()
        if sets:
            config = load_config([str(folder.config)], sets, {})
        result = train(config, data or Path(folder.read_data().path), resume, resume=True)
    else:
        if data is None or out is None:
            raise UsageError(
                "expected --data DIR and --out RUN for a new run, or --resume RUN to go on, got "
                f"{'neither' if data is None and out is None else 'only one of them'}"
            )
        config = chosen_config(configs, sets, flags)
        result = train(config, data, out)
    if not first_process():
        return
    if as_json:
        print_json(result)
        return
    for line in result.told():
        say(line)


def _alone(configs: tuple[str, ...], sets: tuple[str, ...], flags: dict[str, object]) -> None:
    """Raise ``UsageError`` for choices given with ``--resume``, which has its own, except those
    that do not affect training (``MAY_CHANGE``).
    """
    from pearl_train.settings.variants import MAY_CHANGE

    names = {"model.id": "--model", "objective.name": "--objective", "out": "--out",
             "log.on_collapse": "--on-collapse",
             "data.allow_unfinished": "--allow-unfinished"}  # fmt: skip
    given = [names[key] for key, value in flags.items() if value is not None]
    fixed = [text for text in sets if text.partition("=")[0].strip() not in MAY_CHANGE]
    given += ["--config"] * bool(configs) + [f"--set {text}" for text in fixed]
    if given:
        raise UsageError(
            f"--resume uses the choices in RUN/config.toml: remove {', '.join(given)}, "
            "or start a new run with --out"
        )
