"""The dataset card: a README whose front matter lets Hugging Face ``datasets`` load the folder.

``datasets`` takes the set of fields from the first five samples of a WebDataset and fails on the
first sample that differs. Samples of ours do differ (a call more is a picture more), so the card
declares the union of all fields: pictures as images, depth maps as lists of rows, the record as
JSON, which keeps every record as it is. A field that a sample lacks is null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pearl_data.shards.manifest import HeaderLine, ShardLine, summarise

CARD = "README.md"

_DTYPES = {
    "json": "    dtype: json\n",
    "npy": "    list:\n      list: float32\n",
}
_IMAGE = "    dtype: image\n"
#: The picture of a question, as the record names it.
_ROOT = re.compile(r"i0\.[a-z0-9]+")


def dataset_card(
    header: HeaderLine, shards: list[ShardLine], fields: set[str], splits: Mapping[str, int]
) -> bytes:
    """The text of ``README.md`` for a dataset with these member names and samples per split.

    Every tar is listed under its split, so loaders skip files that are not in the manifest.
    """
    features = "".join(
        f"  - name: {name}\n" + _DTYPES.get(name.rpartition(".")[2], _IMAGE)
        for name in sorted(fields)
    )
    summary = summarise(header, shards)
    by_split = ", ".join(f"{count} {name}" for name, count in sorted(splits.items())) or "none"
    reasons = "".join(
        f"- `{code}`: {count}\n" for code, count in sorted(summary.quarantined_by_code.items())
    )
    return (
        f"""---
{_configs(shards)}dataset_info:
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

{_lines(fields, shards)}{_notes(header)}\
{"Quarantined, by reason:" if reasons else "Nothing was quarantined."}

{reasons}""".rstrip().encode()
        + b"\n"
    )


def _notes(header: HeaderLine) -> str:
    """Notes of the source as a code block, since they quote the content of files.

    Empty without notes.
    """
    source = header.config.get("source")
    notes = source.get("notes") if isinstance(source, dict) else None
    lines = [" ".join(str(note).split()) for note in notes] if isinstance(notes, list) else []
    return (
        "How the source was read:\n\n" + "".join(f"    {n}\n" for n in lines) + "\n"
        if lines
        else ""
    )


def hf_splits(splits: Iterable[str]) -> dict[str, str]:
    """Our split -> the name under which ``datasets`` loads it: letters, digits and ``_``, never
    ``all``, which means every split there; each name once.

    >>> hf_splits(["train", "val-b", "val_b", "all"])
    {'all': 'all_', 'train': 'train', 'val-b': 'val_b', 'val_b': 'val_b_'}
    """
    names: dict[str, str] = {}
    for split in sorted(splits):
        name = split.replace("-", "_")
        while name == "all" or name in names.values():
            name += "_"
        names[split] = name
    return names


def _tars_by_split(shards: list[ShardLine]) -> dict[str, list[str]]:
    """The tars of each split under the name that ``datasets`` knows it by; those of earlier
    versions, which held all splits together, as ``mixed``.
    """
    tars: dict[str, list[str]] = {}
    for shard in shards:
        if shard.name:
            tars.setdefault(shard.split or "mixed", []).append(shard.name)
    return {name: tars[split] for split, name in hf_splits(tars).items()}


def _configs(shards: list[ShardLine]) -> str:
    """The tars of each split, in the loader's format."""
    tars = _tars_by_split(shards)
    text = "configs:\n- config_name: default\n  data_files:\n" if tars else ""
    for name, paths in tars.items():
        text += f'  - split: "{name}"\n    path:\n'
        text += "".join(f"    - {path}\n" for path in paths)
    return text


def _lines(fields: set[str], shards: list[ShardLine]) -> str:
    """Lines of Python that load the folder."""
    names = list(_tars_by_split(shards))
    if not names:
        return ""
    first = "train" if "train" in names else names[0]
    roots = sorted(name for name in fields if _ROOT.fullmatch(name))
    picture = " or ".join(f'sample["{name}"]' for name in roots)
    both = f'trajectory, picture = sample["json"], {picture}'
    return f"""```python
from datasets import load_dataset

splits = load_dataset("PATH/OF/THIS/FOLDER")  # {", ".join(names)}
for sample in splits["{first}"]:
    {both if roots else 'trajectory = sample["json"]'}
```

"""
