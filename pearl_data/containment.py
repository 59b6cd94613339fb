"""Whether a view holds a box: one rule for the expert that plans it and the later check."""

from __future__ import annotations

from pearl_tools.types import Box

#: Pixels of the root by which a box may overhang a view: those of zoomed views are fractional.
CONTAINMENT_SLACK_PX = 0.5


def holds(view: Box, box: Box) -> bool:
    """Whether ``box`` lies in ``view``, both in pixels of the root, up to the slack."""
    slack = CONTAINMENT_SLACK_PX
    return (
        view[0] - slack <= box[0]
        and view[1] - slack <= box[1]
        and view[2] + slack >= box[2]
        and view[3] + slack >= box[3]
    )
