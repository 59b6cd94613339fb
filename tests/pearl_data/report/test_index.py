from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import polars as pl
import pytest
from trajectories import build_block, build_sample

from pearl_data.html import Markup, tag
from pearl_data.report import write_index
from pearl_data.report.gallery import choose
from pearl_data.shards import DatasetWriter
from pearl_data.trajectory import canonical_json


class Reader(HTMLParser):
    """Collects the tags and the addresses that a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in {"img", "meta", "br"}:
            self.open.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in {"src", "href", "srcset", "action"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page") / "set"
    writer = DatasetWriter.open(folder, {"seed": 0}, samples_per_shard=8)
    for block in range(3):
        writer.add_block(block, build_block(block))
    writer.close()
    write_index([folder], folder / "index.html", title="Squares & noise", gallery=4)
    return (folder / "index.html").read_text(encoding="utf-8")


def test_page_is_whole_and_needs_nothing_else(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []
    assert {"script", "link", "iframe"}.isdisjoint(reader.tags)
    assert reader.addresses
    assert all(address.startswith("data:image/") for address in reader.addresses)
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_page_tells_questions_answers_tables_and_reasons(page: str) -> None:
    for told in (
        "<h1>Squares &amp; noise</h1>",
        "Which colour has the square?",
        "Calls by tool and outcome",
        "Shortcuts",
        "semantic.ambiguous",
        "expected one answer, got two",
    ):
        assert told in page
    assert page.count("<article") == 4


def test_text_from_data_is_escaped(tmp_path: Path) -> None:
    trajectory = build_sample().trajectory
    evil = "<script>alert(1)</script>\"'"
    task = msgspec.structs.replace(trajectory.task, question=evil, choices=[evil, "b"], answer=evil)
    steps = [msgspec.structs.replace(trajectory.steps[0], thought=evil)]
    source = msgspec.structs.replace(trajectory.source, dataset=evil)
    changed = msgspec.structs.replace(trajectory, task=task, steps=steps, source=source)
    (tmp_path / "a.jsonl").write_bytes(canonical_json(changed) + b"\n{}\n")
    write_index([tmp_path / "a.jsonl"], tmp_path / "a.html", title=evil)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 6
    assert "not stored here" in text


def test_attributes_are_escaped_and_markup_is_not_escaped_twice() -> None:
    assert tag("p", tag("b", "&"), title='"<') == '<p title="&quot;&lt;"><b>&amp;</b></p>'
    assert tag("p", Markup("<br>")) == "<p><br></p>"


def test_boxes_are_placed_in_percent_of_the_picture(page: str) -> None:
    places = re.findall(r"left:([\d.]+)%;top:([\d.]+)%;width:([\d.]+)%", page)
    assert places
    assert all(float(x) + float(w) <= 100.001 for x, _, w in places)


def chosen(families: str, count: int) -> list[int]:
    """The positions chosen of so many trajectories, which lie in frames of three rows."""
    rows = pl.DataFrame(
        {
            "path": ["p"] * len(families),
            "position": range(len(families)),
            "family": list(families),
        },
        schema={"path": pl.String, "position": pl.UInt32, "family": pl.String},
    )
    return [position for _, position in choose(lambda: rows.iter_slices(3), count)]


def test_gallery_takes_families_in_turn_and_spreads_within() -> None:
    assert chosen("aaaaaaaabb", 4) == [0, 8, 4, 9]
    assert chosen("aaaaaaaab", 5) == [0, 8, 2, 4, 6]
    assert chosen("ab", 9) == [0, 1]
    assert chosen("", 9) == []
