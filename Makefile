# The two commands of the README, and what they need. `make demo`, `make test`,
# and what they measure of themselves: `make coverage`, `make validation`,
# `make performance`, `make load`, `make endurance`, `make fuzz`. `make audit` asks after known
# weaknesses. `make firmware` builds the pilot emulator's firmware.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint coverage validation performance load bus endurance fuzz firmware audit clean \
    tests-lint tests-rest tests-matrix tests-faults tests-measurement tests-unit

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

# Lint and the suite in parts, two at a time for two cores, the longest first. A part has ports and
# folders of its own; what is in no other one is in the rest. What a part says stands in `build` while
# it runs, and is shown when it is through, or at the end if something failed.
PARTS := lint rest matrix faults measurement unit
tests-lint: RUN = env MAKEFLAGS= $(MAKE) --no-print-directory lint
tests-rest: RUN = $(PYTEST) --ignore tests/faults --ignore tests/measurement --ignore tests/unit
tests-matrix: RUN = $(PYTEST) tests/faults/test_matrix.py
tests-faults: RUN = $(PYTEST) tests/faults --ignore tests/faults/test_matrix.py
tests-measurement: RUN = $(PYTEST) tests/measurement
tests-unit: RUN = $(PYTEST) tests/unit
PYTEST = $(BIN)/pytest -p no:cacheprovider

# Or each process that a test starts would compile all of hil anew.
unexport PYTHONDONTWRITEBYTECODE

test: $(READY)
	@mkdir -p build && rm -f build/tests-*.txt
	@$(MAKE) --no-print-directory --jobs 2 --keep-going $(PARTS:%=tests-%) || \
	    { cat build/tests-*.txt; exit 1; }

$(PARTS:%=tests-%): tests-%:
	@echo "$*: begun"
	@exec $(RUN) >build/$@.txt 2>&1
	@echo "$*:" && cat build/$@.txt && rm build/$@.txt

coverage: $(READY)
	$(BIN)/python tests/measurement/coverage_study.py

validation: $(READY)
	$(BIN)/python tests/faults/validate.py

performance: $(READY)
	$(BIN)/python tests/performance/measure.py

load: $(READY)
	$(BIN)/python tests/performance/load.py

# In an environment of its own: the auditor is no dependency. Strict: a package that the advisory
# service does not tell of counts as not audited, and that fails.
AUDIT := .audit
audit:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet "pip-audit==2.10.1"
	@$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off \
	    --requirement constraints.txt && echo "audit: no known weakness in constraints.txt" || \
	{ echo "audit: FAILED. Either a package above has a known weakness: raise its version in" \
	    "constraints.txt. Or the advisory service could not be asked: then nothing was audited," \
	    "and it has to be done where the service can be reached." >&2; exit 1; }

bus: $(READY)
	$(BIN)/python tests/performance/bus.py

endurance: $(READY)
	$(BIN)/python tests/faults/endurance.py

fuzz: $(READY)
	$(BIN)/python tests/faults/fuzz_frames.py

# Needs gcc-avr, avr-libc and, for the simulator, libsimavr-dev, libelf-dev and pkg-config.
firmware:
	$(MAKE) --directory firmware_stubs/pilot_emulator BUILD=$(CURDIR)/build/firmware

clean:
	rm -rf $(VENV) $(AUDIT) build runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
