# Everything starts from here: `make quickstart` and `make test` set up what they need.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help install quickstart test lint format web bench gpu wheels docs clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(STAMP) ## the environment in .venv

$(STAMP): pyproject.toml setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

quickstart: $(STAMP) ## sample data, three models, evaluation and a report in runs/quickstart
	$(BIN)/llave quickstart

lint: $(STAMP) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src/llave

test: lint ## lint and all tests (GPU tests skip themselves where there is none); TESTS='-m "not slow"' for the quick ones
	sh tests/install_packages.sh
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations 20 $(TESTS)

format: $(STAMP) ## apply ruff's fixes and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

web: $(STAMP) ## the page of llave serve, built anew from web/
	$(BIN)/python web/build.py

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
