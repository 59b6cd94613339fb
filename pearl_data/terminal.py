r"""All terminal output of both programs; control sequences in data have no effect.

Records, file names and replies of models may hold CSI and OSC sequences, direction marks and
invisible characters. Every command prints through :func:`say` or :func:`print_json`, which escape
them; the linter bans ``click.echo`` elsewhere.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

#: Characters that may need an escape: all but printable ASCII and line ends; plain text is fast.
_SUSPECT = re.compile(r"[^\n -~]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_JOINERS = "\u200c\u200d"
_BLANKS = dict.fromkeys(map(ord, "\n\t\r"), " ")


def say(text: str, *, err: bool = False) -> None:
    """Print ``text`` on stdout, or on stderr, with a line end."""
    shown = harmless(text)
    try:
        _echo(shown, err=err)
    except UnicodeEncodeError:  # a terminal that is not UTF-8
        _echo(_BEYOND_ASCII.sub(lambda found: _escape(found[0]), shown), err=err)


def print_json(value: Any) -> None:
    """``value`` (records or JSON values) on stdout, indented, keys in their own order.

    Exact JSON: control and invisible characters are written as JSON escapes.
    """
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    shown = _SUSPECT.sub(lambda found: _shown(found, text, _json_escape), text)
    try:
        _echo(shown)
    except UnicodeEncodeError:
        _echo(_BEYOND_ASCII.sub(lambda found: _json_escape(found[0]), shown))


def _echo(text: str, *, err: bool = False) -> None:
    import click

    click.echo(text, err=err)  # noqa: TID251 - the one place


def harmless(text: str) -> str:
    r"""``text`` with control characters, direction marks and invisible characters escaped, as in
    ``\x1b``. Line ends and tabs stay, and joiners after letters or signs that need them.

    >>> print(harmless("a\x1b[2Jb\u202ec"))
    a\x1b[2Jb\u202ec
    """
    return _SUSPECT.sub(lambda found: _shown(found, text, _escape), text)


def one_line(text: str) -> str:
    r""":func:`harmless`, with spaces instead of line ends and tabs."""
    return harmless(text.translate(_BLANKS))


def _shown(found: re.Match[str], text: str, escape: Any) -> str:
    character = found[0]
    if character.isprintable() or character == "\t" or unicodedata.category(character) == "Zs":
        return character
    if character in _JOINERS and found.start():
        before = text[found.start() - 1]
        if not before.isascii() and before.isprintable():
            return character
    return str(escape(character))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
