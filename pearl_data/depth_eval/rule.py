"""The rule of thumb that every depth figure stands beside: lower in the picture is nearer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pearl_tools.depth.outputs import OutputKind

NAME = "rule: lower is nearer"


class LowerIsNearer:
    """The rule dressed as a `DepthModel`: the map is the row number, and looks at nothing.

    As inverse depth this is a level ground seen from above up to the horizon, so that alignment
    treats it as fairly as a network.
    """

    model_id = NAME
    output: OutputKind = "relative_inverse"
    weights_sha256 = ""
    libraries: tuple[str, ...] = ()
    device = "cpu"
    dtype = "float32"

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """One map per picture, at its size."""
        return [
            np.repeat(np.arange(image.shape[0], dtype=np.float32)[:, None], image.shape[1], axis=1)
            for image in images
        ]
