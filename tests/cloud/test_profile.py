"""The cloud profile: every option is one that Snakemake knows, and planning with it needs no credentials."""

import shutil
import subprocess
import sys

import pytest

from workflow_runs import REPOSITORY, clean_environment

# Planning with environments asks conda what it is; none of them is made in a dry run.
CONDA = """#!/bin/sh
case "$1" in
    info) echo '{"conda_prefix": "/none", "root_prefix": "/none", "platform": "linux-64"}' ;;
    config) echo '{"get": {"channel_priority": "strict"}}' ;;
    --version) echo "conda 26.7.0" ;;
    *) exit 1 ;;
esac
"""


@pytest.fixture
def laptop(tmp_path):
    """A folder with a copy of the profile, and an environment with conda and without credentials."""
    shutil.copytree(REPOSITORY / "profiles" / "vast", tmp_path / "profile")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "conda").write_text(CONDA)
    (tmp_path / "bin" / "conda").chmod(0o755)
    environment = clean_environment()
    return tmp_path, {
        **environment,
        "PATH": f"{tmp_path / 'bin'}:{environment['PATH']}",
        "HOME": str(tmp_path),
        "COLUMNS": "200",
    }


def snakemake(laptop, *arguments):
    folder, environment = laptop
    return subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "snakemake",
                "--snakefile",
                str(REPOSITORY / "Snakefile"),
                "--directory",
                str(folder),
            ),
            *(
                "--configfile",
                str(REPOSITORY / "config" / "config.yaml"),
                "--profile",
                str(folder / "profile"),
                *arguments,
            ),
        ],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_every_option_is_known(laptop):
    done = snakemake(laptop, "-n")
    assert done.returncode == 0, done.stdout
    assert "This was a dry-run" in done.stdout
    with (laptop[0] / "profile" / "config.yaml").open("a") as stream:
        stream.write("no-such-option: true\n")
    assert snakemake(laptop, "-n").returncode != 0


@pytest.mark.parametrize("command", ["--list-rules", "--rulegraph", "--unlock"])
def test_what_runs_no_job_needs_no_credentials(laptop, command):
    done = snakemake(laptop, command)
    assert done.returncode == 0, done.stdout
    assert not (laptop[0] / "results").exists()


def test_without_credentials_one_table_says_what_is_missing(laptop):
    done = snakemake(laptop)
    assert done.returncode != 0
    for text in (
        "B2_APPLICATION_KEY",
        "VAST_API_KEY",
        "VAST_INSTANCE_ID",
        "host checks failed (B2, Vast, hourly rate)",
    ):
        assert text in done.stdout, done.stdout
    assert done.stdout.count("Host checks") == 1
    assert not (laptop[0] / "results").exists() and not (laptop[0] / ".snakemake" / "conda").exists()
