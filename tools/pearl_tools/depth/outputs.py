"""Which way round a depth model's output is, and what it measures: declared in one table.

Neither can be seen in weights, and peers disagree, so nothing here is guessed: what the table does
not name is refused, unless the caller says the kind in so many words (`MODEL#metric`). Whether a
declaration holds for the weights at hand, `pearl-data tools check depth` finds out on pictures of
known depth. Leaves out loading (`huggingface.py`, `tflite.py`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from pearl_tools.errors import ModelUnavailable, UnknownModel

OutputKind = Literal["relative_inverse", "inverse", "metric"]
"""What a model's own numbers are, before they become ours.

`relative_inverse`: inverse depth of unknown scale and shift, larger = nearer. `inverse`: inverse
depth of unknown scale, 0 = infinitely far, larger = nearer. `metric`: metres, larger = farther.
"""
KINDS: Final[tuple[OutputKind, ...]] = get_args(OutputKind)
DESCRIBED: Final[Mapping[OutputKind, str]] = {
    "relative_inverse": "relative inverse depth of unknown scale and shift",
    "inverse": "relative inverse depth of unknown scale",
    "metric": "metric depth",
}
"""The same in the words that people read."""

NEAREST_M: Final = 1e-3
"""Metric depth below this counts as this: its inverse must stay finite."""


class Declared(NamedTuple):
    """What `predicted_depth` of one family of transformers models is.

    Attributes:
        model_type: of its configuration.
        where: a dotted field of the configuration and its value, where one type has two kinds.
        output: the kind, or None: the family is no depth model of ours.
        why: the paper or code that says so, or the reason why it is refused.

    """

    model_type: str
    where: tuple[str, str] | None
    output: OutputKind | None
    why: str


DECLARED: Final = (
    Declared(
        "depth_anything",
        ("depth_estimation_type", "metric"),
        "metric",
        "Depth Anything V2 for Hypersim and Virtual KITTI, arXiv 2406.09414: sigmoid x max_depth",
    ),
    Declared(
        "depth_anything",
        None,
        "relative_inverse",
        "Depth Anything V1 and V2, arXiv 2401.10891 and 2406.09414: affine-invariant disparity",
    ),
    Declared(
        "dpt",
        ("backbone_config.model_type", "dinov2"),
        "metric",
        "DINOv2's depthers for NYU and KITTI, arXiv 2304.07193: they share DPT's class, in metres",
    ),
    Declared("dpt", None, "relative_inverse", "MiDaS and DPT, arXiv 1907.01341 and 2103.13413"),
    Declared("zoedepth", None, "metric", "ZoeDepth, arXiv 2302.12288: bins between two depths"),
    Declared("glpn", None, "metric", "GLPN, arXiv 2201.07436: sigmoid x max_depth"),
    Declared(
        "depth_pro",
        None,
        "inverse",
        "Depth Pro, arXiv 2410.02073: the network gives canonical inverse depth, of which only the "
        "image processor's post_process_depth_estimation makes metres",
    ),
    Declared("tipsv2_dpt", None, "metric", "TIPSv2 with DPT: bins between min_depth and max_depth"),
    Declared(
        "prompt_depth_anything",
        None,
        None,
        "it completes a second, coarse depth map and needs one beside the picture",
    ),
    Declared("chmv2", None, None, "it gives the height of plants as seen from above, not depth"),
)
"""The first line that fits counts. Read from the models' own code in transformers 5.23."""

DECLARED_FILES: Final[Mapping[str, OutputKind]] = {
    "fast_depth*.tflite": "metric",  # FastDepth, arXiv 1903.03273: trained on NYU's metres
    "midas*.tflite": "relative_inverse",  # MiDaS v2.1 small, arXiv 1907.01341
}
"""The same for files without a configuration, by their names in lower case."""


