"""Loading a depth model by name: the embedded one, or a transformers id or folder."""

from __future__ import annotations

from pearl_tools.depth.model import EMBEDDED, DepthModel


def load_depth_model(spec: str = EMBEDDED, *, device: str = "cpu") -> DepthModel:
    """The model that `spec` names.

    Args:
        spec: `embedded` for the weights in the package, else the id or folder of a transformers
            depth model.
        device: torch device.

    Raises:
        ModelUnavailable: it cannot be loaded here; the message says why and what to do.

    Example:
        >>> load_depth_model().model_id
        'embedded'

    """
    if spec == EMBEDDED:
        from pearl_tools.depth.embedded import EmbeddedDepth

        return EmbeddedDepth(device=device)
    from pearl_tools.depth.huggingface import TransformersDepth

    return TransformersDepth(spec, device=device)
