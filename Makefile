# The two commands of the README, and what they need. `make demo`, `make test`,
# and what they measure of themselves: `make coverage`, `make validation`,
# `make performance`, `make load`, `make endurance`, `make fuzz`. `make audit` asks after known
# weaknesses. `make firmware` builds the pilot emulator's firmware.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint coverage validation performance load bus endurance fuzz firmware audit clean

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

# The fault matrix goes by the warp clock alone and takes a core for minutes: it is run beside the
# rest, and what it says is shown after it.
MATRIX := tests/faults/test_matrix.py
test: lint
	@mkdir -p build
	@$(BIN)/pytest $(MATRIX) >build/matrix.txt 2>&1 & matrix=$$!; \
	    trap "kill $$matrix; exit 130" INT TERM; \
	    $(BIN)/pytest --ignore $(MATRIX); rest=$$?; \
	    wait $$matrix; matrix=$$?; cat build/matrix.txt; \
	    exit $$((rest != 0 || matrix != 0))

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
