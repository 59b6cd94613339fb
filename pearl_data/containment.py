"""Which views hold a box, and which are the whole picture: one rule for plans and checks."""

from __future__ import annotations

from pearl_tools.types import Box

#: Pixels of the root by which a box may overhang a view: those of zoomed views are fractional.
CONTAINMENT_SLACK_PX = 0.5
#: A view of more than this share of a picture is no closer look at it.
WHOLE_SHARE = 0.9


def is_whole(box: Box) -> bool:
    """Whether ``box``, fractions of a picture, is the whole of it, or as good as that."""
    return (box[2] - box[0]) * (box[3] - box[1]) > WHOLE_SHARE


def holds(view: Box, box: Box) -> bool:
    """Whether ``box`` lies in ``view``, both in pixels of the root, up to the slack."""
    slack = CONTAINMENT_SLACK_PX
    return (
        view[0] - slack <= box[0]
        and view[1] - slack <= box[1]
        and view[2] + slack >= box[2]
        and view[3] + slack >= box[3]
    )
