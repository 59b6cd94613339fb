"""What the doctor saw, as files: its report as JSON, one HTML page, the contact sheet.

The page is one file: style and pictures inside, no scripts, nothing fetched.
"""

from __future__ import annotations

import base64
import html
import io
from itertools import groupby
from pathlib import Path

import msgspec
from PIL import Image

from pearl_data.shards.files import write_whole
from pearl_train.doctor.findings import Finding, Piece, Report, summary

REPORT, PAGE, SHEET = "doctor.json", "sample.html", "pictures.png"

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b646d; --line: #dde1e5; --paper: #fff;
  --learned: #bfe8cd; --read: #eef0f2; --edge: #ffffff; --image: #d5e3f7; --pass: #2f7d4f;
  --warn: #9a6700; --fail: #b0344a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #9aa4ad; --line: #343a40;
  --paper: #15181b; --learned: #1d5635; --read: #262b30; --edge: #15181b; --image: #1f3c63;
  --pass: #6cc391; --warn: #e0b052; --fail: #ef7d90; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 44px 0 10px; }
h3 { font-size: 15px; margin: 22px 0 6px; }
p { margin: 0 0 8px; }
.soft { color: var(--soft); }
.tokens { font: 13.5px/2.0 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
.tokens i { font-style: normal; background: var(--read); border-right: 2px solid var(--edge);
  border-radius: 3px; padding: 3px 1px; white-space: pre-wrap;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.tokens i.learned { background: var(--learned); font-weight: 600; }
.tokens i.image { background: var(--image); padding: 3px 8px; white-space: nowrap; }
.legend i { padding: 3px 8px; }
table { border-collapse: collapse; font-size: 14px; }
td { padding: 6px 16px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.pass, td.warn, td.fail { font-weight: 600; }
td.pass { color: var(--pass); } td.warn { color: var(--warn); } td.fail { color: var(--fail); }
td.skip { color: var(--soft); }
td:nth-child(2) { white-space: nowrap; }
td pre { margin: 4px 0 0; font: 12.5px/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono",
  monospace; white-space: pre-wrap; color: var(--soft); }
.sheet { background: #fff; border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; }
.sheet img { display: block; max-width: 100%; }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_WORDS = {
    "context": "context: the picture and the question, all that there is at inference",
    "answer": "answer branch: continues the context",
    "pred": "[PRED] branch: continues the context; the answer does not see it",
    "trajectory": "trajectory branch: continues the context",
    "lvr": "latents branch: continues the context",
    "target": "view R, a row of its own: what h_R is read from",
}


def write_files(report: Report, sheet: Image.Image | None, folder: Path) -> list[Path]:
    """Writes what there is to show into ``folder``, which is made, and returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {REPORT: msgspec.json.format(msgspec.json.encode(report), indent=2)}
    png = _png(sheet) if sheet else b""
    if png:
        written[SHEET] = png
    written[PAGE] = page(report, png).encode()
    for name, content in written.items():
        write_whole(folder / name, content)
    return [folder / name for name in written]


def page(report: Report, sheet: bytes) -> str:
    """The page: the sample in colours, its pictures, every finding."""
    about = f"objective {report.objective} on {report.data}; {summary(report)}"
    body = [
        f"<h1>What {_text(report.model)} will see</h1>",
        f'<p class="soft">{_text(about)}</p>',
    ]
    if report.pieces:
        body += [f"<h2>{_text(report.sample)}, token by token</h2>", _LEGEND]
        body += [_view(branch, list(of)) for branch, of in groupby(report.pieces, _branch)]
    if sheet:
        uri = f"data:image/png;base64,{base64.b64encode(sheet).decode()}"
        alt = "pictures of a few samples with their ids, tokens and sizes"
        body += [
            "<h2>Pictures as the model sees them</h2>",
            f'<div class="sheet"><img alt="{alt}" src="{uri}"></div>',
        ]
    rows = "".join(map(_finding, report.checks))
    body.append(f"<h2>Checks</h2><table>{rows}</table>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>pearl-train doctor: {_text(report.sample or report.model)}</title>"
        f"<style>{_STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


_LEGEND = (
    '<p class="tokens legend"><i class="learned">learned as a next token</i> '
    '<i>read, not learned</i> <i class="image">a picture</i></p>'
)


def _view(branch: str, pieces: list[Piece]) -> str:
    number = sum(piece.count for piece in pieces)
    learned = sum(piece.count for piece in pieces if piece.learned)
    head = f"{_WORDS.get(branch, branch)}: {number} tokens, {learned} learned"
    return f'<h3>{_text(head)}</h3><p class="tokens">{"".join(map(_piece, pieces))}</p>'


def _piece(piece: Piece) -> str:
    if piece.medium:
        return f'<i class="image">{_text(piece.text)}</i><wbr>'
    kind = ' class="learned"' if piece.learned else ""
    # lines break before words, and where the text does, outside of tokens
    return "".join(
        ("<wbr>" if token[:1] in {" ", "<"} else "")
        + f"<i{kind}>{_text(token).replace(chr(10), '↵')}</i>"
        + ("<br>" if token.endswith("\n") else "")
        for token in piece.tokens
    )


def _finding(finding: Finding) -> str:
    remedy = f"<br>→ {_text(finding.remedy)}" if finding.remedy else ""
    lines = [] if finding.check == "sees" else finding.lines
    details = f"<pre>{_text(chr(10).join(lines))}</pre>" if lines else ""
    return (
        f'<tr><td class="{finding.status}">{finding.status}</td><td>{_text(finding.check)}</td>'
        f"<td>{_text(finding.told)}{remedy}{details}</td></tr>"
    )


def _branch(piece: Piece) -> str:
    return piece.branch


def _text(text: str) -> str:
    return html.escape(text)


def _png(sheet: Image.Image) -> bytes:
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()
