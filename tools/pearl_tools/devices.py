"""Which torch device a depth model runs on, and whether it is here."""

from __future__ import annotations

from typing import Final

from pearl_tools.errors import UsageError

KINDS: Final = ("cpu", "cuda", "mps", "xpu")
"""The kinds of device that the depth models are meant for; all but the first must be tried."""


def require_device(name: str) -> str:
    """``name``, if a tensor can be put there.

    Raises:
        UsageError: no such kind, or none of that number here; torch's own reason is told.

    Example:
        >>> require_device("cpu")
        'cpu'

    """
    if name == "cpu":
        return name  # without the second that torch takes to be imported
    import torch

    kind = name.partition(":")[0]
    if kind not in KINDS:
        raise UsageError(f"expected {', '.join(KINDS)}, with :0 and the like, got {name!r}")
    try:
        torch.empty(1, device=torch.device(name))
    except Exception as error:  # each backend raises another one
        reason = str(error).partition(". ")[0].splitlines()[0].rstrip(".")
        raise UsageError(f"expected a device that is here, got {name!r} ({reason})") from error
    return name
