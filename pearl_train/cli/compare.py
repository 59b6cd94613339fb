"""``pearl-train compare``: objectives trained and examined side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from pearl_data.command_line import allow_unfinished_option, json_option
from pearl_data.progress import stage
from pearl_data.terminal import print_json, say
from pearl_data.terminated import on_interrupt
from pearl_train.cli.choices import config_options, data_option, model_option
from pearl_train.errors import RunInterrupted


@click.command(
    epilog="Example: pearl-train compare --data scenes --objectives sft,lvr,pearl,tools --out both"
)
@data_option("Dataset folder to train on.")
@data_option(
    "Dataset folder to test on. [default: a split test or val of --data, else 25 % of its pictures"
    " with all their questions]",
    name="--test",
    required=False,
)
@click.option(
    "--objectives",
    default="sft,lvr,pearl,tools",
    show_default=True,
    metavar="NAMES",
    help="Objectives to compare; add changes of [objective] with a plus: sft+view=trajectory.",
)
@model_option
@config_options
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the comparison; finished parts in it are kept.",
)
@click.option(
    "--samples",
    type=click.Choice(["common", "each"]),
    default="common",
    show_default=True,
    help="Train all rows on the samples that every row can use, or each row on all it can use.",
)
@allow_unfinished_option
@json_option
def compare(
    data: Path,
    test: Path | None,
    objectives: str,
    model: str | None,
    configs: tuple[str, ...],
    sets: tuple[str, ...],
    out: Path,
    samples: Literal["common", "each"],
    allow_unfinished: bool,
    as_json: bool,
) -> None:
    """Train objectives on the same data in the same order, and ask all the same held-out questions.

    Prints one table with counts, intervals and paired tests; writes comparison.html, accuracy.png
    and comparison.json to --out. Every objective takes as many steps as the others. Interrupted?
    Run the same command again to resume; objectives can be added to a finished comparison.
    """
    interrupted = "interrupted; run the same command again to resume"
    on_interrupt(interrupted)
    stage("compare", "loading torch and transformers")
    from pearl_train.settings.variants import chosen_variants

    flags = {"model.id": model, "data.allow_unfinished": allow_unfinished or None}
    variants = chosen_variants(objectives, configs, sets, flags)

    from pearl_train.comparing.compare import PAGE, Request
    from pearl_train.comparing.compare import compare as compare_all
    from pearl_train.report.comparison_table import table_text

    request = Request(
        data=data,
        out=out,
        variants=variants,
        configs=configs,
        sets=sets,
        flags=flags,
        test=test,
        samples=samples,
    )
    try:
        found = compare_all(request)
    except RunInterrupted as error:  # of one row: its words name a run inside --out
        on_interrupt(interrupted)
        raise RunInterrupted(interrupted) from error
    if as_json:
        print_json(found)
        return
    say(table_text(found))
    say(f"\nlook at it: {out / PAGE}")
