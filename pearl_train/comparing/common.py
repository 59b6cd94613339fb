"""The samples that every row of a comparison can use, so that all rows train on the same ones.

The length limit and the processor's refusals depend on the views of a row: a trajectory may be too
long although the answer fits. The records alone decide which samples each row can use
(:mod:`pearl_train.views.by_size`); a sample that one row cannot use is dropped for all.
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
"""File of a comparison with the samples that every row can use."""


class Common(Record, frozen=True, kw_only=True):
    """The samples that rows can use, of ``samples``: ``without`` are the keys dropped in every row,
    with the reason; ``by_row`` counts the samples that each row cannot use, ``reasons`` are all of
    their reasons.
    ``of`` is a hash of the rows and the data.
    """

    samples: int
    without: dict[str, str] = {}
    by_row: dict[str, int] = {}
    reasons: list[str] = []
    of: str = ""

    @property
    def kept(self) -> int:
        """The number of samples that every row trains on."""
        return self.samples - len(self.without)


def common_samples(
    data: Path, split: str, configs: Mapping[str, Config], encoder: Encoder, out: Path
) -> Common:
    """The samples of ``split`` of ``data`` that the rows ``configs``, by name, can use; ``encoder``
    belongs to the model that all train. The result is stored in ``out`` for the same rows and data.

    Raises ``BadInput`` if the model refuses too many samples.
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
    """Raise ``BadInput`` if there is no sample that every row can use."""
    if found.kept:
        return
    told = ", ".join(f"{name} cannot use {n}" for name, n in found.by_row.items())
    raise BadInput(
        f"expected samples that every row can use, got none of {found.samples}: {told}; "
        f"{how_to_keep(found.reasons, data)}, or let each row train on all it can use (--samples "
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
    """The dropped samples according to the runs in ``folders`` that have begun.

    Rows of an earlier comparison may have used fewer. Raises ``UsageError`` if a run trains on
    samples that another row cannot use.
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
    """Every view that the row reads at any step."""
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
