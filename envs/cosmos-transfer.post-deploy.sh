#!/usr/bin/env bash
# Runs once, inside the new environment: installs what the lock names, then NVIDIA's Cosmos-Transfer2.5 at a pinned commit, from its own uv.lock.
# Activating the environment sets COSMOS_TRANSFER_ROOT; the engine runs $COSMOS_TRANSFER_ROOT/.venv/bin/python.
set -euo pipefail
scripts="${BLUEPRINT_SCRIPTS:-workflow/scripts}"

python "$scripts/fill_environment.py" cosmos-transfer
python "$scripts/environments.py" install-upstream cosmos-transfer \
    --repository https://github.com/nvidia-cosmos/cosmos-transfer2.5.git \
    --commit 2ff49d0717af02057ae79bc75c00fbff9da1b4e7 \
    --lock-sha256 ae80c77cf94b9ae3111d3812a0afd3fa6d9d4fbc9400414cff6c9d451d5e3b47 \
    --extra cu128 \
    --python 3.10.22

export COSMOS_TRANSFER_ROOT="$CONDA_PREFIX/share/cosmos-transfer"
python "$scripts/environments.py" verify cosmos-transfer
