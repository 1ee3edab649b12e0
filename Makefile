# make            what can be made
# make quickstart set up everything and run the main comparison
# Another interpreter:       make PYTHON=python3.12 setup
# A CPU-only build of torch: make PIP_ARGS="--extra-index-url URL" setup, where URL is the CPU index
#                            that PyTorch's installation page names (on Linux the default build
#                            brings several GB of CUDA libraries)
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
PIP_ARGS ?=
PYTEST_ARGS ?=
JOBS ?= 2
RUN ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# One thread each: the workers share the cores, and small models lose time to threads.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) $(PYTEST_ARGS)

.DEFAULT_GOAL := help
.PHONY: help quickstart setup run install-test test test-slow install-dev check format ci bench docs clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: setup run ## set up, then run the main comparison (MovieLens-100K)

setup: $(VENV)/.quickstart ## a virtual environment with all that the quick start needs

run: setup ## run the main comparison; RUN="experiment=synthetic …" for another one
	$(BIN)/llmrec run $(RUN)

install-test: $(VENV)/.test ## add what the tests need

test: install-test ## install what is missing and run the tests; PYTEST_ARGS="-k word" for some
	$(PYTEST)

test-slow: install-test ## run the tests that are left out of `make test` because they take long
	$(PYTEST) -m slow

install-dev: $(VENV)/.dev ## add what the checks need

check: install-dev ## lint, formatting, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install-dev ## format the code and sort its imports
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

ci: ## what the continuous integration runs, in an environment of its own
	bash .ci/run

bench: install-test ## measure speed and memory (on a quiet machine, about 20 minutes)
	$(BIN)/python benchmarks/allocator.py
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/language_models.py
	$(BIN)/python benchmarks/adapters.py

docs: install-test ## write the generated pages of docs/reference again
	$(BIN)/python scripts/write_reference.py

clean: ## delete the virtual environment and caches (no runs, no data)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: | $(BIN)/python
	$(PIP) install $(PIP_ARGS) '$(TORCH)'
	@touch $@

$(VENV)/.quickstart: $(VENV)/.torch pyproject.toml
	$(PIP) install $(PIP_ARGS) --editable '.[quickstart]'
	@touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	$(PIP) install $(PIP_ARGS) --editable '.[test]'
	@touch $@ $(VENV)/.quickstart

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) install $(PIP_ARGS) --editable '.[dev]'
	@touch $@ $(VENV)/.quickstart $(VENV)/.test
