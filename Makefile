# The README's commands. Everything is installed into this folder: .tools/ (uv) and .venv/ (the project).
SHELL := /bin/bash
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .tools/bin/uv
RUN := .venv/bin
STAMP := .venv/.synced
PEERS := benchmarks/ingest/peers
PEERS_STAMP := .tools/peers/.synced

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(STAMP): $(UV) pyproject.toml uv.lock
	$(UV) sync --locked --quiet
	@touch $@

.PHONY: setup
setup: $(STAMP) ## Install everything into .venv

.PHONY: demo
demo: setup ## From nothing to an answer with citations, then keep the stack running (KEEP=0: stop)
	$(RUN)/mindset demo $(if $(filter 0,$(KEEP)),--no-keep)

.PHONY: up down status
up: setup ## Start the local stack and return
	$(RUN)/mindset up --detach
down: setup ## Stop the local stack
	$(RUN)/mindset down
status: setup ## Show the local stack's servers
	$(RUN)/mindset status

.PHONY: test
test: setup ## Run all tests, against real servers
	$(RUN)/pytest -n 2 --dist loadgroup

.PHONY: faults
faults: KILLS ?= 500
faults: SEED := $(or $(SEED),$(shell date +%s))
faults: setup ## Kill nights, maintenance and servers at any moment (KILLS=500, SEED= of an earlier run)
	MINDSET_FAULT_KILLS=$(KILLS) MINDSET_FAULT_SEED=$(SEED) $(RUN)/pytest tests/faults tests/e2e/test_kills_through_prefect.py -n 2 --dist loadgroup --verbose --show-capture=no

.PHONY: format lint types check
format: setup ## Format the code
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix-only --quiet .
lint: setup ## Check style, security and import rules
	$(RUN)/ruff format --check --quiet .
	$(RUN)/ruff check --quiet .
	$(RUN)/bandit --quiet --severity-level medium --recursive --configfile pyproject.toml mindset blocks flows api cli local_stack
	$(RUN)/lint-imports
types: setup ## Check types
	$(RUN)/mypy mindset blocks flows api cli local_stack tests benchmarks
check: lint types ## Check everything but behaviour
	$(UV) lock --check --quiet
	$(UV) build --quiet --out-dir .tools/dist

# The libraries of the comparison have their own environment: 150 packages that nothing else needs.
$(PEERS_STAMP): $(STAMP) $(PEERS)/pyproject.toml $(PEERS)/uv.lock
	UV_PROJECT_ENVIRONMENT=$(abspath .tools/peers) UV_LINK_MODE=copy \
	  $(UV) sync --locked --quiet --project $(PEERS) --python $(abspath $(RUN)/python)
	@touch $@

.PHONY: bench-quality bench-search bench-serving bench-index bench-night bench-ingest bench-growth
bench-quality: setup ## Measure retrieval and extractive answers, compared with textbook methods (OPTIONS="--help")
	$(UV) sync --locked --quiet --group quality
	$(RUN)/python -m benchmarks.quality $(OPTIONS)
bench-search: setup ## Measure /v1/search at 100,000 chunks, compared with bare Chroma (OPTIONS="--help")
	$(RUN)/python -m benchmarks.search $(OPTIONS)
bench-serving: setup ## Measure the overhead of serving, a thousand streams, promotions under load, SIGTERM (OPTIONS="--help")
	$(RUN)/python -m benchmarks.serving $(OPTIONS)
bench-index: setup ## Measure recall and cost of HNSW settings
	$(RUN)/python -m benchmarks.index_recall
bench-night: setup ## Measure nights over the guides
	$(RUN)/python -m benchmarks.nights
bench-ingest: setup $(PEERS_STAMP) ## Measure ingestion, compared with LlamaIndex, Haystack and LangChain (OPTIONS="--help")
	$(RUN)/python -m benchmarks.ingest $(OPTIONS)
bench-growth: setup ## Measure how costs grow to 100,000 documents (OPTIONS="--long": also to a million vectors)
	$(RUN)/python -m benchmarks.growth $(OPTIONS)
