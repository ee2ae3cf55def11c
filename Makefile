# Two commands do everything on a fresh Debian 12 machine, as root: `make up` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := containerd runc containernetworking-plugins nftables busybox-static iproute2 conntrack mmdebstrap python3-venv
TEST_PACKAGES := prometheus ipmitool stress-ng
BENCH_PACKAGES := wrk
DATA ?= ../shared/data
KILLS ?= 200
SEED ?= 20261129

.PHONY: help setup up down demo test proofs faults check fmt lock bench experiments clean packages

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

setup: packages $(VENV)/.ready  ## install everything into .venv, start nothing

packages:
	@missing=""; for p in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" != 0 ]; then echo "missing Debian packages:$$missing (run make setup as root)" >&2; exit 1; fi; \
	  echo "installing Debian packages:$$missing"; export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

$(VENV)/.ready: requirements.lock requirements-dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Python packages into $(VENV)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock -r requirements-dev.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

up: setup  ## bring the cluster up and deploy the demo
	@$(BIN)/sparsam up --detach
	@$(MAKE) --no-print-directory demo

demo:
	@$(BIN)/sparsam images demo
	@KUBECONFIG=$$($(BIN)/sparsam kubeconfig) $(BIN)/kubectl apply -f examples/web.yaml
	@KUBECONFIG=$$($(BIN)/sparsam kubeconfig) $(BIN)/kubectl rollout status deployment/web --timeout=90s
	@echo; echo "The demo runs. Type next:"; echo
	@echo "  export KUBECONFIG=$$($(BIN)/sparsam kubeconfig) PATH=$(CURDIR)/$(BIN):\$$PATH"
	@echo "  kubectl get pods -o wide"
	@echo "  curl http://$$(KUBECONFIG=$$($(BIN)/sparsam kubeconfig) $(BIN)/kubectl get service web -o jsonpath='{.spec.clusterIP}')/"
	@echo "  sparsam top pods"

down:  ## stop the cluster and leave the machine as it was
	@$(BIN)/sparsam down --purge

test: setup check  ## every check and test that this machine can run
	@$(MAKE) --no-print-directory packages PACKAGES="$(TEST_PACKAGES)"
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not proof" -rs $(PYTEST_FLAGS)

proofs: setup  ## real programs built into images, and kill -9 in the middle of pods' lives: about ten minutes more
	@$(BIN)/pytest -m proof -rs $(PYTEST_FLAGS)

faults: setup  ## kill -9 of engine, shims, agent and API server 200 times in the middle of pods' lives; SEED=NUMBER repeats
	@SPARSAM_KILLS=$(KILLS) SPARSAM_SEED=$(SEED) $(BIN)/pytest tests/e2e/test_kills.py -s

check: setup  ## format, lint, types, import contracts
	@$(BIN)/ruff format --check -q src tests benchmarks tools
	@$(BIN)/ruff check -q src tests benchmarks tools
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

fmt: setup  ## format and fix what can be fixed
	@$(BIN)/ruff format src tests benchmarks tools
	@$(BIN)/ruff check --fix src tests benchmarks tools

bench: setup  ## benchmarks; each prints a ratio against something measured in the same run
	@$(MAKE) --no-print-directory packages PACKAGES="$(BENCH_PACKAGES)"
	@for f in benchmarks/*.py; do echo "== $$f"; $(BIN)/python $$f || exit 1; done

experiments: setup  ## run the experiments under docs/experiments, with DATA=DIRECTORY of the traces
	@$(BIN)/python tools/experiments.py --data $(DATA)

lock: setup  ## compile the lock files anew
	@$(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --allow-unsafe --strip-extras -o requirements.lock pyproject.toml
	@$(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --allow-unsafe --strip-extras -o requirements-dev.lock requirements-dev.in

clean:  ## remove what make setup and the tests left in this folder
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
