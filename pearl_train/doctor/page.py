"""What the doctor saw, as files: its report as JSON, one HTML page, the contact sheet.

The page is one file that fetches nothing (:mod:`pearl_data.html`).
"""

from __future__ import annotations

import io
from itertools import groupby
from pathlib import Path

import msgspec
from PIL import Image

from pearl_data import html
from pearl_data.html import Markup, data_uri, join, tag
from pearl_data.shards.files import write_whole
from pearl_train.doctor.findings import Finding, Piece, Report, summary

REPORT, PAGE, SHEET = "doctor.json", "sample.html", "pictures.png"

_STYLE = """
:root { --learned: #bfe8cd; --read: #eef0f2; --edge: #ffffff; --image: #d5e3f7; --warn: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --learned: #1d5635; --read: #262b30;
  --edge: #15181b; --image: #1f3c63; --warn: #e0b052; } }
.tokens { font: 13.5px/2.0 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
.tokens i { font-style: normal; background: var(--read); border-right: 2px solid var(--edge);
  border-radius: 3px; padding: 3px 1px; white-space: pre-wrap;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.tokens i.learned { background: var(--learned); font-weight: 600; }
.tokens i.image { background: var(--image); padding: 3px 8px; white-space: nowrap; }
.legend i { padding: 3px 8px; }
td.pass, td.warn, td.fail { font-weight: 600; }
td.pass { color: var(--good); } td.warn { color: var(--warn); } td.fail { color: var(--bad); }
td.skip { color: var(--soft); }
td:nth-child(2) { white-space: nowrap; }
td pre { margin: 4px 0 0; font: 12.5px/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono",
  monospace; white-space: pre-wrap; color: var(--soft); }
.sheet { background: #fff; border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; }
.sheet img { display: block; max-width: 100%; }
"""
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
    body = [tag("h1", f"What {report.model} will see"), tag("p", about, class_="soft")]
    if report.pieces:
        body += [tag("h2", f"{report.sample}, token by token"), _LEGEND]
        body += [_view(branch, list(of)) for branch, of in groupby(report.pieces, _branch)]
    if sheet:
        alt = "pictures of a few samples with their ids, tokens and sizes"
        shown = tag("img", alt=alt, src=data_uri(sheet, "image/png"))
        body += [tag("h2", "Pictures as the model sees them"), tag("div", shown, class_="sheet")]
    body += [tag("h2", "Checks"), tag("table", *map(_finding, report.checks))]
    title = f"pearl-train doctor: {report.sample or report.model}"
    return html.page(title, *body, style=_STYLE)


_LEGEND = tag(
    "p",
    *(tag("i", "learned as a next token", class_="learned"), " "),
    *(tag("i", "read, not learned"), " "),
    tag("i", "a picture", class_="image"),
    class_="tokens legend",
)


def _view(branch: str, pieces: list[Piece]) -> Markup:
    number = sum(piece.count for piece in pieces)
    learned = sum(piece.count for piece in pieces if piece.learned)
    head = f"{_WORDS.get(branch, branch)}: {number} tokens, {learned} learned"
    return join(tag("h3", head), tag("p", *map(_piece, pieces), class_="tokens"))


def _piece(piece: Piece) -> Markup:
    if piece.medium:
        return join(tag("i", piece.text, class_="image"), tag("wbr"))
    return join(*(_token(token, learned=piece.learned) for token in piece.tokens))


def _token(token: str, *, learned: bool) -> Markup:
    # lines break before words, and where the text does, outside of tokens
    shown = tag("i", token.replace("\n", "↵"), **({"class_": "learned"} if learned else {}))
    before = [tag("wbr")] if token[:1] in {" ", "<"} else []
    after = [tag("br")] if token.endswith("\n") else []
    return join(*before, shown, *after)


def _finding(finding: Finding) -> Markup:
    told = [finding.told, *([tag("br"), f"→ {finding.remedy}"] if finding.remedy else [])]
    if finding.lines and finding.check != "sees":
        told.append(tag("pre", "\n".join(finding.lines)))
    status = tag("td", finding.status, class_=finding.status)
    return tag("tr", status, tag("td", finding.check), tag("td", *told))


def _branch(piece: Piece) -> str:
    return piece.branch


def _png(sheet: Image.Image) -> bytes:
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()
