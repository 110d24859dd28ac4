#!/usr/bin/env bash
# Runs the workflow on a rented machine, from a bare checkout to a machine that has ended.
#
# Exit status 0: the machine has been ended, or another onstart.sh is at work. Any other: it was not, and whoever called
# (profiles/vast/bootstrap.sh) has to stop it.
#
# Environment: B2_APPLICATION_KEY_ID, B2_APPLICATION_KEY, VAST_API_KEY (or the container's own), HF_TOKEN, and
#   BLUEPRINT_CONFIGFILE  configuration of the run (default: the embedded demo)
#   BLUEPRINT_SETTINGS    cloud settings (default: profiles/vast/cloud.yaml); its folder is the profile
#   BLUEPRINT_HOME        where conda and the environment of Snakemake go (default: /workspace)
#   MINIFORGE_URL         mirror to fetch the installer from
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

MINIFORGE_VERSION=26.1.1-3
MINIFORGE_SHA256=b25b828b702df4dd2a6d24d4eb56cfa912471dd8e3342cde2c3d86fe3dc2d870
MINIFORGE_NAME=Miniforge3-$MINIFORGE_VERSION-Linux-x86_64.sh
MINIFORGE_URL=${MINIFORGE_URL:-https://github.com/conda-forge/miniforge/releases/download/$MINIFORGE_VERSION}

home=${BLUEPRINT_HOME:-/workspace}
settings=${BLUEPRINT_SETTINGS:-profiles/vast/cloud.yaml}
conda=$home/miniforge3
environment=$home/orchestration
log=logs/cloud/onstart-$(date -u +%Y%m%dT%H%M%SZ).log

mkdir -p logs/cloud .snakemake "$home"
exec 9>.snakemake/onstart.lock
flock --nonblock 9 || { echo "Another onstart.sh is at work in $PWD."; exit 0; }
exec > >(exec 9>&-; exec tee -a "$log") 2>&1
step() { echo "[$(date -u +%H:%M:%S)] $*"; }

# Everything that was started and is not finished ends here: final sync, verification, shutdown, in the same code that
# the guard uses. Where a handler or the guard has done it already, doing it again changes nothing.
finish() {
    local status=$?
    trap - EXIT TERM INT HUP
    step "run ended with status $status; final sync and shutdown"
    if [ ! -x "$environment/bin/python" ]; then
        step "there is no environment to do it with"
        exit 1
    fi
    sleep "${LOG_SETTLE_S:-3}"  # the sync leaves logs alone that were written just now
    "$environment/bin/python" workflow/scripts/cloud.py finish --settings "$settings" 9>&- || exit 1
    exit 0
}
trap finish EXIT
trap 'exit 143' TERM INT HUP

again() {
    local attempt
    for attempt in 1 2 3; do
        "$@" 9>&- && return
        step "failed (attempt $attempt of 3): $1"
        sleep "${RETRY_PAUSE_S:-20}"
    done
    return 1
}

fetch_conda() {
    curl --fail --location --silent --show-error --output "$home/$MINIFORGE_NAME" "$MINIFORGE_URL/$MINIFORGE_NAME" &&
        echo "$MINIFORGE_SHA256  $home/$MINIFORGE_NAME" | sha256sum --check --quiet
}

# A marker, and not the folder, says that an installation is whole: a machine can be taken away in the middle of it.
if [ ! -e "$conda/.whole" ]; then
    step "installing conda ($MINIFORGE_NAME)"
    rm -rf "$conda"
    again fetch_conda
    bash "$home/$MINIFORGE_NAME" -b -p "$conda" 9>&-
    rm "$home/$MINIFORGE_NAME"
    touch "$conda/.whole"
fi
export PATH=$conda/bin:$PATH

create_environment() {
    rm -rf "$environment"
    conda env create --quiet --yes --prefix "$environment" --file envs/orchestration.yaml
}

digest=$(sha256sum <envs/orchestration.yaml)
if [ "$(cat "$environment/.whole" 2>/dev/null)" != "$digest" ]; then
    step "creating the environment of Snakemake"
    again create_environment
    echo "$digest" >"$environment/.whole"
fi
export PATH=$environment/bin:$PATH

step "restoring results from the bucket"
python workflow/scripts/cloud.py restore --settings "$settings" 9>&-

run=(snakemake --profile "$(dirname "$settings")")
[ -z "${BLUEPRINT_CONFIGFILE:-}" ] || run+=(--configfile "$BLUEPRINT_CONFIGFILE")
step "running: ${run[*]}"
"${run[@]}" --unlock 9>&-  # of a Snakemake that was killed: the lock above says that none is alive
"${run[@]}" 9>&-
