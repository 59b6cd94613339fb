"""``pearl-train predict``: one question about pictures, no tool runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from pearl_data.command_line import json_option
from pearl_data.progress import stage
from pearl_data.terminal import print_json, say
from pearl_train.cli.choices import asking_sets_option, checkpoint_option


@click.command(
    epilog="Example: pearl-train predict run --image photo.jpg --question 'Which is nearer?' "
    "--choices 'the cup,the lamp'"
)
@click.argument("run", metavar="RUN")
@click.option(
    "--image",
    "images",
    multiple=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A picture; repeat the option for several, in the order of the question.",
)
@click.option("--question", required=True, help="The question about the pictures.")
@click.option(
    "--choices",
    multiple=True,
    metavar="A,B,...",
    help="The possible answers. If repeated, each value is one answer and may contain commas.",
)
@checkpoint_option
@asking_sets_option
@json_option
def predict(
    run: str,
    images: tuple[Path, ...],
    question: str,
    choices: tuple[str, ...],
    checkpoint: str,
    sets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Answer a question about pictures. No tool runs.

    RUN is the folder of a finished run, an export, or any model: a folder, a hub id or nano. Where
    the reply states none of the --choices, they are ranked by how likely the model holds each as
    its reply (mean log-likelihood of its tokens); --json always tells. Exit 1 where the model says
    nothing.
    """
    stage("predict", "loading torch and transformers")
    from pearl_train.asking.predict import predict as predict_one
    from pearl_train.training.at_checkpoint import network_at

    offered = _offered(choices)
    stage("predict", f"loading the model {run}")
    with network_at(run, checkpoint) as at:
        found = predict_one(run, images, question, offered, sets=sets, at=at)
    if as_json:
        print_json(found)
        found.must_say_something()
        return
    for note in found.notes:
        say(f"note: {note}", err=True)
    for picture in found.pictures:
        if picture["changes"]:
            changes = picture["changes"]
            told = ", ".join(changes) if isinstance(changes, list) else str(changes)
            say(f"{picture['id']}: opened with {told}", err=True)
    if offered and found.stated is None:
        ranking = f"; by likelihood: {found.ranking()}" if found.likelihoods else ""
        say(f"the reply states none of the choices{ranking}", err=True)
    found.must_say_something()
    if offered and found.stated is None:
        say("the reply was:", err=True)
    say(found.stated or found.answer)


def _offered(choices: Sequence[str]) -> list[str]:
    """The answers that ``--choices``, given so often, names."""
    if len(choices) > 1:
        return [choice.strip() for choice in choices]
    return [part.strip() for text in choices if text.strip() for part in text.split(",")]
