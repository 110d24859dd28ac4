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
# Jobs call `python`: the one that runs Snakemake, unless a conda environment comes before it on PATH. They find the
# workflow's programs by a variable, since the place of the checkout must not be part of any command.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    BLUEPRINT_SCRIPTS=str(SCRIPTS),
)

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


# What the jobs of a stage depend on, besides the files they read: no more, or they would run again without need.


def camera_spec(wildcards):
    """All that the camera path of a clip depends on, besides the scene."""
    facility = facility_of(wildcards)
    clip = CLIPS[wildcards.facility][wildcards.clip]
    return as_json({**clip, "up_axis": facility["up_axis"], "floor_height_m": facility["floor_height_m"]})


def camera_files(wildcards):
    """The files that a clip's camera path is read from, if any."""
    clip = CLIPS[wildcards.facility][wildcards.clip]
    return [clip[key] for key in ("file", "dataparser_transforms") if key in clip]


def render_spec(wildcards):
    """All that the pixels of a clip depend on, besides scene and cameras."""
    return as_json({key: config["render"][key] for key in ("sh_degree", "background", "near_m", "far_m")})


def enrich_spec(wildcards):
    """All that the variants of a clip depend on, besides the rendered clip."""
    return ENRICH_SPECS[wildcards.facility, wildcards.clip]


def weights_at_hand(wildcards):
    """No input: says before any job that weights are absent. A dry run plans for another machine and may lack them."""
    if not workflow.dryrun:
        try:
            weights.require(
                config["metrics"]["names"], weights.torch_home(config["metrics"]["torch_home"]), CONFIG_SOURCE
            )
        except UserError as error:
            raise WorkflowError(str(error))
    return []


def baseline_summaries(wildcards):
    """The summaries of the run to compare with."""
    if not config["baseline"]:
        raise WorkflowError(
            "compare: say which results to compare with: snakemake compare --config baseline=<its folder `results`>"
        )
    found = sorted(Path(config["baseline"]).glob("*/summary.json"))
    if not found:
        raise WorkflowError(
            f"baseline: {config['baseline']} holds no <facility>/summary.json. Name a folder `results`."
        )
    return [str(path) for path in found]


def summary_spec(wildcards):
    """All that the summary of a facility depends on, besides its scores."""
    locks = Path(workflow.basedir) / "envs"
    return as_json(
        {
            "facility": wildcards.facility,
            "clips": list(CLIPS[wildcards.facility]),
            "variants": list(VARIANTS),
            "names": config["metrics"]["names"],
            "thresholds": config["metrics"]["thresholds"],
            "configuration_digest": value_digest(configuration_of(wildcards.facility)),
            "environment_digests": {name: file_digest(locks / name) for name in ENVIRONMENT_LOCKS},
        }
    )


def configuration_of(facility):
    """The part of the configuration that decides a facility's results, without paths of the machine."""
    metrics = {key: value for key, value in config["metrics"].items() if key != "torch_home"}
    part = {key: config[key] for key in ("clips", "render", "enrich")}
    return {**part, "metrics": metrics, "facility": configuration.facility_of(config, facility)}
