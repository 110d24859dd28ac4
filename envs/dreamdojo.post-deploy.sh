#!/usr/bin/env bash
# Runs once, inside the new environment: installs what the lock names, then NVIDIA's DreamDojo at a pinned commit, from its own uv.lock, and what its code
# imports besides. Its own installer moves torch; this one cannot. Activating the environment sets DREAMDOJO_ROOT.
set -euo pipefail
scripts="${BLUEPRINT_SCRIPTS:-workflow/scripts}"

python "$scripts/fill_environment.py" dreamdojo
python "$scripts/environments.py" install-upstream dreamdojo \
    --repository https://github.com/NVIDIA/DreamDojo.git \
    --commit 02f119b759d5c7f84a399fdeea3c6e82e7ed6cff \
    --lock-sha256 29ca202b387bbc1f6a588700f4f66b5961bd53023f93b4e2165760b7cfc50a36 \
    --extra cu128 \
    --python 3.10.22

export DREAMDOJO_ROOT="$CONDA_PREFIX/share/dreamdojo"
# Only pytorch3d.transforms is used, which is Python: without the extension there is nothing that could misfit torch.
PYTORCH3D_NO_EXTENSION=1 python "$scripts/environments.py" add --python "$DREAMDOJO_ROOT/.venv/bin/python" --no-build-isolation \
    "pytorch3d @ git+https://github.com/facebookresearch/pytorch3d.git@33824be3cbc87a7dd1db0f6a9a9de9ac81b2d0ba"

python "$scripts/environments.py" verify dreamdojo
