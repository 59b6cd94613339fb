"""One trajectory as a folder of files: its pictures as they are stored and as people see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pearl_data.audit.reading import safe_members
from pearl_data.report.figure import draw_trajectory
from pearl_data.report.pictures import (
    depth_for_eyes,
    draw_boxes,
    encode,
    show_medium,
    size_of_parent,
)
from pearl_data.report.view import view_of
from pearl_data.shards import Sample
from pearl_data.shards.files import write_whole
from pearl_tools.errors import UsageError


def write_pictures(sample: Sample, out: Path) -> list[Path]:
    """Write the pictures of ``sample`` into folder ``out`` (made if absent); the files written.

    ``i0.jpg``, ``o1.png``, ``o2.npy`` ...: the members as they came; ``o2-depth.png``: depth in
    colour, its ends marked, with the legend; ``i0-boxes.png``: a root with the boxes of the calls;
    ``trajectory.png``: the whole story as one picture. Raises ``UsageError`` where ``out`` holds
    anything else: pictures of two stories would lie side by side.
    """
    files = dict(_files(sample))
    others = sorted({p.name for p in out.iterdir()} - files.keys()) if out.is_dir() else []
    if others:
        msg = (
            f"--out {out}: expected a folder for the pictures of {sample.trajectory.id} alone, "
            f"found {others[0]} there; name another"
        )
        raise UsageError(msg)
    out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_whole(out / name, data)
    return [out / name for name in files]


def _files(sample: Sample) -> Iterator[tuple[str, bytes]]:
    members = safe_members(sample)
    yield from members.items()
    view = view_of(sample.trajectory)
    media = sample.trajectory.media
    for medium in media:
        shown = show_medium(medium, members, of=size_of_parent(medium, media))
        if shown.problem:
            continue
        if medium.kind == "depth":
            yield f"{medium.id}-depth.png", encode(depth_for_eyes(shown), "PNG")
        boxes = view.boxes_on(medium.id)
        if boxes:
            drawn = draw_boxes(shown.image, (medium.width, medium.height), boxes)
            yield f"{medium.id}-boxes.png", encode(drawn, "PNG")
    yield "trajectory.png", encode(draw_trajectory(sample), "PNG")
