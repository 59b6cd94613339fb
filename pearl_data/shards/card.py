"""The dataset card: a README whose front matter lets Hugging Face ``datasets`` load the folder.

``datasets`` takes the set of fields from the first five samples of a WebDataset and fails on the
first sample that differs. Samples of ours do differ (a call more is a picture more), so the card
declares the union of all fields: pictures as images, depth maps as lists of rows, the record as
JSON, which keeps every record as it is. A field that a sample lacks is null.
"""

from __future__ import annotations

from pathlib import Path

from pearl_data.shards.manifest import HeaderLine, ShardLine, summarise

CARD = "README.md"

_DTYPES = {
    "json": "    dtype: json\n",
    "npy": "    list:\n      list: float32\n",
}
_IMAGE = "    dtype: image\n"


def dataset_card(
    header: HeaderLine, shards: list[ShardLine], fields: set[str], splits: dict[str, int]
) -> bytes:
    """The text of ``README.md`` for a dataset with these member names and samples per split."""
    features = "".join(
        f"  - name: {name}\n" + _DTYPES.get(name.rpartition(".")[2], _IMAGE)
        for name in sorted(fields)
    )
    split = hf_split(splits)
    summary = summarise(header, shards)
    by_split = ", ".join(f"{count} {name}" for name, count in sorted(splits.items())) or "none"
    reasons = "".join(
        f"- `{code}`: {count}\n" for code, count in sorted(summary.quarantined_by_code.items())
    )
    return (
        f"""---
configs:
- config_name: default
  data_files:
  - split: {split}
    path: shards/*.tar
dataset_info:
  features:
  - name: __key__
    dtype: string
  - name: __url__
    dtype: string
{features}---

# Expert tool trajectories

{summary.inputs} inputs = {summary.written} written + {summary.quarantined} quarantined + \
{summary.duplicates} duplicates. Samples by split: {by_split}.

`manifest.jsonl` names every shard with its sha256, `index/` holds the offset of every member,
`quarantine/` every input that was not written, with its reason. The licence of the media is in
each record (`source.licence`). `datasets` rounds the numbers in `json` to ten decimals;
`pearl_data.shards.DatasetReader` gives them as they are.

```python
from datasets import load_dataset

for sample in load_dataset("PATH/OF/THIS/FOLDER", split="{split}"):
    trajectory, picture = sample["json"], sample["i0.jpg"]
```

{"Quarantined, by reason:" if reasons else "Nothing was quarantined."}

{reasons}""".rstrip().encode()
        + b"\n"
    )


def hf_split(splits: dict[str, int]) -> str:
    """The split under which ``datasets`` loads the folder: ours if there is one, else ``all``."""
    return next(iter(splits)).replace("-", "_") if len(splits) == 1 else "all"


def card_path(folder: Path) -> Path:
    """Where the card of dataset ``folder`` lies."""
    return folder / CARD
