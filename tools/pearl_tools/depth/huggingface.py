"""Depth models of the transformers library, brought to one convention: inverse depth, larger =
nearer.

Which way round a model's output is cannot be seen in its weights, so it is declared here by model
type; an unknown type is refused rather than guessed. Only safetensors are read and no code of a
repository is run. Leaves out models that need more than a picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pearl_tools.depth.model import checked_pictures
from pearl_tools.errors import ModelUnavailable

Output = Literal["inverse", "metric"]
_BATCH: Final = 4
_NEAREST_M: Final = 1e-3

OUTPUT_OF_TYPE: Final[dict[str, Output]] = {
    "dpt": "inverse",  # MiDaS and DPT: trained on inverse depth
    "glpn": "metric",
    "zoedepth": "metric",
    "depth_pro": "metric",
    "depth_anything": "inverse",  # unless its configuration says metric, see output_kind
}
"""What `predicted_depth` of each `config.model_type` means."""


def output_kind(config: Any) -> Output:
    """Whether a model with this configuration gives inverse or metric depth.

    Raises:
        ModelUnavailable: the type is not in `OUTPUT_OF_TYPE`.

    """
    kind = str(getattr(config, "model_type", "unknown"))
    if kind not in OUTPUT_OF_TYPE:
        known = ", ".join(sorted(OUTPUT_OF_TYPE))
        raise ModelUnavailable(
            f"depth models of type {kind!r}: nobody has declared whether their output is metric or "
            f"inverse depth (known types: {known}); add the type to OUTPUT_OF_TYPE in {__name__}, "
            "or use --depth-model embedded"
        )
    if kind == "depth_anything":
        return "metric" if config.depth_estimation_type == "metric" else "inverse"
    if kind == "dpt":
        backbone = getattr(getattr(config, "backbone_config", None), "model_type", None)
        # The DINOv2 depthers share the DPT class but were trained on metres.
        return "metric" if backbone == "dinov2" else "inverse"
    return OUTPUT_OF_TYPE[kind]


class TransformersDepth:
    """See `DepthModel`; the working resolution is that of the model's own image processor.

    Args:
        spec: a model id, looked up in the local cache and then on the hub, or a snapshot's folder.
        device: torch device.

    Raises:
        ModelUnavailable: not found, not readable, or of an undeclared type.

    """

    def __init__(self, spec: str, *, device: str = "cpu") -> None:
        import torch
        from transformers import AutoConfig, AutoModelForDepthEstimation

        self.model_id = spec
        self.device = device
        self.dtype = "float32"
        folder = _folder(spec)
        try:
            self._output = output_kind(AutoConfig.from_pretrained(folder))
            self._processor: Any = _processor(folder)
            model = AutoModelForDepthEstimation.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ModelUnavailable(_message(spec, error)) from error
        self._model = model.to(device).eval()
        self.weights_sha256 = _hash(folder)

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """See `DepthModel.predict`."""
        import torch

        # Padding would shift the picture inside the map.
        options = {"do_pad": False} if getattr(self._processor, "do_pad", False) else {}
        results: list[NDArray[np.float32] | None] = [None] * len(images)
        for members in checked_pictures(images).values():
            for start in range(0, len(members), _BATCH):
                chunk = members[start : start + _BATCH]
                inputs = self._processor(
                    images=[images[index] for index in chunk],
                    return_tensors="pt",
                    input_data_format="channels_last",
                    **options,
                ).to(self.device)
                with torch.inference_mode():
                    depth = self._model(**inputs).predicted_depth.float().cpu().numpy()
                for index, values in zip(chunk, depth, strict=True):
                    results[index] = self._inverse(values)
        return [result for result in results if result is not None]

    def _inverse(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._output == "metric":
            return np.asarray(1 / np.maximum(values, np.float32(_NEAREST_M)), np.float32)
        return np.ascontiguousarray(values, dtype=np.float32)


def _folder(spec: str) -> Path:
    """The local folder with configuration and safetensors of a model."""
    if Path(spec).is_dir():
        return Path(spec)
    from huggingface_hub import snapshot_download

    try:
        # Nothing but settings and safetensors is ever fetched, so nothing can be unpickled or run.
        return Path(snapshot_download(spec, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:  # the hub's errors have no common base below this
        raise ModelUnavailable(_message(spec, error)) from error


def _processor(folder: Path) -> Any:
    from transformers import AutoImageProcessor

    load: Any = AutoImageProcessor.from_pretrained  # untyped upstream
    return load(folder)


def _message(spec: str, error: BaseException) -> str:
    reason = " ".join(str(error).split())
    return (
        f"depth model {spec!r} cannot be loaded: {type(error).__name__}: {reason[:300]}; "
        "either use --depth-model embedded, or download the model's snapshot on a machine with a "
        "network and pass its folder"
    )


def _hash(folder: Path) -> str:
    """SHA-256 of the safetensors files, one after the other in order of name."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
