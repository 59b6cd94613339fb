"""``pearl-train eval``: how well a model answers the questions of a data set."""

from __future__ import annotations

from pathlib import Path

import click

from pearl_data.command_line import allow_unfinished_option, json_option
from pearl_data.progress import stage
from pearl_data.terminal import print_json, say
from pearl_data.terminated import on_interrupt
from pearl_train.cli.choices import asking_sets_option, checkpoint_option, data_option


@click.command(
    name="eval", epilog="Example: pearl-train eval run --data held_out --split test --json"
)
@click.argument("run", metavar="RUN")
@data_option("Dataset folder whose questions are asked.")
@click.option("--split", help="Only the samples of this split. [default: all]")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the answers and scores. [default: a folder in RUN/eval, if RUN is a run]",
)
@click.option("--limit", type=click.IntRange(1, 10**9), help="Ask at most this many questions.")
@checkpoint_option
@asking_sets_option
@allow_unfinished_option
@json_option
def evaluate(
    run: str,
    data: Path,
    split: str | None,
    out: Path | None,
    limit: int | None,
    checkpoint: str,
    sets: tuple[str, ...],
    allow_unfinished: bool,
    as_json: bool,
) -> None:
    """Accuracy by family of questions with intervals, latency, tokens, and tool errors.

    RUN is the folder of a finished run, an export, or any model: a folder, a hub id or nano. Only
    a model trained to call tools gets tools. Interrupted? Run the same command again to
    resume.
    """
    on_interrupt("interrupted; run the same command again to resume")
    stage("eval", "loading torch and transformers")
    from pearl_train.comparing.examine import examine
    from pearl_train.report.scores import scores_text
    from pearl_train.training.at_checkpoint import network_at

    stage("eval", f"loading the model {run}")
    with network_at(run, checkpoint) as at:
        found = examine(
            run,
            data,
            split=split,
            out=out,
            sets=sets,
            limit=limit,
            at=at,
            allow_unfinished=allow_unfinished,
        )
    if as_json:
        print_json(found)
    else:
        say(scores_text(found))
