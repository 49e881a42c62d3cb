# Everything a newcomer types. The environment lives in .venv and is made on first use.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin

# Ports for `make demo`: the gateway's, where Prometheus in a container looks for it, and those of its providers.
DEMO_PORT ?= 8080
DEMO_PROVIDERS ?= 9001 9002

.PHONY: help install run demo up down test check format soak bench bench-selftest clean

help:
	@echo "make run     serve on :8080 (the built-in demo, or ./gateway.yaml)"
	@echo "make demo    serve docs/examples/demo.yaml on :8080, to tenants that never stop asking"
	@echo "make up      the whole stack in Docker, with traffic: http://localhost:3000 (admin, admin)"
	@echo "make down    stop it; what was stored stays"
	@echo "make test    run the tests"
	@echo "make check   lint, format, types, import layers"
	@echo "make soak    the figures on outages, overload and deploys at their full sizes"
	@echo "make bench   measure CPU, latency and memory against a raw TCP relay"

$(VENV)/run: setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/dev: $(VENV)/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

install: $(VENV)/run

run: $(VENV)/run
	@$(BIN)/python -m gateway serve

# Each time with a new ledger, so that the budget is there to run out. Ctrl-C ends both.
demo: $(VENV)/run
	@rm -f data/demo.db data/demo.db-wal data/demo.db-shm
	@$(BIN)/python -m gateway serve --config docs/examples/demo.yaml --port $(DEMO_PORT) & gateway=$$!; \
	trap 'kill $$gateway 2>/dev/null; wait $$gateway' EXIT; trap : INT TERM; \
	$(BIN)/python -m gateway traffic --url http://127.0.0.1:$(DEMO_PORT) --play $(DEMO_PROVIDERS)

up:
	docker compose --profile traffic up -d --build --wait

down:
	docker compose --profile traffic down

# Bytecode is kept even where the environment forbids it: the tests start many processes, which would all compile.
test: $(VENV)/dev
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: $(VENV)/dev
	$(BIN)/python -m pytest --soak tests/behaviour/test_outage.py tests/behaviour/test_breaker_story.py \
		tests/behaviour/test_hedging_story.py tests/behaviour/test_overload.py \
		tests/behaviour/test_handover.py tests/test_serving.py tests/behaviour/test_budgets.py \
		tests/stack/test_crash.py tests/stack/test_replicas.py tests/stack/test_redis_outage.py \
		tests/stack/test_database_outage.py tests/stack/test_observed.py

bench: $(VENV)/dev
	$(BIN)/python -m bench.run --write

bench-selftest: $(VENV)/dev
	$(BIN)/python -m bench.selftest

clean:
	rm -rf $(VENV) build dist *.egg-info bench/build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
