"""Pearl tools: real crop, zoom and depth calls behind one registry and one executor.

Start at :class:`pearl_tools.executor.ToolExecutor`; the records are in :mod:`pearl_tools.types`,
the closed set of error codes in :mod:`pearl_tools.errors`. Imports nothing of the other packages.
"""
