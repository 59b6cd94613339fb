"""HTML by small functions: every text is escaped unless it is already :class:`Markup`.

``page`` makes one self-contained document: its own style, pictures as data URIs, no scripts, and a
content security policy that forbids anything else.
"""

from __future__ import annotations

import base64
import html

_VOID = frozenset({"img", "meta", "br", "wbr"})


class Markup(str):
    """HTML that is already safe."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str) -> Markup:
    """One element; ``class_`` is written ``class``.

    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
    )
    inside = "" if name in _VOID else f"{join(*children)}</{name}>"
    return Markup(f"<{name}{written}>{inside}")


def join(*children: str) -> Markup:
    """Pieces one after the other, texts escaped."""
    return Markup("".join(c if isinstance(c, Markup) else html.escape(c) for c in children))


def data_uri(data: bytes, media_type: str) -> str:
    """``data`` as a URI that needs no file."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def page(title: str, *body: str, style: str = "") -> str:
    """The whole document; ``style`` is CSS of its own after what all pages share."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("title", title),
        Markup(f"<style>{_STYLE}{style}</style>"),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', tag('main', *body)), lang='en')}\n"


_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b646d; --line: #dde1e5;
  --paper: #ffffff; --card: #f7f8f9; --good: #2f7d4f; --bad: #b0344a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #9aa4ad; --line: #343a40;
  --paper: #15181b; --card: #1d2125; --good: #6cc391; --bad: #ef7d90; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 32px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 22px; margin: 56px 0 16px; }
h3 { font-size: 16px; margin: 32px 0 8px; }
p { margin: 0 0 8px; }
.soft { color: var(--soft); }
.small { font-size: 13px; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 16px 4px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 500; white-space: nowrap; }
.right-aligned { text-align: right; white-space: nowrap; }
tr.flagged td { color: var(--bad); font-weight: 600; }
"""
