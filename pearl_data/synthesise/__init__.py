"""Synthesis: an expert answers the questions of a source with real calls, into a data set.

:mod:`~pearl_data.synthesise.block` computes one block, :mod:`~pearl_data.synthesise.outcome` turns
an episode into a sample or a quarantine entry, :mod:`~pearl_data.synthesise.worker_pool` runs the
worker processes, :mod:`~pearl_data.synthesise.run` writes all blocks as shards.
"""

from pearl_data.synthesise.run import SynthesisSettings, synthesise
from pearl_data.synthesise.worker_pool import STALL_S

__all__ = ["STALL_S", "SynthesisSettings", "synthesise"]
