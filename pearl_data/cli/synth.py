"""``pearl-data synth``: options in, one call of :func:`pearl_data.synthesise.synthesise`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from pearl_data.cli.output import (
    depth_model_option,
    device_option,
    naming_a_model,
    refuse_idle_model,
)
from pearl_data.command_line import FiniteRange, json_option
from pearl_data.progress import stage
from pearl_data.terminal import one_line, print_json, say
from pearl_data.terminated import on_interrupt


@click.command(
    epilog="Example: pearl-data synth --tools crop,zoom,depth --source coco:photos.json"
    " --images photos --out set --limit 500 --workers 2"
)
@click.option(
    "--tools",
    required=True,
    metavar="NAMES",
    help="Tools to use, separated by commas: crop, zoom, depth.",
)
@click.option(
    "--source",
    default="rendered",
    show_default=True,
    help="rendered, coco:FILE (COCO or LVIS annotations) or jsonl:FILE (questions with boxes).",
)
@click.option(
    "--images", type=click.Path(path_type=Path), help="Folder with the source's pictures."
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the data set."
)
@click.option(
    "--limit",
    type=click.IntRange(1, 10**9),
    help="Most trajectories to write. [default: 100 for rendered scenes, else all]",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(-(10**12), 10**12),
    help="Random seed.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(0, 256),
    help="Worker processes. One that dies is replaced; an input that kills two workers is "
    "quarantined. 0: no workers; an input that kills the process ends the run.",
)
@click.option(
    "--stall-after",
    type=FiniteRange(0, 10**7, min_open=True),
    metavar="SECONDS",
    help="Replace a worker that makes no progress for this long, and one without a heartbeat after "
    "at most 30 s. [default: 600]",
)
@click.option(
    "--per-image",
    default=6,
    show_default=True,
    type=click.IntRange(1, 10**6),
    help="Most questions on one annotated picture.",
)
@click.option(
    "--attributes",
    metavar="NAMES",
    help="Attributes of annotated things to ask about, such as color,state, or none. [default: all"
    " visible ones; ids, flags, scores and the like are skipped and listed]",
)
@click.option(
    "--needs-tool",
    default="only",
    show_default=True,
    type=click.Choice(["only", "any"]),
    help="On annotated pictures ask only questions that need a tool, or any: also on things large"
    " enough to see and, as a control, which of two things is farther left, larger, ...",
)
@click.option(
    "--depth-truth",
    default="annotation",
    show_default=True,
    type=click.Choice(["annotation", "tool"]),
    help="Source of the answer to which of two things is nearer: the annotation alone, or also, for"
    " things without a depth_rank, the depth map if the two differ by at least 20 % of its range;"
    " records of the latter kind are marked unverified.",
)
@click.option(
    "--small-px",
    default=48,
    show_default=True,
    type=click.IntRange(1, 10**6),
    help="A thing counts as too small to read if its longer side is at most this, in pixels of"
    " the picture that the model sees.",
)
@click.option(
    "--model-px",
    default=448,
    show_default=True,
    type=click.IntRange(16, 10**6),
    help="Longer side in pixels to which the model shrinks pictures.",
)
@click.option(
    "--annotation-frame",
    type=click.Choice(["stored", "upright"]),
    help="Frame of the boxes of a picture with an EXIF rotation: its pixels as stored, or upright. "
    "[default: such pictures are rejected]",
)
@depth_model_option
@device_option
@click.option(
    "--val-share",
    default=0.0,
    show_default=True,
    type=FiniteRange(0, 1),
    help="Share (0..1) of pictures whose trajectories get the split val.",
)
@click.option("--samples-per-shard", default=256, show_default=True, type=click.IntRange(1, 10**6))
@json_option
@click.pass_context
def synth(
    ctx: click.Context,
    tools: str,
    source: str,
    images: Path | None,
    out: Path,
    limit: int | None,
    seed: int,
    workers: int,
    stall_after: float | None,
    per_image: int,
    attributes: str | None,
    needs_tool: Literal["only", "any"],
    depth_truth: Literal["annotation", "tool"],
    small_px: int,
    model_px: int,
    annotation_frame: Literal["stored", "upright"] | None,
    depth_model: str,
    device: str,
    val_share: float,
    samples_per_shard: int,
    as_json: bool,
) -> None:
    """Synthesise expert trajectories by running the tools.

    Writes WebDataset shards, a manifest, the quarantine with reasons, and index.html to --out.
    Interrupted? Run the same command again: it resumes, and the bytes end up the same.

    A row of jsonl:FILE: {"image": "a.jpg", "question": "..", "choices": ["red", "blue"], "answer":
    "red", "evidence": [{"bbox": [x0, y0, x1, y1], "label": "the mug"}]}, with boxes in fractions of
    the picture, or in pixels with "bbox_unit": "pixel". A COCO file counts as complete: of a
    category with boxes on a picture, everything there is boxed. Put its id into the image's
    not_exhaustive_category_ids otherwise, or "no" answers and counts are wrong.

    Memory does not grow with the source. With pictures of up to 12 megapixels and the shipped depth
    model, one worker needs 1.5 GB; several need 0.7 GB plus 1.3 GB each. Another depth model adds
    its own size to every worker. A larger picture needs 9 bytes per additional pixel while it is
    opened; pictures over 64 megapixels (JPEG 2000: 29, WebP and AVIF: 36) are rejected. A COCO file
    is read once, into a temporary file of 150 to 200 bytes per box in TMPDIR.

    Exit 1 if nothing could be written.
    """
    on_interrupt("interrupted; run the same command again to resume")
    stage("synth", f"loading libraries for the source {source}")
    from pearl_data.audit import audit_paths
    from pearl_data.audit.quarantine import first_of_each
    from pearl_data.audit.reading import open_collection
    from pearl_data.report import write_index
    from pearl_data.shards.sums import PAGE, page_is_whole
    from pearl_data.sources import parse_source
    from pearl_data.sources.base import QuestionSettings
    from pearl_data.synthesise import STALL_S, SynthesisSettings, synthesise
    from pearl_tools.errors import UsageError
    from pearl_tools.executor import ExecutorSettings

    spec = parse_source(source, images)
    if attributes is not None and spec.kind != "coco":
        raise UsageError("--attributes: only annotation files (--source coco:FILE) have attributes")
    if limit is None and spec.endless:
        limit = 100
    settings = SynthesisSettings(
        source=spec,
        questions=QuestionSettings(
            tools=chosen_tools(tools),
            seed=seed,
            model_long_side_px=model_px,
            small_px=small_px,
            per_image=per_image,
            attributes=_names(attributes),
            needs_tool=needs_tool,
            depth_truth=depth_truth,
            annotation_frame=annotation_frame,
        ),
        executor=ExecutorSettings(depth_model=depth_model, device=device, seed=seed),
        limit=limit,
        val_share=val_share,
        samples_per_shard=samples_per_shard,
    )
    if not settings.questions.can_measure_depth:
        refuse_idle_model(ctx, f"--tools {tools} asks no depth model")
    with naming_a_model():
        summary = synthesise(out, settings, workers=workers, stall_s=stall_after or STALL_S)
    page, made = out / PAGE, None
    if not page_is_whole(out):
        audit = audit_paths([out])
        write_index([out], page, title=out.name, audit=audit)
        made = {tool.tool: tool.error_share.n for tool in audit.report.by_tool}
    status = 0 if summary.written else 1
    if as_json:
        print_json(summary)
        ctx.exit(status)
    say(str(summary))
    by_code = summary.quarantined_by_code
    examples = first_of_each(open_collection(out).quarantined() if by_code else (), by_code)
    for code, count in sorted(by_code.items(), key=lambda item: (-item[1], item[0])):
        say(f"quarantined: {count} {code}")
        if code in examples:
            example = examples[code]
            say(one_line(f"             {example.key}: {example.reason}"))
    if by_code:
        say(f"details:     pearl-data show {out} --quarantine [CODE]")
    if made is not None:
        calls = ", ".join(f"{made.get(name, 0)} {name}" for name in settings.questions.tools)
        say(f"calls:       {calls}")
    say(f"page:        {page}")
    if status:
        say("nothing was written", err=True)
    else:
        say(f"next:        pearl-data validate {out} --replay")
    ctx.exit(status)


def _names(text: str | None) -> list[str] | None:
    """The names in ``text``; an empty list for ``none``; None without a choice."""
    if text is None:
        return None
    named = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    return [] if named == ["none"] else named


def chosen_tools(text: str) -> list[str]:
    """The tools named in ``text``, once each, in the registry's order; unknown ones at the end."""
    from pearl_tools.registry import TOOLS

    named = {name.strip() for name in text.split(",") if name.strip()}
    return [name for name in TOOLS if name in named] + sorted(named - set(TOOLS))
