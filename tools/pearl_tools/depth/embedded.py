"""The depth model whose weights lie in this package: loading, sizes, batches.

Leaves out the architecture (`network.py`) and how the weights came about
(`weights/embedded.card.md`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pearl_tools.depth.model import EMBEDDED, checked_pictures
from pearl_tools.depth.outputs import OutputKind
from pearl_tools.errors import ModelUnavailable

if TYPE_CHECKING:
    import torch

    from pearl_tools.depth.network import DepthNetwork

LONG_SIDE_PX: Final = 256
_MULTIPLE: Final = 32
#: Measured on one core: 18 ms a picture in batches of 2 or 4, 20 in batches of 8, 21 alone.
_BATCH: Final = 4


def working_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which the network sees a picture of `height` x `width` pixels.

    The long side becomes 256, also of a smaller picture, because the network was trained at that
    size; the short side the multiple of 32 (at least 32) that keeps the aspect ratio best.

    Example:
        >>> working_size(480, 640), working_size(100, 1000)
        ((192, 256), (32, 256))

    """
    long = max(height, width)

    def side(pixels: int) -> int:
        return max(round(LONG_SIDE_PX * pixels / long / _MULTIPLE), 1) * _MULTIPLE

    return side(height), side(width)


class EmbeddedDepth:
    """See `DepthModel`; the working resolution is `working_size` of each picture.

    Args:
        device: torch device.

    Raises:
        ModelUnavailable: the weights are missing from the installation or damaged.

    """

    output: OutputKind = "inverse"
    libraries: tuple[str, ...] = ("torch",)

    def __init__(self, *, device: str = "cpu") -> None:
        import torch

        self.model_id = EMBEDDED
        self.device = device
        self.dtype = "float32"
        self.weights_sha256, self._network = _load(torch.device(device))

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """See `DepthModel.predict`."""
        import torch

        results: list[NDArray[np.float32] | None] = [None] * len(images)
        for shape, members in checked_pictures(images).items():
            height, width = working_size(*shape)
            for start in range(0, len(members), _BATCH):
                chunk = members[start : start + _BATCH]
                batch = np.stack([_resized(images[index], height, width) for index in chunk])
                pixels = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2).float() / 255
                with torch.inference_mode():
                    inverse = torch.exp(self._network(pixels)).cpu().numpy()
                for index, values in zip(chunk, inverse, strict=True):
                    results[index] = np.ascontiguousarray(values, dtype=np.float32)
        return [result for result in results if result is not None]


def _resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    shrinks = image.shape[0] > height or image.shape[1] > width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def _load(device: torch.device) -> tuple[str, DepthNetwork]:
    import torch
    from safetensors.torch import load

    from pearl_tools.depth.network import DepthNetwork

    folder = files("pearl_tools.depth") / "weights"
    try:
        data = (folder / "embedded.safetensors").read_bytes()
        expected = json.loads((folder / "embedded.json").read_text("utf-8"))["weights_sha256"]
    except OSError as error:
        raise ModelUnavailable(
            f"depth model 'embedded': its weights are missing from this installation ({error}); "
            "reinstall the package, or pass the folder of a transformers model"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        raise ModelUnavailable(
            f"depth model 'embedded': expected weights with sha256 {expected}, got {digest}; "
            "the installation is damaged, reinstall the package"
        )
    network = DepthNetwork()
    # Stored in half precision, computed in single; counters of batch normalisation are not stored.
    missing, unexpected = network.load_state_dict(
        {name: value.float() for name, value in load(data).items()}, strict=False
    )
    left_out = [name for name in missing if not name.endswith("num_batches_tracked")]
    if left_out or unexpected:
        raise ModelUnavailable(
            f"depth model 'embedded': weights and network differ (missing {left_out[:3]}, "
            f"unexpected {list(unexpected)[:3]}); reinstall the package"
        )
    network = network.to(device).to(memory_format=torch.channels_last)
    return digest, network.eval()
