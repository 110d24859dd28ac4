#!/usr/bin/env bash
# Runs once, inside the new environment: proves that everything imports and that torch fits the driver.
set -euo pipefail
environments="${BLUEPRINT_SCRIPTS:-workflow/scripts}/environments.py"

python "$environments" verify cosmos-diffusers
