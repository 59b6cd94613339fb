"""Loads a network and its processor from ``nano``, a folder or a hub id.

Reports one clear error for models that would fail later: another kind of model, missing or
non-finite weights, a processor without pictures, a family whose picture tokens attend to each
other. Not here: our additions to a network (:mod:`pearl_train.model.build`).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pearl_tools.errors import BadInput, UsageError, listed
from pearl_train.model.manifest import check_manifest
from pearl_train.settings.config import ModelConfig

NANO = Path(__file__).parent.parent / "nano"
"""Folder of the embedded model."""

FAMILIES = (
    "qwen2_5_vl",
    "qwen2_vl",
    "qwen3_vl",
    "llava",
    "idefics3",
    "smolvlm",
    "internvl",
    "fast_vlm",
)
"""Families for which packed views were checked against the stock model; others are tried."""


def load_model(config: ModelConfig) -> tuple[nn.Module, Any]:
    """The network in evaluation mode, on the CPU, and its processor.

    With LoRA and ``dtype`` bfloat16 the weights are bfloat16; with full fine-tuning float32 always.
    Raises ``UsageError`` for an unsupported model, and ``BadInput`` for one whose
    weights are not finite, or whose files are not those that were exported, naming it.
    """
    place = _place(config.id)
    if Path(place).is_dir():
        check_manifest(Path(place))
    family = _family(config, place)
    with _quiet():
        network = _network(config, place)
        check_family(network, config.id, family)
        processor = _processor(config, place)
    check_finite(network, config.id)
    return network, processor


def _place(model_id: str) -> str:
    """What transformers is to load: a folder or a hub id."""
    if model_id == "nano":
        if not (NANO / "config.json").is_file():
            raise UsageError(
                f"model.id: expected the embedded model in {NANO}, found none; make it with "
                "`make nano-model`, or pass another model with --model FOLDER"
            )
        return str(NANO)
    folder = Path(model_id).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            if (folder / "adapter_config.json").is_file():
                raise UsageError(
                    f"model {model_id}: expected a whole model, got an adapter alone; load it as "
                    "its README says, or export the run without --adapter"
                )
            raise UsageError(
                f"model {model_id}: expected a folder with config.json, weights and processor, as "
                "save_pretrained writes it; found no config.json"
            )
        return str(folder)
    return model_id


def _family(config: ModelConfig, place: str) -> str:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    with _explained(config.id):
        family = str(AutoConfig.from_pretrained(place, revision=config.revision).model_type)
    if family not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise UsageError(
            f"model {config.id}: expected an image-text-to-text model, such as "
            f"{', '.join(FAMILIES[:5])}; got model_type {family!r}"
        )
    return family


def _network(config: ModelConfig, place: str) -> nn.Module:
    from transformers import AutoModelForImageTextToText

    auto: Any = AutoModelForImageTextToText
    half = config.dtype == "bfloat16" and config.lora is not None
    with _explained(config.id):
        network, found = auto.from_pretrained(
            place,
            revision=config.revision,
            dtype=torch.bfloat16 if half else torch.float32,
            attn_implementation=config.attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
        )
    if names := sorted(map(str, found["missing_keys"])):
        raise UsageError(
            f"model {config.id}: expected all weights of its configuration; missing: "
            f"{listed(names)}; download or export it again"
        )
    if wrong := sorted(found["mismatched_keys"]):
        raise UsageError(_other_shapes(config.id, wrong))
    return cast("nn.Module", network)


def _other_shapes(model_id: str, wrong: Sequence[tuple[str, Any, Any]]) -> str:
    """The error for weights whose shapes differ from the configuration."""
    told = [f"{name} {tuple(got)}, expected {tuple(expected)}" for name, got, expected in wrong]
    empty = sum(0 in tuple(got) for _, got, _ in wrong)
    remedy = "config.json and weights belong to different models: download or export it again"
    if empty == len(wrong):
        remedy = (
            "weights without elements are what DeepSpeed ZeRO-3 saves of shards: save the model "
            "again with stage3_gather_16bit_weights_on_model_save, or by its zero_to_fp32.py"
        )
    return (
        f"model {model_id}: expected weights in the shapes of its config.json, got others for "
        f"{len(wrong)}: {listed(told)}; {remedy}"
    )


def _processor(config: ModelConfig, place: str) -> Any:
    from transformers import AutoProcessor

    auto: Any = AutoProcessor
    with _explained(config.id):
        processor = auto.from_pretrained(place, revision=config.revision)
    lacking = [
        name
        for name in ("image_processor", "tokenizer", "chat_template")
        if getattr(processor, name, None) is None
    ]
    if lacking:
        raise UsageError(
            f"model {config.id}: expected a processor with image_processor, tokenizer and "
            f"chat_template; got {type(processor).__name__} without {', '.join(lacking)}; take the "
            "processor files of the published model, and processor_class as it names them"
        )
    return processor


def check_family(network: Any, model_id: str, family: str) -> None:
    """Raises ``UsageError`` for a family that cannot share pictures, or with masks of its own."""
    if family in FAMILIES:
        return
    core = getattr(network, "model", None)
    takes = signature(core.forward).parameters if core is not None else {}
    if "mm_encoder_outputs" not in takes or not hasattr(core, "get_image_features"):
        raise UsageError(
            f"model {model_id}: {family} takes no picture features computed beforehand, which "
            f"shared pictures need (mm_encoder_outputs); known to work: {', '.join(FAMILIES)}"
        )
    if not hasattr(core, "get_rope_index") and {"token_type_ids", "mm_token_type_ids"} & set(takes):
        raise UsageError(
            f"model {model_id}: in {family} tokens of a picture see later ones, which packed views "
            f"do not provide for; known to work: {', '.join(FAMILIES)}"
        )


def check_finite(
    network: nn.Module, name: str, remedy: str = "download or export it again"
) -> None:
    """Raises ``BadInput`` naming weights that hold NaN or infinity, and the ``remedy``."""
    if broken := not_finite(network.state_dict()):
        raise BadInput(
            f"model {name}: expected finite weights, got NaN or infinity in {listed(broken)}; "
            f"{remedy}"
        )


def not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """The names of ``weights`` that hold NaN or infinity."""
    return [
        key
        for key, weight in weights.items()
        if weight.is_floating_point()
        and not bool(torch.isfinite(weight.sum(dtype=torch.float32)))
        and not bool(torch.isfinite(weight).all())
    ]


@contextmanager
def _explained(model_id: str) -> Iterator[None]:
    """Inside, what transformers raises for a model becomes one message with what to do."""
    try:
        yield
    except (OSError, ValueError, LookupError, RuntimeError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        if len(reason) > 300:
            reason = reason[:299] + "…"
        if Path(model_id).is_dir() or model_id == "nano":
            raise UsageError(
                f"model {model_id}: cannot be loaded: {reason}; expected what save_pretrained of "
                "an image-text-to-text model and of its processor write"
            ) from error
        offline = os.environ.get("HF_HUB_OFFLINE", "") not in {"", "0"}
        raise UsageError(
            f"model {model_id!r} is no folder here and cannot be loaded from the Hugging Face hub"
            f"{' (HF_HUB_OFFLINE is set)' if offline else ''}: {reason}; two ways out: where "
            f"there is a network, run `hf download {model_id}` once with the HF_HOME that training "
            "uses; or pass the folder of a copy, --model FOLDER"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, transformers draws no progress bars and advises nothing."""
    from transformers import utils

    logging: Any = utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
