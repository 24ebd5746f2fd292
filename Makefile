# Everything starts from here: `make quickstart` and `make test` set up what they need.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
RUNS := .venv/.runs

# A torch without CUDA that is there already stays: it is a tenth of the download. To have it, before anything else:
#   python3 -m venv .venv && .venv/bin/pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
OWN_TORCH = $(BIN)/python -c 'import sys, torch; sys.exit(torch.version.cuda is not None)' 2>/dev/null
PINS = $(OWN_TORCH) && grep -vE '^(torch|torchvision|triton|nvidia-|cuda-)' constraints.txt > .venv/pins.txt \
	|| cp constraints.txt .venv/pins.txt

# Python keeps what it compiles at the first import, unless it is told not to; then every process would compile anew, which
# doubles the time of an import. compileall does it on all cores, pip on one.
COMPILE = test -z "$$PYTHONDONTWRITEBYTECODE" || $(BIN)/python -m compileall -q -j 0 .venv/lib > .venv/compiled.log || true

.PHONY: help install quickstart test lint format web site dist bench gpu wheels docs clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(STAMP) ## the environment in .venv, with all that the tests use

$(STAMP): pyproject.toml setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PINS)
	$(BIN)/python -m pip install --quiet --no-compile -c .venv/pins.txt -e '.[dev]'
	$(COMPILE)
	touch $@ $(RUNS)

$(RUNS): pyproject.toml setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PINS)
	$(BIN)/python -m pip install --quiet --no-compile -c .venv/pins.txt -e '.[sample,media,serve]'
	$(COMPILE)
	touch $@

quickstart: $(RUNS) ## sample data, three models, evaluation and a report in runs/quickstart
	$(BIN)/llave quickstart

lint: $(STAMP) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src/llave

test: lint ## lint and all tests (GPU tests skip themselves where there is none); TESTS='-m "not slow"' for the quick ones
	sh tests/install_packages.sh
	$(BIN)/python -m tests.storage.azurite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations 20 $(TESTS)

format: $(STAMP) ## apply ruff's fixes and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

web: $(STAMP) ## the page of llave serve, built anew from web/
	$(BIN)/python web/build.py

site: $(STAMP) ## the documentation as a site: build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dist: $(STAMP) ## source archive and wheel, the page in it, in dist/
	$(BIN)/python -m build --outdir dist .

bench: $(STAMP) ## speed of the nano model, of a training step and of the loss on this machine
	$(BIN)/python benchmarks/nano.py
	$(BIN)/llave bench train
	$(BIN)/llave bench loss

gpu: ## what a GPU does, in eight minutes, to benchmarks/results/gpu.json; GPU=--small rehearses it on a CPU
	PYTHONPATH="src:.:$$PYTHONPATH" $(or $(wildcard $(BIN)/python),$(PYTHON)) -m benchmarks.gpu $(GPU)

WHEEL_PYTHON ?= 3.12
wheels: $(STAMP) ## in .wheels, for `make gpu`: what a machine with torch, transformers and pytest alone lacks
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: -c constraints.txt -d .wheels \
	  --implementation cp --python-version $(WHEEL_PYTHON) \
	  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
	  sentence-transformers datasets dill multiprocess jsonargparse docstring-parser typeshed-client \
	  importlib-resources pydantic pydantic-core annotated-types typing-inspection fastapi starlette uvicorn \
	  opentelemetry-api python-multipart num2words

docs: $(STAMP) ## tables of README and docs from benchmarks/results, pictures from runs/quickstart
	$(BIN)/python -m benchmarks.pages
	$(BIN)/python docs/refresh.py

clean: ## remove the environment and all runs
	rm -rf .venv runs
