# make demo | make quick | make test | make check | make docs | make format | make pages | make leaderboard | make clean
# Needs Python ≥ 3.11 and make; everything else is installed into $(VENV).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   ?= .demo
# Processes of `make test` and `make quick`.
JOBS   ?= 2
# Where the processes of `make test` leave the errors that they have seen.
ERRORS := build/recorded-errors

.PHONY: demo quick test check docs leaderboard map pages format clean

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

# Two submissions race to the target of two workloads; then the leaderboard and report.html. Given again, finished runs are kept.
demo: $(VENV)/installed
	$(BIN)/bench run --submission wsd,adamw-cosine --workload resnet-digits,lm-tiny --runs $(DEMO)/runs
	@echo
	$(BIN)/bench leaderboard --runs $(DEMO)/runs --results $(DEMO)/results
	@echo
	$(BIN)/bench report report.html --runs $(DEMO)/runs --results $(DEMO)/results

# The table of the published records; tests/report/test_published.py fails when it is stale.
leaderboard: $(VENV)/installed
	$(BIN)/bench leaderboard --runs none --results results --format md > results/.LEADERBOARD.md
	mv results/.LEADERBOARD.md results/LEADERBOARD.md

# While editing: every test that is not marked slow. One thread for each process, or they would take the cores from each
# other. The doctest that is left out runs trials.
quick: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow" -n $(JOBS) --deselect harness/execution/run_trials.py

# All tests, with the tests of a file in the same process. Then one process judges the errors that they have raised.
test: $(VENV)/installed
	rm -rf $(ERRORS)
	OMP_NUM_THREADS=1 RECORDED_ERRORS=$(ERRORS) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --ignore tests/test_error_messages.py
	RECORDED_ERRORS=$(ERRORS) $(BIN)/python -m pytest tests/test_error_messages.py

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.check_links
	$(BIN)/python -m tools.draw_map --check
	$(BIN)/python -m tools.count_names
	$(MAKE) docs

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@

# The site, in build/site. A broken link, a page outside the navigation or a missing name of the API is an error.
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Generated pages and pictures; a test fails if one is stale.
map: $(VENV)/installed
	$(BIN)/python -m tools.draw_map

pages: map
	$(BIN)/python -m tools.make_methods
	$(BIN)/python -m tools.make_calibration
	$(BIN)/python -m tools.make_power
	$(BIN)/python -m tools.make_workload_list
	$(BIN)/python -m tools.make_decisions
	$(BIN)/python -m tools.make_rules
	$(BIN)/python -m tools.make_threats
	$(BIN)/python -m tools.make_commands
	$(BIN)/python -m tools.make_records
	$(BIN)/python -m tools.make_hooks

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(DEMO) report.html runs build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
