# Set-up and daily commands. Everything runs in .venv inside this checkout; the user's own Python stays as it is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
CONFIG ?= config/config.yaml
CLOUD ?= profiles/vast/cloud.yaml
SNAKEMAKE := $(BIN)/snakemake
SOURCES := workflow tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow audit lint format dag config-docs pictures constraints clean

help:  ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(VENV)/.ready: envs/laptop.txt envs/laptop.constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed (make PYTHON=...), this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/laptop.txt -c envs/laptop.constraints.txt
	touch $@

demo: $(VENV)/.ready  ## render, enrich, score and report the demo kitchen on this machine's CPU
	$(SNAKEMAKE) --cores $(CORES) --logger rich
	@echo "Open results/report.html in a browser."

test: $(VENV)/.ready  ## run the tests
	$(BIN)/pytest -n auto --dist loadfile -m "not slow and not gpu"

test-slow: $(VENV)/.ready  ## run the long tests too
	$(BIN)/pytest -n auto --dist loadfile -m "not gpu"

audit: $(VENV)/.ready  ## find what would fail on a rented machine, for free (CONFIG=my.yaml CLOUD=profiles/vast/cloud.yaml)
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

config-docs: $(VENV)/.ready  ## write the table of keys in config/README.md from the schema
	$(BIN)/python workflow/scripts/config_docs.py config/README.md

pictures: $(VENV)/.ready  ## draw the pictures of camera paths in docs/ anew
	$(SNAKEMAKE) resources/demo/kitchen.ply
	$(BIN)/python workflow/scripts/path_pictures.py

lock: $(VENV)/.ready  ## generate envs/<name>.yaml from envs/<name>.in.yaml
	$(BIN)/python workflow/scripts/environments.py lock

constraints: $(VENV)/.ready  ## resolve envs/laptop.txt into envs/laptop.constraints.txt
	$(BIN)/python workflow/scripts/environments.py constraints

clean:  ## remove results, logs and the demo scene (the virtual environment stays)
	rm -rf results logs resources/demo .snakemake
