"""What is examined: a configuration with its data, and what earlier checks have opened.

Later checks find the reader, the network, the encoded samples here; the table of checks sees to it
that none runs without what it needs. The weights are the doctor's own: nothing of them is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pearl_data.shards import DatasetReader
from pearl_tools.errors import BadInput
from pearl_train.doctor.findings import Piece
from pearl_train.objectives import needs
from pearl_train.objectives.base import Moment
from pearl_train.objectives.schedule import moment
from pearl_train.objectives.target import embed_rows
from pearl_train.settings.config import Config
from pearl_train.views.batch import Batch, EncodedSample, ViewPlan
from pearl_train.views.collate import collate
from pearl_train.views.encode import Dropped, Encoder, encode_sample

if TYPE_CHECKING:
    from PIL import Image

    from pearl_train.doctor.lengths import Scan
    from pearl_train.model.backbone import Backbone
    from pearl_train.objectives.trainee import Trainee

#: Samples in the batches of the later checks: enough for a panel, few enough for a CPU.
FEW = 4


@dataclass(kw_only=True)
class Patient:
    """A run that has not begun.

    Attributes:
        samples: how many samples of the split are read and encoded, spread over it evenly; those
            likely to be its longest come besides.
        plan: the views that training reads.
        full_plan: the same with the view R where its embedding is to be cached before training.
        sheet: the pictures as the model sees them, for the page; so are ``pieces``.

    """

    config: Config
    data: Path
    samples: int
    reader: DatasetReader = field(init=False)
    numbers: list[int] = field(init=False)
    backbone: Backbone = field(init=False)
    encoder: Encoder = field(init=False)
    plan: ViewPlan = field(init=False)
    scan: Scan = field(init=False)
    trainee: Trainee = field(init=False)
    accelerator: Any = field(init=False)
    pieces: list[Piece] = field(default_factory=list)
    sheet: Image.Image | None = None
    pred_gradients: list[float] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return torch.device(self.accelerator.device)

    @property
    def cached(self) -> bool:
        """Whether targets are computed before the first step."""
        return "cache" in needs(self.config.objective)

    @property
    def full_plan(self) -> ViewPlan:
        """Every view that the objective reads, whenever it reads it."""
        return self.plan._replace(target=self.plan.target or self.cached)

    def encode(self, number: int, *, full: bool = True) -> EncodedSample:
        """Sample ``number`` of the reader, which is known to fit."""
        plan = self.full_plan if full else self.plan
        made = encode_sample(
            self.reader[number], self.reader.places[number].shard, plan, self.encoder
        )
        if isinstance(made, Dropped):
            raise BadInput(f"{made.shard}, sample {made.key}: dropped: {made.reason}")
        return made

    def few(self, most: int = FEW) -> list[EncodedSample]:
        """The first samples that can be trained on, with every view."""
        return [self.encode(one.number) for one in self.scan.samples[:most]]

    def batch(self, samples: Sequence[EncodedSample]) -> tuple[Batch, Tensor | None]:
        """A micro-batch of ``samples`` on the device as training would see it, and its cached
        targets (B, H) where it would have some; ``samples`` have every view.
        """
        batch = collate(samples, pad_id=self.encoder.pad_id).to(self.device)
        if not self.cached:
            return batch, None
        with torch.no_grad(), self.backbone.base_weights():
            targets = embed_rows(self.backbone, batch, self.config.objective.target)
        return replace(batch, target=None), targets

    def moment(self) -> Moment:
        """The first moment at which every term takes part, at its full weight."""
        start = self.config.objective.warmup
        wants = self.config.objective.name == "pearl" and self.config.objective.weight > 0
        found = (moment(self.config, step) for step in count(start))
        return next(m for m in found if m.jepa_weight > 0 or not wants)
