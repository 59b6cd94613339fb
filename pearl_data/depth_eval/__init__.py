"""How good a depth model is: a self-test of its sign, and measures on pictures of known depth.

>>> from pearl_data.depth_eval import check_model
>>> from pearl_tools.depth import load_depth_model
>>> check_model(load_depth_model()).verdict
'larger_nearer'
"""

from pearl_data.depth_eval.selftest import SelfTest, check_model

__all__ = ["SelfTest", "check_model"]
