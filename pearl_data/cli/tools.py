"""``pearl-data tools``: what a model can call, and one real call from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec

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
from pearl_data.report.pictures import depth_for_eyes, encode, show_medium
from pearl_data.terminal import print_json, say
from pearl_tools.arguments import parse_arguments
from pearl_tools.dialects import DIALECTS, ParsedCall
from pearl_tools.errors import ToolError, ToolFailure
from pearl_tools.executor import ExecutorSettings, ToolExecutor
from pearl_tools.media import open_image, read_file
from pearl_tools.registry import TOOLS
from pearl_tools.settings import OnPartlyOutside
from pearl_tools.stored import stored_form
from pearl_tools.threads import one_thread
from pearl_tools.types import MediaRecord, Observation, ObservationRecord, ToolCall


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
    help="The call's arguments as one JSON object; `image` may be left out and is then i0.",
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
    type=click.Choice(list(DIALECTS)),
    default="pearl",
    show_default=True,
    help="Whose tool name, argument names and units NAME and --arguments are in.",
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
    that is not the shipped one passes the self-test of `tools check` first, about 3 s: refused
    where far is near, warned of where it is not clear.

    Example: pearl-data tools run crop photo.png --arguments '{"bbox": [0.5, 0.5, 1, 1]}' --out cut
    """
    settings = ExecutorSettings(
        on_partly_outside=on_partly_outside, depth_model=depth_model, device=device
    )
    with naming_a_model():
        executor = ToolExecutor(settings)
        observation = _observe(name, media, arguments, dialect, executor)
        tool = TOOLS.get(observation.tool)
        if tool is not None and not tool.uses_depth_model:
            refuse_idle_model(context, f"{observation.tool} asks no depth model")
        if any(medium.facts.kind == "depth" for medium in observation.media):
            from pearl_data.depth_eval.selftest import require_sign

            require_sign(executor.depth_model())
    record = observation.to_record()
    if out is not None:
        record = _write_media(observation, out)
    if as_json:
        print_json(record)
    else:
        _print_for_people(record, out)
    if observation.error:
        leave(1)


def _observe(
    name: str, path: Path, arguments: str, dialect_name: str, executor: ToolExecutor
) -> Observation:
    """The observation of one call, whatever is wrong with it or with the picture."""
    dialect = DIALECTS[dialect_name]
    try:
        photo = open_image(read_file(path, where="media.i0"), name=path.name)
    except ToolFailure as failure:
        return _failed(name, failure.error)
    known = {photo.facts.id: photo}
    text = _with_image(arguments) if dialect_name == "pearl" else arguments
    parsed = ParsedCall(name=name, arguments=text, raw=arguments)
    call = dialect.to_call(parsed, known)
    if not isinstance(call, ToolCall):
        return _failed(name, call)
    tool = TOOLS.get(call.tool)
    one_thread(depth=tool is not None and tool.uses_depth_model)
    return executor.run(call, known, naming=dialect.naming_on(known))


def _failed(tool: str, error: ToolError) -> Observation:
    return Observation(call_id="c1", tool=tool, status="error", error=error)


def _with_image(arguments: str) -> str:
    """``arguments`` naming the only picture there is, unless they name one or are unreadable."""
    try:
        return json.dumps({"image": "i0", **parse_arguments(arguments)})
    except ToolFailure:
        return arguments


def _write_media(observation: Observation, out: Path) -> ObservationRecord:
    """Writes every new medium into ``out``, depth also for eyes; the record with the names of what
    a data set would store, and their hashes.
    """
    from pearl_data.shards.files import write_whole

    out.mkdir(parents=True, exist_ok=True)
    records = []
    for medium in observation.media:
        record, files = stored_form(medium)
        for file_name, data in files.items():
            write_whole(out / file_name, data)
        if record.kind == "depth":
            x0, y0, x1, y1 = record.box_root or (0, 0, record.width, record.height)
            shown = show_medium(record, files, of=(round(x1 - x0), round(y1 - y0)))
            write_whole(out / _for_eyes(record), encode(depth_for_eyes(shown), "PNG"))
        records.append(record)
    return msgspec.structs.replace(observation.to_record(), media=records)


def _print_for_people(record: ObservationRecord, out: Path | None) -> None:
    if record.error:
        say(f"error: {record.error}")
        return
    say(record.text)
    for medium in record.media:
        names = [n for n in (medium.name_in_sample, medium.picture_in_sample) if n]
        if medium.kind == "depth":
            names.append(_for_eyes(medium))
        for name in names if out else []:
            say(str((out or Path()) / name))


def _for_eyes(medium: MediaRecord) -> str:
    return f"{medium.id}-depth.png"
