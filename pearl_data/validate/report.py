"""What a validation found, as one record, and as the text that a person reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from pearl_data.findings import Finding
from pearl_data.terminal import one_line
from pearl_tools.types import Record

Count = Annotated[int, msgspec.Meta(ge=0)]
#: Findings that are printed one by one; ``--json`` gives all.
SHOWN = 40


class ReplayCount(Record, frozen=True, kw_only=True):
    """Calls of one tool that were run again: ``calls`` = the sum of the others.

    ``equal``: the same pixels (or the same error); ``within_tolerance``: depth maps as near as
    declared; ``failed``: it did not run here (an error now, another model); ``skipped``: could not
    be asked again (arguments never understood, a failure of the machine).
    """

    calls: Count
    equal: Count
    within_tolerance: Count
    differ: Count
    failed: Count
    skipped: Count

    def __add__(self, other: ReplayCount) -> ReplayCount:
        sums = {name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__}
        return ReplayCount(**sums)

    def __str__(self) -> str:
        asked = self.calls - self.skipped
        good = self.equal + self.within_tolerance
        share = f"{100 * good / asked:.1f} %" if asked else "none to compare"
        parts = [f"{self.equal} equal"]
        parts += [f"{count} {name}" for count, name in (
            (self.within_tolerance, "within tolerance"), (self.differ, "different"),
            (self.failed, "failed"), (self.skipped, "skipped"),
        ) if count]  # fmt: skip
        return f"{self.calls} calls: {', '.join(parts)} ({share})"


class ValidationReport(Record, frozen=True, kw_only=True):
    """Everything about the validated paths. ``replay`` is null unless it was asked for."""

    paths: list[str]
    files: Count
    documents: Count
    documents_with_findings: Count
    by_code: dict[str, int]
    findings: list[Finding]
    notes: list[str]
    replay: dict[str, ReplayCount] | None

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def report_lines(report: ValidationReport) -> Iterator[str]:
    """The report for a person: findings, counts by code, what was replayed, notes, verdict."""
    for found in report.findings[:SHOWN]:
        yield one_line(str(found))
    if len(report.findings) > SHOWN:
        yield f"... and {len(report.findings) - SHOWN} more (--json gives all)"
    if report.findings:
        yield ""
        for code, count in sorted(report.by_code.items(), key=lambda item: (-item[1], item[0])):
            yield f"{count:>8}  {code}"
        yield ""
    for tool, replayed in (report.replay or {}).items():
        yield f"replay {tool}: {replayed}"
    yield from map(one_line, report.notes)
    verdict = "no findings"
    if not report.clean:
        hurt = _many(report.documents_with_findings, "document")
        verdict = f"{_many(len(report.findings), 'finding')}; {hurt} with faults in the record"
    read = f"{_many(report.documents, 'document')} in {_many(report.files, 'file')}"
    yield f"{read}: {verdict}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
