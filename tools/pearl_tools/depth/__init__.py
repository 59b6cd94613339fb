"""Relative inverse depth of a picture, larger = nearer: the embedded network, or a transformers
model.

`load_depth_model` loads one, `depth_picture` turns its map into a grey picture. Importing this
package loads neither torch nor timm nor transformers; they come with the first model.
"""

from pearl_tools.depth.load import load_depth_model
from pearl_tools.depth.model import DepthModel
from pearl_tools.depth.picture import depth_picture

__all__ = ["DepthModel", "depth_picture", "load_depth_model"]
