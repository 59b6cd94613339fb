"""Write trained weights into the package: half precision for matrices, single for vectors, and a
card.

The card exists twice: `embedded.json` for machines, `embedded.card.md` made from it for people.
Figures come later, from `evaluate.py --card`. Leaves out training.
"""

import hashlib
import json
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch
from held_out import table
from recipe import TILT
from safetensors.torch import save_file
from torch import Tensor

import pearl_tools.depth

WEIGHTS = Path(pearl_tools.depth.__file__).parent / "weights"


def export(
    average: dict[str, Tensor],
    stages: list[dict[str, Any]],
    *,
    renderers: list[str],
    device: str = "cpu",
    notes: str = "",
) -> None:
    """Replace `embedded.safetensors` and its card by these averaged weights, trained on `device`
    and tilted by `TILT`, without figures.
    """
    WEIGHTS.mkdir(exist_ok=True)
    kept = {
        name: (value.half() if value.ndim > 1 else value).cpu().contiguous()
        for name, value in {**average, "tilt": torch.tensor(TILT)}.items()
        if value.dtype.is_floating_point
    }
    path = WEIGHTS / "embedded.safetensors"
    save_file(kept, path)
    path.chmod(0o644)  # safetensors makes it private to its owner
    write_card(
        {
            "model_id": "embedded",
            "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
            "output": "relative inverse depth, float32, larger = nearer; long side 256 px",
            "script": "training/depth/train.py",
            "commit": _commit(),
            "stages": stages,
            "tilt": TILT,
            "renderers": renderers,
            "data": (
                f"pictures of 256x192 rendered by pearl_data.rendering ({', '.join(renderers)}): "
                "scenes of the data toolkit (mixed: three in four of wild colours), worlds of "
                "training/depth/worlds.py, interiors of interiors.py, glossy scenes of "
                "reflections.py and people of company.py beside it, as many of each as a stage "
                "says; the only photographs are scikit-image's CC0 and public-domain ones, as "
                "textures"
            ),
            "machine": f"{platform.system()} {platform.machine()}, {_processor(device)}, "
            f"torch {torch.__version__}",
            "licence": "Apache-2.0",
            "notes": notes,
            "evaluated_scenes": 0,
            "figures": [],
            "held_out": [],
        }
    )


def _processor(device: str) -> str:
    """The processor that trained: the GPU's name, or the CPU's and its best vector instructions."""
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    listed = Path("/proc/cpuinfo")
    text = listed.read_text() if listed.exists() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = named[1] if named else platform.processor() or "CPU"
    return f"{name} ({torch.backends.cpu.get_cpu_capability()}), 1 thread"


def _commit() -> str:
    """The commit of the code, marked if anything but the weights written here differs from it."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        return done.stdout.strip()

    changed = git(
        "status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){WEIGHTS}"
    )
    return (git("rev-parse", "HEAD") or "unknown") + ("-dirty" if changed else "")


def read_card() -> dict[str, Any]:
    """The card of the packaged weights."""
    stored: dict[str, Any] = json.loads((WEIGHTS / "embedded.json").read_text())
    return stored


def write_card(card: dict[str, Any]) -> None:
    """Write both forms of the card."""
    (WEIGHTS / "embedded.json").write_text(json.dumps(card, indent=2, sort_keys=True) + "\n")
    (WEIGHTS / "embedded.card.md").write_text(card_text(card))


def card_text(card: dict[str, Any]) -> str:
    """The card as Markdown."""
    stages = "\n".join(
        f"- Stage {stage['name']}: "
        + ", ".join(f"{name} {value}" for name, value in stage.items() if name != "name")
        + "."
        for stage in card["stages"]
    )
    rows = "\n".join(
        f"| {row['name']} | {row['share']:.3f} | {row['n']} | "
        f"{row['wilson95'][0]:.3f}-{row['wilson95'][1]:.3f} |"
        for row in card["figures"]
    )
    rows_table = (
        "| pairs with a depth ratio above 1.25 | right | n | Wilson 95 % |\n|---|---|---|---|\n"
        + rows
        if rows
        else "Not evaluated yet: `python training/depth/evaluate.py --card`."
    )
    held_out = (
        table(card["held_out"])
        if card["held_out"]
        else "Not measured: `python training/depth/evaluate.py --card` with PEARL_SHARED."
    )
    return f"""# The embedded depth model

Made by `{card["script"]}` at commit `{card["commit"]}`; this file is written from `embedded.json`.

- Output: {card["output"]}. Only the order and rough ratios of values within one picture mean
  something; there are no metres.
- Weights: {card["bytes"]} bytes, sha256 `{card["weights_sha256"]}`; stored in half precision,
  computed in single.
- Data: {card["data"]}.
{stages}
- Tilt: {card["tilt"]} in log inverse depth from top to bottom, added outside training and chosen on
  photographs with points labelled by eye (`training/depth/photographs.py`).
- Machine: {card["machine"]}.
- Licence: {card["licence"]}.
- Notes: {card["notes"] or "none"}

## Figures

Ordinal accuracy on {card["evaluated_scenes"]} rendered scenes with seeds of their own, half clean
and half wild, beside the rules of thumb, and on half as many worlds, interiors, glossy scenes and
pictures of company. "Lower is wrong" are the pairs where the nearer object is the higher one. The
intervals take pairs of one picture for independent and are far too narrow.

{rows_table}

## Held out

Middlebury's motorcycle and five frames of redwood (rendered ICL-NUIM), beside FastDepth and the
rule "lower is nearer" on the same pairs of pixels; 95 % intervals by bootstrap over tiles and
pictures. They took no part in training. Weights are chosen by renders and by labelled photographs
before these frames are looked at; those of the stage `lens` by the renders, since photographs held
them and the ones before for equal. One half of the stage `company`, shipped alone for a while, had
been seen on them when its other half was added, which was done for the same two reasons;
up to the fifth stage `evaluate.py` printed these frames beside the renders when they were, and
the tilt was thought of because the rule beat the network on them, though its size was not
chosen by them.

{held_out}

## Limits

Trained on rendered solids only, for a few hours of one core, and still learning when it stopped.
Compare each model row with the rule of the same pictures: on frames that this renderer did not
make, "lower is nearer" may be the better of the two, as above. Pass a transformers model where
photographs matter. Small gaps are hard: prefer pairs with a ratio above 2.
"""
