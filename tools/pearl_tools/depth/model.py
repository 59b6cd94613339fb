"""What a depth model is: pictures in, relative inverse depth out, larger = nearer.

Leaves out the models themselves (`embedded.py`, `huggingface.py`, `tflite.py`) and loading
(`load.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pearl_tools.depth.outputs import OutputKind

EMBEDDED = "embedded"


class DepthModel(Protocol):
    """Relative inverse depth of pictures, larger = nearer.

    Attributes:
        model_id: `embedded`, or the id, folder or file that was asked for with the kind of its own
            output (`org/model#metric`); again a spec for `load_depth_model`.
        output: that kind, see `pearl_tools.depth.outputs`.
        weights_sha256: hash of the weights file; of a transformers model, of all its weights and
            settings (`snapshot_sha256`), since a changed image processor makes another map.
        libraries: the distributions that compute the map, whose versions the record names.
        device: such as `cpu` or `cuda:0`.
        dtype: of the computation, such as `float32`.

    """

    model_id: str
    output: OutputKind
    weights_sha256: str
    libraries: tuple[str, ...]
    device: str
    dtype: str

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """One map per picture, in order.

        Args:
            images: uint8 (H, W, 3) RGB arrays, any sizes of at least one pixel; equal shapes share
                a batch.

        Returns:
            float32 (h, w) maps at the model's working resolution (long side at most 256 px and both
            sides multiples of 32 for `embedded`), covering the whole picture: resize them to (H, W)
            where pixels must match. Finite, larger = nearer. Values of different pictures are not
            comparable.

        Raises:
            ValueError: a picture is not uint8 (H, W, 3) or is empty.

        """
        ...


def checked_pictures(images: Sequence[NDArray[np.uint8]]) -> dict[tuple[int, int], list[int]]:
    """Positions of the pictures by shape (H, W), in order of first appearance.

    Raises:
        ValueError: see `DepthModel.predict`.

    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(
                f"images[{index}]: expected uint8 (H, W, 3), got {image.dtype} {image.shape}"
            )
        groups.setdefault((image.shape[0], image.shape[1]), []).append(index)
    return groups
