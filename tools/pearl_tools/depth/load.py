"""Loading a depth model by name: the embedded one, a transformers id or folder, a LiteRT file."""

from __future__ import annotations

from pearl_tools.depth.model import EMBEDDED, DepthModel
from pearl_tools.depth.outputs import parse_spec
from pearl_tools.errors import UnknownModel


def load_depth_model(spec: str = EMBEDDED, *, device: str = "cpu") -> DepthModel:
    """The model that `spec` names.

    Args:
        spec: `embedded` for the weights in the package, else the id or folder of a transformers
            depth model, or a `.tflite` file. `#relative_inverse`, `#inverse` or `#metric` after it
            overrules what `pearl_tools.depth.outputs` declares its output to be.
        device: torch device.

    Raises:
        ModelUnavailable: it cannot be loaded here; the message says why and what to do.
        UnknownModel: nothing has that name.

    Example:
        >>> load_depth_model().model_id
        'embedded'

    """
    if spec == EMBEDDED:
        from pearl_tools.depth.embedded import EmbeddedDepth

        return EmbeddedDepth(device=device)
    parsed = parse_spec(spec)
    if parsed.place == EMBEDDED:
        raise UnknownModel(
            f"depth model {spec!r}: expected no kind after {EMBEDDED!r}, which needs none, got "
            f"#{parsed.output}; leave it out"
        )
    if parsed.place.lower().endswith(".tflite"):
        from pearl_tools.depth.tflite import LiteRtDepth

        return LiteRtDepth(parsed)
    from pearl_tools.depth.huggingface import TransformersDepth

    return TransformersDepth(parsed, device=device)
