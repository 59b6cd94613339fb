"""One sample as the network reads it: ids turned back into words, run by run, branch by branch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pearl_train.doctor.findings import Finding, Piece
from pearl_train.doctor.patient import Patient
from pearl_train.views.batch import EncodedSample, Span

#: Characters of a run on the terminal; the page has all of them.
MOST = 240


def what_it_sees(patient: Patient) -> Finding:
    """A sample token by token, every view that the objective reads."""
    one = patient.scan.samples[0]
    encoded = patient.encode(one.number)
    patient.pieces = pieces_of(encoded, patient.encoder.tokenizer)
    return Finding(
        check="sees",
        status="pass",
        told=f"sample {one.key}, as the model reads it; * is learned",
        lines=[line_of(piece) for piece in patient.pieces],
        figures={"sample": one.key, "shard": one.shard},
    )


def pieces_of(encoded: EncodedSample, tokenizer: Any) -> list[Piece]:
    """Every view of ``encoded`` in runs of like tokens: context, branches, target."""
    views: list[tuple[str, Span]] = [("context", encoded.context), *encoded.branches.items()]
    if encoded.target is not None:
        views.append(("target", encoded.target))
    return [piece for branch, span in views for piece in _pieces(branch, span, encoded, tokenizer)]


def line_of(piece: Piece, most: int = MOST) -> str:
    """``piece`` as one line: branch, whether it is learned, text."""
    text = piece.text if piece.medium else repr(piece.text)[1:-1]
    if len(text) > most:
        half = most // 2
        text = f"{text[:half]} … {text[-half:]} ({piece.count} tokens)"
    return f"{piece.branch:10} {'*' if piece.learned else ' '} {text}"


def token_texts(ids: Sequence[int], tokenizer: Any) -> list[str]:
    """The text of each token; tokens that are parts of one character stay together."""
    texts: list[str] = []
    held: list[int] = []
    for number in ids:
        held.append(number)
        text = _decoded(held, tokenizer)
        if "\ufffd" not in text or len(held) > 8:
            texts.append(text)
            held = []
    if held:
        texts.append(_decoded(held, tokenizer))
    return texts


def _pieces(branch: str, span: Span, encoded: EncodedSample, tokenizer: Any) -> Iterator[Piece]:
    start = 0
    for first, end, medium, tokens in [*_pictures(span, encoded), (len(span.ids),) * 2 + ("", 0)]:
        yield from _texts(branch, span, start, first, tokenizer)
        if medium:
            frame = end - first - tokens
            around = f" in a frame of {frame}" if frame else ""
            text = f"<image {medium}: {tokens} tokens{around}>"
            yield Piece(branch=branch, learned=False, text=text, count=end - first, medium=medium)
        start = end


def _texts(branch: str, span: Span, start: int, end: int, tokenizer: Any) -> Iterator[Piece]:
    """Runs of ``span[start:end]`` that are all learned or all not."""
    while start < end:
        stop = start
        while stop < end and span.learn[stop] == span.learn[start]:
            stop += 1
        ids = span.ids[start:stop]
        yield Piece(
            branch=branch,
            learned=span.learn[start],
            text=_decoded(ids, tokenizer),
            count=len(ids),
            tokens=token_texts(ids, tokenizer),
        )
        start = stop


def _pictures(span: Span, encoded: EncodedSample) -> list[tuple[int, int, str, int]]:
    """First column, column after the last, medium and image tokens of each picture in ``span``;
    tokens between its tiles lie inside.
    """
    columns = [column for column, image in enumerate(span.is_image) if image]
    found, at = [], 0
    for number in span.images:
        image = encoded.images[number]
        own = columns[at : at + image.tokens]
        found.append((own[0], own[-1] + 1, image.medium, image.tokens))
        at += image.tokens
    return found


def _decoded(ids: Sequence[int], tokenizer: Any) -> str:
    text: str = tokenizer.decode(
        list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return text
