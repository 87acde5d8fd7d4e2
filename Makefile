# `make` lists what there is. Everything runs in .venv, which the first target that needs it makes.

PYTHON ?= python3
RUN := .venv/bin/python
# In the order of what they cost; the order in which `make test` runs them.
FAST_TESTS := tests/unit tests/plan
# Real database servers on loopback; they need the packages of `make test-packages`.
SERVER_TESTS := tests/servers
# What takes turns does so in `make test`, see tests/turns.py.
TURNS ?= today
LAB_TESTS := tests/lab_conda tests/lab tests/vagrant tests/image tests/gcp tests/e2e
# Seconds: a guard against a run that hangs, not a measure of how long it takes. SIGINT lets pytest clean up.
PYTEST = timeout --foreground --signal=INT --kill-after=120 $(1) $(RUN) -m pytest

# Without byte code each run of pyinfra takes half a second more, and the tests have hundreds of them.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help image venv packages test-packages demo demo-down lab lab-down static check audit test test-all kill-sweep bench bench-compare lock docs

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: .venv/requirements-dev.txt  ## make .venv with everything from requirements-dev.txt

# The copy is the stamp: it is written when the installation is complete.
.venv/requirements-dev.txt: requirements-dev.txt
	@echo "Installing requirements-dev.txt into .venv (a minute the first time)"
	@$(PYTHON) -m venv .venv
	@$(RUN) -m pip install -qq --no-compile --disable-pip-version-check --requirement requirements-dev.txt
	@cp requirements-dev.txt $@

packages:
	@$(PYTHON) scripts/packages.py

test-packages:
	@$(PYTHON) scripts/packages.py --tests

demo: packages venv  ## a host on this machine, deployed to, with a model trained and served (root)
	@$(RUN) -m lab.demo

demo-down: venv  ## remove all that the demo made
	@$(RUN) -m lab.demo down

lab: packages venv  ## one empty host on this machine, which inventory.py names (root)
	@$(RUN) -m lab up

lab-down: venv  ## remove the lab
	@$(RUN) -m lab down

image: venv  ## the tracking server's container image, by the settings image_* (buildah)
	@$(RUN) -m mlflow_stack image build

static: venv
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) scripts/lock.py --check
	$(RUN) scripts/settings_docs.py --check
	$(RUN) scripts/promises_docs.py --check
	$(RUN) scripts/secret_scan.py

check: static  ## the fast part of the tests: lint, types, locks, docs, secrets, unit, plan
	$(call PYTEST,900) $(FAST_TESTS)

audit: venv  ## known vulnerabilities of the locked packages (a network that reaches PyPI's feed)
	$(RUN) scripts/audit.py

test: export TURNS := $(TURNS)
test: test-packages static  ## all tests, on real hosts in the lab; some take turns, see tests/turns.py (root)
	$(call PYTEST,7200) --numprocesses=2 --dist=loadscope --no-loadscope-reorder $(LAB_TESTS) $(SERVER_TESTS) $(FAST_TESTS)

test-all:  ## the same without turns: hours (root)
	@$(MAKE) test TURNS=all

# CI does a part of it, another one each day.
kill-sweep: test-packages venv  ## kill a run at every operation, on clones: an hour (root)
	KILL_SWEEP=all $(call PYTEST,10800) --capture=no tests/e2e/test_kill_sweep.py

bench: packages venv  ## measure what bench/README.md lists (root)
	$(RUN) -m bench.noop
	$(RUN) -m bench.first_converge
	$(RUN) -m bench.footprint
	$(RUN) -m bench.proxy
	$(RUN) -m bench.object_store
	$(RUN) -m bench.image

bench-compare: packages venv  ## first and no-op runs beside Ansible and stock pyinfra (root, an hour)
	$(RUN) -m bench.compare

lock: venv  ## make locks/ and requirements*.txt from their sources
	$(RUN) scripts/lock.py

docs: venv  ## make docs/settings.md from group_data/all.py, and the lines of docs/promises.md
	$(RUN) scripts/settings_docs.py
	$(RUN) scripts/promises_docs.py
