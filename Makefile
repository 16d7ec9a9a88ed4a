# `make demo` and `make test` work on a fresh machine with Python >= 3.11, make and the package registries.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench evidence clean

demo: .venv/installed
	$(BIN)/rsft demo --out rsft-demo --overwrite

test: lint
	$(BIN)/pytest

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed
	$(BIN)/pip install --quiet --editable ".[demo,dev,bench]" --constraint constraints.txt
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

# under three hours on two cores; RSFT_DATA, or LFW="--lfw DIR --muct DIR", says where the faces are
evidence: .venv/installed
	$(BIN)/python benchmarks/evidence.py $(LFW)
	$(BIN)/python benchmarks/prediction.py $(wordlist 1,2,$(LFW))
	$(BIN)/python benchmarks/budget.py $(wordlist 1,2,$(LFW))
	$(BIN)/python benchmarks/face_stability.py --seeds 3 $(wordlist 1,2,$(LFW))
	$(BIN)/python benchmarks/reach.py $(wordlist 1,2,$(LFW))
	$(BIN)/python benchmarks/examples.py
	$(BIN)/python benchmarks/stability.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable ".[demo,dev]" --constraint constraints.txt
	touch $@

clean:
	rm -rf .venv rsft-demo
