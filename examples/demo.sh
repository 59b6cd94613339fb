#!/bin/sh
# The main job, on real photographs and on rendered scenes: synthesise, validate by replaying every
# call, audit, and leave a page to look at. Usage: sh examples/demo.sh FOLDER (a fresh or earlier one)
set -eu
out=${1:?usage: demo.sh FOLDER}
workers=$(python -c 'import os; print(min(4, os.cpu_count() or 1))')
photos=$(python -c 'from pathlib import Path; import skimage; print(Path(skimage.__file__).parent / "data")')

say() { printf '\n\033[1m%s\033[0m\n' "$1" >&2; }

say "1/4  scikit-image's CC0 photographs, annotated in examples/photos.coco.json"
pearl-data synth --tools crop,zoom,depth --source coco:examples/photos.coco.json \
  --images "$photos" --out "$out/photos" --per-image 16 --workers "$workers"

say "2/4  rendered scenes, with exact truth"
pearl-data synth --tools crop,zoom,depth --out "$out/scenes" --limit 112 --workers "$workers"

say "3/4  validate: every record, every byte, every call replayed"
pearl-data validate "$out/photos" "$out/scenes" --replay

say "4/4  audit"
pearl-data audit "$out/photos" "$out/scenes" --out "$out/calls.parquet" --html "$out/index.html"

say "Open $out/index.html; one trajectory: pearl-data show $out/scenes --key KEY"