class Spec(NamedTuple):
    """A model as the caller wrote it: where it is, and the kind if the caller overrules ours."""

    place: str
    output: OutputKind | None

    def full(self, output: OutputKind) -> str:
        """The name that goes into records: place and kind, and again a spec."""
        return f"{self.place}#{output}"


def parse_spec(text: str) -> Spec:
    """`PLACE` or `PLACE#KIND`.

    Raises:
        UnknownModel: the part after the last `#` is no kind, and no such path exists.

    Example:
        >>> parse_spec("org/model#metric")
        Spec(place='org/model', output='metric')

    """
    place, mark, kind = text.rpartition("#")
    if not mark or os.path.exists(text):  # noqa: PTH110 - unlike Path.exists it bears any text
        return Spec(text, None)
    for known in KINDS:
        if kind == known:
            return Spec(place, known)
    raise UnknownModel(
        f"depth model {text!r}: expected {', '.join(f'#{known}' for known in KINDS)} after the "
        f"model's name, got #{kind}"
    )


def output_of_config(config: Any) -> OutputKind:
    """The declared kind of a transformers model with this configuration.

    Raises:
        ModelUnavailable: nobody has declared it, or it is declared to be something else.

    """
    model_type = str(getattr(config, "model_type", "unknown"))
    for line in DECLARED:
        if line.model_type != model_type:
            continue
        if line.where and str(_field(config, line.where[0])) != line.where[1]:
            continue
        if line.output is None:
            raise ModelUnavailable(
                f"depth models of type {model_type!r} cannot be used: {line.why}; use another "
                "model, or --depth-model embedded"
            )
        return line.output
    known = ", ".join(sorted({line.model_type for line in DECLARED if line.output}))
    raise _undeclared(f"depth models of type {model_type!r}", f"known types: {known}", "DECLARED")


def output_of_file(path: Path) -> OutputKind:
    """The declared kind of a model file that has no configuration, by its name.

    Raises:
        ModelUnavailable: nobody has declared it.

    Example:
        >>> output_of_file(Path("models/fast_depth_224.tflite"))
        'metric'

    """
    for pattern, output in DECLARED_FILES.items():
        if fnmatch(path.name.lower(), pattern):
            return output
    known = ", ".join(DECLARED_FILES)
    raise _undeclared(f"depth model {str(path)!r}", f"known names: {known}", "DECLARED_FILES")


def as_inverse(values: NDArray[np.float32], output: OutputKind) -> NDArray[np.float32]:
    """Our convention from a model's own numbers: relative inverse depth, larger = nearer.

    Example:
        >>> as_inverse(np.array([[1.0, 4.0]], np.float32), "metric").tolist()
        [[1.0, 0.25]]

    """
    if output == "metric":
        return np.asarray(1 / np.maximum(values, np.float32(NEAREST_M)), np.float32)
    return np.ascontiguousarray(values, dtype=np.float32)


def no_metres(inverse_depth: NDArray[np.float32], output: OutputKind) -> float:
    """Which share of a model's own numbers cannot be metres: `NEAREST_M` or less.

    Args:
        inverse_depth: a map as `as_inverse` gives it.
        output: the kind that it was made from.

    Example:
        >>> no_metres(as_inverse(np.array([[-1.0, 4.0]], np.float32), "metric"), "metric")
        0.5

    """
    if output == "metric":
        return float((inverse_depth >= 1 / np.float32(NEAREST_M)).mean())
    return float((inverse_depth <= NEAREST_M).mean())


def opposite(output: OutputKind) -> OutputKind:
    """The kind to declare instead where larger turns out to be the other way round."""
    return "relative_inverse" if output == "metric" else "metric"


def _field(config: Any, dotted: str) -> Any:
    for name in dotted.split("."):
        config = getattr(config, name, None)
    return config


def _undeclared(what: str, known: str, table: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"{what}: nobody has declared whether the output is metric or inverse depth ({known}); "
        f"write MODEL#KIND with a kind of {', '.join(KINDS)} if you know it, add a line to {table} "
        f"in {__name__}, or use --depth-model embedded"
    )
