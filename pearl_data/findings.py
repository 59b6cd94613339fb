"""One fault found in stored data: which file, which sample, where in it, what was expected.

Both :mod:`pearl_data.shards` (broken bytes) and :mod:`pearl_data.validate` (broken records) speak
in these, so that a user reads one kind of line whatever went wrong. The codes are the closed
``stage.code`` set of :mod:`pearl_tools.errors`.
"""

from __future__ import annotations

import msgspec

from pearl_tools.errors import ToolError, all_codes, short_repr
from pearl_tools.types import Count, Record

_CODES = frozenset(all_codes())


class Finding(Record, frozen=True, kw_only=True):
    """One fault. ``file`` is where it lies (from a dataset's own reader: relative to it), ``key``
    the sample's key, ``path`` a JSON path into its record, ``offset`` a byte in ``file``.
    """

    code: str
    path: str
    expected: str
    got: str
    hint: str = ""
    file: str = ""
    key: str = ""
    offset: Count | None = None

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.key, self.path) if part)
        byte = "" if self.offset is None else f" (byte {self.offset})"
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}{byte}: expected {self.expected}, got {self.got} [{self.code}]{hint}"

    def at(self, file: str, key: str | None = None) -> Finding:
        """The same finding placed in ``file`` and, where it has none yet, in sample ``key``."""
        return msgspec.structs.replace(self, file=file, key=self.key or key or "")


def finding(
    code: str,
    path: str,
    expected: str,
    got: object,
    hint: str = "",
    *,
    key: str = "",
    file: str = "",
    offset: int | None = None,
) -> Finding:
    """A :class:`Finding`; ``KeyError`` for a code outside the closed set."""
    if code not in _CODES:
        raise KeyError(code)
    return Finding(
        code=code,
        path=path,
        expected=expected,
        got=short_repr(got),
        hint=hint,
        key=key,
        file=file,
        offset=offset,
    )


def from_tool_error(error: ToolError, path: str) -> Finding:
    """A tool's error as a finding; its own path (``arguments.bbox``) is put behind ``path``."""
    where = ".".join(part for part in (path, error.path) if part)
    return finding(error.code, where, error.expected, error.got, error.hint)
