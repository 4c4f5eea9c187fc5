# Two commands for a fresh machine with Python 3.11 or newer and make: `make demo` and `make test`. The others make what
# is deployed; docs/install.md tells how.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

# The image is [DOCKER_REGISTRY/]PROJECT_NAME:PROJECT_VERSION, and the charts have the version, too.
DOCKER ?= docker
DOCKER_REGISTRY ?=
DOCKER_BUILD_FLAGS ?=
PROJECT_NAME ?= kafka-exporter
PROJECT_VERSION ?= 1.0.0
PROJECT_SHA ?= $(shell git rev-parse HEAD 2>/dev/null)
IMAGE = $(if $(DOCKER_REGISTRY),$(DOCKER_REGISTRY:%/=%)/)$(PROJECT_NAME):$(PROJECT_VERSION)

# The command where there is one; else Helm's own library, from a wheel.
HELM := $(shell command -v helm)

# For pip, and for tox, which hands them on: an index that is slow is waited for.
export PIP_DEFAULT_TIMEOUT ?= 60
export PIP_RETRIES ?= 10

.DEFAULT_GOAL := help
.PHONY: help demo test bench image sbom push helm-repo helm-serve constraints clean

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile

demo: $(VENV)/demo ## see the main job run: a NATS server, sample publications of six topics, this consumer, a log shipper
	$(BIN)/nats-fluent demo --count 12

test: $(VENV)/test ## lint, types, unit, integration and end-to-end tests, and a quick benchmark
	$(BIN)/tox run-parallel --parallel 2 --parallel-no-spinner

bench: $(VENV)/demo ## the speed beside a bare NATS subscriber and beside the script that one would write
	$(BIN)/python benchmarks --only core --rounds 3

image: ## build the image of the consumer
	$(DOCKER) build $(DOCKER_BUILD_FLAGS) --build-arg VERSION=$(PROJECT_VERSION) --build-arg REVISION=$(PROJECT_SHA) --tag $(IMAGE) .

sbom: image ## build it and write what is in it to nats-fluent.cdx.json (CycloneDX)
	$(DOCKER) run --rm --network none --entrypoint cat $(IMAGE) /usr/share/doc/nats-fluent/nats-fluent.cdx.json > nats-fluent.cdx.json

push: ## build it and push it to DOCKER_REGISTRY
	@test -n '$(DOCKER_REGISTRY)' || { echo 'Set DOCKER_REGISTRY to where the image goes, as in DOCKER_REGISTRY=registry.example/me' >&2; exit 2; }
	$(MAKE) image
	$(DOCKER) push $(IMAGE)

helm-repo: $(if $(HELM),,$(VENV)/helm) ## lint and pack both charts into a local chart repository, an archive
	$(if $(HELM),$(PYTHON),$(BIN)/python) charts/repository.py build $(PROJECT_NAME) $(PROJECT_VERSION)

helm-serve: ## serve that repository on 127.0.0.1:8880, until Ctrl-C
	$(PYTHON) charts/repository.py serve $(PROJECT_NAME) $(PROJECT_VERSION)

UV_COMPILE = $(BIN)/uv pip compile --quiet --no-config --no-python-downloads --upgrade --generate-hashes \
	--python-version 3.13 --python-platform linux --custom-compile-command 'make constraints'

constraints: $(VENV)/constraints ## choose anew, among the newest releases, what the image is made of
	$(UV_COMPILE) --output-file constraints/run.txt setup.cfg
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	    | $(UV_COMPILE) --output-file constraints/build.txt -
	echo 'cyclonedx-bom>=7' | $(UV_COMPILE) --output-file constraints/sbom.txt -

clean: ## remove what these commands made
	rm -rf $(VENV) .tox build dist *.egg-info *-helm-local-repo.tgz

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; see PYTHON=")'
	$(PYTHON) -m venv $(VENV)

# The marks are remade when what they install changes.
$(VENV)/demo: $(BIN)/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	touch $@

$(VENV)/test: $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'tox>=4.20,<5'
	touch $@

$(VENV)/helm: $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'helm-python-sdk>=0.2.2,<0.3'
	touch $@

$(VENV)/constraints: $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13'
	touch $@
