"""How threads of a process behave beside others.

One thread per process, for jobs: workers do not fight over cores, and results do not depend on
how many cores there are (with two threads, depth maps differ by about 3e-7 between batch sizes).
"""

from __future__ import annotations

import os


def wait_passively() -> None:
    """Threads of numeric libraries sleep while they wait, unless the user chose otherwise.

    OpenMP's threads spin otherwise, and take the cores from whatever else runs: beside one busy job
    of two threads a step of training takes three times as long. To be called before torch, or any
    library with OpenMP, is imported; children inherit it.
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
