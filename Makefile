# Every target sets up what it needs; CI calls `check` and `test`, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test check fix schemas bench depth-model nano-model golden clean

demo: $(INSTALLED)  ## synthesise, validate with replay and audit real photos and rendered scenes
	PATH="$(abspath $(BIN)):$$PATH" sh examples/demo.sh demo

test: $(INSTALLED)  ## the fast, offline tests (slow, gpu and network ones are left out), on up to four cores
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

check: $(INSTALLED)  ## read-only: format, lint, types, import rules, schema drift
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy bench
	PYTHONPATH=tools:. $(BIN)/lint-imports
	$(BIN)/python -m pearl_data.schemas --check

fix: $(INSTALLED)  ## format, lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: $(INSTALLED)  ## write schemas/ from the code
	$(BIN)/python -m pearl_data.schemas --write

golden: $(INSTALLED)  ## rewrite the golden files; review the diff
	PEARL_REFRESH_GOLDEN=1 $(BIN)/python -m pytest -q tests

bench: $(INSTALLED)  ## speed against named floors and peers
	$(BIN)/python bench/validate.py
	$(BIN)/python bench/synth.py
	$(BIN)/python bench/tools.py
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python bench/memory.py
	$(BIN)/python bench/train.py

depth-model: $(INSTALLED)  ## render, train, replace and measure the embedded depth network (hours)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[tflite]'
	$(BIN)/python training/depth/train.py --export
	$(BIN)/python training/depth/evaluate.py --card

nano-model: $(INSTALLED)  ## render, pre-train, replace and measure the embedded vision-language model (hours)
	$(BIN)/python training/nano/pretrain.py --export
	$(BIN)/python training/nano/evaluate.py --card

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,photos,train]'
	touch $@

clean:  ## remove what the targets made, but not the virtual environment
	rm -rf demo .cache build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
