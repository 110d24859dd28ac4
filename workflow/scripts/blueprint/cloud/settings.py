"""Settings of a cloud run: `cloud.yaml` beside the profile, secrets from the environment or `config/runtime.env`."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import field_validator

from blueprint import secret
from blueprint.config.messages import checked
from blueprint.errors import UserError
from blueprint.section import Section, key
from blueprint.yaml_file import read_yaml

MANUAL = "config/README.md"
SETTINGS_NAME = "cloud.yaml"
RUNTIME_ENV = Path("config/runtime.env")
EXAMPLE_ENV = "config/runtime.env.example"

# Field of CloudSettings -> variables that can hold it, the first that is set and not empty wins.
# A Vast container is given CONTAINER_ID and a CONTAINER_API_KEY that may act on that instance alone.
SECRET_VARIABLES = {
    "key_id": ("B2_APPLICATION_KEY_ID",),
    "application_key": ("B2_APPLICATION_KEY",),
    "vast_api_key": ("VAST_API_KEY", "CONTAINER_API_KEY"),
    "hf_token": ("HF_TOKEN",),
    "git_token": ("GIT_TOKEN",),
    "notify_urls": ("NOTIFY_URLS",),
}
INSTANCE_VARIABLES = ("VAST_INSTANCE_ID", "CONTAINER_ID", "VAST_CONTAINERLABEL")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


Event = Literal["start", "failure", "budget", "end", "reap"]


class Machine(Section):
    """Which machine `workflow/scripts/vast.py launch` looks for."""

    gpu_names: list[Annotated[str, key("A model.", min_length=1)]] = key(
        "GPU models that are acceptable, in Vast's spelling with spaces; empty accepts any.",
        [],
        json_schema_extra={"uniqueItems": True},
    )
    min_vram_gb: float = key("VRAM per GPU in GB.", 70, gt=0)
    max_usd_per_h: float = key("Highest hourly price in US dollars including storage.", 3, gt=0)
    min_reliability: float = key("Lowest reliability score of the host (0-1).", 0.98, ge=0, le=1)
    disk_gb: float = key("Disk to rent in GB (fixed once the instance exists).", 200, ge=10)
    min_driver: str = key("Lowest NVIDIA driver version.", "580.65.06", pattern=r"^[0-9]+(\.[0-9]+)*$")
    min_download_mbps: float = key("Lowest download speed of the host in Mbit/s.", 500, ge=0)
    interruptible: bool = key("Bid for a machine that can be taken away at any minute (cheaper).", False)
    bid_factor: float = key(
        "Bid for an interruptible machine as a multiple of the lowest bid that would run now.", 1.2, ge=1
    )
    image: str = key(
        "Container image; glibc 2.35 or newer and the driver's variables are enough, CUDA comes with torch.",
        "nvidia/cuda:12.8.1-base-ubuntu24.04",
        min_length=1,
    )
    patience_s: float = key(
        "Seconds to go on asking Vast's API when it does not answer or an instance does not change its state.",
        900,
        gt=0,
    )

    @field_validator("gpu_names")
    @classmethod
    def _each_once(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("a model stands twice. Remove one")
        return names


class CloudKeys(Section):
    """Where results go, what a run may cost, and how the machine is ended. Secrets never belong in this file."""

    takes_null = ("endpoint", "rate_usd_per_h")

    bucket: str = key(
        "Name of the Backblaze B2 bucket that keeps the results.", pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{4,62}$"
    )
    prefix: str = key(
        "Folder inside the bucket (letters, digits, `._-/`; no leading, trailing or double slash, no folder `.` or "
        "`..`).",
        "blueprint",
        pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$",
    )
    endpoint: str | None = key(
        "Address of another B2 service than Backblaze's own, `https://...` (tests use a local one).",
        None,
        pattern=r"^https?://.",
    )
    run_id: str = key(
        "Name of this run inside the prefix; machines with the same name continue one run and share its budget.",
        "main",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=64,
    )
    interval_s: float = key("Seconds between two syncs of finished outputs.", 60, gt=0)
    grace_s: float = key("Seconds that running jobs are given to finish once the budget is spent.", 300, ge=0)
    max_cost_usd: float = key("Budget in US dollars over all instances of this run; zero or less means no limit.", 0)
    rate_usd_per_h: float | None = key("Hourly rate in US dollars to count with; null asks Vast's API.", None, gt=0)
    shutdown: str = key(
        "How the machine is ended: `destroy` (after a verified final copy; otherwise it is stopped), `stop` (the disk "
        "is kept, and billed), or a command that ends it, its program named by its full path, without a shell.",
        "destroy",
    )
    max_hours: float = key(
        "Longest life of one machine in hours, whatever the budget; it ends in the same way.", 24, gt=0
    )
    setup_hours: float = key(
        "Hours that planning and making environments may take before the machine is ended.", 1.5, gt=0
    )
    job_hours: float = key(
        "Longest time of a job in hours, after which it is ended; one for which there is an estimate is given ten "
        "times that, and at least an hour.",
        6,
        gt=0,
    )
    call_s: float = key(
        "Seconds that a call of an outside program or service may take, besides the time for the bytes it moves.",
        60,
        gt=0,
    )
    guard_silent_s: float = key(
        "Seconds without a heartbeat after which the guard, or Snakemake, is taken for hung and ended.", 60, gt=0
    )
    final_copy_s: float = key(
        "Seconds that the final copy may take; after them the machine is stopped, its disk kept.", 1800, gt=0
    )
    silent_s: float = key(
        "Seconds without a sign of life in the bucket after which `vast.py reap` stops a machine.", 1800, gt=0
    )
    keep_disk_h: float = key(
        "Hours after which `vast.py reap` destroys a stopped machine, whose disk is billed.", 72, gt=0
    )
    environment_cache: bool = key(
        "Whether finished environments are kept in the bucket (a few GB each, below `<prefix>/.environments`), for the "
        "next machine to unpack instead of making them.",
        False,
    )
    notify: list[Event] = key(
        "Events that are told to the addresses in NOTIFY_URLS (see config/runtime.env.example).",
        ["start", "failure", "budget", "end", "reap"],
    )
    vast: Machine = key("Which machine `workflow/scripts/vast.py launch` looks for.", {})

    @field_validator("prefix")
    @classmethod
    def _stays_inside(cls, prefix: str) -> str:
        if {".", ".."} & set(prefix.split("/")):
            raise ValueError("a folder `.` or `..` is none of its own. Name real folders")
        return prefix

    @field_validator("endpoint")
    @classmethod
    def _is_private(cls, endpoint: str | None) -> str | None:
        try:
            address = urlsplit(endpoint or "https://b2")
            host = address.hostname or ""
        except ValueError as error:
            raise ValueError(f"not an address ({error}). Write https://<host>") from error
        if not host:
            raise ValueError("no host in it. Write https://<host>")
        if address.scheme == "http" and host not in LOOPBACK:
            raise ValueError("keys would travel unencrypted. Write https:// (http is for this machine itself)")
        return endpoint


@dataclass(frozen=True)
class CloudSettings:
    """What a cloud run needs to know. ``repr`` shows no secret; an absent secret is None."""

    bucket: str
    prefix: str
    endpoint: str | None
    run_id: str
    interval_s: float
    grace_s: float
    max_cost_usd: float
    rate_usd_per_h: float | None
    shutdown: str
    """``stop``, ``destroy`` or a shell command."""
    machine: Mapping[str, Any]
    """The section ``vast``: which machine to look for."""
    source: str
    """The file that messages name."""
    max_hours: float = 24.0
    setup_hours: float = 1.5
    job_hours: float = 6.0
    call_s: float = 60.0
    guard_silent_s: float = 60.0
    final_copy_s: float = 1800.0
    silent_s: float = 1800.0
    keep_disk_h: float = 72.0
    environment_cache: bool = False
    notify: Sequence[str] = ("start", "failure", "budget", "end", "reap")
    instance_id: int | None = None
    key_id: str | None = field(default=None, repr=False)
    application_key: str | None = field(default=None, repr=False)
    vast_api_key: str | None = field(default=None, repr=False)
    hf_token: str | None = field(default=None, repr=False)
    git_token: str | None = field(default=None, repr=False)
    """Lets a machine clone this repository when it is private."""
    notify_urls: str | None = field(default=None, repr=False)
    """Addresses to tell of what happens, separated by white space."""

    @property
    def has_budget(self) -> bool:
        """Whether spending is limited: a budget of zero or less is none."""
        return self.max_cost_usd > 0

    def secrets(self) -> dict[str, str]:
        """The secrets that are set, as the environment of a machine that runs the workflow."""
        values = {names[0]: getattr(self, name) for name, names in SECRET_VARIABLES.items()}
        return {variable: value for variable, value in values.items() if value}


def path_of_profile(argv: Sequence[str], environ: Mapping[str, str]) -> Path | None:
    """The cloud settings of the profile that Snakemake was started with; None for a local run.

    A profile is a cloud profile when ``cloud.yaml`` lies beside its ``config.yaml``. The command line is read, and not
    the profile's own ``config:`` entry, since any ``--config`` of the user would replace that and leave a rented
    machine unguarded.

    Raises:
        UserError: a profile cannot be found from here.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--profile", action="append", default=[])
    parser.add_argument("--workflow-profile", action="append", default=[])
    given, _ = parser.parse_known_args(list(argv))
    profiles = given.profile or [name for name in environ.get("SNAKEMAKE_PROFILE", "").split(",") if name]
    for profile in [*profiles, *given.workflow_profile]:
        if profile != "none" and (path := _profile_folder(profile, environ) / SETTINGS_NAME).is_file():
            return path
    return None


