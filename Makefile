.PHONY: run test lint setup clean
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp-setup
PYTHON ?= python3

help:
	@echo "make run | test | lint | setup | clean"

setup: $(STAMP)

# torchvision comes with crfm-helm as a CUDA build that a CPU-only torch cannot import; transformers then fails to
# import any model class. Nothing here needs it, so it is removed wherever it cannot be imported.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/python -c 'import torchvision' 2>/dev/null || $(BIN)/pip uninstall --quiet --yes torchvision
	@touch $@

run: setup
	$(BIN)/helm-efficiency quickstart

# The end-to-end tests compare times, so nothing else runs beside them.
test: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --ignore tests/end_to_end
	$(BIN)/python -m pytest -q tests/end_to_end

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV)
