# Two commands for a fresh machine with Python 3.11 or newer and make: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test bench clean

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile

demo: $(VENV)/demo ## see the main job run: a NATS server, sample publications of six topics, this consumer, a log shipper
	$(BIN)/nats-fluent demo --count 12

test: $(VENV)/test ## lint, types, unit, integration and end-to-end tests, and a quick benchmark
	$(BIN)/tox run

bench: $(VENV)/demo ## the speed beside a bare NATS subscriber and beside the script that one would write
	$(BIN)/python benchmarks/throughput.py

clean: ## remove what these commands made
	rm -rf $(VENV) .tox build dist *.egg-info

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; see PYTHON=")'
	$(PYTHON) -m venv $(VENV)

# The marks are remade when what they install changes.
$(VENV)/demo: $(BIN)/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	touch $@

$(VENV)/test: $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'tox>=4.20'
	touch $@
