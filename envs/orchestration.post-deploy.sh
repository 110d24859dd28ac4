#!/usr/bin/env bash
# Runs once, inside the new environment: proves that everything imports.
set -euo pipefail
environments="${BLUEPRINT_SCRIPTS:-workflow/scripts}/environments.py"

python "$environments" verify orchestration
