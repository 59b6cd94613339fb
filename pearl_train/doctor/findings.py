"""What a check found, and all findings of one examination."""

from __future__ import annotations

from typing import Any, Literal

from pearl_tools.types import Record

Status = Literal["pass", "warn", "fail", "skip"]


class Finding(Record, frozen=True, kw_only=True):
    """The outcome of one check.

    ``told`` says what was found, ``remedy`` what to do about it, in words; ``lines`` are details
    for people, ``figures`` the same for scripts. ``misuse``: it failed because an argument names
    what it cannot be, as for ``pearl-train run``. ``skip``: a check that this one builds on failed,
    or the configuration has nothing to check.
    """

    check: str
    status: Status
    told: str
    remedy: str = ""
    lines: list[str] = []
    figures: dict[str, Any] = {}
    seconds: float = 0.0
    misuse: bool = False


class Piece(Record, frozen=True, kw_only=True):
    """Consecutive tokens of one view that are alike: of one branch, all learned or none; or all
    tokens of one picture, its frame of other tokens included.

    ``branch`` is ``context``, the name of a branch or ``target``. ``tokens`` are the texts of the
    tokens, empty for a picture; ``medium`` is the picture's id.
    """

    branch: str
    learned: bool
    text: str
    count: int
    tokens: list[str] = []
    medium: str = ""


class Report(Record, frozen=True, kw_only=True):
    """One examination: of what, the findings in order, and the sample shown as an example."""

    data: str
    model: str
    objective: str
    device: str
    checks: list[Finding]
    sample: str = ""
    pieces: list[Piece] = []
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(finding.status != "fail" for finding in self.checks)

    @property
    def status(self) -> int:
        """The exit status: 0 if no check failed, 2 if one is misuse, else 1."""
        return 2 if any(finding.misuse for finding in self.checks) else int(not self.ok)


def told(finding: Finding) -> list[str]:
    """``finding`` in lines for a terminal."""
    lines = [f"{finding.status:4}  {finding.check:10} {finding.told}"]
    if finding.remedy and finding.status in {"warn", "fail"}:
        lines.append(f"{'':17}-> {finding.remedy}")
    return [*lines, *(f"{'':17}{line}" for line in finding.lines)]


def summary(report: Report) -> str:
    """How the examination ended, in one line."""
    counts = [(s, sum(f.status == s for f in report.checks)) for s in ("fail", "warn", "pass")]
    found = ", ".join(f"{n} {_past(s, n)}" for s, n in counts if n)
    verdict = "ready to train" if report.ok else "not ready to train"
    return f"{verdict}: {found} in {report.seconds:.0f} s"


def _past(status: str, number: int) -> str:
    return {"fail": "failed", "pass": "passed"}.get(status, "warning" + "s" * (number > 1))
