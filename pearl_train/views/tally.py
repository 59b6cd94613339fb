"""Counts of the samples that a run dropped or changed, by reason.

Samples are counted by key, so that each counts once over epochs, processes and resumed sessions.
Not here: advice (:mod:`pearl_train.views.left_out`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pearl_train.errors import REFUSALS
from pearl_train.settings.config import DataConfig
from pearl_train.views.encode import Dropped
from pearl_train.views.left_out import too_many_refused

#: Prefix of the counts of training samples.
TRAINING = ""


class Outcome(NamedTuple):
    """The fate of a sample: the ``reason`` to drop it, with a ``detail``, or the
    ``changes`` made to keep it.
    """

    reason: str = ""
    detail: str = ""
    changes: tuple[str, ...] = ()


@dataclass
class Tally:
    """The samples that the loader dropped or changed so far: keys by reason.

    ``dropped`` and ``changed`` map reasons (``too-long`` ...) and changes (``downscaled`` ...) to
    keys with a detail; a sample that comes again in another epoch counts once.
    """

    dropped: dict[str, dict[str, str]] = field(default_factory=dict)
    changed: dict[str, dict[str, str]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """How many samples, by ``dropped: reason`` and ``changed: what``."""
        found = Counter({f"dropped: {name}": len(keys) for name, keys in self.dropped.items()})
        found.update({f"changed: {name}": len(keys) for name, keys in self.changed.items()})
        return dict(found)

    def drop(self, dropped: Dropped) -> None:
        """Count one dropped sample."""
        self.dropped.setdefault(dropped.reason, {})[dropped.key] = dropped.detail

    def change(self, key: str, what: str) -> None:
        """Count one changed sample."""
        self.changed.setdefault(what, {})[key] = ""

    def outcomes(self) -> dict[str, Outcome]:
        """What became of each sample of which there is something to tell, by its key."""
        changes: dict[str, list[str]] = {}
        for what, keys in self.changed.items():
            for key in keys:
                changes.setdefault(key, []).append(what)
        found = {key: Outcome(changes=tuple(sorted(names))) for key, names in changes.items()}
        for reason, details in self.dropped.items():
            found |= {key: Outcome(reason, detail) for key, detail in details.items()}
        return found

    def merge(self, other: Tally) -> None:
        """Count what ``other`` counted, too; a sample that both know counts once."""
        for mine, theirs in ((self.dropped, other.dropped), (self.changed, other.changed)):
            for reason, keys in theirs.items():
                mine.setdefault(reason, {}).update(keys)


class Account:
    """The tallies of a run by split, over all its processes and sessions.

    The names are prefixes of the counts: empty for training, ``validation, `` for validation.
    ``samples`` is the size of the training split; ``data`` limits the refused samples.
    """

    def __init__(
        self,
        tallies: Mapping[str, Tally],
        *,
        samples: int = 0,
        data: DataConfig | None = None,
    ) -> None:
        self._tallies = tallies
        self._samples, self._data = samples, data or DataConfig()

    @property
    def refused(self) -> dict[str, str]:
        """The training samples that the model refused, by key, with the reason."""
        dropped = self._tallies[TRAINING].dropped if TRAINING in self._tallies else {}
        return {
            key: text for name in REFUSALS & dropped.keys() for key, text in dropped[name].items()
        }

    def too_many_refused(self) -> str:
        """The error if too many samples are refused (``data.max_dropped_share``), else empty."""
        dropped = self._tallies[TRAINING].dropped if TRAINING in self._tallies else {}
        return too_many_refused(dropped, self._samples, self._data)

    def state(self) -> dict[str, Any]:
        """All of it as JSON, the same for the same samples in whatever order they came."""
        return {
            name: {"dropped": _in_order(tally.dropped), "changed": _in_order(tally.changed)}
            for name, tally in self._tallies.items()
        }

    def add(self, state: Mapping[str, Any]) -> None:
        """Count what another process or an earlier session counted, as :meth:`state` gave it."""
        for name, tally in self._tallies.items():
            tally.merge(Tally(**state.get(name, {})))

    def counts(self) -> dict[str, int]:
        """How many samples, by what they are of and why."""
        return {
            f"{name}{reason}": number
            for name, tally in self._tallies.items()
            for reason, number in tally.counts().items()
        }


def _in_order(found: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    return {reason: dict(sorted(keys.items())) for reason, keys in sorted(found.items())}
