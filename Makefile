# `make help` lists the targets. VENV= and the settings, such as ALTOSTRATUS_STATE=, can be given.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV ?= $(shell deploy/venv-path .)
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.requirements
IMAGE_CACHE := .cache/image
DEFAULT_IMAGE := .cache/default.qcow2
# Each worker of the system tests has namespaces, a libvirt and a gateway of its own.
WORKERS ?= 2
# One prefix for what needs root; the settings go through it.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env)
# /usr/bin/python3 is Debian's own, which every user of the machine may run.
SYSTEM_PYTHON ?= /usr/bin/python3

.PHONY: help run install venv image kernel check test test-unit test-system lab bench conformance lock clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: install venv image ## run the gateway on this machine, all of it; Ctrl-C stops it
	@$(AS_ROOT) $(PYTHON) -m altostratus run --default-image $(abspath $(DEFAULT_IMAGE))

install: ## install the Debian packages that are missing
	@deploy/install

venv: install $(STAMP) ## make the virtual environment from the locked versions

$(STAMP): requirements.txt pyproject.toml
	@echo "making the virtual environment in $(VENV)"
	@$(if $(filter /opt/%,$(VENV)),$(AS_ROOT) ,)sh deploy/make-venv $(SYSTEM_PYTHON) $(VENV) .

ifneq ($(filter /opt/%,$(VENV)),)
# Outside the clone the code is a copy, brought up to date each time.
.PHONY: copy
copy: $(STAMP)
	@$(AS_ROOT) $(PYTHON) -m pip install --quiet --no-deps --force-reinstall --no-build-isolation .
venv: copy
endif

image: $(DEFAULT_IMAGE) ## build the default image (cached)

$(DEFAULT_IMAGE): $(shell find deploy/image -type f) | install
	@mkdir -p $(dir $@)
	deploy/image/build $@ --cache $(IMAGE_CACHE)

check: venv ## ruff, strict types, imports one way
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports

test: venv image kernel check test-unit test-system lab ## everything: checks, then unit tests, then the real machine's

test-unit: venv ## the tests that need no root and no daemons
	$(PYTHON) -m pytest tests/unit -n $(WORKERS)

test-system: venv image kernel ## PostgreSQL, libvirt, bridges, nftables, in namespaces of their own (root)
	$(AS_ROOT) deploy/isolated $(PYTHON) -m pytest tests/system --dist loadfile \
	  --tx "$(WORKERS)*popen//python=deploy/isolated $(PYTHON)" \
	|| { echo "once more, one after the other: what failed while guests competed for the cores"; \
	  $(AS_ROOT) deploy/isolated $(PYTHON) -m pytest tests/system --last-failed --last-failed-no-failures none; }

kernel: install ## fetch the lab machine's kernel (cached), which the tests do without a network
	@deploy/lab/kernel .cache/lab >/dev/null

lab: venv install kernel ## LIO, in a lab machine: a Debian kernel booted on this machine's own files (root)
	$(AS_ROOT) $(PYTHON) deploy/lab/run --seconds 1800 env PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(PYTHON) -m pytest \
	  -p pytest_timeout -p no:cacheprovider --confcutdir=tests/lab tests/lab

bench: venv image ## ratios against named yardsticks; writes bench.json (root)
	@bench/nginx .cache/nginx
	$(AS_ROOT) deploy/isolated $(PYTHON) -m bench

conformance: venv ## SUITE=occi (or cdmi) against URL=…, as USER_PASSWORD=name:password
	$(PYTHON) -m conformance $(or $(SUITE),occi) $(URL) $(if $(USER_PASSWORD),--user $(USER_PASSWORD),)

lock: venv ## resolve pyproject.toml into requirements.txt anew
	$(PYTHON) -m piptools compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links \
	  --extra dev --output-file requirements.txt pyproject.toml

clean: ## remove what was built in the clone; state and virtual environment stay
	rm -rf .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis bench.json
