"""What a set of trajectories contains: calls by outcome, durations, answers, shortcuts.

>>> from pearl_data.audit import audit_paths, render_report  # doctest: +SKIP
>>> print(render_report(audit_paths([Path("scenes")]).report))  # doctest: +SKIP
"""

from pearl_data.audit.count import Audit, audit_paths
from pearl_data.audit.records import AuditReport
from pearl_data.audit.text import render_report

__all__ = ["Audit", "AuditReport", "audit_paths", "render_report"]
