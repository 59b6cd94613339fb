"""What to do so that samples are not left out or changed, by the reason for which they were."""

from __future__ import annotations

from collections.abc import Iterable

from pearl_train.settings.config import DataConfig, ObjectiveConfig


def how_to_keep(reasons: Iterable[str], data: DataConfig) -> str:
    """The changes of the configuration that keep samples dropped for ``reasons``, as an order.

    ``data`` is the configuration in force: what it says already is not advised.

    >>> how_to_keep(["text-too-long"], DataConfig(max_tokens=64))
    'raise data.max_tokens (64), which the words alone exceed'
    """
    most = data.max_tokens
    advice = {
        "text-too-long": f"raise data.max_tokens ({most}), which the words alone exceed",
        "too-long-at-any-size": f"raise data.max_tokens ({most}): the pictures are as small as the "
        "processor makes them",
        "too-long": f'set data.too_long = "downscale", or raise data.max_tokens ({most})',
        "empty-target": "set objective.target.include_answer = true, or "
        "objective.target.wrong_steps = true",
    }
    return "; ".join(words for reason, words in advice.items() if reason in set(reasons))


def how_to_leave(changes: Iterable[str], data: DataConfig, objective: ObjectiveConfig) -> str:
    """The changes of the configuration that leave samples as they are, as an order.

    >>> how_to_leave(["latents-thinned"], DataConfig(), ObjectiveConfig())
    'raise objective.lvr.max_latents (64): the published method has a latent for each region token'
    """
    advice = {
        "downscaled": f"raise data.max_tokens ({data.max_tokens})",
        "latents-thinned": f"raise objective.lvr.max_latents ({objective.lvr.max_latents}): the "
        "published method has a latent for each region token",
    }
    return "; ".join(words for change, words in advice.items() if change in set(changes))
