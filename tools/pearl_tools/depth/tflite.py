"""Depth models in one `.tflite` file, run by LiteRT (extra `tflite`), brought to our convention.

Such files are published for telephones, often in 8-bit integers; the steps of a quantised output
stay visible as ties. Leaves out accelerators and models with more than one input or output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pearl_tools.depth.model import checked_pictures
from pearl_tools.depth.outputs import OutputKind, Spec, as_inverse, output_of_file
from pearl_tools.errors import ModelUnavailable, UnknownModel


class LiteRtDepth:
    """See `DepthModel`; the working resolution is that of the file's input. One thread, on the CPU.

    Args:
        spec: the file, and the kind of its output where the caller says it.

    Raises:
        UnknownModel: there is no such file.
        ModelUnavailable: LiteRT is not installed, the file is no such model, or its kind is not
            known.

    """

    output: OutputKind
    libraries: tuple[str, ...] = ("ai-edge-litert", "opencv-python")

    def __init__(self, spec: Spec) -> None:
        path = Path(spec.place)
        if not path.exists():
            raise UnknownModel(
                f"depth model {spec.place!r}: expected a .tflite file, got a path without one"
            )
        self.output = spec.output or output_of_file(path)
        self.model_id = spec.full(self.output)
        self.device = "cpu"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelUnavailable(f"depth model {spec.place!r}: {error.strerror}") from error
        self.weights_sha256 = hashlib.sha256(data).hexdigest()
        self._interpreter = _interpreter(spec.place, data)
        self._input = _only(self._interpreter.get_input_details(), spec.place, "input")
        self._result = _only(self._interpreter.get_output_details(), spec.place, "output")
        shape = [int(side) for side in self._input["shape"]]
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or min(shape) < 1:
            raise ModelUnavailable(
                f"depth model {spec.place!r}: expected an input of (1, height, width, 3), got "
                f"{tuple(shape)}; use another export of the model"
            )
        self._size = (shape[2], shape[1])
        self.dtype = np.dtype(self._result["dtype"]).name

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """See `DepthModel.predict`."""
        checked_pictures(images)
        return [self._predict(image) for image in images]

    def _predict(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        shrinks = image.shape[1] > self._size[0] or image.shape[0] > self._size[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = cv2.resize(image, self._size, interpolation=method)[None]
        if self._input["dtype"] != np.uint8:
            small = (small.astype(np.float32) / 255).astype(self._input["dtype"])
        self._interpreter.set_tensor(self._input["index"], small)
        self._interpreter.invoke()
        raw = self._interpreter.get_tensor(self._result["index"])
        scale, zero = self._result["quantization"]
        values = raw.astype(np.float32)
        if scale:
            values = (values - np.float32(zero)) * np.float32(scale)
        return as_inverse(values.reshape(values.shape[1:3]), self.output)


def _interpreter(place: str, data: bytes) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ModelUnavailable(
            f"depth model {place!r} needs LiteRT, which is not installed ({error}); "
            "pip install 'pearl-toolkit[tflite]', or use --depth-model embedded"
        ) from error
    try:
        interpreter: Any = Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelUnavailable(
            f"depth model {place!r}: not a model that LiteRT can run: {reason}"
        ) from error
    return interpreter


def _only(details: list[dict[str, Any]], place: str, what: str) -> dict[str, Any]:
    if len(details) != 1:
        raise ModelUnavailable(
            f"depth model {place!r}: expected one {what}, got {len(details)}; use another export"
        )
    return details[0]