def _profile_folder(profile: str, environ: Mapping[str, str]) -> Path:
    # Snakemake reads profiles before it changes into --directory, this runs after it.
    for base in (Path.cwd(), Path(environ.get("PWD", "."))):
        if (base / profile).exists():
            return base / profile if (base / profile).is_dir() else (base / profile).parent
    from snakemake.cli import get_profile_dir  # absent where jobs run

    named = get_profile_dir(profile)
    if named is None:
        raise UserError(
            f"--profile {profile}: found neither in {Path.cwd()} nor by that name, so it cannot be told whether it is "
            "a cloud profile. With --directory, give its absolute path."
        )
    return named[0]


def load(path: Path, environ: Mapping[str, str] | None = None, runtime_env: Path = RUNTIME_ENV) -> CloudSettings:
    """Read cloud settings and the secrets that go with them.

    A variable of the environment wins, unless it is empty, over the same one in ``runtime_env``, which may be absent.
    Absent secrets are left None: the host checks report all of them in one table.

    Raises:
        UserError: every key that is not right, one per line; an unreadable file; an instance id that is no number.
    """
    given = os.environ if environ is None else environ
    variables = {**read_runtime_env(runtime_env), **{name: value for name, value in given.items() if value}}
    document = read_yaml(path)
    values = checked(CloudKeys, document.values, document.source, MANUAL, document).model_dump()
    secrets = {name: _first(variables, names) for name, names in SECRET_VARIABLES.items()}
    return CloudSettings(
        machine=values.pop("vast"), source=str(path), instance_id=_instance_id(variables), **values, **secrets
    )


