"""The ways models write calls: ours and those of published tool-using models."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pearl_tools.dialects.dialect import BrokenCall, Dialect, ParsedCall
from pearl_tools.dialects.open_think_img import OPEN_THINK_IMG
from pearl_tools.dialects.own import PEARL
from pearl_tools.dialects.published import (
    DEEP_EYES,
    MINI_O3,
    PIXEL_REASONER,
    QWEN,
)
from pearl_tools.dialects.text import calls_in, run_text

__all__ = ["DIALECTS", "BrokenCall", "Dialect", "ParsedCall", "calls_in", "run_text"]

#: Every dialect by name.
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {d.name: d for d in (PEARL, PIXEL_REASONER, DEEP_EYES, QWEN, MINI_O3, OPEN_THINK_IMG)}
)
