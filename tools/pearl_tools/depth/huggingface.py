"""Depth models of the transformers library, brought to one convention: inverse depth, larger =
nearer.

Which way round a model's output is, is declared in `outputs.py`; an unknown type is refused rather
than guessed, and so are weights that do not fill the network. Only safetensors are read and no code
of a repository is run. Leaves out where the files are (`snapshot.py`), at which size a model sees a
picture (`processor_size.py`; `sizes.py` where its image processor has none), and models that need
more than a picture.
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
from pearl_tools.depth.processor_size import ProcessorSize
from pearl_tools.depth.sizes import OwnSize
from pearl_tools.depth.snapshot import cannot_load, find_snapshot, snapshot_sha256
from pearl_tools.errors import ModelUnavailable, PearlError

_BATCH: Final = 4
#: The first fusion layer of DPT's decoder has nothing to add, so published files leave this out.
_UNUSED: Final = re.compile(r"fusion_stage\.layers\.0\.residual_layer1\.")
#: Steps of an image processor after which the map would not cover just the whole picture.
_NOT_WHOLE: Final = ("do_pad", "do_center_crop")
_PROBE: Final = np.zeros((100, 300, 3), np.uint8)


class TransformersDepth:
    """See `DepthModel`; the working resolution is that of the model's own image processor, within
    the bounds of `ProcessorSize`, or `OwnSize` where that has none.

    Args:
        spec: a model id, looked up in the local cache and then on the hub, or a snapshot's folder;
            with the kind of its output where the caller overrules the declared one.
        device: torch device.

    Raises:
        UnknownModel: neither a folder nor the id of a model.
        ModelUnavailable: not found, not readable, of an undeclared type, not a depth model, with
            weights missing, or with an image processor that crops whatever it is told.

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
                own = OwnSize.of(self._processor, config)
                self._size = own or ProcessorSize.of(self._processor, config)
                self.model_id = spec.full(self.output)
                self._inputs([_PROBE])  # a processor that crops is refused now, not at a picture
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
        self._model = model.to(device).eval()
        self.weights_sha256 = snapshot_sha256(folder)

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """See `DepthModel.predict`."""
        import torch

        results: list[NDArray[np.float32] | None] = [None] * len(images)
        for members in checked_pictures(images).values():
            for start in range(0, len(members), _BATCH):
                chunk = members[start : start + _BATCH]
                inputs = self._inputs([images[index] for index in chunk])
                # Not inference_mode: BEiT keeps tensors between calls, with which nobody in this
                # process could then train.
                with torch.no_grad():
                    depth = self._model(**inputs).predicted_depth.float().cpu().numpy()
                for index, values in zip(chunk, depth, strict=True):
                    results[index] = as_inverse(values, self.output)
        return [result for result in results if result is not None]

    def _inputs(self, images: Sequence[NDArray[np.uint8]]) -> Any:
        """What the network sees of pictures of one shape: all of each."""
        shape = images[0].shape[:2]
        options: dict[str, Any] = {
            name: False for name in _NOT_WHOLE if getattr(self._processor, name, False)
        }
        if isinstance(self._size, OwnSize):
            expected = self._size.size(*shape)
            images = [self._size.fitted(image) for image in images]
        else:
            expected = self._size.seen(*shape)
            options |= self._size.options(*shape)
        inputs = self._processor(
            images=[_writable(image) for image in images],
            return_tensors="pt",
            input_data_format="channels_last",
            **options,
        )
        found = tuple(inputs["pixel_values"].shape[-2:])
        if found != expected:
            raise ModelUnavailable(
                f"depth model {self.model_id!r}: {type(self._processor).__name__} makes "
                f"{_by(found)} px of a picture of {_by(shape)} px, expected {_by(expected)}: it "
                "crops or pads, and the map would not cover the picture; pass a snapshot with "
                "another image processor"
            )
        return inputs.to(self.device)


def _by(sides: tuple[int, ...]) -> str:
    return f"{sides[1]}x{sides[0]}"


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
