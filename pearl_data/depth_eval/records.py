"""What an evaluation of depth says, as typed records: the JSON of ``tools eval depth --json``."""

from __future__ import annotations

from pearl_data.depth_eval.bootstrap import Interval
from pearl_tools.depth.outputs import OutputKind
from pearl_tools.types import Record


class Estimate(Record, frozen=True, kw_only=True):
    """A value with its 95 % interval.

    ``interval`` is how it came about: a bootstrap; Wilson's, where too few tiles or pairs were
    measured for one; or none, and both ends are then None.
    """

    value: float
    low: float | None
    high: float | None
    interval: Interval = "bootstrap"


class Row(Record, frozen=True, kw_only=True):
    """One method on one set, or on one picture of it.

    ``ordinal``: share of the ``pairs`` in the right order, ties half. ``over_rule``: that less the
    rule's, on the same pairs. The others are means over pictures and None for sets of point pairs;
    ``abs_rel`` and ``delta_1`` are over those pictures that can be aligned to their truth.
    ``flipped`` counts pictures on which the method is the opposite of the truth (the best scale of
    an alignment is below 0): it is then taken for one depth everywhere, and drawn so.
    """

    method: str
    images: int
    pairs: int
    pixels: int
    ordinal: Estimate | None
    over_rule: Estimate | None
    spearman: Estimate | None
    abs_rel: Estimate | None
    delta_1: Estimate | None
    flipped: int = 0


class PictureRows(Record, frozen=True, kw_only=True):
    """All methods on one picture."""

    name: str
    rows: list[Row]


class LeftOut(Record, frozen=True, kw_only=True):
    """A picture that was not measured, because it, its depth or what a model says of it cannot be
    used, and why. It is left out for all methods, so that all are measured on the same.
    """

    name: str
    reason: str


class SetReport(Record, frozen=True, kw_only=True):
    """All methods on one set; without ``rows`` where all its pictures are in ``left_out``.

    ``alone`` counts pictures without depth, which were left out, like those in ``left_out``;
    ``truths_alone`` names files of depth without a picture;
    ``below_0`` pixels whose depth or disparity is a number below 0, which count as unknown.
    ``one_depth`` counts pictures whose truth is all alike, ``few_pixels`` others of which fewer
    than 20 pixels are known: they have neither AbsRel nor delta-1, since every map would be right
    after alignment. ``doubts`` says of which pictures the depth looks wrong, and why.
    """

    name: str
    alone: int
    truths_alone: list[str] = []
    left_out: list[LeftOut] = []
    below_0: int = 0
    one_depth: int = 0
    few_pixels: int = 0
    doubts: list[str] = []
    rows: list[Row]
    pictures: list[PictureRows]


class Method(Record, frozen=True, kw_only=True):
    """What was measured: the rule, or a model with the kind of its output and its weights."""

    name: str
    model_id: str
    output: OutputKind
    weights_sha256: str


class DepthReport(Record, frozen=True, kw_only=True):
    """An evaluation: what was asked, with which methods, and what came out."""

    ratio: float
    pairs_drawn: int
    seed: int
    interval: str
    methods: list[Method]
    sets: list[SetReport]
