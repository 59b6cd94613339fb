"""The report of an evaluation as typed records: the JSON of ``tools eval depth --json``."""

from __future__ import annotations

from typing import Literal

from pearl_tools.depth.outputs import OutputKind
from pearl_tools.types import Record

Interval = Literal["bootstrap", "wilson", "none"]


class Estimate(Record, frozen=True, kw_only=True):
    """A value with the ends of its 95 % interval, None without one."""

    value: float
    low: float | None
    high: float | None
    interval: Interval = "bootstrap"  # Wilson's for shares of few tiles or pairs


class Row(Record, frozen=True, kw_only=True):
    """One method on one set, or on one picture of it; None for what the truth cannot say."""

    method: str
    images: int
    pairs: int
    pixels: int
    ordinal: Estimate | None  # share of the pairs in the right order, ties half
    over_rule: Estimate | None  # its difference from the rule's, on the same pairs
    spearman: Estimate | None  # mean over pictures, as the next two
    abs_rel: Estimate | None
    delta_1: Estimate | None
    flipped: int = 0  # pictures with a negative best scale, aligned to a constant


class PictureRows(Record, frozen=True, kw_only=True):
    """All methods on one picture."""

    name: str
    rows: list[Row]


class Dropped(Record, frozen=True, kw_only=True):
    """A picture dropped for all methods: it, its depth or a prediction is unusable."""

    name: str
    reason: str


class SetReport(Record, frozen=True, kw_only=True):
    """All methods on one set; no ``rows`` if all its pictures were dropped.

    Every map is right after alignment to a constant truth, or to one of fewer than 20 pixels: such
    pictures have neither AbsRel nor delta-1.
    """

    name: str
    alone: int  # pictures without depth
    truths_alone: list[str] = []  # files of depth without a picture
    left_out: list[Dropped] = []
    below_0: int = 0  # pixels of negative depth or disparity, read as unknown
    one_depth: int = 0  # pictures of constant truth
    few_pixels: int = 0  # other pictures with fewer than 20 known pixels
    doubts: list[str] = []  # warnings about the truth
    rows: list[Row]
    pictures: list[PictureRows]


class Method(Record, frozen=True, kw_only=True):
    """The rule, or a model with the kind of its output and its weights."""

    name: str
    model_id: str
    output: OutputKind
    weights_sha256: str


class DepthReport(Record, frozen=True, kw_only=True):
    """The options, methods and results of an evaluation."""

    ratio: float
    pairs_drawn: int
    seed: int
    interval: str
    methods: list[Method]
    sets: list[SetReport]
