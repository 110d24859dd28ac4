#!/usr/bin/env bash
# Runs once, inside the new environment: compiles gsplat for this machine's GPU and proves that everything imports.
set -euo pipefail
environments="${BLUEPRINT_SCRIPTS:-workflow/scripts}/environments.py"

python "$environments" compile-gsplat
python "$environments" verify render
