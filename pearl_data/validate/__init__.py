"""Validation: every fault of a record, a sample or a dataset, with file, key and JSON path.

:func:`check_text` judges a record alone, :func:`check_sample` one with its stored bytes,
:func:`validate_paths` whole files and folders. The stages are those of an error: parse, schema,
reference, geometry, (execution,) result, semantic; each is a module of its own.
"""

from pearl_data.findings import Finding
from pearl_data.validate.paths import validate_paths
from pearl_data.validate.record import check_members, check_sample, check_text, check_trajectory
from pearl_data.validate.report import ReplayCount, ValidationReport

__all__ = [
    "Finding",
    "ReplayCount",
    "ValidationReport",
    "check_members",
    "check_sample",
    "check_text",
    "check_trajectory",
    "validate_paths",
]
