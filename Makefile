# `make demo` and `make test` need Python 3.11 to 3.13 with pip and venv, and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCUMENTED := $(VENV)/.docs

.PHONY: demo test lint wheel coverage gpu docs clean

demo: $(INSTALLED)  ## the main job on simulated pedestrians; prints where to look
	$(BIN)/cscl demo

test: $(INSTALLED)  ## the test suite without slow and GPU tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not gpu"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(INSTALLED)  ## wheel and source archive: what is in them, and the wheel away from the checkout
	$(BIN)/python -m pytest -m slow tests/test_distribution.py

coverage: $(INSTALLED)  ## lines and branches that no test runs; TESTS=tests/parsing for a folder alone
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not gpu" --cov --cov-report=term:skip-covered $(TESTS)

gpu:  ## on a machine with CUDA, with a Python that has torch: GPU tests and benchmark; WHEELS=DIR, PEER=DIR
	$(PYTHON) benchmarks/gpu.py --docs docs/benchmarks.md $(if $(WHEELS),--wheels "$(WHEELS)") $(if $(PEER),--peer "$(PEER)")

docs: $(DOCUMENTED)  ## the documentation in site/; a broken link or name fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .venv-gpu demo build site .coverage *.egg-info

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"cscl needs Python 3.11 to 3.13, but $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(DOCUMENTED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@
