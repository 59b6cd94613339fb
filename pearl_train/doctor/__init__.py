"""Before the first step: what the model will see, whether it fits, whether it will learn.

>>> from pearl_train.doctor import examine  # doctest: +SKIP
>>> examine(Path("scenes"), load_config()).ok  # doctest: +SKIP
True
"""

from pearl_train.doctor.checks import CHECKS, examine
from pearl_train.doctor.findings import Finding, Report

__all__ = ["CHECKS", "Finding", "Report", "examine"]
