"""Whether the longest sample fits, measured; and from that the configured micro-batch, estimated.

Forward and backward of the longest sample run alone and as batches of two and four, with gradients
there already, as when they are accumulated: the last difference is what a further sample costs. To
that come weights, gradients and the optimizer's moments. One sample alone would mislead: its peak
may lie in another part of the pass (the embedding's gradient, say) than that of a full batch.
On CUDA the allocator tells its peak. On a CPU torch's profiler tells every allocation of a tensor;
``tracemalloc`` sees none of them, and a process's resident size forgets what malloc keeps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pearl_train.doctor.findings import Finding
from pearl_train.doctor.patient import Patient
from pearl_train.objectives.base import Terms
from pearl_train.training.update import weighted
from pearl_train.views.batch import EncodedSample

#: Share of what is available above which a run is likely to fail sooner or later.
TIGHT = 0.85
#: Samples in the batches that are measured, as far as the configured micro-batch has so many.
SIZES = (1, 2, 4)
_SMALLER = (
    "model.checkpoint_activations = true, a lower model.max_pixels or data.max_tokens, or a "
    '[model.lora] table with model.dtype = "bfloat16"'
)
_MOMENTS = 8  # bytes that AdamW keeps per trained weight: two float32
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


class Need(NamedTuple):
    """Bytes of one process: ``held`` for weights, gradients and moments; forward and backward of
    n samples take ``fixed`` and n times ``each``. ``fixed`` may be negative: a small batch may have
    its peak elsewhere.
    """

    held: int
    fixed: int
    each: int

    def total(self, samples: int) -> int:
        """Peak with micro-batches of ``samples``."""
        return self.held + self.fixed + samples * self.each

    def most(self, available: int) -> int:
        """The largest micro-batch that fits, 0 if none does."""
        return max((available - self.held - self.fixed) // max(self.each, 1), 0)


def memory(patient: Patient) -> Finding:
    """Peak memory of the longest sample, and of the configured micro-batch."""
    longest, config = patient.scan.longest, patient.config
    sample, size = patient.encode(longest.number), config.optim.micro_batch
    peaks: dict[int, int] = {}
    for number in sorted({min(few, size) for few in SIZES}):
        try:
            peaks[number] = measured(patient, [sample] * number)
        except torch.OutOfMemoryError:
            if not peaks:
                what = "the longest sample by itself"
            else:
                what = (
                    f"a micro-batch of {number} (optim.micro_batch {size}) like the longest sample"
                )
            return Finding(
                check="memory",
                status="fail",
                told=f"{what}, {longest.key} in {longest.shard} ({longest.tokens} tokens), does "
                f"not fit into {_said(available(patient))}",
                remedy=f"{_SMALLER}{'; or a smaller optim.micro_batch' if peaks else ''}",
                figures={"longest": longest.key},
            )
    one = peaks[1]
    need, room = need_of(patient, peaks), available(patient)
    total = need.total(size)
    told = (
        f"longest sample{patient.scan.among} {longest.key} ({longest.tokens} tokens): peak "
        f"{_said(one)} for forward and backward, besides weights and gradients"
    )
    parts = (
        f"weights, gradients, moments {_said(need.held)} + {_said(total - need.held)} for forward "
        f"and backward, {_said(need.each)} for each"
    )
    lines = [
        f"micro-batch of {size} as long: {_said(total)} = {parts}",
        f"available: {_said(room)} on {patient.device}",
    ]
    figures = {
        "longest": longest.key,
        "peak_bytes": {str(number): peak for number, peak in peaks.items()},
        "held_bytes": need.held,
        "fixed_bytes": need.fixed,
        "sample_bytes": need.each,
        "estimate_bytes": total,
        "available_bytes": room,
    }
    if total <= TIGHT * room:
        return Finding(check="memory", status="pass", told=told, lines=lines, figures=figures)
    fits = need.most(int(TIGHT * room))
    smaller = f"optim.micro_batch = {fits}" if fits else "a [model.lora] table, or a smaller model"
    return Finding(
        check="memory",
        status="fail" if total > room else "warn",
        told=told,
        remedy=f"set {smaller}; or {_SMALLER}",
        lines=lines,
        figures=figures,
    )


def measured(patient: Patient, samples: list[EncodedSample]) -> int:
    """Bytes that forward and backward of ``samples`` take at their peak, besides weights and
    gradients.

    Pictures are told apart even where they are equal, as those of other samples would be.
    """
    apart = [
        replace(
            sample,
            images=tuple(
                replace(image, content=f"{number}:{image.medium}") for image in sample.images
            ),
        )
        for number, sample in enumerate(samples)
    ]
    trainee, moment = patient.trainee.train(), patient.moment()

    def work() -> None:
        batch, targets = patient.batch(apart)
        terms: Terms = trainee(batch, moment, targets)
        weighted(terms, batch.counts).backward()  # type: ignore[no-untyped-call]

    try:
        work()  # makes the gradients, and what libraries keep from their first call on
        return peak_of(work, patient.device)
    finally:
        trainee.zero_grad(set_to_none=True)


def peak_of(work: Callable[[], object], device: torch.device) -> int:
    """Most bytes that tensors made by ``work`` hold at once on ``device``."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    profiler: Any = torch.autograd.profiler
    with _silent():
        with profiler.profile(profile_memory=True, use_kineto=True) as told:
            work()
        events = [e for e in told.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def need_of(patient: Patient, peaks: Mapping[int, int]) -> Need:
    """What a run needs, from the peaks of batches by their number of samples."""
    tensors = {id(t): t for t in (*patient.trainee.parameters(), *patient.trainee.buffers())}
    weights = sum(t.numel() * t.element_size() for t in tensors.values())
    trained = [p for p in patient.trainee.parameters() if p.requires_grad]
    learning = sum(p.numel() * (p.element_size() + _MOMENTS) for p in trained)
    (few, low), (many, high) = [(0, 0), *sorted(peaks.items())][-2:]
    each = (high - low) // (many - few)
    return Need(weights + learning, high - many * each, each)


def available(patient: Patient) -> int:
    """Bytes that one process of a run could have, those of the weights it holds by now included."""
    weights = sum(p.numel() * p.element_size() for p in patient.trainee.parameters())
    if patient.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(patient.device)
        return int(free) + torch.cuda.memory_reserved(patient.device)
    return _free_on_cpu() + weights


def _free_on_cpu() -> int:
    """What the machine, or the container that we are in, still gives."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        if "MemAvailable" in lines:
            found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    for limit, used in _CGROUPS:
        if Path(limit).is_file() and (most := Path(limit).read_text().strip()).isdigit():
            found.append(max(int(most) - int(Path(used).read_text()), 0))
    return min(found)


@contextmanager
def _silent() -> Iterator[None]:
    """Inside, nothing reaches stderr: the profiler remarks there that it found no GPU."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _said(size: int) -> str:
    """``size`` bytes in words.

    >>> _said(3 * 2**20)
    '3.0 MiB'
    """
    for unit, step in (("GiB", 2**30), ("MiB", 2**20)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size / 2**10:.1f} KiB"
