# One command does each thing. `make` alone lists them.

VENV   := .venv
BIN    := $(VENV)/bin
# The first Python on this machine that is new enough.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,\
            $(shell $(p) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
# Where `make run` keeps its server: the user's data directory unless told otherwise.
DATA_DIR ?= $(shell $(BIN)/python -c 'from homeserver import config; print(config.default_data_dir())')
# The tests that need no server and no peer: rules, storage, habits.
FAST   := tests/unit tests/storage tests/test_house_rules.py
SOURCES := homeserver api federation migrations tests

# Tests and benchmarks start servers by the hundred: what was compiled once is used again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test check lint format bench simulate scale demo drawings migration clean

help:  ## List what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.runs  ## Start your own server; the first time it is set up too
	@test -e "$(DATA_DIR)/config.yaml" || $(BIN)/homeserver init --data-dir "$(DATA_DIR)"
	@exec $(BIN)/homeserver run --config "$(DATA_DIR)/config.yaml"

test: $(VENV)/.develops  ## Run every test that this machine can run
	$(BIN)/pytest -m alone  # what measures time, while nothing else runs
	$(BIN)/pytest -n 2 --dist loadfile -rs -m "not alone"

check: lint  ## Look for mistakes: what `lint` looks for, and fast tests
	$(BIN)/pytest -n 2 $(FAST)

lint: $(VENV)/.develops  ## Look at the text alone: format, lint, types, layers
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.develops  ## Put the code into its one form
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: $(VENV)/.develops  ## Measure one server, two and large rooms; fails where a bound is missed
	$(BIN)/python -m tests.benchmark

simulate: $(VENV)/.develops  ## Run several servers in one process through loss, delay and crashes
	$(BIN)/pytest -n 2 tests/simulation --seeds 5

scale: $(VENV)/.develops  ## Measure what a server costs among 1,000 (some minutes)
	$(BIN)/homeserver simulate scale --servers 10 --servers 100 --servers 1000

demo: $(VENV)/.develops  ## Watch Alice's and Bob's servers meet and talk on this machine
	$(BIN)/homeserver demo

drawings: $(VENV)/.develops  ## Renew the drawings in docs/protocol from the code
	$(BIN)/python -m federation.consent_drawing docs/protocol/consent.md

migration: $(VENV)/.develops  ## Write the next migration: make migration name=add_pushers
	@test -n "$(name)" || { echo 'say what it does: make migration name=add_pushers'; exit 2; }
	$(BIN)/python -m migrations "$(name)"
	$(BIN)/ruff check --quiet --fix migrations
	$(BIN)/ruff format migrations

clean:  ## Forget the environment and everything cached; never touches a server
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Each stamp stands for one finished installation and is made again when pyproject.toml changes.
.DELETE_ON_ERROR:

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo 'This needs Python 3.11 or newer with venv (Debian: python3-venv).'; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Install the project with an extra. Where python-olm has no wheel (Alpine, say), everything else is
# installed, and vodozemac in its place.
PIP = $(BIN)/python -m pip --disable-pip-version-check install -q
define install
	@echo 'Installing into $(VENV)/ …'
	@$(PIP) --only-binary python-olm -e '.$(if $(1),[$(1)])' || { \
	  echo 'That failed. Trying again without python-olm …'; \
	  $(BIN)/python -c 'import tomllib; \
	    project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	    needs = project["dependencies"] + project["optional-dependencies"].get("$(1)", []); \
	    print("vodozemac>=0.10", *(n for n in needs if "olm" not in n), sep="\n")' > $(VENV)/needs.txt \
	  && $(PIP) -r $(VENV)/needs.txt && $(PIP) --no-deps -e .; }
endef

$(VENV)/.runs: pyproject.toml | $(VENV)/bin/python
	$(call install,)
	@touch $@

$(VENV)/.develops: pyproject.toml | $(VENV)/bin/python
	$(call install,dev)
	@touch $@ $(VENV)/.runs
