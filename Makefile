# Everything happens in a virtual environment of its own; PYTHON chooses the interpreter, VENV the place.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
TEST_EXTRAS = export,openvino,eval,ray,toolkits,metrics,dev

.PHONY: demo test test-fast lint format clean

demo: $(VENV)/.export  ## export the default checkpoint, render a clip, track it, print the AO
	$(BIN)/mvt-deploy export --fp16
	$(BIN)/mvt-deploy demo

test: $(VENV)/.test  ## every test
	$(BIN)/python -m pytest

test-fast: $(VENV)/.test  ## the tests that take no more than a few seconds each
	$(BIN)/python -m pytest -m "not slow"

lint: $(VENV)/.test  ## style, types and import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.test  ## bring the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist demo models/mvt .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.export: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[export]'
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(TEST_EXTRAS)]'
	touch $@
