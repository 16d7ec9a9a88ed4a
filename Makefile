# `make demo` and `make test` work on a fresh machine with Python >= 3.11, make and the package registries.
PYTHON ?= python3
BIN := .venv/bin
SPEED := ratio_accuracy plan_scale sampler readers listing tuning cuts verification label_noise

.PHONY: demo test lint bench soak evidence clean

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
	for name in $(SPEED); do $(BIN)/python benchmarks/$$name.py || exit 1; done

# commands killed at random moments, each continued; RSFT_KILLS says how often
soak: .venv/installed
	$(BIN)/python benchmarks/soak_kill.py --kills $(or $(RSFT_KILLS),200)

# about four hours on two cores; RSFT_DATA, of which LFW="--lfw DIR --muct DIR", says where the faces are
evidence: .venv/installed
	for name in evidence prediction budget face_stability; do $(BIN)/python benchmarks/$$name.py $(LFW) || exit 1; done
	for name in pool_size reach accepted; do $(BIN)/python benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/examples.py
	$(BIN)/python benchmarks/stability.py
	$(BIN)/python benchmarks/balanced.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable ".[demo,dev]" --constraint constraints.txt
	touch $@

clean:
	rm -rf .venv rsft-demo
