# make lab: everything for a learner.  make test: everything for a maintainer.  make help: the rest.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup lab test pytest slow-test browser-test notebooks-test test-kind test-all check notebooks browser bench conformance lock programs-mod clean bump

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: .venv/.ready ## make .venv with the pinned dependencies

# uv where it is found, else Python's own venv and pip; one sentence where there is neither.
.venv/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "This needs Python 3.11 or newer, and $(PYTHON) is older: name another with 'make PYTHON=python3.12 $(or $(MAKECMDGOALS),setup)'."; exit 1; }
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" .venv && \
	  echo "Installing the pinned dependencies with uv ..." && \
	  VIRTUAL_ENV=.venv uv pip install --quiet --require-hashes -r requirements.txt && \
	  VIRTUAL_ENV=.venv uv pip install --quiet --no-deps --no-build-isolation -e . ; \
	elif $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	  $(PYTHON) -m venv .venv && \
	  echo "Installing the pinned dependencies with pip (about 2 minutes) ..." && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	else \
	  echo "$(PYTHON) comes without venv: install it (Debian and Ubuntu: apt install python3-venv), or install uv, and run this again."; exit 1; \
	fi
	@touch $@

lab: setup ## start the cluster and open JupyterLab on the notebooks; Ctrl-C ends both
	@exec $(BIN)/k8sext lab

check: setup ## ruff, pyright and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: check pytest notebooks-test ## all checks, unit and integration tests, and every notebook through nbval

# Side by side, as processors and memory allow; each with a cluster of its own. What fails is run again alone, only to tell a race from a
# plain defect: the exit code is that of the first run.
SIDE_BY_SIDE = $(BIN)/python -m tests.support.side_by_side tests --ignore=tests/browser

# Two kubelets are held against each other by what they do when: nothing may run beside them.
ALONE = $(BIN)/pytest tests/infra/kubelet/differential -m alone

pytest: setup ## the tests but those marked slow, and the browser's
	$(SIDE_BY_SIDE) -m "not slow"

slow-test: setup ## rounds of faults, rare accidents, other people's clusters, builds
	$(SIDE_BY_SIDE) -m "slow and not alone"
	$(ALONE)

# The browser's tests stand apart: Playwright keeps an event loop running, and no other may run beside it.
browser-test: setup ## notebooks in JupyterLab, where there is a Chromium
	$(BIN)/pytest tests/browser

notebooks-test: setup ## every notebook through strict nbval
	$(BIN)/python -m tests.notebooks --side-by-side

test-kind: setup ## every notebook, and the tests of nodes, on a real kind cluster
	$(BIN)/python -m tests.kind

test-all: check notebooks-test ## everything, with long rounds of faults; each notebook in a browser, twice, alone and in shuffled order
	$(BIN)/pytest tests --ignore=tests/browser --long -n auto --dist loadfile -m "not alone"
	$(ALONE) --long
	$(BIN)/pytest tests/browser --long
	$(BIN)/python -m tests.notebooks --alone --shuffled --twice

browser: setup ## open notebooks in JupyterLab with the system's Chromium
	$(BIN)/pytest tests/browser --require-browser

notebooks: setup ## run the MyST sources in notebooks/source and write notebooks/*.ipynb; one alone: NOTEBOOK=05
	$(BIN)/python -m tests.notebooks.make $(NOTEBOOK)

bench: setup ## measure, side by side with peers; prints medians and ratios
	$(BIN)/python -m benchmarks

conformance: setup ## the official judges, where they are on PATH
	$(BIN)/pytest tests/conformance

lock: setup ## pin the dependencies again, with hashes
	$(BIN)/python -m pip install --quiet uv 2>/dev/null || true
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes --group dev pyproject.toml \
	  -o requirements.txt --custom-compile-command 'make lock'
	$(BIN)/python -m tools.image_requirements

programs-mod: setup ## write the Go module of the programs anew, after a change of k8sext/versions.py
	$(BIN)/python -m tools.programs_module

clean: ## remove .venv and what tests left
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis dist

bump: setup ## another Kubernetes for the whole workbook: VERSION=1.37.3 [ETCD=3.7.4] [NODE_IMAGE=kindest/node:v...@sha256:...]
	$(BIN)/python -m tools.bump $(VERSION) $(ETCD:%=--etcd=%) $(NODE_IMAGE:%=--node-image=%)
