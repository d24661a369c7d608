# `make run` and `make test` do everything on a fresh machine with Python 3.11 or later, git and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lab lab-all check format lock bench docs clean

run: $(VENV)/.runtime ## Serve the built-in agents at http://127.0.0.1:8700
	$(BIN)/goldenpath serve

test: $(VENV)/.dev node chromium nginx promtool ## Run every test (LONG=1: the long versions too)
	$(BIN)/python -m pytest $(if $(LONG),--long) $(ARGS)

lab: $(VENV)/.dev ## Judge a server of our own with 50 users (ARGS="run sustained --rate 50": something else)
	$(BIN)/goldenpath lab $(or $(ARGS),run golden_path --users 50)

lab-all: $(VENV)/.dev ## Every scenario against a server of our own, 41 minutes (ARGS="--longest 60": 8); the reports are in lab-all/TIME
	$(BIN)/goldenpath lab run all --out lab-all/$$(date +%Y%m%d-%H%M%S) $(ARGS)

check: $(VENV)/.dev ## Style, types, the direction of imports, the generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/reference.py --check

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev ## Write the reference pages from the code's registries
	$(BIN)/python scripts/reference.py

bench: $(VENV)/.dev ## Run the benchmarks (NAME=throughput: one of them) and write docs/performance.md
	$(BIN)/python -m bench $(NAME)

lock: $(VENV)/.dev ## Pin what pyproject.toml allows today
	sh scripts/lock.sh $(BIN)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "goldenpath needs Python 3.11 or later (Debian: apt-get install python3 python3-venv)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "goldenpath needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing (Debian: apt-get install python3-venv)"; rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.runtime

.PHONY: node chromium nginx promtool
node: tests/agui/node_modules/.installed
tests/agui/node_modules/.installed: tests/agui/package-lock.json
	@sh scripts/need.sh npm nodejs npm
	cd tests/agui && npm ci --silent --no-audit --no-fund
	@touch $@

chromium:
	@sh scripts/need.sh chromium chromium
	@case $$(uname -s) in Linux) sh scripts/need.sh libatomic.so.1 libatomic1 ;; esac # for playwright's own Node.js

nginx:
	@sh scripts/need.sh nginx nginx-light

promtool:
	@sh scripts/need.sh promtool prometheus

clean:
	rm -rf $(VENV) tests/agui/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
