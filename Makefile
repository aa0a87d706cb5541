# Everything runs in .venv, which the targets make and fill themselves: a fresh machine needs Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?=
TESTS ?= tests
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help run test check fault fuzz bench conformance docs clean

help: ## Show what can be made
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/run.stamp: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vcsproxy needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[check]'
	@touch $@

run: $(VENV)/run.stamp ## Serve modules on http://127.0.0.1:3000 (CONFIG=vcsproxy.toml to use a configuration)
	@$(BIN)/vcsproxy serve $(if $(CONFIG),--config $(CONFIG))

test: $(VENV)/dev.stamp ## Run the tests (TESTS=tests/unit for a part)
	$(BIN)/python -m pytest -q -n $(JOBS) $(TESTS) --ignore=tests/fault

check: $(VENV)/dev.stamp ## Lint, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fault: $(VENV)/dev.stamp ## Kill and starve the store at every system call (needs strace)
	$(BIN)/python -m pytest -q tests/fault

fuzz: $(VENV)/dev.stamp ## Property and oracle tests with many more examples (minutes)
	VCSPROXY_FUZZ=1 $(BIN)/python -m pytest -q -n $(JOBS) tests/property tests/oracle --timeout=3000

bench: $(VENV)/dev.stamp ## Compare side by side with go in direct mode and with file servers (ARGS="cold --mirrors DIR --json FILE")
	$(BIN)/python -m bench $(ARGS)

conformance: $(VENV)/dev.stamp ## Compare with recorded answers of go: CHECKER=check.py EXPECTED='a.jsonl b.jsonl' MIRRORS=dir SYNTH=dir
	$(BIN)/python -m tests.conformance --checker '$(CHECKER)' --mirrors '$(MIRRORS)' --synth '$(SYNTH)' $(EXPECTED) $(ARGS)

docs: $(VENV)/dev.stamp ## Run every snippet of README and docs
	$(BIN)/python -m pytest -q tests/docs

clean: ## Remove everything that make made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
