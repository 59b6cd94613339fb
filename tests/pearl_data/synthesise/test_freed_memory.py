"""Freed arrays are reused: a process that computes blocks does not fetch each page anew."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_PAGES = """
import resource
import numpy as np
from pearl_data.synthesise.run import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        arrays = [np.ones(400_000) for _ in range(4)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
keep_freed_memory()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left alone")
def test_freed_arrays_are_reused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PAGES], capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert before > 20 * 400_000 * 8 // 4096  # at least one array of each round
    assert after < before / 20
