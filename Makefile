# Set-up and daily commands. Everything runs in .venv inside this checkout; the user's own Python stays as it is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
CLOUD ?= profiles/vast/cloud.yaml
SNAKEMAKE := $(BIN)/snakemake
SOURCES := workflow tests benchmarks
QUICK := $(addprefix tests/,config system cameras splat video plan engines/test_variants.py engines/test_descriptors.py metrics/test_summary.py metrics/test_catalogue.py environments/test_modules.py)

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick test-slow audit lint format dag gpu-check gpu-wheels config-docs pictures lock constraints clean

help:  ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(VENV)/.ready: envs/laptop.txt envs/laptop.constraints.txt workflow/blueprint.sh
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed (make PYTHON=...), this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	@# uv, where it is there, takes seconds where pip takes a minute
	if command -v uv > /dev/null; then uv pip install --quiet --python $(BIN)/python -r envs/laptop.txt -c envs/laptop.constraints.txt; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/laptop.txt -c envs/laptop.constraints.txt; fi
	install -m 755 workflow/blueprint.sh $(BIN)/blueprint
	touch $@

demo: $(VENV)/.ready  ## render, enrich, score and report the demo kitchen on this machine's CPU
	@if [ -t 1 ]; then set -- --logger rich; else set --; fi; $(SNAKEMAKE) --cores $(CORES) "$$@"
	@echo "Open results/report.html in a browser."

test: $(VENV)/.ready  ## run the tests (those of tests/slurm start a Slurm of their own: pytest tests/slurm)
	$(BIN)/pytest -n auto --dist loadfile -m "not slow and not gpu" --ignore tests/slurm

test-quick: $(VENV)/.ready  ## run the tests that start no workflow, within a minute
	$(BIN)/pytest -n auto --dist loadfile -m "not slow and not gpu" $(QUICK)

test-slow: $(VENV)/.ready  ## run the long tests too
	$(BIN)/pytest -n auto --dist loadfile -m "not gpu"

audit: $(VENV)/.ready  ## find what would fail on a rented machine, for free (CONFIG=my.yaml CLOUD=profiles/vast/cloud.yaml)
	@test -n "$(CONFIG)" || { echo "Say which configuration: make audit CONFIG=my.yaml" >&2; exit 2; }
	$(BIN)/python workflow/scripts/audit.py --configfile $(CONFIG) --cloud $(CLOUD)

lint: $(VENV)/.ready  ## check style: ruff, snakefmt, snakemake --lint
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/snakefmt --check Snakefile rules
	$(SNAKEMAKE) --lint

format: $(VENV)/.ready  ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/snakefmt Snakefile rules

dag: $(VENV)/.ready  ## print the graph of rules in Graphviz's language
	@$(SNAKEMAKE) --rulegraph

gpu-check: $(VENV)/.ready  ## run all that needs a GPU, cheapest first; continues the call before (WEIGHTS=1, LIMIT_S=540)
	$(BIN)/python benchmarks/gpu_check.py check $(if $(WEIGHTS),--weights) $(if $(LIMIT_S),--limit-s $(LIMIT_S))

gpu-wheels: $(VENV)/.ready  ## gather what a borrowed GPU machine's Python lacks (PYTHON_VERSION=3.12)
	$(BIN)/python benchmarks/gpu_check.py wheels $(if $(PYTHON_VERSION),--python-version $(PYTHON_VERSION))

config-docs: $(VENV)/.ready  ## write schemas and tables of keys from the models of the configuration
	$(BIN)/python workflow/scripts/config_docs.py

pictures: $(VENV)/.ready  ## draw the pictures of camera paths in docs/ again
	$(SNAKEMAKE) resources/demo/kitchen.ply
	$(BIN)/python workflow/scripts/path_pictures.py

lock: $(VENV)/.ready  ## lock the environments (PACKAGE=torch==2.14.1 sets a version wherever it is pinned)
	$(BIN)/python workflow/scripts/environments.py lock $(if $(PACKAGE),--package '$(PACKAGE)')

constraints: $(VENV)/.ready  ## resolve envs/laptop.txt into envs/laptop.constraints.txt
	$(BIN)/python workflow/scripts/environments.py constraints

clean:  ## remove results, logs and the demo scene (the virtual environment stays)
	rm -rf results logs resources/demo .snakemake
