#!/bin/sh
# The main job, on real photographs and on rendered scenes: synthesise, validate by replaying every
# call, audit, train the nano model on the scenes, ask it about others, and leave pages to look at. Usage: sh examples/demo.sh FOLDER (a fresh or earlier one)
set -eu
out=${1:?usage: demo.sh FOLDER}
workers=$(python -c 'import os; print(min(4, os.cpu_count() or 1))')
photos=$(python -c 'from pathlib import Path; import skimage; print(Path(skimage.__file__).parent / "data")')

say() { printf '\n\033[1m%s\033[0m\n' "$1" >&2; }

say "1/7  scikit-image's CC0 photographs, annotated in examples/photos.coco.json"
pearl-data synth --tools crop,zoom,depth --source coco:examples/photos.coco.json \
  --images "$photos" --out "$out/photos" --per-image 16 --workers "$workers"

say "2/7  rendered scenes, with exact truth"
pearl-data synth --tools crop,zoom,depth --out "$out/scenes" --limit 112 --workers "$workers"

say "3/7  validate: every record, every byte, every call replayed"
pearl-data validate "$out/photos" "$out/scenes" --replay

say "4/7  audit"
pearl-data audit "$out/photos" "$out/scenes" --out "$out/calls.parquet" --html "$out/index.html"

say "5/7  train: the nano model learns to predict what the tools showed (Pearl)"
if [ -e "$out/run/config.toml" ]; then
  pearl-train run --resume "$out/run"
else
  pearl-train run --data "$out/scenes" --out "$out/run"
fi

say "6/7  evaluate on scenes it has not seen; no tool runs"
pearl-data synth --tools crop,zoom,depth --out "$out/held_out" --limit 56 --seed 1 --workers "$workers"
pearl-train eval "$out/run" --data "$out/held_out"

say "7/7  ask it one question about one picture"
pearl-data show "$out/held_out" --key '#4' --out "$out/look" --json > "$out/asked.json"
task() {  # a field of the question's task
  python -c 'import json, sys
value = json.load(open(sys.argv[1]))["trajectory"]["task"][sys.argv[2]]
print(",".join(value) if isinstance(value, list) else value)' "$out/asked.json" "$1"
}
say "     $(task question) ($(task choices); it is $(task answer))"
pearl-train predict "$out/run" --image "$out/look/i0.jpg" --question "$(task question)" --choices "$(task choices)"

say "Open $out/index.html and $out/run/curves.png"
say "One trajectory: pearl-data show $out/scenes --key KEY"
