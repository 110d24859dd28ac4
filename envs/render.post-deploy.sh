#!/usr/bin/env bash
# Runs once, inside the new environment: installs what the lock names, compiles gsplat for
# this machine's GPU and proves that everything imports.
set -euo pipefail
scripts="${BLUEPRINT_SCRIPTS:-workflow/scripts}"

python "$scripts/fill_environment.py" render
python "$scripts/environments.py" compile-gsplat
python "$scripts/environments.py" verify render
