"""The sample shown is the sample encoded: every token of every view, in order, none twice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest

from pearl_train.doctor.findings import Piece
from pearl_train.doctor.what_it_sees import line_of, pieces_of, token_texts


@pytest.mark.parametrize("family", ["qwen2_5_vl", "idefics3"])
def test_pieces_are_the_views_token_by_token(examined: Callable[..., Any], family: str) -> None:
    _, patient = examined(family, until="sees", samples=1)
    encoded = patient.encode(patient.scan.samples[0].number)
    tokenizer = patient.encoder.tokenizer
    views = {"context": encoded.context, **encoded.branches, "target": encoded.target}
    pieces = pieces_of(encoded, tokenizer)
    shown = {branch: list(of) for branch, of in groupby(pieces, lambda piece: piece.branch)}
    assert list(shown) == list(views)
    for branch, span in views.items():
        assert sum(piece.count for piece in shown[branch]) == len(span.ids)
        learned = sum(piece.count for piece in shown[branch] if piece.learned)
        assert learned == sum(span.learn)
        pictures = [piece.medium for piece in shown[branch] if piece.medium]
        assert pictures == [encoded.images[number].medium for number in span.images]
    answer = shown["answer"]
    assert [piece.learned for piece in answer] == [True]
    assert answer[0].text.startswith("Answer: ")
    assert "".join(answer[0].tokens) == answer[0].text


def test_a_picture_in_tiles_is_one_piece_with_its_frame(examined: Callable[..., Any]) -> None:
    _, patient = examined("idefics3", until="sees", samples=1)
    line = next(line_of(piece) for piece in patient.pieces if piece.medium == "i0")
    assert line.endswith("<image i0: 20 tokens in a frame of 11>")


def test_a_line_says_whether_it_is_learned_and_stays_one_line() -> None:
    piece = Piece(branch="answer", learned=True, text="Answer:\nred", count=4)
    assert line_of(piece) == "answer     * Answer:\\nred"
    long = Piece(branch="target", learned=False, text="ab" * 400, count=123)
    assert len(line_of(long, most=60)) < 100
    assert line_of(long, most=60).endswith("(123 tokens)")


def test_tokens_that_are_parts_of_one_character_stay_together(
    examined: Callable[..., Any],
) -> None:
    _, patient = examined("llava", until="processor")
    tokenizer = patient.encoder.tokenizer
    ids = tokenizer("日 é", add_special_tokens=False)["input_ids"]
    texts = token_texts(ids, tokenizer)
    assert "".join(texts) == "日 é"
    assert texts[0] == "日"
    assert len(texts) < len(ids)
