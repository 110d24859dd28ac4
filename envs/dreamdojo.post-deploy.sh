#!/usr/bin/env bash
# Runs once, inside the new environment: NVIDIA's DreamDojo at a pinned commit, from its own uv.lock, and what its code
# imports besides. Its own installer moves torch; this one cannot. Activating the environment sets DREAMDOJO_ROOT.
set -euo pipefail
environments="${BLUEPRINT_SCRIPTS:-workflow/scripts}/environments.py"

python "$environments" install-upstream dreamdojo \
    --repository https://github.com/NVIDIA/DreamDojo.git \
    --commit 02f119b759d5c7f84a399fdeea3c6e82e7ed6cff \
    --lock-sha256 29ca202b387bbc1f6a588700f4f66b5961bd53023f93b4e2165760b7cfc50a36 \
    --extra cu128 \
    --python 3.10.22

export DREAMDOJO_ROOT="$CONDA_PREFIX/share/dreamdojo"
python "$environments" add --python "$DREAMDOJO_ROOT/.venv/bin/python" \
    piq==0.8.0 h5py==3.16.0 \
    lightning==2.6.6 pytorch-lightning==2.6.6 lightning-utilities==0.15.3 torchmetrics==1.9.0 \
    aiohttp==3.14.5 aiohappyeyeballs==2.7.1 aiosignal==1.4.0 async-timeout==5.0.1 frozenlist==1.8.0 \
    multidict==7.1.0 propcache==0.5.4 yarl==1.25.1

# Only pytorch3d.transforms is used, which is Python: without the extension there is nothing that could misfit torch.
PYTORCH3D_NO_EXTENSION=1 python "$environments" add --python "$DREAMDOJO_ROOT/.venv/bin/python" --no-build-isolation \
    "pytorch3d @ git+https://github.com/facebookresearch/pytorch3d.git@33824be3cbc87a7dd1db0f6a9a9de9ac81b2d0ba"

python "$environments" verify dreamdojo
