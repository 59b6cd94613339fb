"""``pearl-data tools``: the tools of a model, and one call from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pearl_data.cli.output import (
    depth_model_option,
    device_option,
    leave,
    naming_a_model,
    refuse_idle_model,
)
from pearl_data.cli.tools_check import check
from pearl_data.cli.tools_eval import evaluation
from pearl_data.command_line import json_option
from pearl_data.terminal import print_json, say
from pearl_tools.settings import OnPartlyOutside


class _DialectName(click.ParamType[str]):
    """The name of a dialect; imports the dialects only if a name is given."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """``value``; an unknown name is a usage error that lists the dialects."""
        from pearl_tools.dialects import DIALECTS

        if value not in DIALECTS:
            self.fail(f"{value!r} is not one of {', '.join(DIALECTS)}.", param, ctx)
        return str(value)


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def tools(context: click.Context, as_json: bool) -> None:
    """List the tools that a model can call, with their schemas; `tools run` makes one call,
    `tools check` and `tools eval` test learned ones.

    Example: pearl-data tools --json
    """
    if context.invoked_subcommand is not None:
        return
    from pearl_tools.dialects import DIALECTS
    from pearl_tools.registry import TOOLS

    specs = [tool.spec for tool in TOOLS.values()]
    if as_json:
        print_json(
            {
                "tools": specs,
                "dialects": [
                    {"name": d.name, "coordinates": d.coordinates, "form": d.description}
                    for d in DIALECTS.values()
                ],
            }
        )
        return
    for spec in specs:
        say(f"{spec.name} {spec.version}({_signature(spec.arguments)})")
        say(f"  {spec.description.splitlines()[0]}")
        unit = spec.coordinates.unit if spec.coordinates else "none"
        say(f"  coordinates: {unit}; returns: {spec.returns}")
    say("dialects: " + ", ".join(DIALECTS) + "  (schemas: pearl-data tools --json)")


tools.add_command(check)
tools.add_command(evaluation)


def _signature(schema: dict[str, Any]) -> str:
    """Argument names, optional ones in brackets."""
    required = schema["required"]
    return ", ".join(n if n in required else f"[{n}]" for n in schema["properties"])


@tools.command()
@click.argument("name")
@click.argument("media", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--arguments",
    required=True,
    metavar="JSON",
    help="The call's arguments as one JSON object; `image` is optional (default: i0).",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the pictures that the call returns: PNG; a depth map as .npy, in grey as a "
    "model sees it, and in colour with its legend.",
)
@json_option
@click.option(
    "--dialect",
    type=_DialectName(),
    default="pearl",
    show_default=True,
    help="Dialect of NAME and --arguments: its tool names, argument names and units; `pearl-data "
    "tools` lists them.",
)
@click.option(
    "--on-partly-outside",
    type=click.Choice(["refuse", "clamp"]),
    default="refuse",
    show_default=True,
    help="What happens to a box partly outside the picture; clamping is recorded.",
)
@depth_model_option
@device_option
@click.pass_context
def run(
    context: click.Context,
    name: str,
    media: Path,
    arguments: str,
    out: Path | None,
    as_json: bool,
    dialect: str,
    on_partly_outside: OnPartlyOutside,
    depth_model: str,
    device: str,
) -> None:
    """Run one call of tool NAME on the picture MEDIA, which is i0.

    Prints the observation; exits 0 if the call worked and 1 if it returned an error. A depth model
    other than the shipped one first takes the self-test of `tools check`, about 3 s: a model that
    swaps near and far is rejected, an unclear result is a warning.

    Example: pearl-data tools run crop photo.png --arguments '{"bbox": [0.5, 0.5, 1, 1]}' --out cut
    """
    from pearl_data.cli.one_call import eyes_name, observe, write_media
    from pearl_tools.executor import ExecutorSettings, ToolExecutor
    from pearl_tools.registry import TOOLS

    settings = ExecutorSettings(
        on_partly_outside=on_partly_outside, depth_model=depth_model, device=device
    )
    with naming_a_model():
        executor = ToolExecutor(settings)
        observation = observe(name, media, arguments, dialect, executor)
        tool = TOOLS.get(observation.tool)
        if tool is not None and not tool.uses_depth_model:
            refuse_idle_model(context, f"{observation.tool} asks no depth model")
        if any(medium.facts.kind == "depth" for medium in observation.media):
            from pearl_data.depth_eval.selftest import require_sign

            require_sign(executor.depth_model())
    record = observation.to_record()
    if out is not None:
        record = write_media(observation, out)
    if as_json:
        print_json(record)
    elif record.error:
        say(f"error: {record.error}")
    else:
        say(record.text)
        for medium in record.media if out else []:
            names = [n for n in (medium.name_in_sample, medium.picture_in_sample) if n]
            names += [eyes_name(medium)] if medium.kind == "depth" else []
            for file_name in names:
                say(str((out or Path()) / file_name))
    if observation.error:
        leave(1)
