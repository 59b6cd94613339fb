"""The samples that every row of a comparison can take, so that all rows train on the same ones.

A limit of length and a processor's refusal depend on what a row reads: the trajectory may not fit
where the answer does. What each row can take follows from the records alone
(:mod:`pearl_train.views.by_size`); a sample that one row cannot take is none for all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from pearl_data.progress import Progress
from pearl_data.shards import DatasetReader
from pearl_data.trajectory import canonical_json
from pearl_tools.errors import BadInput, UsageError, listed
from pearl_tools.types import Record
from pearl_train.objectives import needs, plan_views
from pearl_train.run.folder import RunFolder, data_sha256, read_json, write_json
from pearl_train.settings.config import Config, DataConfig
from pearl_train.training.splits import numbers_of
from pearl_train.views.batch import ViewPlan
from pearl_train.views.by_size import BlankPictures, measure
from pearl_train.views.encode import Dropped, Encoder
from pearl_train.views.left_out import how_to_keep, too_many_refused

COMMON = "common.json"
"""Where a comparison keeps what every row can take."""


class Common(Record, frozen=True, kw_only=True):
    """What rows can take of ``samples``: ``without`` are the keys that take no part in any row,
    with the reason; ``by_row`` counts what each row cannot take, ``reasons`` are all of theirs.
    ``of`` is a hash of the rows and the data.
    """

    samples: int
    without: dict[str, str] = {}
    by_row: dict[str, int] = {}
    reasons: list[str] = []
    of: str = ""

    @property
    def kept(self) -> int:
        """How many samples every row trains on."""
        return self.samples - len(self.without)


def common_samples(
    data: Path, split: str, configs: Mapping[str, Config], encoder: Encoder, out: Path
) -> Common:
    """What the rows ``configs``, by name, can take of ``split`` of ``data``; ``encoder`` is of the
    model that all train. It is kept in ``out`` for the same rows and data.

    Raises ``BadInput`` where the model refuses too many samples.
    """
    parts: dict[str, object] = {
        name: [config.data, config.objective, config.model] for name, config in configs.items()
    }
    told = msgspec.to_builtins({"data": data_sha256(data), "split": split, "rows": parts})
    of = hashlib.sha256(canonical_json(told)).hexdigest()
    path = out / COMMON
    if path.is_file() and (known := read_json(path, Common)).of == of:
        return known
    found = msgspec.structs.replace(_taken_by_all(data, split, configs, encoder), of=of)
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    return found


def must_leave_some(found: Common, data: DataConfig) -> None:
    """Raises ``BadInput`` where no sample is left that every row can take."""
    if found.kept:
        return
    told = ", ".join(f"{name} cannot take {n}" for name, n in found.by_row.items())
    raise BadInput(
        f"expected samples that every row can take, got {found.samples} of which none is: {told}; "
        f"{how_to_keep(found.reasons, data)}, or compare each row on what it can take (--samples "
        "each)"
    )


def _taken_by_all(
    data: Path, split: str, configs: Mapping[str, Config], encoder: Encoder
) -> Common:
    rows = {name: (_plan(config), _encoder(config, encoder)) for name, config in configs.items()}
    blanks = BlankPictures(encoder.preparer)
    dropped: dict[str, dict[str, Dropped]] = {name: {} for name in rows}
    with DatasetReader(data, allow_unfinished=True) as reader:
        numbers = numbers_of(reader, split)
        with Progress("what every row can take", len(numbers), "samples") as progress:
            for number in numbers:
                record, shard = reader.record(number), reader.places[number].shard
                for name, (plan, own) in rows.items():
                    made = measure(record, shard, plan, own, blanks)
                    if isinstance(made, Dropped):
                        dropped[name][made.key] = made
                progress.advance()
    for name, lost in dropped.items():
        if wrong := too_many_refused(_by_reason(lost), len(numbers), configs[name].data):
            raise BadInput(f"row {name}: {wrong}")
    without: dict[str, str] = {}
    for name, lost in dropped.items():
        for key, one in lost.items():
            without.setdefault(key, f"{name}: {one.reason} ({one.detail})")
    by_row = {name: len(lost) for name, lost in dropped.items() if lost}
    reasons = sorted({one.reason for lost in dropped.values() for one in lost.values()})
    return Common(samples=len(numbers), without=without, by_row=by_row, reasons=reasons)


def agreed(wanted: Mapping[str, str], folders: Sequence[RunFolder]) -> dict[str, str]:
    """The samples that take no part, where the runs in ``folders`` that began know theirs already.

    Rows of an earlier comparison may have kept fewer. Raises ``UsageError`` where a run trains on
    samples that another row cannot take.
    """
    begun = [(folder, folder.read_without()) for folder in folders if folder.config.is_file()]
    if not begun:
        return dict(wanted)
    _, known = begun[0]
    other = [folder.path.name for folder, own in begun if own.keys() != known.keys()]
    if other or wanted.keys() - known.keys():
        lacking = sorted(wanted.keys() - known.keys())
        why = f"; {len(lacking)} of them cannot be taken by every row: {listed(lacking)}"
        raise UsageError(
            f"{folders[0].path.parent}: expected runs that train on the samples that every row can "
            f"take, got {listed([folder.path.name for folder, _ in begun])}, which train on "
            f"{'other samples than each other' if other else 'more'}{why if lacking else ''}; "
            "compare anew with another --out, or each row on what it can take (--samples each)"
        )
    return known


def _plan(config: Config) -> ViewPlan:
    """Every view that the row reads, whenever it does."""
    plan = plan_views(config.objective)
    return plan._replace(target=plan.target or "cache" in needs(config.objective))


def _encoder(config: Config, known: Encoder) -> Encoder:
    return Encoder(
        known.processor,
        known.tokens,
        data=config.data,
        objective=config.objective,
        max_pixels=config.model.max_pixels,
        model=config.model.id,
    )


def _by_reason(lost: Mapping[str, Dropped]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for key, one in lost.items():
        found.setdefault(one.reason, {})[key] = one.detail
    return found
