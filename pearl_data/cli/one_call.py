"""One call of one tool on one picture, with its results as files, for ``tools run``."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from pearl_data.progress import stage
from pearl_data.report.pictures import depth_for_eyes, encode, show_medium
from pearl_tools.arguments import parse_arguments
from pearl_tools.dialects import DIALECTS, ParsedCall
from pearl_tools.errors import ToolError, ToolFailure
from pearl_tools.executor import ToolExecutor
from pearl_tools.media import open_image, read_file
from pearl_tools.registry import TOOLS
from pearl_tools.stored import stored_form
from pearl_tools.threads import one_thread
from pearl_tools.types import MediaRecord, Observation, ObservationRecord, ToolCall


def observe(
    name: str, path: Path, arguments: str, dialect_name: str, executor: ToolExecutor
) -> Observation:
    """The observation of one call; a faulty call or picture gives an error observation."""
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
    learned = tool is not None and tool.uses_depth_model
    if learned:
        stage("tools run", f"loading the depth model {executor.settings.depth_model}")
    one_thread(depth=learned)
    return executor.run(call, known, naming=dialect.naming_on(known))


def _failed(tool: str, error: ToolError) -> Observation:
    return Observation(call_id="c1", tool=tool, status="error", error=error)


def _with_image(arguments: str) -> str:
    """``arguments`` with the only picture named, unless they name one or are unreadable."""
    try:
        return json.dumps({"image": "i0", **parse_arguments(arguments)})
    except ToolFailure:
        return arguments


def write_media(observation: Observation, out: Path) -> ObservationRecord:
    """Write every new medium into ``out``, depth maps also in colour. Returns the record with the
    file names and hashes that a data set would store.
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
            write_whole(out / eyes_name(record), encode(depth_for_eyes(shown), "PNG"))
        records.append(record)
    return msgspec.structs.replace(observation.to_record(), media=records)


def eyes_name(medium: MediaRecord) -> str:
    """The file name of a depth map in colour."""
    return f"{medium.id}-depth.png"
