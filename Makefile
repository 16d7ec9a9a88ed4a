# `make demo` and `make test` work on a fresh machine with Python >= 3.11, make and the package registries.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2
SPEED := ratio_accuracy plan_scale sampler readers listing tuning cuts verification label_noise

# libraries that a wheel of torch for a card needs; which wheel is right depends on the machine, so none is in the lock
CARD := triton cuda-bindings cuda-pathfinder cuda-toolkit $(addprefix nvidia-,cublas cuda-cupti cuda-nvrtc cuda-runtime \
	cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)

.PHONY: demo test lint docs bench evidence soak lock sbom clean

demo: .venv/installed
	$(BIN)/rsft demo --out rsft-demo --overwrite

# two tests at a time, on one thread each: the tests of one file run one after the other
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(JOBS) --dist loadfile

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# the docs site, into site/: warnings are errors, and the notebooks are run (RSFT_DOCS_QUICK=1: they are not)
docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

bench: .venv/installed
	$(BIN)/pip install --quiet --editable ".[demo,dev,docs,bench]" --constraint constraints.txt
	for name in $(SPEED); do $(BIN)/python benchmarks/$$name.py || exit 1; done

# about four hours on two cores; RSFT_DATA, of which LFW="--lfw DIR --muct DIR", says where the faces are
evidence: .venv/installed
	for name in evidence prediction budget face_stability; do $(BIN)/python benchmarks/$$name.py $(LFW) || exit 1; done
	for name in pool_size reach accepted; do $(BIN)/python benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/examples.py
	$(BIN)/python benchmarks/stability.py
	$(BIN)/python benchmarks/balanced.py

# hours: what the tests of faults only sample; RSFT_KILLS says how often a command is killed
soak: .venv/installed
	$(BIN)/python benchmarks/soak_fuzz.py
	$(BIN)/python benchmarks/soak_kill.py --kills $(or $(RSFT_KILLS),200)
	$(BIN)/python benchmarks/soak_ranks.py
	$(BIN)/python benchmarks/robustness.py

# all packages but torch and its libraries are compared with a hash before they are installed: see SECURITY.md
.venv/installed: pyproject.toml constraints.txt requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --no-deps --requirement requirements.lock
	$(BIN)/pip install --quiet --no-build-isolation --editable ".[demo,dev,docs]" --constraint constraints.txt
	touch $@

lock: .venv-tools/installed
	printf 'hatchling\neditables\n' | .venv-tools/bin/uv pip compile pyproject.toml - --extra demo --extra dev --extra docs --quiet \
		--constraint constraints.txt --generate-hashes --universal --python-version 3.11 --no-annotate --no-header \
		$(addprefix --no-emit-package ,torch $(CARD)) --output-file requirements.lock

# a software bill of materials (CycloneDX) of what is installed
sbom: .venv/installed .venv-tools/installed
	.venv-tools/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --of JSON --output-file sbom.json

.venv-tools/installed:
	$(PYTHON) -m venv .venv-tools
	.venv-tools/bin/pip install --quiet uv==0.13.9 cyclonedx-bom==7.5.0
	touch $@

clean:
	rm -rf .venv .venv-tools rsft-demo sbom.json site
