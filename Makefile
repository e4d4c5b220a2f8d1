# Needs a Python of 3.10 or newer with pip; everything else goes into .venv, made here once.
#
#   make demo     the article's table, measured on this machine
#   make test     the test suite; make test ARGS="-k spec" runs a part of it
#   make lint     ruff and mypy
#   make gpu      CUDA tests and the article's pair in every setting, on a GPU, in eight minutes;
#                 make gpu FOLDER=reports/mine says where the reports go
#   make clean    removes .venv
#
# PYTHON=/path/to/python chooses the interpreter that .venv is made from.

SHELL := bash
.DEFAULT_GOAL := help
FOLDER ?= reports/gpu
.PHONY: help demo test lint gpu clean

BIN := .venv/bin
ARGS ?=
export PYTHON

# A stamp for each set of packages, so that the demo waits for no development tool.
RUNTIME := .venv/.runtime
DEV := .venv/.dev

help:
	@sed -e '/^$$/q' -e 's/^#  *//' -e 's/^#//' Makefile

demo: $(RUNTIME)
	@$(BIN)/detrbench run article

# Few workers: each of them loads torch, and runs it on one thread.
test: $(DEV)
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

gpu: $(DEV)
	@PYTHON=$(BIN)/python bash benchmarks/on_gpu.sh $(FOLDER)

clean:
	rm -rf .venv

$(RUNTIME): pyproject.toml
	@bash .ci/environment . "what detrbench runs on"
	@touch $@

$(DEV): pyproject.toml
	@bash .ci/environment ".[dev]" "the development tools"
	@touch $(RUNTIME) $@
