#!/usr/bin/env bash
# Runs once, inside the new environment: installs what the lock names and proves that everything imports.
set -euo pipefail
scripts="${BLUEPRINT_SCRIPTS:-workflow/scripts}"

python "$scripts/fill_environment.py" lerobot
python "$scripts/environments.py" verify lerobot
