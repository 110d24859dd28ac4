#!/usr/bin/env bash
# Runs once, inside the new environment: installs what the lock names and proves that everything imports and that torch fits the driver.
set -euo pipefail
scripts="${BLUEPRINT_SCRIPTS:-workflow/scripts}"

python "$scripts/fill_environment.py" metrics
python "$scripts/environments.py" verify metrics
