"""Each configuration has its own folders, and the workflow finds its own files wherever it is called from."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from blueprint import config as configuration
from blueprint.files import read_json
from small_runs import small_config, write_splat
from workflow_runs import REPOSITORY, clean_environment, copy_checkout, git, planned_jobs, snakemake, write_config


@pytest.mark.parametrize(
    ("output", "files", "below"),
    [
        (None, ["config/config.yaml"], ""),
        (None, [], ""),
        (None, ["my.yaml"], "/my"),
        (None, ["/elsewhere/base.yaml", "loading dock.yml"], "/loading-dock"),
        ("two", ["my.yaml"], "/two"),
        (".", ["my.yaml"], ""),
    ],
)
def test_folders(output, files, below):
    config = {} if output is None else {"output": output}
    assert configuration.folders({"output": configuration.own_folder(config, files)}) == {
        "results": f"results{below}",
        "logs": f"logs{below}",
        "benchmarks": f"benchmarks/results{below}",
    }


def test_two_configurations_share_no_file(tmp_path):
    """Every product, log and benchmark of my.yaml lies below a folder of its name."""
    config = small_config(output="mine")
    dry_run = snakemake(tmp_path, write_config(tmp_path, config, "my.yaml"), "--dry-run", "--verbose")
    files = set(re.findall(r"\b(?:results|logs|benchmarks)/[\w./-]+\.\w+", dry_run.stdout))
    assert len(files) >= 40
    assert {re.match(r"(results|logs|benchmarks/results)/mine/", file) is None for file in files} == {False}


def test_no_rule_names_the_common_folders():
    """A rule that does would overwrite another configuration's files."""
    for path in [REPOSITORY / "Snakefile", *(REPOSITORY / "rules").glob("*.smk")]:
        assert not re.findall(r"""["'](?:results|logs|benchmarks)/[^"']*""", path.read_text()), path.name


def called(folder, *arguments, **environment):
    """Snakemake with a folder as working directory, without options that name one."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder,
        env=clean_environment() | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_folder_elsewhere_and_a_scan_at_home(tmp_path):
    write_splat(tmp_path / "scan.ply")
    facility = {"name": "hall", "scene": "~/scan.ply"}
    write_config(tmp_path, small_config(facilities=[facility]), "hall.yaml")
    snakefile = str(REPOSITORY / "Snakefile")
    dry_run = called(tmp_path, "-n", "-s", snakefile, "--configfile", "./hall.yaml", HOME=str(tmp_path))
    assert dry_run.returncode == 0, dry_run.stdout
    assert "results/hall/hall/clips/orbit/rgb.mp4" in dry_run.stdout
    (tmp_path / "empty").mkdir()
    demo = called(tmp_path / "empty", "-n", "--quiet", "rules", "-s", snakefile)
    assert demo.returncode == 0, demo.stdout
    assert planned_jobs(demo)["demo_scene"] == 1


IMPORTING = """
configfile: "caller.yaml"

module validation:
    snakefile: {snakefile!r}
    config: config["validation"]

use rule * from validation as validation_*

rule all:
    default_target: True
    input: "results/hall/report.html", "mine.txt"

rule mine:
    input: "results/hall/preflight/render.json"
    output: "mine.txt"
    shell: "cp {{input}} {{output}}"
"""


def test_another_workflow_imports_this_one(tmp_path):
    """With `module:` it plans all jobs, and its programs are found when one runs."""
    (tmp_path / "Snakefile").write_text(IMPORTING.format(snakefile=str(REPOSITORY / "Snakefile")))
    config = small_config(output="hall")
    (tmp_path / "caller.yaml").write_text(yaml.safe_dump({"validation": config}))
    dry_run = called(tmp_path, "-n", "--quiet", "rules")
    assert dry_run.returncode == 0, dry_run.stdout
    jobs = planned_jobs(dry_run)
    assert jobs["validation_render"] == 2 and jobs["validation_report"] == 1 and jobs["mine"] == 1
    done = called(tmp_path, "mine.txt")
    assert done.returncode == 0, done.stdout
    assert '"render"' in (tmp_path / "mine.txt").read_text()


@pytest.fixture
def deployed(tmp_path):
    """What snakedeploy writes for a repository elsewhere at a tag; git is told that the host's address is a folder.

    Returns the folder, and the variables to call Snakemake with.
    """
    hosted = copy_checkout(tmp_path / "hosted")
    for arguments in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "1"), ("tag", "v1")):
        git(hosted, *arguments)
    settings, mine = tmp_path / "gitconfig", tmp_path / "mine"
    settings.write_text(f'[url "{hosted.as_uri()}"]\n\tinsteadOf = https://github.com/robots/validation\n')
    environment = {"GIT_CONFIG_GLOBAL": str(settings), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [Path(sys.executable).with_name("snakedeploy"), "deploy-workflow", "https://github.com/robots/validation"]
    done = subprocess.run(
        [*command, str(mine), "--tag", "v1"], env=clean_environment() | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'github("robots/validation", path="Snakefile", tag="v1")' in (mine / "workflow" / "Snakefile").read_text()
    return mine, environment


def test_it_is_deployed_from_where_it_is_hosted(deployed):
    """It plans all jobs, and its programs are found when one runs."""
    mine, environment = deployed
    dry_run = called(mine, "-n", "--quiet", "rules", **environment)
    assert dry_run.returncode == 0, dry_run.stdout
    assert planned_jobs(dry_run)["report"] == 1
    done = called(mine, "results/preflight/render.json", **environment)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("how", ["deployed", "imported"])
def test_the_demo_runs_from_another_workflow(tmp_path, deployed, how):
    folder, environment = deployed
    if how == "imported":
        folder, environment = tmp_path, {}
        text = IMPORTING.format(snakefile=str(REPOSITORY / "Snakefile")).replace('config["validation"]', "config")
        (folder / "Snakefile").write_text(text.replace("results/hall/", "results/"))
        (folder / "caller.yaml").write_text((REPOSITORY / "config" / "config.yaml").read_text())
    done = called(folder, **environment)
    assert done.returncode == 0, done.stdout[-3000:]
    summary = read_json(folder / "results" / "kitchen" / "summary.json")
    assert summary["verdict"] == "pass" and summary["counts"]["pass"] == 9
    assert (folder / "results" / "report.html").is_file()


def test_a_module_without_a_configuration_says_so(tmp_path):
    text = IMPORTING.format(snakefile=str(REPOSITORY / "Snakefile")).replace('config["validation"]', "config")
    (tmp_path / "Snakefile").write_text(text)
    (tmp_path / "caller.yaml").write_text("render: {width: 640}\n")
    refused = called(tmp_path, "-n")
    assert refused.returncode
    assert "config of the module:" in refused.stdout and "'facilities'" in refused.stdout
