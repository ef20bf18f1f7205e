.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

help: ## show this
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP) ## make .venv with the stream-infer command

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "stream-infer needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@# compiled once here: where Python may write no bytecode (many container images say so) each of a start's dozen
	@# processes would compile all it imports, which takes longer than the rest of the start
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q stream_infer
	@touch $@
	@$(MAKE) --no-print-directory parts

parts: ## list the servers that this machine can start, and the commands that bring the others
	@command -v docker >/dev/null && echo "Docker: installed" || true
	@command -v java >/dev/null && command -v mvn >/dev/null && echo "Kafka: Java and Maven are installed" || echo "Kafka: install Docker, or apt-get install default-jre-headless maven; without them the demo and the tests run without Kafka"
	@command -v go >/dev/null && echo "S3: Go is installed (versitygw)" || echo "S3: moto is used; install Docker or Go for a faster server"
	@command -v prometheus >/dev/null && command -v promtool >/dev/null && echo "Prometheus: installed" || echo "Prometheus: apt-get install prometheus; without it tests of dashboards and alerts are skipped"
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null && echo "Chromium: installed" || echo "Chromium: apt-get install chromium; without it tests of the status page in a browser are skipped"
	@command -v pg_ctl >/dev/null || ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1 && echo "PostgreSQL: installed" || echo "PostgreSQL: apt-get install postgresql; without it tests of a PostgreSQL ledger are skipped"

demo: install ## start a broker, an S3 server and the service, and watch records flow
	@$(BIN)/stream-infer demo

test: install ## every test but the long ones; ends with what was skipped and the command that brings it
	@$(BIN)/python -m pytest -q -m "not chaos and not soak"

lint: install ## ruff, mypy strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: install ## let ruff rewrite
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

chaos: install ## kill, cut and fill things while the service runs
	@$(BIN)/python -m pytest -q -m chaos

soak: install ## an hour of steady load with a fault every half minute (STREAM_INFER_SOAK_MINUTES)
	@$(BIN)/python -m pytest -q -s -m soak

mutants: install ## plant one fault at a time in a copy of the code: the tests must notice each
	@$(BIN)/python -m tests.mutation

bench: install ## measure every row beside its peers
	@$(BIN)/python -m benchmarks

bench-quick: install ## the same rows with smaller sizes, within minutes
	@$(BIN)/python -m benchmarks --quick

dashboards: install ## regenerate Grafana's dashboards and Prometheus' rules
	@$(BIN)/python -m grafana.build

docs: install ## regenerate the reference pages of docs/
	@$(BIN)/python -m docs.build

lock: $(STAMP) ## recompile requirements.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --all-extras pyproject.toml -o requirements.txt

clean: ## remove the environment and caches
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

.PHONY: help install parts demo test lint format chaos mutants soak bench bench-quick dashboards docs lock clean
