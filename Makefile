# Everything a developer or a newcomer runs.  `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# uv: the one that is installed, or one of our own under .tools.
UV := $(shell command -v uv 2>/dev/null || echo .tools/uv/bin/uv)
# uv downloads a Python where the machine has none of the right version; where one is there but
# hidden from uv (pyenv's shims), it is named here.
export UV_PYTHON ?= $(shell bash .ci/find-python)
BIN := .venv/bin
# What is compiled once need not be compiled by each of many processes.
unexport PYTHONDONTWRITEBYTECODE
# Many tests wait for something: a camera, a flush, a process that is to be killed.
WORKERS ?= 4

.PHONY: help
help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/synced ## Run the main job on real frames: record, find particles live, draw
	@$(BIN)/forebay demo

.PHONY: test
test: .venv/synced ## Run all tests
	$(BIN)/pytest -m "not long" -n $(WORKERS) --dist worksteal

.PHONY: long
long: .venv/synced ## Run the tests that take minutes each
	$(BIN)/pytest -m long

.PHONY: quick
quick: .venv/synced ## Run the quick tests
	$(BIN)/pytest

.PHONY: setup
setup: .venv/synced ## Make the environment in .venv

.PHONY: check
check: lint types imports ## Lint, types and import rules

.PHONY: lint
lint: .venv/synced ## Style and common mistakes
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: types
types: .venv/synced ## Types, strictly
	$(BIN)/mypy

.PHONY: imports
imports: .venv/synced ## Who may import whom
	$(BIN)/lint-imports

.PHONY: format
format: .venv/synced ## Put the code in order
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

.PHONY: docs
docs: .venv/synced ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

.PHONY: bench
bench: .venv/synced ## Run all benchmarks and print their figures, which takes hours
	$(UV) sync --frozen --quiet --group bench --group peers
	$(BIN)/python -m benchmarks.acquisition append
	$(BIN)/python -m benchmarks.acquisition parts
	$(BIN)/python -m benchmarks.acquisition rate
	$(BIN)/python -m benchmarks.acquisition latency
	$(BIN)/python -m benchmarks.acquisition small-large
	$(BIN)/python -m benchmarks.acquisition cameras
	$(BIN)/python -m benchmarks.engine overhead
	$(BIN)/python -m benchmarks.engine queue
	$(BIN)/python -m benchmarks.engine live
	$(BIN)/python -m benchmarks.engine runners
	$(BIN)/python -m benchmarks.engine queues
	$(BIN)/python -m benchmarks.cluster first
	$(BIN)/python -m benchmarks.cluster tls
	$(BIN)/python -m benchmarks.cluster slurm
	$(BIN)/python -m benchmarks.tiering disk
	$(BIN)/python -m benchmarks.tiering bucket
	$(BIN)/python -m benchmarks.tiering read
	$(BIN)/python -m benchmarks.tiering beside
	$(BIN)/python -m benchmarks.tiering policy
	$(BIN)/python benchmarks/detection_agreement.py
	$(BIN)/python -m benchmarks.ops
	$(BIN)/python benchmarks/gpu_ops.py

.PHONY: clean
clean: ## Remove what was built, and the demonstration's runs
	rm -rf build dist demo docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/synced: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --quiet --compile-bytecode
	@touch $@

.tools/uv/bin/uv:
	python3 -m pip install --quiet --disable-pip-version-check --target .tools/uv uv
