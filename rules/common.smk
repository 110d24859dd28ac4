# Configuration, wildcards and the small helpers that the rules share.
import json
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
ENVS = Path(workflow.basedir) / "envs"
sys.path.insert(0, str(SCRIPTS))
# Jobs call `python`: the one that runs Snakemake, unless a conda environment comes before it on PATH.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

from blueprint import config as configuration
from blueprint.cloud.settings import RUNTIME_ENV, read_runtime_env
from blueprint.enrich import variants
from blueprint.environments import needs
from blueprint.errors import UserError
from blueprint.files import code_digest

CONFIG_SOURCE = ", ".join(map(str, workflow.config_settings.configfiles)) or "config/config.yaml"
try:
    config = configuration.complete(config, CONFIG_SOURCE)
    runtime_env = read_runtime_env(RUNTIME_ENV)
except UserError as error:
    raise WorkflowError(str(error))

# Of the secrets, jobs are given the token that gated models are downloaded with, and no other.
if "HF_TOKEN" in runtime_env:
    os.environ.setdefault("HF_TOKEN", runtime_env["HF_TOKEN"])

FACILITIES = [facility["name"] for facility in config["facilities"]]
CLIPS = {facility: configuration.clips_of(config, facility) for facility in FACILITIES}
VARIANTS = configuration.variants_of(config)
ENGINE_ENVIRONMENT = {
    "photometric": "render",
    "cosmos-transfer2.5": "cosmos-transfer",
    "diffusers": "cosmos-diffusers",
}


# Post-deploy scripts, which run from a copy elsewhere, find the workflow's programs by it.
os.environ.update(BLUEPRINT_SCRIPTS=str(SCRIPTS))


def one_of(names):
    """A wildcard constraint that matches exactly the given names."""
    return "|".join(re.escape(name) for name in sorted(names))


wildcard_constraints:
    facility=one_of(FACILITIES),
    clip=one_of({clip for clips in CLIPS.values() for clip in clips}),
    variant=one_of(VARIANTS),


def facility_of(wildcards):
    """The configuration of the facility that the wildcards name."""
    return configuration.facility_of(config, wildcards.facility)


def scene_of(wildcards):
    """The scene file of the facility that the wildcards name."""
    return facility_of(wildcards)["scene"]


def as_json(value):
    """A value as canonical JSON text: what a rule's `params` hand to a script, and what tells Snakemake it changed."""
    return json.dumps(value, sort_keys=True)


def code_of(*stages):
    """Digest of the sources that the given stages run: a changed program reruns its jobs, a fresh clone does not."""
    paths = [SCRIPTS / "blueprint" / name for name in ("files.py", "cli.py", "video.py")]
    for stage in stages:
        found = [path for path in (SCRIPTS / f"{stage}.py", SCRIPTS / "blueprint" / stage) if path.exists()]
        if not found:
            raise WorkflowError(f"{SCRIPTS}: there is neither {stage}.py nor blueprint/{stage}/.")
        paths += found
    return code_digest(*paths)


def for_all_clips(pattern):
    """The pattern filled in for every facility and each of its clips (and `{variant}` for every variant)."""
    return [
        path
        for facility in FACILITIES
        for clip in CLIPS[facility]
        for path in expand(pattern, facility=facility, clip=clip, variant=VARIANTS)
    ]
