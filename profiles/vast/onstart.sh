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
#   BLUEPRINT_SHARE       the launch that several machines are of; each takes clips then
#   BLUEPRINT_LAUNCH      the launch record, which the sentry goes by
#   MINIFORGE_URL         mirror to fetch the installer from
#   FINISH_LIMIT_S        seconds that the final copy and the end of the machine may take
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
own=${BLUEPRINT_SHARE:+-${CONTAINER_ID:-$HOSTNAME}}  # machines of one run keep their logs in one bucket
log=logs/cloud/onstart-$(date -u +%Y%m%dT%H%M%SZ)$own.log

mkdir -p logs/cloud .snakemake "$home"
exec 9>.snakemake/onstart.lock
flock --nonblock 9 || { echo "Another onstart.sh is at work in $PWD."; exit 0; }
exec > >(exec 9>&-; exec tee -p -a "$log") 2>&1
step() { echo "[$(date -u +%H:%M:%S)] $*"; }

# This shell keeps the secrets to itself: installers get none, and whoever needs some is started through these.
keys=(B2_APPLICATION_KEY_ID B2_APPLICATION_KEY VAST_API_KEY CONTAINER_API_KEY NOTIFY_URLS)
export -n "${keys[@]}" HF_TOKEN GIT_TOKEN
unset GIT_TOKEN
with_keys() { ( export "${keys[@]}"; exec "$@" 9>&- ); }
with_token_too() { ( export HF_TOKEN; with_keys "$@" ); }

# Before anything is downloaded: an account of what this machine costs, and somebody who ends it when nobody else does.
if [ -n "${BLUEPRINT_LAUNCH:-}" ] && command -v python3 >/dev/null; then
    ( export "${keys[@]}"; exec setsid -f python3 workflow/scripts/sentry.py --watch $$ --python "$environment/bin/python" \
        9>&- </dev/null >>"logs/cloud/sentry$own.log" 2>&1 )
else
    step "no launch record or no python3: there is no sentry, only the guard will look after this machine"
fi

# Everything that was started and is not finished ends here: final sync, verification, shutdown, in the same code that
# the guard uses. Where a handler or the guard has done it already, doing it again changes nothing.
finish() {
    local status=$?
    trap - EXIT TERM INT HUP
    step "run ended with status $status; final sync and shutdown"
    for helper in ${looking:-} ${keeping:-}; do kill "$helper" 2>/dev/null || true; done
    if [ ! -x "$environment/bin/python" ]; then
        step "there is no environment to do it with"
        exit 1
    fi
    sleep "${LOG_SETTLE_S:-3}"  # the sync leaves logs alone that were written just now
    local ended=0
    with_keys timeout --kill-after=10 "${FINISH_LIMIT_S:-7200}" \
        "$environment/bin/python" workflow/scripts/cloud.py finish --settings "$settings" --status "$status" || ended=$?
    # 3: the machine has ended, though work or results are not as they should be.
    case $ended in 0 | 3) exit 0 ;; esac
    exit 1
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

if [ -n "${BLUEPRINT_LAUNCH:-}" ]; then
    step "configuration and settings of this launch"
    again with_keys python3 workflow/scripts/given.py
fi

fetch_conda() {
    curl --fail --location --silent --show-error --connect-timeout 30 --speed-limit 10000 --speed-time 60 \
        --output "$home/$MINIFORGE_NAME" "$MINIFORGE_URL/$MINIFORGE_NAME" &&
        echo "$MINIFORGE_SHA256  $home/$MINIFORGE_NAME" | sha256sum --check --quiet
}

# A marker, and not the folder, says that an installation is whole: a machine can be taken away in the middle of it.
if [ ! -e "$conda/.whole" ]; then
    step "installing conda ($MINIFORGE_NAME)"
    rm -rf "$conda"
    again fetch_conda
    timeout --kill-after=10 "${STEP_LIMIT_S:-1800}" bash "$home/$MINIFORGE_NAME" -b -p "$conda" 9>&-
    rm "$home/$MINIFORGE_NAME"
    touch "$conda/.whole"
fi
export PATH=$conda/bin:$PATH

create_environment() {
    rm -rf "$environment"
    timeout --kill-after=10 "${STEP_LIMIT_S:-1800}" \
        conda env create --quiet --yes --prefix "$environment" --file envs/orchestration.yaml &&
        timeout --kill-after=10 "${STEP_LIMIT_S:-1800}" \
            "$environment/bin/python" workflow/scripts/fill_environment.py orchestration
}

digest=$(sha256sum <envs/orchestration.yaml)
if [ "$(cat "$environment/.whole" 2>/dev/null)" != "$digest" ]; then
    step "creating the environment of Snakemake"
    again create_environment
    echo "$digest" >"$environment/.whole"
fi
export PATH=$environment/bin:$PATH

step "restoring results from the bucket"
with_keys python workflow/scripts/cloud.py restore --settings "$settings"

run=(snakemake --profile "$(dirname "$settings")")
[ -z "${BLUEPRINT_CONFIGFILE:-}" ] || run+=(--configfile "$BLUEPRINT_CONFIGFILE")

cache=(python workflow/scripts/cloud.py --settings "$settings")
with_keys timeout --kill-after=10 "${STEP_LIMIT_S:-1800}" "${cache[@]}" fetch-environments --run "${run[@]}" ||
    step "no environments from the bucket: they are made here"

step "running: ${run[*]}"
timeout --kill-after=10 "${STEP_LIMIT_S:-1800}" "${run[@]}" --unlock 9>&-  # of a Snakemake that was killed: the lock above says that none is alive
rm -f results/.cloud/guard.json  # what a guard said before this start
if [ -n "${BLUEPRINT_SHARE:-}" ]; then
    run=(python workflow/scripts/cloud.py share --settings "$settings" --configfile "${BLUEPRINT_CONFIGFILE:-config/config.yaml}")
fi
with_token_too "${run[@]}" &
running=$!
# From then on a guard is there, which notices when Snakemake hangs; before, this shell has to.
( for _ in $(seq 180); do sleep 5; done; [ -e results/.cloud/guard.json ] || kill -KILL "$running" ) \
    9>&- </dev/null >/dev/null 2>&1 &
looking=$!
( export "${keys[@]}"; exec nice -n 19 "${cache[@]}" keep-environments --run "${run[@]}" \
    9>&- </dev/null >>logs/cloud/environments.log 2>&1 ) &
keeping=$!
wait "$running"
