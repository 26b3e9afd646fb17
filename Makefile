# `make demo` and `make test` are all it takes on a fresh machine; each makes .venv if it is missing.
# They only wrap: python3 -m venv, pip install, and one program.
PYTHON ?= python3.11
PY := $(shell command -v $(PYTHON) 2>/dev/null || command -v python3)
BIN := .venv/bin

.PHONY: demo test lint clean
demo: .venv/.base
	$(BIN)/lgnet demo

test: .venv/.dev
	$(BIN)/pytest

lint: .venv/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright

.venv/bin/python:
	$(PY) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/.base: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch .venv/.base $@

clean:
	rm -rf .venv lgnet-demo
