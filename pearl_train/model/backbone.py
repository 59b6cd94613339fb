"""One network of any family as the objectives see it: rows in, hidden states out.

The language model runs through the family's own forward, which places the pictures and picks the
rotary positions' shape; we bring positions, mask and picture features, because views are packed
(:mod:`pearl_train.model.masks`) and pictures shared (:mod:`pearl_train.model.images`). The LM head
runs only where an objective asks for logits. Not here: building a network
(:mod:`pearl_train.model.build`) and every loss.

Call all methods inside the forward of the module that DDP or FSDP wraps.

Dimensions: B rows, L columns, H hidden size, M tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from pearl_train.model.groups import length_groups, part_of, place_in_part, row_lengths
from pearl_train.model.images import ImageFeatures, as_encoded, encode_images, no_images
from pearl_train.model.masks import attention_mask
from pearl_train.model.positions import counted_positions, multimodal_positions
from pearl_train.model.tokens import SpecialTokens
from pearl_train.views.batch import Rows


class Fills(NamedTuple):
    """Vectors that stand in for embeddings: ``values`` (N, H) at (``row``, ``column``), (N,) each.

    Gradients reach ``values``. A picture's place cannot be filled: its feature comes after.
    """

    row: Tensor
    column: Tensor
    values: Tensor


class Backbone(nn.Module):
    """A network with its processor and the tokens that were added to both.

    Args:
        network: an image-text-to-text model, or the same wrapped by peft.
        processor: its processor.
        tokens: ids of the added tokens.
        autocast: bfloat16 to compute in it whatever the weights' type (``model.dtype``): linear
            layers and attention run in bfloat16, norms and the residual stream in the weights'
            type. With full fine-tuning the weights are float32, so that small updates are not
            rounded away; with LoRA the frozen base is bfloat16 and the adapters are float32.
        by_length: whether rows of about one length go through the network together. Must be False
            where processes share the weights of a layer (FSDP2): they have to make equally many
            passes.

    """

    def __init__(
        self,
        network: nn.Module,
        processor: Any,
        tokens: SpecialTokens,
        *,
        autocast: torch.dtype | None = None,
        by_length: bool = True,
    ) -> None:
        super().__init__()
        self.network = network
        self.processor = processor
        self.tokens = tokens
        self.autocast = autocast
        self.by_length = by_length

    @property
    def plain(self) -> Any:
        """The transformers model; with LoRA, the same with adapters inside its layers."""
        network: Any = self.network
        return network.get_base_model() if hasattr(network, "peft_config") else network

    @property
    def hidden_size(self) -> int:
        """H."""
        return int(self.plain.config.get_text_config().hidden_size)

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return next(self.network.parameters()).device

    def train(self, mode: bool = True) -> Self:
        """As ever, but frozen parts of vision stay in evaluation mode: no dropout, and no batch
        statistics that would move although their weights do not.
        """
        super().train(mode)
        for part in self._vision():
            if not any(weight.requires_grad for weight in part.parameters()):
                part.eval()
        return self

    def _vision(self) -> list[nn.Module]:
        """The parts that only pictures pass: the encoder and the projector behind it."""
        language = language_model(self.plain)[1]
        return [part for part in self.plain.model.children() if part is not language]

    def image_features(
        self, images: Mapping[str, Tensor], image_tokens: Sequence[int]
    ) -> ImageFeatures:
        """Features of each distinct picture, computed once; without gradient if vision is frozen.

        ``images`` and ``image_tokens`` as in :class:`pearl_train.views.batch.Batch`.
        """
        if not image_tokens:
            return no_images(self.hidden_size, self.device)
        learns = any(w.requires_grad for part in self._vision() for w in part.parameters())
        with self._autocast(), nullcontext() if learns else torch.no_grad():
            return encode_images(self.plain.model, images, image_tokens)

    def hidden(
        self, rows: Rows, images: ImageFeatures | None, *, fills: Fills | None = None
    ) -> Tensor:
        """(B, L, H) states of the last layer, after its norm; what padding holds means nothing.

        The type follows the computation: cast to float32 before distances and losses.
        """
        lengths = row_lengths(rows)
        groups = length_groups(lengths) if self.by_length else []
        if len(groups) <= 1:
            return self._pass(rows, images, fills)
        count, columns = rows.ids.shape
        states = []
        for numbers in groups:
            length = lengths[numbers[0]]
            of_part = None
            if fills is not None:
                place = place_in_part(numbers, count, rows.ids.device)[fills.row]
                inside = place >= 0
                of_part = Fills(place[inside], fills.column[inside], fills.values[inside])
            made = self._pass(part_of(rows, numbers, length), images, of_part)
            states.append(nn.functional.pad(made, (0, 0, 0, columns - length)))
        order = torch.tensor([number for numbers in groups for number in numbers])
        return torch.cat(states)[order.argsort().to(rows.ids.device)]

    def _pass(self, rows: Rows, images: ImageFeatures | None, fills: Fills | None) -> Tensor:
        plain = self.plain
        shown = [picture for row in rows.images for picture in row]
        encoded = None
        if shown:
            if images is None:
                raise ValueError("expected image features: these rows show pictures")
            encoded = {"image": as_encoded(images, shown)}
        kernel = plain.config._attn_implementation  # noqa: SLF001  # has no public name
        with self._autocast(), _filled(plain.get_input_embeddings(), fills):
            output = plain.model(
                input_ids=rows.ids,
                attention_mask=attention_mask(rows.branch, kernel, self._scores_dtype()),
                position_ids=self._positions(rows, images),
                mm_encoder_outputs=encoded,
                use_cache=False,
            )
        return cast("Tensor", output.last_hidden_state)

    def _positions(self, rows: Rows, images: ImageFeatures | None) -> Tensor:
        """(B, L), or (3, B, L) in families with multimodal rotary positions."""
        core = self.plain.model
        if images is None or images.grids is None or not hasattr(core, "get_rope_index"):
            return counted_positions(rows.branch)
        return multimodal_positions(core, rows, images.tokens, images.grids)

    def logits(self, hidden: Tensor) -> Tensor:
        """(M, V) scores of the next token for states (M, H)."""
        with self._autocast():
            return cast("Tensor", self.plain.get_output_embeddings()(hidden))

    def frozen_logits(self, hidden: Tensor) -> Tensor:
        """The same through an LM head that this call gives no gradient: only ``hidden`` learns."""
        head = self.plain.get_output_embeddings()
        bias = getattr(head, "bias", None)
        with self._autocast():
            return nn.functional.linear(
                hidden, head.weight.detach(), None if bias is None else bias.detach()
            )

    def embed(self, ids: Tensor) -> Tensor:
        """Input embeddings (..., H) of token ids (...)."""
        return cast("Tensor", self.plain.get_input_embeddings()(ids))

    @contextmanager
    def base_weights(self) -> Iterator[None]:
        """Inside, the network as it was before training: adapters and trained rows are off.

        Without LoRA there is nothing to switch off: the weights are the base's only before the
        first step, which is when frozen-base targets are computed.
        """
        network: Any = self.network
        with network.disable_adapter() if hasattr(network, "peft_config") else nullcontext():
            yield

    def _scores_dtype(self) -> torch.dtype:
        """The type of attention scores, which eager attention adds the mask to."""
        return self.autocast or cast("torch.dtype", self.plain.dtype)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.autocast is None:
            return nullcontext()
        # No cache: a weight first cast under no_grad (the target) would get no gradient later.
        return torch.autocast(self.device.type, self.autocast, cache_enabled=False)


def language_model(plain: Any) -> tuple[str, nn.Module]:
    """Name in the network and module of the language model, which holds embeddings and layers."""
    module = plain.get_decoder()
    name = next(name for name, candidate in plain.named_modules() if candidate is module)
    return name, module


@contextmanager
def _filled(embedding: nn.Module, fills: Fills | None) -> Iterator[None]:
    """Inside, what ``embedding`` returns holds ``fills``; a hook, since families call it."""
    if fills is None:
        yield
        return

    def fill(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        return output.index_put((fills.row, fills.column), fills.values.to(output.dtype))

    handle = embedding.register_forward_hook(fill)
    try:
        yield
    finally:
        handle.remove()
