"""HTML by small functions: every text is escaped unless it is already :class:`Markup`.

``page`` makes one self-contained document: its own style, pictures as data URIs, no scripts, and a
content security policy that forbids anything else.
"""

from __future__ import annotations

import base64
import html

_VOID = frozenset({"img", "meta", "br"})


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


def page(title: str, *body: str) -> str:
    """The whole document."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("title", title),
        Markup(f"<style>{STYLE}</style>"),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', tag('main', *body)), lang='en')}\n"


STYLE = """
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
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px;
  margin-top: 28px; }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 14px 16px; }
.figure b { display: block; font-size: 28px; line-height: 1.2; font-weight: 600; }
.gallery { display: grid; gap: 20px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 20px; display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 7fr); gap: 24px; }
@media (max-width: 760px) { .card { grid-template-columns: minmax(0, 1fr); } }
.question { font-size: 18px; font-weight: 600; line-height: 1.35; }
.root { position: relative; margin: 0 0 6px; line-height: 0; }
.root img { width: 100%; height: auto; border-radius: 4px; }
.box { position: absolute; border: 3px solid; outline: 1px solid #fff; }
.box span { position: absolute; left: -3px; bottom: 100%; min-width: 22px; padding: 0 6px;
  color: #fff; font-size: 13px; line-height: 22px; font-weight: 600; text-align: center; }
.box.low span { bottom: auto; top: 100%; }
.choices { display: flex; flex-wrap: wrap; gap: 6px; margin: 8px 0 0; padding: 0; }
.choice { border: 1px solid var(--line); border-radius: 99px; padding: 1px 10px; font-size: 14px; }
.choice.right { border-color: var(--good); color: var(--good); font-weight: 600; }
.step { margin: 0 0 14px; }
.call { display: flex; gap: 12px; margin: 6px 0 0; align-items: flex-start; }
.number { flex: none; width: 24px; height: 24px; border-radius: 50%; color: #fff; font-size: 13px;
  font-weight: 600; line-height: 24px; text-align: center; }
.call code { font-size: 13px; overflow-wrap: anywhere; }
.seen { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 6px; }
.seen figure { margin: 0; max-width: 260px; }
.seen img { display: block; max-width: 100%; border: 3px solid; border-radius: 3px; }
.bar { display: flex; align-items: center; gap: 6px; }
.bar i { flex: 1; height: 7px; background: linear-gradient(to right, #000004, #420a68, #932667,
  #dd513a, #fca50a, #fcffa4); }
.answer { border-top: 1px solid var(--line); padding-top: 10px; }
.answer b { font-size: 20px; }
.tables { display: flex; flex-wrap: wrap; gap: 0 56px; align-items: flex-start; }
.tables section { min-width: 0; }
.scroll { overflow-x: auto; }
.histogram { display: inline-block; height: 11px; background: #1f6fb2; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 16px 4px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 500; white-space: nowrap; }
.right-aligned { text-align: right; white-space: nowrap; }
tr.flagged td { color: var(--bad); font-weight: 600; }
"""
