"""The page of an evaluation: self-contained, with every picture, mark and value in its place."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_depth import MODELS, write_image

from pearl_data.depth_eval.evaluate import RULE, evaluate
from pearl_data.depth_eval.figures import DRAWN, POINTS_WIDTH, Gallery, colour_error
from pearl_data.depth_eval.records import DepthReport
from pearl_data.depth_eval.report import depth_page

HEAD = "image,near_x,near_y,far_x,far_y\n"


class _Addresses(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.names: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in {"src", "href"}]
        self.names += [value or "" for name, value in attrs if name == "alt"]


def test_the_page_is_self_contained_and_shows_every_method(
    report: DepthReport, gallery: Gallery
) -> None:
    page = depth_page(report, gallery)
    images = _Addresses(page)
    assert all(address.startswith("data:image/") for address in images.found)
    # the legend; two rows (the third picture is not shown), truth beside every prediction
    row = ["picture", "truth", "good", "its error", "bad", "its error", RULE, "its error"]
    assert images.names[1:] == row * 2
    assert len(images.found) == 1 + len(row) * 2
    assert gallery.dropped == 1
    assert "org/good#inverse" in page


def test_names_are_escaped(report: DepthReport, gallery: Gallery) -> None:
    named = msgspec.structs.replace(report.sets[0], name="<script>")
    page = depth_page(msgspec.structs.replace(report, sets=[named]), gallery)
    assert "<script" not in page
    assert "<h2>&lt;script&gt;</h2>" in page


def point_page(folder: Path, rows: list[str], models: list) -> tuple[str, Gallery]:
    write_image(folder / "a.png")
    (folder / "p.csv").write_text(HEAD + "\n".join(rows))
    gallery = Gallery()
    return depth_page(evaluate([folder / "p.csv"], models, look=gallery.look), gallery), gallery


def test_the_page_shows_every_pair_on_every_prediction(tmp_path: Path) -> None:
    rows = ["a.png,20,10,50,10", "a.png,20,10,2,40", "a.png,30,46,30,30"]
    page, gallery = point_page(tmp_path, rows, MODELS)
    images = _Addresses(page)
    assert images.names[1:] == ["picture", "good", "bad", RULE]
    for words in ("3 pairs", "3 right, 0 wrong", "0 right, 3 wrong", "1 right, 1 wrong, 1 alike"):
        assert words in page
    assert gallery.maps == []
    ((_, figures),) = gallery.points
    # in the middle of their pixels, in the reduced picture; wrong pairs are drawn last
    scale = POINTS_WIDTH / 64
    near, far = (20.5 * scale, 10.5 * scale), (50.5 * scale, 10.5 * scale)
    assert figures[0].marks[0] == (*np.round((*near, *far), 1), None)
    assert [mark[-1] for mark in figures[3].marks] == [1, 0.5, 0]
    svg = page.partition('alt="rule: lower is nearer"')[2].partition("</svg>")[0]
    assert [svg.count(shape) for shape in ("<circle", "<rect", "l14 14")] == [2, 2, 2]
    assert svg.count('fill="black"') == 2  # the far marks are open


def test_many_pairs_are_drawn_in_part_and_that_is_said(tmp_path: Path) -> None:
    rows = [f"a.png,{x},10,{x},40" for x in range(DRAWN + 5)]
    page, gallery = point_page(tmp_path, rows, [])
    assert f"{DRAWN + 5} pairs, the first {DRAWN} drawn" in page
    assert [len(figure.marks) for figure in gallery.points[0][1]] == [DRAWN, DRAWN]


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_no_width_of_the_window_cuts_anything_off(
    report: DepthReport, gallery: Gallery, tmp_path: Path
) -> None:
    """Frames of several widths tell how wide the page in them is: itself it allows no scripts."""
    long_name = msgspec.structs.replace(report.sets[0], name="/a_folder" * 12)
    page = depth_page(msgspec.structs.replace(report, sets=[long_name]), gallery)
    page = html.escape(re.sub("<meta http-equiv[^>]*>", "", page))
    widths = [400, 500, 900, 1600]
    frames = [f'<iframe srcdoc="{page}" style="border:0;width:{w}px"></iframe>' for w in widths]
    probe = """<script>onload = () => {
      const pages = [...document.querySelectorAll("iframe")].map(frame => frame.contentDocument);
      const names = page => [...page.querySelectorAll("td")].map(td => td.offsetHeight);
      document.title = JSON.stringify(pages.map(page =>
        [page.documentElement.scrollWidth, Math.max(...names(page))]));
    }</script>"""
    (tmp_path / "probe.html").write_text("\n".join(["<title></title>", *frames, probe]))
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--dump-dom", f"file://{tmp_path}/probe.html"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    told = json.loads(re.search("<title>(.*?)</title>", done.stdout)[1])
    for width, (found, row) in zip(widths, told, strict=True):
        assert found <= width
        assert row < 60  # at most two lines: names are not broken into letters


def test_errors_are_white_where_right_dark_where_wrong_grey_where_unknown() -> None:
    truth = np.array([[1.0, 1.0, np.nan]], np.float32)
    colours = colour_error(np.array([[1.0, 0.4, 1.0]], np.float32), truth, np.isfinite(truth))
    assert colours[0].tolist() == [[247] * 3, [128, 0, 38], [128] * 3]
