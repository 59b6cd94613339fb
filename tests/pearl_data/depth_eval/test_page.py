"""The page of an evaluation: whole, and everything on it where it belongs."""

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
from PIL import Image

from pearl_data.depth_eval.evaluate import evaluate
from pearl_data.depth_eval.page import DRAWN, Gallery, colour_error, depth_page
from pearl_data.depth_eval.pair_marks import mark_pairs
from pearl_data.depth_eval.point_pairs import PointPair
from pearl_data.depth_eval.records import DepthReport
from pearl_data.depth_eval.rule import NAME


class _Addresses(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.names: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in {"src", "href"}]
        self.names += [value or "" for name, value in attrs if name == "alt"]


def test_the_page_is_whole_and_shows_every_method(report: DepthReport, gallery: Gallery) -> None:
    page = depth_page(report, gallery)
    images = _Addresses(page)
    addresses = images.found
    assert all(address.startswith("data:image/") for address in addresses)
    # two legends; two rows (the third picture is left out), truth beside every prediction
    row = ["picture", "truth", "good", "its error", "bad", "its error", NAME, "its error"]
    assert images.names[2:] == row * 2
    assert len(addresses) == 2 + len(row) * 2
    assert "1 more picture is not shown: a page holds 2" in page
    for told in ("good", "bad", NAME, "logarithm of inverse depth", "org/good#inverse"):
        assert told in page


def test_the_page_shows_every_pair_on_every_prediction(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    rows = ["a.png,20,10,50,10", "a.png,20,10,2,40", "a.png,30,46,30,30"]
    (tmp_path / "p.csv").write_text("\n".join(["image,near_x,near_y,far_x,far_y", *rows]))
    gallery = Gallery()
    page = depth_page(evaluate([tmp_path / "p.csv"], MODELS, look=gallery.look), gallery)
    images = _Addresses(page)
    assert images.names[2:] == ["picture", "good", "bad", NAME]
    assert all(address.startswith("data:image/") for address in images.found)
    for words in ("3 pairs", "3 right, 0 wrong", "0 right, 3 wrong", "1 right, 1 wrong, 1 alike"):
        assert words in page
    assert gallery.maps == []
    assert "on the scale of the truth" not in page  # there is none


def test_pairs_right_and_wrong_differ_in_colour_and_in_shape() -> None:
    pair = PointPair((20, 20), (60, 20), "")
    field = Image.new("RGB", (80, 40), "grey")
    inks = {}
    for score in (1, 0, 0.5, None):
        drawn = np.asarray(mark_pairs(field, [pair], [score], (1, 1))).astype(int)
        at = [tuple(drawn[20, x]) for x in (20, 60)]  # the middle of either mark
        assert (drawn != 128).any(axis=2).sum() > 100
        assert at[0] != (128, 128, 128)
        if score != 0:
            assert at[0] != at[1]  # near filled, far open
        inks[score] = at[0], tuple(drawn[20, 15]), tuple(drawn[15, 15])
    assert len({middle for middle, _, _ in inks.values()}) == 4
    assert inks[1][2] != inks[1][0]  # a circle has no corners,
    assert inks[0][2] == inks[0][0]  # a cross nothing but them,
    assert inks[0][1] != inks[0][0]
    assert inks[0.5][1:] == (inks[0.5][0],) * 2  # a square all


def test_pairs_are_drawn_where_they_are_in_the_reduced_picture() -> None:
    field = Image.new("RGB", (100, 50))
    drawn = np.asarray(mark_pairs(field, [PointPair((40, 80), (160, 80), "")], [1], (0.5, 0.5)))
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert (rows.mean(), columns.min(), columns.max()) == pytest.approx((40, 14, 86), abs=1)


def test_many_pairs_are_drawn_in_part_and_that_is_said(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    rows = [f"a.png,{x},10,{x},40" for x in range(DRAWN + 5)]
    (tmp_path / "p.csv").write_text("\n".join(["image,near_x,near_y,far_x,far_y", *rows]))
    gallery = Gallery()
    page = depth_page(evaluate([tmp_path / "p.csv"], [], look=gallery.look), gallery)
    assert f"{DRAWN + 5} pairs, the first {DRAWN} drawn" in page


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
