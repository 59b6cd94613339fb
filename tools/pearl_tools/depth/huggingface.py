"""Depth models of the transformers library, brought to one convention: inverse depth, larger =
nearer.

Which way round a model's output is, is declared in `outputs.py`; an unknown type is refused rather
than guessed, and so are weights that do not fill the network. Only safetensors are read and no code
of a repository is run. Leaves out where the files are (`snapshot.py`), at which size a model
without a size of its own sees a picture (`sizes.py`), and models that need more than a picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pearl_tools.depth.model import checked_pictures
from pearl_tools.depth.outputs import OutputKind, Spec, as_inverse, output_of_config
from pearl_tools.depth.sizes import OwnSize
from pearl_tools.depth.snapshot import cannot_load, find_snapshot, snapshot_sha256
from pearl_tools.errors import ModelUnavailable, PearlError

_BATCH: Final = 4
#: The first fusion layer of DPT's decoder has nothing to add, so published files leave this out.
_UNUSED: Final = re.compile(r"fusion_stage\.layers\.0\.residual_layer1\.")


class TransformersDepth:
    """See `DepthModel`; the working resolution is that of the model's own image processor, or
    `OwnSize` where that has none.

    Args:
        spec: a model id, looked up in the local cache and then on the hub, or a snapshot's folder;
            with the kind of its output where the caller overrules the declared one.
        device: torch device.

    Raises:
        UnknownModel: neither a folder nor the id of a model.
        ModelUnavailable: not found, not readable, of an undeclared type, not a depth model, or
            with weights missing.

    """

    output: OutputKind
    libraries: tuple[str, ...] = ("torch", "transformers", "torchvision", "opencv-python")

    def __init__(self, spec: Spec, *, device: str = "cpu") -> None:
        import torch
        from transformers import AutoConfig, AutoModelForDepthEstimation

        self.device = device
        self.dtype = "float32"
        place = spec.place
        folder = find_snapshot(place)
        try:
            with _quiet():
                config = AutoConfig.from_pretrained(folder)
                self.output = spec.output or output_of_config(config)
                _check_architecture(place, config)
                self._processor: Any = _processor(folder)
                model, report = AutoModelForDepthEstimation.from_pretrained(
                    folder,
                    use_safetensors=True,
                    dtype=torch.float32,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # _check_weights refuses them, in our words
                )
        except PearlError:
            raise
        except Exception as error:  # files of others through three libraries: no common base
            raise ModelUnavailable(cannot_load(place, error)) from error
        _check_weights(place, report)
        self.model_id = spec.full(self.output)
        self._size = OwnSize.of(self._processor, config)
        self._model = model.to(device).eval()
        self.weights_sha256 = snapshot_sha256(folder)

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """See `DepthModel.predict`."""
        import torch

        # Padding would shift the picture inside the map; `OwnSize` gives what needs none.
        options = {"do_pad": False} if getattr(self._processor, "do_pad", False) else {}
        results: list[NDArray[np.float32] | None] = [None] * len(images)
        for members in checked_pictures(images).values():
            for start in range(0, len(members), _BATCH):
                chunk = members[start : start + _BATCH]
                inputs = self._processor(
                    images=[_writable(self._fitted(images[index])) for index in chunk],
                    return_tensors="pt",
                    input_data_format="channels_last",
                    **options,
                ).to(self.device)
                # Not inference_mode: BEiT keeps tensors between calls, with which nobody in this
                # process could then train.
                with torch.no_grad():
                    depth = self._model(**inputs).predicted_depth.float().cpu().numpy()
                for index, values in zip(chunk, depth, strict=True):
                    results[index] = as_inverse(values, self.output)
        return [result for result in results if result is not None]

    def _fitted(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image if self._size is None else self._size.fitted(image)


def _writable(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of read-only pixels: torch shares memory, and warns users about what we never do."""
    return image if image.flags.writeable else image.copy()


def _check_architecture(place: str, config: Any) -> None:
    """A file for another task (segmentation, say) would get a random depth head."""
    names = [str(name) for name in getattr(config, "architectures", None) or []]
    if names and not any("Depth" in name for name in names):
        raise ModelUnavailable(
            f"depth model {place!r}: expected a model for depth estimation, got {names[0]}; pass "
            "the snapshot of a depth model"
        )


def _check_weights(place: str, report: dict[str, Any]) -> None:
    missing = sorted(name for name in report["missing_keys"] if not _UNUSED.search(name))
    if missing:
        raise ModelUnavailable(
            f"depth model {place!r}: its files do not hold all weights of the network "
            f"({len(missing)} missing, such as {missing[0]}), which would be random numbers; "
            "download the snapshot again"
        )
    other = sorted((str(name), *shapes) for name, *shapes in report.get("mismatched_keys", ()))
    if other:
        name, found, expected = other[0]
        raise ModelUnavailable(
            f"depth model {place!r}: {name} in its files has shape {tuple(found)}, expected "
            f"{tuple(expected)} by config.json, and {len(other) - 1} more differ: these files "
            "belong to two models; download the snapshot again"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars and loading report: what matters is raised."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _processor(folder: Path) -> Any:
    from transformers import AutoImageProcessor

    load: Any = AutoImageProcessor.from_pretrained  # untyped upstream
    return load(folder)
