# The plan: the facilities, clips and variants of this run, by which the rules below are filled in.
from blueprint.audit.estimate import job_limits_s
from blueprint.metrics import weights
from blueprint.plan import make_plan, repositories_needed
from blueprint.train.keys import TRAINING_SETS
from blueprint.train.trainers import TRAINERS

PLAN = stated(make_plan, config, CONFIG_SOURCE, workflow.is_main_process or SHARES_FOLDER)
FACILITIES, CLIPS, VARIANTS = list(PLAN.facilities), PLAN.clips, list(PLAN.variants)
# Published figures: what earlier jobs took here says little of the nodes of a cluster.
LIMITS_S = job_limits_s(config, None)


wildcard_constraints:
    facility=one_of(FACILITIES),
    clip=one_of({clip for clips in CLIPS.values() for clip in clips}),
    variant=one_of(VARIANTS),


def scene_of(wildcards):
    """The scene file of the facility that the wildcards name."""
    return PLAN.facilities[wildcards.facility]["scene"]


def of_clips(pattern, *facilities):
    """The pattern filled in for each clip of the facilities (and `{variant}` for every variant)."""
    return [
        path
        for facility in facilities
        for path in expand(pattern, facility=facility, clip=CLIPS[facility], variant=VARIANTS)
    ]


def minutes(program):
    """`runtime` of a job, for executors that end jobs by it: ten times the audit's estimate, again as much each time."""
    limit = int(LIMITS_S[program] / 60)
    return lambda wildcards, attempt: attempt * limit


def memory_mb(model):
    """`mem_mb` of a job that loads a model, as the audit counts it: again as much each time."""
    return lambda wildcards, attempt: attempt * int(1000 * model.ram_gb)


def fidelity_spec(facility, photos):
    """What the job is told; the photos lie where it finds the first of their files."""
    spec = PLAN.fidelity_spec(facility)
    if "photos" in spec:
        path = as_seen_by_job(spec["photos"]["path"], photos[0], PLAN.photo_files(facility)[0])
        spec["photos"] = {**spec["photos"], "path": path}
    return spec


def weights_at_hand(wildcards):
    """No input: says before any job that weights are absent. A dry run plans for another machine and may lack them."""
    if not workflow.dryrun:
        names, folder = config["metrics"]["names"], weights.torch_home(config["metrics"]["torch_home"])
        stated(weights.require, names, folder, CONFIG_SOURCE)
    return []


TRAINER = PLAN.trainer or TRAINERS["tiny"]  # most configurations have none, and no job of one is planned


def training(what):
    """A fact of the post-training, asked when a job of it is planned."""
    facts = {
        "spec": PLAN.training_spec,
        "machine": lambda: TRAINER.facts_of_machine(config["train"]),
        "gpus": lambda: TRAINER.gpus_of(config["train"]),
    }
    return lambda wildcards: stated(lambda: found if isinstance(found := facts[what](), int) else as_json(found))
