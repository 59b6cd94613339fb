"""The files of a transformers model: where they are, whether all are there, and their identity.

Leaves out what they hold, which is for `huggingface.py` to load and to check.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Final

from pearl_tools.errors import ModelUnavailable, UnknownModel
from pearl_tools.strict_json import DuplicateKey, each_key_once

SETTINGS: Final = ("config.json", "preprocessor_config.json", "processor_config.json")
"""What a model is besides its weights: the network, and what is done to a picture before it."""
_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_snapshot(spec: str) -> Path:
    """The local folder with configuration and safetensors of a model, fetched if it is an id.

    Raises:
        UnknownModel: neither a folder nor the id of a model.
        ModelUnavailable: it cannot be fetched, or is not whole; the message says what is missing.

    """
    if os.path.exists(spec):  # noqa: PTH110 - unlike Path.exists it bears any text
        return _checked(spec, Path(spec))
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
        raise (UnknownModel if absent else ModelUnavailable)(cannot_load(spec, error)) from error
    return _checked(spec, folder)


def _checked(spec: str, folder: Path) -> Path:
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
    _check_settings(spec, folder)
    return folder


def _check_settings(spec: str, folder: Path) -> None:
    """The libraries take for granted that these files hold objects."""
    for name in SETTINGS:
        path = folder / name
        try:
            text = path.read_text("utf-8") if path.is_file() else "{}"
            document = json.loads(text, object_pairs_hook=each_key_once)
        except (OSError, ValueError, RecursionError, DuplicateKey) as error:
            raise ModelUnavailable(
                f"depth model {spec!r}: expected JSON in {name}, got {error}; download the "
                "snapshot again"
            ) from error
        if not isinstance(document, dict):
            raise ModelUnavailable(
                f"depth model {spec!r}: expected a JSON object, {{...}}, in {name}, got "
                f"{str(document)[:40]}; download the snapshot again"
            )


def snapshot_sha256(folder: Path) -> str:
    """SHA-256 of all that decides a map: the safetensors and the `SETTINGS`, in order of name, each
    under a line of its name and size. Weights alone would take a snapshot for the same model after
    the mean or the size in its preprocessor_config.json was changed.
    """
    digest = hashlib.sha256()
    settings = [folder / name for name in SETTINGS if (folder / name).is_file()]
    for path in sorted([*settings, *folder.glob("*.safetensors")]):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def cannot_load(spec: str, error: BaseException) -> str:
    """The message about a model that a library could not load."""
    reason = " ".join(str(error).split())
    return (
        f"depth model {spec!r} cannot be loaded: {type(error).__name__}: {reason[:300]}; "
        "either use --depth-model embedded, or download the model's snapshot on a machine with a "
        "network and pass its folder"
    )
