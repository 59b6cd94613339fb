"""Advice against dropped and changed samples, by reason, and the limit on refused samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pearl_tools.errors import listed
from pearl_train.errors import BY_PROCESSOR, BY_TOKENIZER, REFUSALS, UNLETTERED
from pearl_train.settings.config import DataConfig, ObjectiveConfig


def how_to_keep(reasons: Iterable[str], data: DataConfig) -> str:
    """The changes of the configuration that keep samples dropped for ``reasons``, as an order.

    ``data`` is the configuration in force: what it says already is not advised.

    >>> how_to_keep(["text-too-long"], DataConfig(max_tokens=64))
    'raise data.max_tokens (64), which the words alone exceed'
    """
    most = data.max_tokens
    refused = (
        "repair or remove the samples that the model refuses, or raise data.max_dropped_share "
        f"({data.max_dropped_share:g})"
    )
    advice = {
        "text-too-long": f"raise data.max_tokens ({most}), which the words alone exceed",
        "too-long-at-any-size": f"raise data.max_tokens ({most}): the pictures are as small as the "
        "processor makes them",
        "too-long": f'set data.too_long = "downscale", or raise data.max_tokens ({most})',
        "no-room-beside-i0": f"raise data.max_tokens ({most}), or lower model.max_pixels: the "
        "pictures of the question, the same for every objective, leave no room for others",
        BY_PROCESSOR: refused,
        BY_TOKENIZER: refused,
        UNLETTERED: 'set data.answers = "text": the alphabet letters 26 choices',
        "empty-target": "set objective.target.include_answer = true, or "
        "objective.target.wrong_steps = true",
    }
    found = [words for reason, words in advice.items() if reason in set(reasons)]
    return "; ".join(dict.fromkeys(found))


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


def too_many_refused(
    dropped: Mapping[str, Mapping[str, str]], samples: int, data: DataConfig
) -> str:
    """The error if more of ``samples`` are refused than ``data.max_dropped_share`` allows, else
    empty. ``dropped`` are details by key, by reason.

    >>> found = {"refused-by-processor": {"a": "medium i0: 4000x4 px"}, "too-long": {"b": ""}}
    >>> too_many_refused(found, 100, DataConfig())
    ''
    >>> too_many_refused(found, 20, DataConfig()).partition(": a (")[0]
    'expected at most 1 % of 20 samples to be refused (data.max_dropped_share), got 1'
    """
    refused = {key: text for name in sorted(REFUSALS & dropped.keys())
               for key, text in sorted(dropped[name].items())}  # fmt: skip
    if len(refused) <= data.max_dropped_share * samples:
        return ""
    named = listed([f"{key} ({text})" for key, text in refused.items()])
    return (
        (
            f"expected at most {data.max_dropped_share:.2%} of {samples} samples to be refused "
            f"(data.max_dropped_share), got {len(refused)}: {named}; "
            f"{how_to_keep(REFUSALS & dropped.keys(), data)}"
        )
        .replace(".00 %", " %")
        .replace(".00%", " %")
    )
