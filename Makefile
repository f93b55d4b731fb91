.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format crds bench requirements clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

help:  ## Say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Make .venv with everything that the project needs

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet "uv>=0.9"; }
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup  ## Run a small search and fine-tuning requests on this machine (KEEP=1 leaves it running)
	$(BIN)/python -m demo $(if $(KEEP),--keep)

test: lint  ## Check the code, then run all tests (a real API server and a real S3 among them)
	$(BIN)/python -m pytest

lint: setup  ## Check style, types, the layers and the generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup  ## Put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

crds: setup  ## Generate crds/ and the chart's templates from the code
	$(BIN)/python -m nasoa_operator.crd
	$(BIN)/python -m nasoa_operator.install.chart

bench: setup  ## Measure what benchmarks/README.md tells, beside its peers
	$(BIN)/python benchmarks/run.py

requirements: setup  ## Lock the dependencies anew, with hashes and without addresses
	for extra in operator runtime dev; do \
		$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
			--python-version 3.11 --extra $$extra --custom-compile-command "make requirements" \
			--output-file requirements/$$extra.txt pyproject.toml; \
	done

clean:  ## Remove what was built here; the user's cache stays
	rm -rf $(VENV) demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
