"""What a rented machine is given to run: this repository at this commit, a configuration, its scenes, its secrets."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from blueprint import config as configuration
from blueprint.cloud.settings import EXAMPLE_ENV, PROVIDER_MODES, CloudSettings, placeholder_problem
from blueprint.enrich import requirements
from blueprint.errors import UserError

BOOTSTRAP = Path("profiles/vast/bootstrap.sh")
LONGEST_ONSTART = 4048
TOKEN_HELPER = '!f() { echo username=x-access-token; echo "password=$GIT_TOKEN"; }; f'
"""Lets git read a token from the environment, as in the bootstrap script."""
SCENE_FOLDER = "resources"
"""Only scenes below it are restored from the bucket on the machine."""


@dataclass(frozen=True)
class Source:
    """A commit and where a machine can get it."""

    url: str
    commit: str


def source_of(root: Path, remote: str, url: str | None = None) -> Source:
    """The commit that is checked out, provided that a machine can get exactly it.

    Args:
        root: the checkout.
        remote: the git remote that the machine fetches from.
        url: where the machine finds it instead of the remote's own address.

    Raises:
        UserError: no repository, uncommitted or unpushed changes, or an address that a machine cannot use.
    """
    commit = _git(root, "rev-parse", "HEAD")
    if changed := _git(root, "status", "--porcelain").splitlines():
        raise UserError(
            f"{root}: {len(changed)} uncommitted changes (first: {changed[0].strip()}). The machine runs what is "
            "committed: commit and push, or stash them."
        )
    address = _git(root, "config", "--get", f"remote.{remote}.url")
    _git(root, "fetch", "--quiet", remote)
    if not _git(root, "for-each-ref", f"--contains={commit}", f"refs/remotes/{remote}/"):
        raise UserError(f"{root}: commit {commit[:12]} is not at {remote}. Push it: `git push {remote} HEAD`.")
    return Source(_clonable(url or address), commit)


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise UserError(f"{root}: `git {' '.join(arguments)}` failed ({reason[0]}). Run it from a pushed clone.")
    return done.stdout.strip()


def _clonable(address: str) -> str:
    if match := re.fullmatch(r"(?:ssh://)?git@([^:/]+)[:/](.+)", address):
        address = f"https://{match[1]}/{match[2]}"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        raise UserError(
            f"git remote: {address!r} cannot be cloned by a machine elsewhere. Give --repository https://..."
        )
    if parts.username or parts.password:
        raise UserError(
            "git remote: the address has credentials in it, and it would be kept in logs. Remove them "
            f"(`git remote set-url`) and set GIT_TOKEN (see {EXAMPLE_ENV})."
        )
    return address


def refuse_unreachable(source: Source, token: str | None) -> None:
    """Check that a machine without this computer's credentials can read the repository.

    Raises:
        UserError: it cannot.
    """
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_TOKEN": token or ""}
    helpers = ["-c", "credential.helper="] + (["-c", f"credential.helper={TOKEN_HELPER}"] if token else [])
    done = subprocess.run(
        ["git", *helpers, "ls-remote", "--quiet", source.url, "HEAD"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(
            f"git remote: {source.url} cannot be read without this computer's credentials. For a private repository "
            f"set GIT_TOKEN (see {EXAMPLE_ENV}); otherwise give --repository."
        )


def read_config(path: Path) -> dict[str, Any]:
    """A configuration file, completed.

    Raises:
        UserError: unreadable, or not valid.
    """
    try:
        return configuration.complete(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Name a configuration.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({error}). Correct it.") from error


def refuse_incomplete_settings(settings: CloudSettings, config: Mapping[str, Any]) -> None:
    """Look for what would fail on the machine, before it is paid for.

    Raises:
        UserError: everything that is missing, one per line.
    """
    needed = {
        "B2_APPLICATION_KEY_ID": settings.key_id,
        "B2_APPLICATION_KEY": settings.application_key,
        "VAST_API_KEY": settings.vast_api_key,
    }
    if requirements.repositories_needed(config):
        needed["HF_TOKEN"] = settings.hf_token
    problems = [
        f"environment: {name}: not set. Set it, or fill it in in config/runtime.env (see {EXAMPLE_ENV})."
        for name, value in needed.items()
        if not value
    ]
    if settings.bucket.startswith("change-me"):
        problems.append(f"{settings.source}: bucket: still the example. Set it to a private bucket of yours.")
    if problem := placeholder_problem(settings.shutdown):
        problems.append(f"{settings.source}: shutdown: {problem}. Set it to one of {', '.join(PROVIDER_MODES)}.")
    if problems:
        raise UserError("\n".join(problems))


def refuse_untracked(root: Path, *paths: str) -> None:
    """Check that files are part of the commit that the machine gets.

    Raises:
        UserError: one is not.
    """
    tracked = _tracked(root)
    for path in paths:
        if path not in tracked:
            raise UserError(f"{path}: is not in the repository. Commit and push it, and name it relative to {root}.")


def _tracked(root: Path) -> set[str]:
    return set(_git(root, "ls-files", "-z").split("\0"))


def scenes_to_upload(root: Path, config: Mapping[str, Any]) -> list[str]:
    """Scenes that the machine can only get from the bucket, relative to the checkout.

    Raises:
        UserError: a scene is absent, or lies where the machine would not find it.
    """
    tracked = _tracked(root)
    scenes = []
    for facility in config["facilities"]:
        scene = facility["scene"]
        if configuration.is_demo_scene(scene) or scene in tracked:
            continue
        if not (root / scene).is_file():
            raise UserError(
                f"facilities: scene of {facility['name']}: found {scene!r}: there is no such file in {root}."
            )
        if Path(scene).is_absolute() or ".." in Path(scene).parts or Path(scene).parts[0] != SCENE_FOLDER:
            raise UserError(
                f"facilities: scene of {facility['name']}: found {scene!r}: the machine gets scenes through the "
                f"bucket, from below {SCENE_FOLDER}/. Move it there and correct the path."
            )
        scenes.append(scene)
    return scenes


def bootstrap_script(root: Path) -> str:
    """The shell commands that a container starts with.

    Raises:
        UserError: longer than Vast accepts.
    """
    text = (root / BOOTSTRAP).read_text(encoding="utf-8")
    if len(text) > LONGEST_ONSTART:
        raise UserError(f"{BOOTSTRAP}: {len(text)} characters, Vast accepts {LONGEST_ONSTART}. Shorten it.")
    return text


def environment_of(
    settings: CloudSettings, source: Source, configfile: str | None, with_account_key: bool
) -> dict[str, str]:
    """Variables of the container, secrets among them: whoever can read the Vast account or owns the host can read them.

    The key of the Vast account stays here, unless asked for: each container has a key of its own that can end it.
    """
    environment = {
        **settings.secrets(),
        "BLUEPRINT_REPOSITORY": source.url,
        "BLUEPRINT_COMMIT": source.commit,
        "BLUEPRINT_SETTINGS": settings.source,
    }
    if not with_account_key:
        del environment["VAST_API_KEY"]
    if configfile:
        environment["BLUEPRINT_CONFIGFILE"] = configfile
    return environment
