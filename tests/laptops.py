"""The operator of `vast.py`: a pushed checkout on a laptop, and its command line."""

import os
import shutil
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import yaml

import vast
from blueprint import cli
from blueprint.cloud import settings as cloud_settings
from workflow_runs import REPOSITORY, clean_environment

URL = "https://git.example/blueprint.git"


SECRETS = {"VAST_API_KEY": "canary-vast-key", "HF_TOKEN": "canary-hf", "GIT_TOKEN": "canary-git"}


def git(folder, *arguments):
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


class Laptop:
    """A pushed checkout whose remote has a public address (git is told to find it in a folder), and its operator."""

    def __init__(self, folder, service, b2):
        self.checkout = folder / "checkout"
        (self.checkout / "profiles" / "vast").mkdir(parents=True)
        (self.checkout / "config").mkdir()
        for name in ("profiles/vast/bootstrap.sh", "profiles/vast/config.yaml", "config/config.yaml", ".gitignore"):
            shutil.copy(REPOSITORY / name, self.checkout / name)
        self.environment = {
            **clean_environment(),
            **SECRETS,
            **b2.environment(),
            "VAST_URL": service.url,
            "HOME": str(folder / "home"),
            "COLUMNS": "200",
        }
        (folder / "home").mkdir()
        self.settings = {
            "bucket": b2.bucket,
            "endpoint": b2.endpoint,
            "max_cost_usd": 6,
            "shutdown": "stop",
            "vast": {"patience_s": 1},
        }
        self.write_settings()
        git(folder, "init", "-q", "--bare", "remote.git")
        git(self.checkout, "init", "-q", "-b", "main")
        git(self.checkout, "config", f"url.{folder / 'remote.git'}.insteadOf", URL)
        git(folder / "home", "config", "--file", ".gitconfig", f"url.{folder / 'remote.git'}.insteadOf", URL)
        git(self.checkout, "remote", "add", "origin", URL)
        self.push()

    def write_settings(self, **changes):
        values = {**self.settings, **changes}
        (self.checkout / "profiles" / "vast" / "cloud.yaml").write_text(yaml.safe_dump(values))

    def loaded(self):
        return cloud_settings.load(self.checkout / "profiles" / "vast" / "cloud.yaml", {}, Path("none"))

    def push(self):
        git(self.checkout, "add", "--all")
        git(self.checkout, "commit", "-q", "--allow-empty", "-m", "work")
        git(self.checkout, "push", "-q", "origin", "main")

    def run(self, *arguments, audited=False, reaped=False, asked=False, **environment):
        """Run the program in this process, as its command line would: importing it again takes longer than its work.

        A launch is of the demo unless it names a configuration, and answers what it is asked unless it is ``asked``.
        """
        if arguments[0] == "launch":
            named = [] if "--configfile" in arguments else ["--configfile", "config/config.yaml"]
            arguments = (*arguments, *named, *([] if asked else ["--gpu-anyway", "--yes"]))
        if arguments[0] == "launch" and not audited:
            arguments = (*arguments, "--without-audit", *([] if reaped else ["--no-reaper"]))
        output = StringIO()
        with (
            patch.dict(os.environ, {**self.environment, **environment}, clear=True),
            patch.object(sys, "argv", ["vast.py", *arguments]),
            chdir(self.checkout),
            redirect_stdout(output),
            redirect_stderr(output),
        ):
            try:
                cli.run(vast.main)
                code = 0
            except SystemExit as end:
                code = end.code
        return SimpleNamespace(returncode=code, stdout=output.getvalue())
