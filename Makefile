# Leulo. `make help` lists what there is; every target sets up what it needs first.
# The environment is $(VENV); PYTHON=/path/to/python3.11 chooses another interpreter.

SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/leulo-installed
GUEST := $(shell find guest_kernel -type f 2>/dev/null) leulo/hypercalls/abi.py leulo/image.py leulo/line_table.py
IMAGE := leulo/_image/guest.img
PORT ?= 8080
PYTEST_ARGS ?= -n 2
FUZZ_SECONDS ?= 600
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help compiled boot boot-check test check fuzz format bench image doctor docs fast test-fast bench-fast generate wheel wheel-fast clean distclean

help: ## this list
	@echo "make boot         boot the guest, fetch its page, stay on its console (Ctrl-A x ends)"
	@echo "make boot-check   the same without the console: exits 0 when the page came"
	@echo "make test         what CI runs: make check, then every test; pytest's summary is last"
	@echo "make check        lint, format, types, import rules, project rules; no tests"
	@echo "make fuzz         a million hypercalls, a million frames, ten minutes of atheris: about half an hour"
	@echo "make bench        the figures: guest speed, hypercalls, connections, bulk (root)"
	@echo "make fast         the engine compiled by mypyc, in build/fast; test-fast and bench-fast use it"
	@echo "make image        build the guest image, if its sources changed"
	@echo "make doctor       what this computer offers and lacks"
	@echo "make generate     what is generated from the code: ABI header, reference pages"
	@echo "make docs         the documentation as HTML pages, in build/docs"
	@echo "make format       let ruff format the sources"
	@echo "make wheel        an installable wheel in dist/, with the guest image inside"
	@echo "make wheel-fast   the same compiled, for this Python on this kind of machine"
	@echo "make clean        remove what was built; make distclean the environment too"
	@echo "PORT=8081 make boot takes another port of this computer."

$(STAMP): pyproject.toml tools/environment.sh tools/environment.py
	@sh tools/environment.sh "$(VENV)" "$(PYTHON)"
	@touch $(STAMP)

$(IMAGE): $(STAMP) $(GUEST)
	@$(BIN)/leulo image build
	@touch $(IMAGE)

image: $(IMAGE) ## the guest image

compiled: $(STAMP) # halves the time to start, where Python itself keeps no bytecode
	@$(BIN)/python -m compileall -q leulo || true

boot: $(STAMP) $(IMAGE) compiled
	@$(BIN)/python tools/boot_check.py --port $(PORT) --stay

boot-check: $(STAMP) $(IMAGE) compiled
	@$(BIN)/python tools/boot_check.py --port $(PORT)

test: check compiled
	@$(BIN)/python tools/environment.py --tools test
	@$(BIN)/python tools/mended_qemu.py || true
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP) $(IMAGE)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python tools/check_project.py
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs

# FUZZ_ARGS='--count 50000 --coverage' for the first two, FUZZ_SECONDS for the fuzzer: it can be shorter
fuzz: $(STAMP) ## a hostile guest, hostile links, and everything that reads an enemy's bytes
	@$(BIN)/python tests/hypercalls/fuzz_run.py $(FUZZ_ARGS)
	@$(BIN)/python tests/fuzz/frames_run.py $(FUZZ_ARGS)
	@LEULO_WIRE_EXAMPLES=1000 $(BIN)/python -m pytest -q tests/tcp/test_hostile_wire.py
	@$(BIN)/python tests/fuzz/fuzz_all.py --seconds $(FUZZ_SECONDS)

bench: $(STAMP) $(IMAGE) compiled
	@$(BIN)/python tools/environment.py --tools bench
	@$(BIN)/python -m leulo.bench $(BENCH_ARGS)

fast: $(STAMP) $(IMAGE)
	@$(BIN)/python tools/fast.py

test-fast: fast
	@PYTHONPATH=$(CURDIR)/build/fast:$(CURDIR)/tests/system PYTHONSAFEPATH=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

bench-fast: fast
	@PYTHONPATH=$(CURDIR)/build/fast PYTHONSAFEPATH=1 $(BIN)/python -m leulo.bench $(BENCH_ARGS)

doctor: $(STAMP) $(IMAGE)
	@$(BIN)/leulo doctor

format: $(STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

generate: $(STAMP)
	@$(BIN)/python tools/generate_abi.py
	@$(BIN)/python tools/generate_conformance.py
	@$(BIN)/python tools/generate_reference.py

docs: $(STAMP) $(IMAGE) ## the documentation as pages, in build/docs
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

wheel-fast: $(STAMP) # compiled: for this Python on this kind of machine
	@LEULO_MYPYC=1 $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

wheel: $(STAMP)
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

clean:
	rm -rf build dist leulo/_image .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .coverage
	find leulo tests tools -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
