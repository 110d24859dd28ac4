# The configuration, where programs are found, and the small helpers that the rules share.
import gc
import json
import os
import re
import socket
import sys
import tempfile
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.sourcecache import HostingProviderFile
from snakemake_interface_executor_plugins.settings import SharedFSUsage


def checkout_of(rules):
    """The checkout that a folder `rules` is part of: jobs call its programs, so it must be on this machine.

    Where another workflow imports this one from where it is hosted (`github(...)`, as snakedeploy writes it), Snakemake
    holds a clone without files; a clone of that has them, one for each commit.
    """
    if not isinstance(rules, HostingProviderFile):
        return Path(rules.get_path_or_uri(secret_free=True)).parent
    rules.fetch_if_required()
    held = rules.hosted_repo
    commit = held.repo.commit(rules.ref).hexsha
    checkout = held.repo_clone.with_name(f"{held.repo_clone.name}-{commit}")
    if not checkout.exists():
        with tempfile.TemporaryDirectory(dir=checkout.parent) as folder:
            part = held.repo.clone(Path(folder) / checkout.name, no_checkout=True)
            part.git.checkout("--quiet", "--detach", commit)
            os.rename(part.working_dir, checkout)
    return checkout


# Also where another workflow imports this one: `workflow.basedir` is the caller's.
CHECKOUT = checkout_of(workflow.current_basedir)
SCRIPTS, ENVS = CHECKOUT / "workflow" / "scripts", CHECKOUT / "envs"
if not SCRIPTS.is_dir():
    raise WorkflowError(
        f"{CHECKOUT}: not a folder. Clone the repository and name its Snakefile: jobs call its programs."
    )
IS_MODULE = Path(workflow.main_snakefile).resolve().parent != CHECKOUT.resolve()
sys.path.insert(0, str(SCRIPTS))
from blueprint.environments.isolation import isolate

# Jobs call `python`: the one that runs Snakemake, unless a conda environment comes before it on PATH. They find the
# workflow's programs by a variable, since the place of the checkout must not be part of any command.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    BLUEPRINT_SCRIPTS=str(SCRIPTS),
    # What a job starts for the whole run ends with this process; Snakemake reads this file again for some jobs.
    BLUEPRINT_RUN=os.environ.get("BLUEPRINT_RUN", f"{socket.gethostname()}:{os.getpid()}"),
)
isolate()  # neither jobs nor environments in the making see the user's own packages and installer settings
if not IS_MODULE:  # every job: what is installed is locked; the prefix would reach the caller's own jobs too
    shell.prefix("set -euo pipefail; python $BLUEPRINT_SCRIPTS/installed.py; ")

from blueprint import config as configuration
from blueprint.digest import program_digest
from blueprint.errors import UserError
from blueprint.yaml_file import read_yaml


def stated(step, *arguments):
    """What a step returns; a UserError ends Snakemake with its message and nothing else."""
    try:
        return step(*arguments)
    except UserError as error:
        raise WorkflowError(str(error))


# A --configfile replaces the embedded demo; it is not merged into it. A module is given its configuration by the caller.
CONFIG_FILES = [] if IS_MODULE else list(workflow.config_settings.configfiles)
EMBEDDED = not CONFIG_FILES and not IS_MODULE
if EMBEDDED:
    CONFIG_FILES = [next(filter(Path.is_file, (Path("config/config.yaml"), CHECKOUT / "config" / "config.yaml")))]
CONFIG_SOURCE = ", ".join(map(str, CONFIG_FILES)) or "config of the module"
# Read before Snakemake does, which names neither file nor line of a slip.
config_document = stated(read_yaml, *CONFIG_FILES) if CONFIG_FILES else None
if EMBEDDED:

    configfile: CONFIG_FILES[0]


config = stated(configuration.complete, config, CONFIG_SOURCE, config_document)
config["output"] = configuration.own_folder(config, CONFIG_FILES)


# Where this configuration's files go; `<results>`, `<logs>` and `<benchmarks>` stand for it in the paths of rules.
pathvars:
    **configuration.folders(config),


RESULTS, BENCHMARKS = map(workflow.pathvars.apply, ("<results>", "<benchmarks>"))
# Where not, a job has the files that are its inputs and no other.
SHARES_FOLDER = SharedFSUsage.INPUT_OUTPUT in workflow.storage_settings.shared_fs_usage


# A plan of thousands of jobs is millions of objects that all stay: looking for garbage among them takes a fifth of the time.
gc.freeze()
gc.set_threshold(200_000, 50, 100)


def as_json(value):
    """A value as canonical JSON text: what a rule's `params` hand to a program, and what tells Snakemake it changed."""
    return json.dumps(value, sort_keys=True)


def brought(files):
    """Inputs where jobs share no folder. Elsewhere they are read where they lie, beside inputs that the same jobs made:
    as inputs there, too, they would make finished results again."""
    return [] if SHARES_FOLDER else files


def as_seen_by_job(path, file, written):
    """A path as a job finds it, by one of its files and what rules call that. Jobs that share no folder with this process
    have all their files below a place of their own."""
    return f"{str(file).removesuffix(written)}{path}"


def one_of(names):
    """A wildcard constraint that matches exactly the given names."""
    return "|".join(re.escape(name) for name in sorted(names))
