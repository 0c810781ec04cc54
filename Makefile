# One door for everything. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .make
PIP := $(BIN)/pip --disable-pip-version-check --quiet
ARGS ?=
PYTEST := pytest -n 2 --dist loadfile --no-loadscope-reorder

# ---------------------------------------------------------------- set up

.PHONY: setup
setup: $(STAMPS)/setup $(STAMPS)/triton $(STAMPS)/magika ## the gateway, its benchmark and the managed Triton, without development tools

$(STAMPS)/venv:
	@mkdir -p $(STAMPS)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(STAMPS)/setup: $(STAMPS)/venv pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[cpu,bench]'
	@touch $@

# Where the platform has no Triton (aarch64, macOS) the build says so, and `--engine onnx` serves.
$(STAMPS)/triton: $(STAMPS)/setup service/runner/build.py constraints.txt
	$(BIN)/python -m service.runner.build --into .triton --constraints constraints.txt
	@touch $@

$(STAMPS)/magika: $(STAMPS)/setup models/manifests/magika.json
	$(BIN)/python -m models package magika
	@touch $@

.PHONY: dev
dev: setup $(STAMPS)/dev ## what training, export, publishing and the tests need besides

$(STAMPS)/dev: $(STAMPS)/setup pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --editable '.[cpu,bench,export,registry,tensorrt,dev]'
	@touch $@

.PHONY: constraints
constraints: ## refresh constraints.txt: the newest of everything that pyproject.toml allows
	rm -rf .make/fresh && $(PYTHON) -m venv .make/fresh
	.make/fresh/bin/pip install --quiet --editable '.[cpu,export,dev,bench,registry,tensorrt]'
	{ echo "# Made by 'make constraints'; everything that any extra but \`gpu\` installs, pinned."; \
	  .make/fresh/bin/pip freeze --exclude-editable | grep -v -e '^[#]' -e ' @ ' | sed 's/+cpu$$//'; } > constraints.txt
	rm -rf .make/fresh && $(PYTHON) -m venv .make/fresh
	.make/fresh/bin/pip install --quiet --constraint constraints.txt --editable '.[cpu]'
	{ echo "# Made by \`make constraints\`: what serving installs, pinned; for the bento and the image."; \
	  .make/fresh/bin/pip freeze --exclude-editable --exclude magika | grep -v -e '^[#]' -e ' @ '; } > requirements.txt
	rm -rf .make/fresh

.PHONY: bento
bento: setup ## build the bento, without a network
	$(BIN)/bentoml build

.PHONY: system-deps
system-deps: ## what apt brings for browser tests and load tools (root)
	@command -v chromium wrk nghttp >/dev/null && command -v prometheus >/dev/null || \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    chromium wrk nghttp2-client prometheus >/dev/null; }

# ---------------------------------------------------------------- run

.PHONY: serve
serve: setup ## serve triton_repo/ on http://127.0.0.1:3000 (ARGS='--port 8080' passes flags)
	exec $(BIN)/lupine serve $(ARGS)

.PHONY: bench
bench: setup ## hold a running gateway to benchmarks/sla.toml (ARGS='--quick', ARGS='--out DIR')
	exec $(BIN)/lupine bench $(ARGS)

# ---------------------------------------------------------------- check

.PHONY: lint
lint: $(STAMPS)/dev ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(STAMPS)/dev ## write the code as the formatter has it
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: test
test: setup lint ## everything that a change must pass (ARGS='-k name' picks tests)
	$(BIN)/python -m $(PYTEST) $(ARGS)

.PHONY: coverage
coverage: setup $(STAMPS)/dev ## which lines the tests run, in every process; takes 1.6 times as long
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m $(PYTEST) $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

# ---------------------------------------------------------------- evidence

.PHONY: evidence-%
evidence-%: setup $(STAMPS)/dev ## reproduce a published figure; topics below
	$(BIN)/python -m benchmarks.evidence $*

.PHONY: bench-peers
bench-peers: setup $(STAMPS)/dev ## beside other model servers (ARGS='--rounds 1', '--only mosec,triton', '--fresh'); goes on where it was interrupted
	$(BIN)/python -m benchmarks.peers $(ARGS)

# ---------------------------------------------------------------- the rest

.PHONY: clean
clean: ## remove what the targets above made
	rm -rf $(VENV) .triton .peers $(STAMPS) .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache *.egg-info triton_repo/magika/1

.PHONY: help
help:
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18
	@echo
	@echo "evidence topics:" && ls benchmarks/evidence/ 2>/dev/null | sed -n 's/^\([a-z_]*\)\.py$$/\1/p' | grep -v '^_' | tr _ - | sed 's/^/  evidence-/'
