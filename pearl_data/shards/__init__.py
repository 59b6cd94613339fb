"""Shards: datasets of trajectories as WebDataset tars with a manifest and an offset index.

:class:`DatasetWriter` makes one, block by block, and resumes or extends one;
:class:`DatasetReader` reads samples by number or key and finds every altered byte.
"""

from pearl_data.shards.manifest import (
    HeaderLine,
    Manifest,
    ShardLine,
    SummaryLine,
    Unfinished,
    read_manifest,
)
from pearl_data.shards.reader import DatasetReader
from pearl_data.shards.sample import BlockResult, CallTiming, Quarantined, Sample
from pearl_data.shards.writer import DatasetWriter

__all__ = [
    "BlockResult",
    "CallTiming",
    "DatasetReader",
    "DatasetWriter",
    "HeaderLine",
    "Manifest",
    "Quarantined",
    "Sample",
    "ShardLine",
    "SummaryLine",
    "Unfinished",
    "read_manifest",
]