def secrets_at_hand(environ: Mapping[str, str] | None = None, runtime_env: Path = RUNTIME_ENV) -> dict[str, str]:
    """Every secret that this process could use, from the environment or ``runtime_env``; raises as the latter does."""
    given = os.environ if environ is None else environ
    variables = {**read_runtime_env(runtime_env), **{name: value for name, value in given.items() if value}}
    return {name: value for name, value in variables.items() if name in secret.VARIABLES}


def read_runtime_env(path: Path) -> dict[str, str]:
    """Variables of a file of ``NAME=value`` lines; empty when there is none. Nothing is interpolated.

    Raises:
        UserError: a line that is not an assignment (the message has its number, not its text, which may be a secret).
    """
    if not path.exists():
        return {}
    mode = path.stat().st_mode
    if mode & 0o077:
        raise UserError(
            f"{path}: found mode {stat.S_IMODE(mode):04o}: other users of this computer may read or write your keys. "
            f"Run `chmod 600 {path}`."
        )
    text = path.read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        name, equals, _ = line.strip().removeprefix("export ").partition("=")
        if line.strip() and not line.strip().startswith("#") and not (equals and name.strip().isidentifier()):
            raise UserError(f"{path}: line {number} is not NAME=value. See {EXAMPLE_ENV}.")
    return {name: value for name, value in dotenv_values(stream=StringIO(text), interpolate=False).items() if value}


def _first(variables: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((variables[name].strip() for name in names if variables.get(name, "").strip()), None)


def _instance_id(variables: Mapping[str, str]) -> int | None:
    text = _first(variables, INSTANCE_VARIABLES)
    if text is None:
        return None
    number = text.removeprefix("C.")  # VAST_CONTAINERLABEL is `C.<id>`
    if not number.isdecimal():
        raise UserError(
            f"environment: VAST_INSTANCE_ID: found {text!r}, which is no instance id. Set the number that "
            "`python workflow/scripts/vast.py status` prints."
        )
    return int(number)
