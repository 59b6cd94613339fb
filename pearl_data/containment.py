"""Containment of boxes in views, and views of the whole picture: one rule for plans and checks."""

from __future__ import annotations

from pearl_tools.types import Box

#: Pixels of the root by which a box may overhang a view: those of zoomed views are fractional.
CONTAINMENT_SLACK_PX = 0.5
#: A view of more than this share of a picture counts as the whole picture.
WHOLE_SHARE = 0.9


def is_whole(box: Box) -> bool:
    """True if ``box``, in fractions of a picture, covers at least :data:`WHOLE_SHARE` of it."""
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
