"""What this processor is good at."""

from __future__ import annotations


def fast_in_bfloat16() -> bool:
    """Whether torch computes in bfloat16 natively on this CPU.

    Elsewhere it is emulated: on a CPU with AVX2 alone a matrix product took fifty times as long as
    in float32.
    """
    import torch

    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
