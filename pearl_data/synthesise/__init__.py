"""Synthesis: sources' questions, carried out by an expert with real calls, into a data set.

:mod:`~pearl_data.synthesise.trial` is one question on its way, :mod:`~pearl_data.synthesise.block`
many side by side, :mod:`~pearl_data.synthesise.run` all blocks over workers into shards.
"""

from pearl_data.synthesise.crew import STALL_S
from pearl_data.synthesise.run import SynthesisSettings, synthesise

__all__ = ["STALL_S", "SynthesisSettings", "synthesise"]
