"""Depth models of the transformers library, brought to one convention: inverse depth, larger =
nearer.

Which way round a model's output is, is declared in `outputs.py`; an unknown type is refused rather
than guessed, and so are weights that do not fill the network. Only safetensors are read and no code
of a repository is run. Leaves out models that need more than a picture.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pearl_tools.depth.model import checked_pictures
from pearl_tools.depth.outputs import OutputKind, Spec, as_inverse, output_of_config
from pearl_tools.errors import ModelUnavailable, PearlError, UnknownModel

_BATCH: Final = 4
_SETTINGS: Final = ("config.json", "preprocessor_config.json", "processor_config.json")
_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: The first fusion layer of DPT's decoder has nothing to add, so published files leave this out.
_UNUSED: Final = re.compile(r"fusion_stage\.layers\.0\.residual_layer1\.")


class TransformersDepth:
    """See `DepthModel`; the working resolution is that of the model's own image processor.

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

    def __init__(self, spec: Spec, *, device: str = "cpu") -> None:
        import torch
        from transformers import AutoConfig, AutoModelForDepthEstimation

        self.device = device
        self.dtype = "float32"
        place = spec.place
        folder = _folder(place)
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
            raise ModelUnavailable(_message(place, error)) from error
        _check_weights(place, report)
        self.model_id = spec.full(self.output)
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
                    images=[_writable(images[index]) for index in chunk],
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


def _folder(spec: str) -> Path:
    """The local folder with configuration and safetensors of a model."""
    if os.path.exists(spec):  # noqa: PTH110 - unlike Path.exists it bears any text
        return _checked_folder(spec, Path(spec))
    if not _ID.fullmatch(spec):
        raise UnknownModel(
            f"depth model {spec!r}: expected `embedded`, the folder of a snapshot, a .tflite file "
            "or an id such as organisation/model, got a name that is none of them here"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        # Nothing but settings and safetensors is ever fetched, so nothing can be unpickled or run.
        folder = Path(snapshot_download(spec, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:  # the hub's errors have no common base below this
        absent = isinstance(error, RepositoryNotFoundError) and not isinstance(
            error, GatedRepoError
        )
        raise (UnknownModel if absent else ModelUnavailable)(_message(spec, error)) from error
    return _checked_folder(spec, folder)


def _checked_folder(spec: str, folder: Path) -> Path:
    """``folder`` if it holds what a snapshot consists of."""
    wanted = {
        "config.json": ("config.json",),
        "preprocessor_config.json": ("preprocessor_config.json", "processor_config.json"),
        "weights in *.safetensors": ("*.safetensors",),
    }
    missing = [
        name
        for name, patterns in wanted.items()
        if not any(next(folder.glob(pattern), None) for pattern in patterns)
    ]
    if missing:
        what = "a folder" if folder.is_dir() else "a file"
        raise ModelUnavailable(
            f"depth model {spec!r}: expected a folder with {', '.join(wanted)}, got {what} without "
            f"{', '.join(missing)}; download the model's whole snapshot (pickled weights, such as "
            "pytorch_model.bin, are never read)"
        )
    _check_json(spec, folder)
    return folder


def _check_json(spec: str, folder: Path) -> None:
    """The libraries take for granted that these files hold objects."""
    for name in _SETTINGS:
        path = folder / name
        try:
            document = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        except (OSError, ValueError, RecursionError) as error:
            raise ModelUnavailable(
                f"depth model {spec!r}: expected JSON in {name}, got {error}; download the "
                "snapshot again"
            ) from error
        if not isinstance(document, dict):
            raise ModelUnavailable(
                f"depth model {spec!r}: expected a JSON object, {{...}}, in {name}, got "
                f"{str(document)[:40]}; download the snapshot again"
            )


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
