"""Depth models measured: a self-test of the sign, and scores on pictures with known depth.

>>> from pearl_data.depth_eval import check_model
>>> from pearl_tools.depth import load_depth_model
>>> check_model(load_depth_model()).verdict
'larger_nearer'
"""

from pearl_data.depth_eval.selftest import SelfTest, check_model

__all__ = ["SelfTest", "check_model"]
