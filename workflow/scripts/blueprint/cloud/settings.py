"""Settings of a cloud run: `cloud.yaml` beside the profile, secrets from the environment or `config/runtime.env`."""

from __future__ import annotations

import argparse
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

from blueprint import config
from blueprint.errors import UserError

SCHEMA_PATH = config.SCHEMA_PATH.with_name("cloud.schema.yaml")
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
}
INSTANCE_VARIABLES = ("VAST_INSTANCE_ID", "CONTAINER_ID", "VAST_CONTAINERLABEL")
PROVIDER_MODES = ("stop", "destroy")
NO_OPERATIONS = {":", "[", "true", "false", "test", "echo", "printf", "cat", "date", "logger", "sleep"}
NO_OPERATIONS |= {"exit", "cd", "set", "export", "wait"}
SHELLS = {"sh", "bash", "dash", "zsh"}
WRAPPERS = {"sudo", "exec", "nohup", "env", "command"}


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
    instance_id: int | None = None
    key_id: str | None = field(default=None, repr=False)
    application_key: str | None = field(default=None, repr=False)
    vast_api_key: str | None = field(default=None, repr=False)
    hf_token: str | None = field(default=None, repr=False)
    git_token: str | None = field(default=None, repr=False)
    """Lets a machine clone this repository when it is private."""

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
        UserError: every violation of the schema, one per line; an unreadable file; an instance id that is no number.
    """
    given = os.environ if environ is None else environ
    variables = {**read_runtime_env(runtime_env), **{name: value for name, value in given.items() if value}}
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Copy it from the repository again.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({error}). Correct it.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: found {values!r} where keys with values are expected. See profiles/vast/README.md.")
    values = config.validated(values, SCHEMA_PATH, str(path), "profiles/vast/README.md")
    for key, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{path}: {key}: found {value}: not a finite number. Write a number, 0 to switch it off.")
    secrets = {name: _first(variables, names) for name, names in SECRET_VARIABLES.items()}
    return CloudSettings(
        machine=values.pop("vast"), source=str(path), instance_id=_instance_id(variables), **values, **secrets
    )


def read_runtime_env(path: Path) -> dict[str, str]:
    """Variables of a file of ``NAME=value`` lines; empty when there is none. Nothing is interpolated.

    Raises:
        UserError: a line that is not an assignment (the message has its number, not its text, which may be a secret).
    """
    if not path.exists():
        return {}
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


def placeholder_problem(shutdown: str) -> str | None:
    """Why a shutdown setting would end nothing; None when it is real.

    ``stop`` and ``destroy`` go through Vast's API. Anything else is a shell command, of which at least one part must
    be more than printing, waiting or doing nothing. The check finds placeholders, it does not prove a command works.
    """
    if shutdown in PROVIDER_MODES:
        return None
    try:
        real = _does_something(shutdown)
    except ValueError as error:
        return f"{shutdown!r} is not a valid shell command ({error})"
    return None if real else f"{shutdown!r} ends no machine: it prints, waits or does nothing"


def _does_something(command: str) -> bool:
    lexer = shlex.shlex(command.replace("\n", ";"), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    part: list[str] = []
    for token in [*lexer, ";"]:
        if token and set(token) <= set(";&|()"):
            if _part_does_something(part):
                return True
            part = []
        else:
            part.append(token)
    return False


def _part_does_something(words: list[str]) -> bool:
    while words and (words[0].partition("=")[0].isidentifier() and "=" in words[0]):
        words = words[1:]
    if not words:
        return False
    program = Path(words[0]).name
    if program in WRAPPERS:
        return _part_does_something([word for word in words[1:] if not word.startswith("-")])
    if program in SHELLS and any(word.startswith("-") and word.endswith("c") for word in words[1:]):
        index = next(i for i, word in enumerate(words) if i and word.startswith("-") and word.endswith("c"))
        return _does_something(words[index + 1]) if len(words) > index + 1 else False
    return program not in NO_OPERATIONS
