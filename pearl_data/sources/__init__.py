"""Sources: raw sets that become questions. ``open_source`` is the one door; see CONTRIBUTING."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pearl_data.sources.base import QuestionSettings, QuestionSource
from pearl_tools.errors import UsageError
from pearl_tools.types import Record

#: What ``--source`` accepts, in words.
FORMS = "rendered, coco:FILE or jsonl:FILE"


class SourceSpec(Record, frozen=True, kw_only=True):
    """Kind of source, and the paths of its files.

    ``prepared`` is a file that one process has prepared for the others (``source.prepared``).
    """

    kind: Literal["rendered", "coco", "jsonl"]
    path: str | None = None
    images: str | None = None
    prepared: str | None = None

    @property
    def endless(self) -> bool:
        """Whether the source never runs out of questions."""
        return self.kind == "rendered"


def parse_source(text: str, images: Path | None) -> SourceSpec:
    """The spec written as ``--source text --images images``; raises ``UsageError``."""
    kind, _, path = text.partition(":")
    if kind == "rendered" and not path:
        if images is not None:
            raise UsageError("--images: rendered scenes take no pictures; leave it out")
        return SourceSpec(kind="rendered")
    if kind not in ("coco", "jsonl") or not path:
        msg = f"--source: expected {FORMS}, got {text!r}"
        raise UsageError(msg)
    if images is None:
        msg = f"--images: expected the folder with the pictures of {path}, got nothing"
        raise UsageError(msg)
    return SourceSpec(kind="coco" if kind == "coco" else "jsonl", path=path, images=str(images))


def open_source(spec: SourceSpec, settings: QuestionSettings) -> QuestionSource:
    """The source that ``spec`` names. Raises ``BadInput`` where its files cannot be used."""
    if spec.kind == "rendered":
        from pearl_data.sources.rendered import RenderedSource

        return RenderedSource(settings)
    assert spec.path is not None
    assert spec.images is not None
    if spec.kind == "coco":
        from pearl_data.sources.coco import CocoSource

        return CocoSource(Path(spec.path), Path(spec.images), settings, spec.prepared)
    from pearl_data.sources.jsonl import JsonlSource

    return JsonlSource(Path(spec.path), Path(spec.images), settings)
