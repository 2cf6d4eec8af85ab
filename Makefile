# run, test, lint, bench, faults: each works on a fresh machine (Linux, Python >= 3.11, make) and is quick the second time.
.PHONY: run test lint bench faults format clean
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$name; break; fi; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

run: $(VENV)/run-ready
	@exec $(BIN)/python run.py

# Browser tests run apart: Playwright keeps an event loop in its thread, where no other test could start one.
test: $(VENV)/dev-ready
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest -n 2 --ignore=tests/browser
	@$(BIN)/python -m pytest tests/browser
endif

lint: $(VENV)/dev-ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/dev-ready
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/dev-ready
	@$(BIN)/python tests/bench/run.py $(ARGS)

faults: $(VENV)/dev-ready
	@$(BIN)/python tests/faults/run.py $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then echo "Watchroom needs Python 3.11 or newer, and none was found: install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; fi
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "This Python cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/run-ready: requirements.txt | $(BIN)/python
	@echo "Installing what Watchroom needs into $(VENV), once ..."
	@$(PIP) install -r requirements.txt
	@touch $@

$(VENV)/dev-ready: requirements-dev.txt $(VENV)/run-ready
	@$(PIP) install -r requirements-dev.txt
	@touch $@
