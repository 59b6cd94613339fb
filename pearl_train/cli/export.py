"""``pearl-train export``: a trained model as a folder for plain transformers."""

from __future__ import annotations

from pathlib import Path

import click

from pearl_data.progress import stage
from pearl_data.terminal import say
from pearl_data.terminated import on_interrupt
from pearl_train.cli.choices import checkpoint_option


@click.command(epilog="Example: pearl-train export run --to my_model")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="RUN")
@click.option(
    "--to",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="New or empty folder for network, processor and card.",
)
@click.option(
    "--adapter",
    is_flag=True,
    help="Write only the adapter, for peft, with the processor and tokens that it needs.",
)
@checkpoint_option
def export(run: Path, to: Path, checkpoint: str, *, adapter: bool) -> None:
    """Write the trained model of RUN, with its processor, to a folder of its own.

    It loads with AutoModelForImageTextToText and AutoProcessor, without this toolkit; adapters are
    merged in float32. With --adapter it loads with PeftModel onto the model that RUN trained: its
    README says how. pearl.sha256 holds the hashes of all files: sha256sum -c pearl.sha256.
    """
    on_interrupt("interrupted; run the same command again")
    stage("export", "loading torch and transformers")
    from pearl_train.training.exported import export_adapter, export_run

    if adapter:
        export_adapter(run, to, checkpoint)
        say(f"exported to {to}")
        say(f"load it: see {to / 'README.md'}")
        return
    export_run(run, to, checkpoint)
    say(f"exported to {to}")
    say(f'load it: AutoModelForImageTextToText.from_pretrained("{to}")')
