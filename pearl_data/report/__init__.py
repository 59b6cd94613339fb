"""Trajectories and audits for people: text, pictures, one figure, one self-contained page.

>>> from pearl_data.report import write_index  # doctest: +SKIP
>>> write_index([Path("scenes")], Path("scenes/index.html"), title="Scenes")  # doctest: +SKIP
"""

from pearl_data.report.figure import draw_trajectory
from pearl_data.report.folder import write_pictures
from pearl_data.report.index import write_index
from pearl_data.report.story import tell

__all__ = ["draw_trajectory", "tell", "write_index", "write_pictures"]
