"""Thread settings of a process.

One thread per process for jobs: workers do not compete for cores, and results do not depend on
the number of cores (with two threads, depth maps differ by about 3e-7 between batch sizes).
"""

from __future__ import annotations

import os


def wait_passively() -> None:
    """Let threads of numeric libraries sleep while they wait, unless the user chose otherwise.

    By default OpenMP's threads spin and block cores: beside a busy job of two threads, a training
    step takes three times as long. Call this before importing torch or any other library with
    OpenMP; children inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def one_thread(*, depth: bool) -> None:
    """Makes every numeric library of this process use one thread; ``depth`` says if torch will run.

    For programs, not for libraries: it changes the settings of the whole process. So the
    commands of the toolkit that compute call it, and neither the executor nor `validate_paths`
    does: who imports them has the say over their own process.
    """
    import cv2

    cv2.setNumThreads(1)
    if depth:
        import torch

        torch.set_num_threads(1)
