"""Why a run ends before its last step. All are :class:`~pearl_tools.errors.PearlError`.

RunInterrupted   somebody asked it to (exit 130); a checkpoint was written
Diverged         a loss or gradient is no longer a number: names step, samples, shards
Collapsed        the collapse panel says so and log.on_collapse is "stop"
"""

from __future__ import annotations

from pearl_tools.errors import Interrupted, PearlError


class RunInterrupted(Interrupted):
    """Training was interrupted and can go on; the message says how."""


class Diverged(PearlError):
    """A loss or a gradient is not finite; no weight was changed by it."""


class Collapsed(PearlError):
    """The views collapsed; the message names the remedy."""
