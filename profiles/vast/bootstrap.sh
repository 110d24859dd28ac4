#!/usr/bin/env bash
# What a rented container starts with; `vast.py launch` hands it to Vast (at most 4048 characters).
# It gets the repository at one commit and runs profiles/vast/onstart.sh. Should anything fail before the workflow can
# end the machine itself, it stops the machine with nothing but curl. Runs again, and continues, when Vast restarts it.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0"
set -uo pipefail
home=${BLUEPRINT_HOME:-/workspace}
api=${VAST_URL:-https://console.vast.ai}/api/v0/instances/${VAST_INSTANCE_ID:-${CONTAINER_ID:-}}/
mkdir -p "$home"
exec > >(tee -p -a "$home/bootstrap.log") 2>&1

need() {
    command -v git >/dev/null && command -v curl >/dev/null && command -v python3 >/dev/null && return
    export DEBIAN_FRONTEND=noninteractive
    timeout -k 9 600 apt-get update -qq && timeout -k 9 900 apt-get install -y -qq git curl ca-certificates python3
}

# The token is read from the environment by git's helper, so that it is on no command line and in no file.
get() {
    local helper='!f() { echo username=x-access-token; echo "password=$GIT_TOKEN"; }; f'
    local git=(timeout -k 9 "${FETCH_LIMIT_S:-900}" git -c credential.helper=)
    [ -z "${GIT_TOKEN:-}" ] || git+=(-c "credential.helper=$helper")
    [ -d "$home/blueprint/.git" ] || { "${git[@]}" init -q "$home/blueprint" || return; }
    cd "$home/blueprint" || return
    git cat-file -e "$BLUEPRINT_COMMIT^{commit}" 2>/dev/null ||
        "${git[@]}" fetch -q "$BLUEPRINT_REPOSITORY" '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*' || return
    git checkout -q --force --detach "$BLUEPRINT_COMMIT"
}

again() {
    local attempt
    for attempt in 1 2 3; do
        "$@" && return
        echo "$1 failed (attempt $attempt of 3)"
        sleep "${RETRY_PAUSE_S:-20}"
    done
    return 1
}

# Stopping is asked for again and again: the container is gone as soon as it happens.
stop() {
    echo "The machine is stopped without a final sync (its disk is kept): look at $home/bootstrap.log"
    local attempt
    for attempt in $(seq "${STOP_ATTEMPTS:-360}"); do
        command -v curl >/dev/null || need
        printf 'Authorization: Bearer %s' "${VAST_API_KEY:-${CONTAINER_API_KEY:-}}" |
            curl -sS --max-time 30 -X PUT -H @- -H 'Content-Type: application/json' -d '{"state": "stopped"}' "$api"
        echo " (stop, attempt $attempt)"
        sleep "${STOP_PAUSE_S:-10}"
    done
    exit 1
}

again need && again get && env -u GIT_TOKEN bash profiles/vast/onstart.sh || stop
