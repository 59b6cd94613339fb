"""One thread per process, for jobs: workers do not fight over cores, and results do not depend on
how many cores there are (with two threads, depth maps differ by about 3e-7 between batch sizes).
"""

from __future__ import annotations


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
