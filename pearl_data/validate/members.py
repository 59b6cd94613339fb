"""The stored bytes of a sample against its record: all there, unaltered, and of the right pixels.

Roots are compared as files: their bytes are the original, decoding them is what ``--replay`` does.
Views and depth maps are stored without loss, so their pixels are decoded and hashed: this finds
an observation that was swapped for another together with its file hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np

from pearl_data.findings import Finding, finding
from pearl_data.trajectory import Trajectory
from pearl_data.validate.references import ROOT_KINDS
from pearl_tools.depth import depth_picture
from pearl_tools.errors import ToolError, ToolFailure
from pearl_tools.media import decode_member
from pearl_tools.pixels import pixel_sha256
from pearl_tools.types import MediaRecord


def check_member_bytes(
    trajectory: Trajectory, members: Mapping[str, bytes], *, pixels: bool = True
) -> Iterator[Finding]:
    """Missing, unnamed or altered members; ``pixels=False`` leaves out decoding them."""
    named: set[str] = set()
    for index, medium in enumerate(trajectory.media):
        where = f"media[{index}]"
        for field in ("name_in_sample", "picture_in_sample"):
            name = getattr(medium, field)
            if name is None and (field == "picture_in_sample" or medium.kind == "video"):
                continue
            named.add(name or "")
            if name not in members:
                got = "no such member" if name else "no name"
                yield finding("parse.missing_member", f"{where}.{field}", name or "a member", got)
        data = members.get(medium.name_in_sample or "")
        if data is not None:
            yield from _file(medium, data, where)
            if pixels and medium.kind not in ROOT_KINDS:
                yield from _pixels(medium, data, members, where)
    for name in members:
        if name not in named:
            yield finding(
                "parse.misplaced", "", "only members that a medium names", f"the member {name}"
            )


def _file(medium: MediaRecord, data: bytes, where: str) -> Iterator[Finding]:
    digest = hashlib.sha256(data).hexdigest()
    if medium.file_sha256 != digest:
        expected = f"{_short(medium.file_sha256)} of {medium.name_in_sample}"
        got = f"{_short(digest)}, the hash of what is stored"
        hint = "the file was altered or swapped; write the sample again"
        yield finding("result.hash_mismatch", f"{where}.file_sha256", expected, got, hint)


def _pixels(
    medium: MediaRecord, data: bytes, members: Mapping[str, bytes], where: str
) -> Iterator[Finding]:
    try:
        pixels = decode_member(medium.name_in_sample or "", data)
    except ToolFailure as failure:
        yield _undecodable(failure.error, where)
        return
    size = (pixels.shape[1], pixels.shape[0])
    if size != (medium.width, medium.height):
        expected = f"{medium.width}x{medium.height} px"
        yield finding("result.size_mismatch", where, expected, f"{size[0]}x{size[1]} px stored")
    digest = pixel_sha256(pixels)
    if digest != medium.pixel_sha256:
        got = f"{_short(digest)}, the hash of the stored pixels"
        hint = "the observation was swapped, or its pixels were altered"
        path = f"{where}.pixel_sha256"
        yield finding("result.hash_mismatch", path, _short(medium.pixel_sha256), got, hint)
    picture = members.get(medium.picture_in_sample or "")
    if medium.kind == "depth" and picture is not None and np.isfinite(pixels).all():
        yield from _picture(medium, pixels.astype(np.float32, copy=False), picture, where)


def _picture(
    medium: MediaRecord, depth: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    picture: bytes, where: str,
) -> Iterator[Finding]:  # fmt: skip
    """The grey picture of a depth map is that map's and no other's."""
    try:
        shown = decode_member(medium.picture_in_sample or "", picture)
    except ToolFailure as failure:
        yield _undecodable(failure.error, f"{where}.picture_in_sample")
        return
    if not np.array_equal(shown, depth_picture(depth)):
        path = f"{where}.picture_in_sample"
        yield finding("result.hash_mismatch", path, "the picture of this map", "another picture")


def _undecodable(error: ToolError, where: str) -> Finding:
    return finding(error.code, where, error.expected, error.got, error.hint)


def _short(digest: str | None) -> str:
    return f"{digest[:12]}..." if digest else "no hash"
