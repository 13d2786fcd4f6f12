# The two commands of the README, and what they need. `make demo`, `make test`,
# and what they measure of themselves: `make coverage`, `make validation`,
# `make performance`, `make endurance`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint coverage validation performance endurance clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable .
	@touch $(READY)

demo: $(READY)
	$(BIN)/hil demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: lint
	$(BIN)/pytest

coverage: $(READY)
	$(BIN)/python tests/measurement/coverage_study.py

validation: $(READY)
	$(BIN)/python tests/faults/validate.py

performance: $(READY)
	$(BIN)/python tests/performance/measure.py

endurance: $(READY)
	$(BIN)/python tests/faults/endurance.py

clean:
	rm -rf $(VENV) build runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
