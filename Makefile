# The commands a newcomer needs. Each sets up what it needs by itself: `make demo` and `make test` work on a fresh clone
# with Python 3.11 or newer, make and a package index.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test survive lint vulnerabilities docs bench containers format wheel lock clean help

help:
	@echo "make demo         a whole small network on this machine; Ctrl-C ends it (make demo ONCE=1 ends by itself)"
	@echo "make test         all tests (make test T=tests/consent: one room, in seconds)"
	@echo "make survive      take guards out, kill, fill, cut and load for hours; M=claim-links: one guard, S=killed: one run"
	@echo "make lint         formatting, lint, types, layers, links of the pages"
	@echo "make vulnerabilities  ask for known vulnerabilities of what is pinned, where the service can be reached"
	@echo "make docs         the pages as HTML, in build/docs"
	@echo "make bench        measure, as ratios against a baseline in the same run"
	@echo "make containers   build the images and run three organisations in containers, with checks; as root on Debian"

# What runs needs; what development needs beside it. Both are pinned with hashes.
$(VENV)/.installed: requirements.lock pyproject.toml
	@scripts/check-python $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/yhdyspinta demo $(if $(ONCE),--once) $(if $(STATE),--state $(STATE))

# T=PATH is for the inner loop: that much alone, in one process, with few examples for each property. Without it, all,
# with two fifths of the examples; `make survive S=properties` tries all of them.
test: $(VENV)/.installed-dev
ifdef T
	@$(BIN)/pytest -n 0 --hypothesis-profile fast $(PYTEST_ARGS) $(T)
else
	@scripts/install-test-parts
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder --hypothesis-profile full $(PYTEST_ARGS)
endif

# M="NAME NAME" is for some guards, S="NAME NAME" for some runs; S="--short" does the short forms. All of it takes hours.
survive: $(VENV)/.installed-dev
ifdef M
	@$(BIN)/python scripts/mutants $(M)
else
	@scripts/install-test-parts
	@$(BIN)/python scripts/survive $(S)
endif

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/docs.py --check

# Not a part of lint, which asks no other host.
vulnerabilities: $(VENV)/.installed-dev
	@$(BIN)/python scripts/vulnerabilities

docs: $(VENV)/.installed-dev
	@$(BIN)/python scripts/docs.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev
	$(BIN)/python -m bench $(BENCH_ARGS)

containers:
	@scripts/check-python $(PYTHON)
	@$(PYTHON) docker/containers.py

wheel: $(VENV)/.installed
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

# Pin every dependency again, with hashes.
lock: $(VENV)/.installed-dev
	scripts/lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* htmlcov
