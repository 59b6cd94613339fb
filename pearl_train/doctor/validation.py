"""The split whose loss is measured at every checkpoint, read and encoded as a run would."""

from __future__ import annotations

from pearl_train.doctor.even import spread
from pearl_train.doctor.findings import Finding
from pearl_train.doctor.lengths import by_reason, reasons_of, scan_of, told_of
from pearl_train.doctor.patient import Patient
from pearl_train.doctor.refusals import by_reason as lines_of
from pearl_train.doctor.refusals import refusals
from pearl_train.training.assemble import MOST, VALIDATION, validation_plan
from pearl_train.training.loader import numbers_of
from pearl_train.views.left_out import how_to_keep


def validation(patient: Patient) -> Finding:
    """Whether a run could measure its validation loss, and on how much."""
    plan = validation_plan(patient.config, patient.reader)
    if plan is None:
        told = (
            f"split {VALIDATION} is trained on"
            if patient.config.data.split == VALIDATION
            else f"no split {VALIDATION}"
        )
        return Finding(
            check="validation", status="skip", told=f"{told}: a run measures no validation loss"
        )
    measured = numbers_of(patient.reader, VALIDATION)[:MOST]
    scan = scan_of(patient, plan, spread(measured, patient.samples))
    reasons = by_reason(scan)
    refused = refusals(patient, plan, measured)
    refused.add(scan.dropped)
    lines = [*lines_of(refused), *told_of(reasons)]
    figures = {
        "tried": scan.tried,
        "refused": refused.keys_refused,
        **{reason: len(keys) for reason, keys in reasons.items()},
    }
    remedy = how_to_keep(reasons_of(scan) | refused.keys(), patient.config.data)
    if scan.faults:
        return Finding(
            check="validation",
            status="fail",
            told=f"{len(scan.faults)} of {scan.tried} cannot be used: {scan.faults[0]}",
            remedy="a run stops at its first checkpoint: mend or remove it (pearl-data validate "
            f"{patient.data} names every fault)",
            lines=[*scan.faults[1:5], *lines],
            figures=figures,
        )
    if not scan.samples:
        return Finding(
            check="validation",
            status="warn",
            told=f"all {scan.tried} of split {VALIDATION} are dropped:  a run measures no "
            "validation loss, and keeps no best checkpoint",
            remedy=remedy,
            lines=lines,
            figures=figures,
        )
    told = f"{len(scan.samples)} of {scan.tried} encoded, split {VALIDATION}"
    return Finding(
        check="validation",
        status="warn" if scan.dropped or refused else "pass",
        told=told,
        remedy=remedy,
        lines=lines,
        figures=figures,
    )
