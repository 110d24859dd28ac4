"""What a rented machine is given to run: this repository at this commit, a configuration, its scenes, its secrets."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from blueprint import config as configuration
from blueprint import system
from blueprint.cloud import host_checks
from blueprint.cloud.b2 import Store
from blueprint.cloud.bucket import Bucket, Stamp
from blueprint.cloud.launched import GIVEN, VARIABLE, Launch, hours_left
from blueprint.cloud.manifest import Manifest
from blueprint.cloud.offers import Offer
from blueprint.cloud.reaper import place_digest
from blueprint.cloud.settings import EXAMPLE_ENV, CloudSettings
from blueprint.cloud.shutdown import PROVIDER_MODES, placeholder_problem
from blueprint.errors import UserError
from blueprint.plan import repositories_needed

BOOTSTRAP = Path("profiles/vast/bootstrap.sh")
LONGEST_ONSTART = 4048
TOKEN_HELPER = '!f() { echo username=x-access-token; echo "password=$GIT_TOKEN"; }; f'
"""Lets git read a token from the environment, as in the bootstrap script."""
DEADLINE_MARGIN_S = 900.0
"""Between the time at which a machine ends itself at the latest, and that at which the reaper does."""
SCENE_FOLDER = "resources"
"""Only scenes below it are restored from the bucket on the machine."""


@dataclass(frozen=True)
class Source:
    """A commit and where a machine can get it."""

    url: str
    commit: str


def source_of(root: Path, remote: str, url: str | None = None, besides: Collection[str] = ()) -> Source:
    """The commit that is checked out, provided that a machine can get exactly it.

    Args:
        root: the checkout.
        remote: the git remote that the machine fetches from.
        url: where the machine finds it instead of the remote's own address.
        besides: files that need not be committed, since they travel with the launch.

    Raises:
        UserError: no repository, uncommitted or unpushed changes, or an address that a machine cannot use.
    """
    commit = _git(root, "rev-parse", "HEAD")
    if changed := system.changed_files(root, besides):
        raise UserError(
            f"{root}: {len(changed)} uncommitted changes (first: {changed[0]}). The machine runs what is "
            "committed: commit and push, or stash them."
        )
    address = _git(root, "config", "--get", f"remote.{remote}.url")
    _git(root, "fetch", "--quiet", remote)
    if not _git(root, "for-each-ref", f"--contains={commit}", f"refs/remotes/{remote}/"):
        raise UserError(f"{root}: commit {commit[:12]} is not at {remote}. Push it: {system.PUSH}.")
    return Source(_clonable(url or address), commit)


def _git(root: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    done = system.git(root, *arguments, check=False, environment=environment)
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
    helpers = ["-c", "credential.helper="] + (["-c", f"credential.helper={TOKEN_HELPER}"] if token else [])
    asked = [*helpers, "ls-remote", "--quiet", source.url, "HEAD"]
    done = system.git(Path.cwd(), *asked, check=False, environment={"GIT_TOKEN": token or ""})
    if done.returncode:
        raise UserError(
            f"git remote: {source.url} cannot be read without this computer's credentials. For a private repository "
            f"set GIT_TOKEN (see {EXAMPLE_ENV}); otherwise give --repository."
        )


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
    if repositories_needed(config):
        needed["HF_TOKEN"] = settings.hf_token
    problems = [
        f"environment: {name}: not set. Set it, or fill it in in config/runtime.env (see {EXAMPLE_ENV})."
        for name, value in needed.items()
        if not value
    ]
    if settings.bucket.startswith("change-me"):
        problems.append(f"{settings.source}: bucket: still the example. Set it to a private bucket of yours.")
    if not Path(settings.source).with_name("config.yaml").is_file():
        problems.append(
            f"{settings.source}: there is no config.yaml beside it, and its folder is the run's Snakemake profile. "
            "Put it into profiles/vast, or copy profiles/vast/config.yaml to it."
        )
    if problem := placeholder_problem(settings.shutdown):
        problems.append(f"{settings.source}: shutdown: {problem}. Set it to one of {', '.join(PROVIDER_MODES)}.")
    if problems:
        raise UserError("\n".join(problems))


def travelling(root: Path, *paths: str) -> dict[str, bytes]:
    """The files that go along with a launch, committed or not, as they are now: path in the checkout -> content.

    Raises:
        UserError: one lies outside the checkout, or cannot be read.
    """
    found = {}
    for path in paths:
        place = (root / path).resolve()
        if not place.is_relative_to(root.resolve()):
            raise UserError(
                f"{path}: lies outside of {root}. The machine finds it where it lies in the checkout: copy it there."
            )
        try:
            found[place.relative_to(root.resolve()).as_posix()] = place.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}). Name a file.") from error
    return found


def refuse_needless(config: Mapping[str, Any], configfile: str) -> None:
    """Refuse to rent a GPU for what needs none.

    Raises:
        UserError: neither the engine nor the rasterizer of the configuration asks for one.
    """
    if not host_checks.vram_needed_gb(config) and config["render"]["backend"] != "gsplat":
        raise UserError(
            f"{configfile}: enrich.engine: found {config['enrich']['engine']}, which needs no GPU: run it here, for "
            "free. To rent one all the same, launch with --gpu-anyway."
        )


def problems(root: Path, settings: CloudSettings, config: Mapping[str, Any], configfile: str) -> list[str]:
    """All that a launch would be refused for, as far as it can be seen without asking anybody."""
    steps = (
        lambda: refuse_needless(config, configfile),
        lambda: refuse_incomplete_settings(settings, config),
        lambda: travelling(root, configfile, settings.source),
        lambda: scenes_to_upload(root, config),
    )
    found = []
    for step in steps:
        try:
            step()
        except UserError as error:
            found.append(str(error))
    return found


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


def upload_scenes(settings: CloudSettings, root: Path, scenes: Sequence[str]) -> int:
    """Copy scenes to the bucket that are not there as they are here, with their digests; how many there were.

    Raises:
        UserError: the bucket could not be written.
    """
    bucket = Bucket(settings, root)
    known, here = bucket.listing(), {scene: Stamp.of((root / scene).stat()) for scene in scenes}
    missing = {scene: stamp for scene, stamp in here.items() if known.get(scene) != stamp}
    lists = Manifest(root).add(missing, {})
    bucket.upload(missing | {path: Stamp.of((root / path).stat()) for path in lists})
    return len(missing)


def send(store: Store, files: Mapping[str, bytes]) -> dict[str, str]:
    """Put the files that travel into the run's folder of the bucket; their SHA-256, as the launch record names them.

    Raises:
        StoreError: the bucket could not be written.
    """
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    for path, content in files.items():
        store.put(f"{GIVEN}/{digests[path]}", content)
    return digests


def order(settings: CloudSettings, offer: Offer, earlier_usd: float, now_s: float, files: Mapping[str, str]) -> Launch:
    """The launch record of a machine that is about to be rented; it has a label of its own.

    Args:
        earlier_usd: what the run has cost before.
        now_s: seconds since 1970, by B2's clock.
        files: what travels with it, as `send` returned it.
    """
    hours = hours_left(settings.max_hours, settings.max_cost_usd, earlier_usd, offer.rate_usd_per_h)
    finish_s = settings.final_copy_s + 5 * settings.machine["patience_s"] + 2 * settings.call_s
    return Launch(
        label=f"blueprint-{settings.run_id}-{place_digest(settings)}{secrets.token_hex(4)}",
        run_id=settings.run_id,
        bucket=settings.bucket,
        prefix=settings.prefix,
        endpoint=settings.endpoint,
        launched_s=now_s,
        deadline_s=now_s + hours * 3600 + settings.grace_s + finish_s + DEADLINE_MARGIN_S,
        rate_usd_per_h=offer.rate_usd_per_h,
        max_hours=hours,
        setup_s=settings.setup_hours * 3600,
        finish_s=finish_s,
        guard_silent_s=settings.guard_silent_s,
        interval_s=settings.interval_s,
        files=dict(files),
    )


def environment_of(
    settings: CloudSettings, source: Source, configfile: str, cloud: str, with_account_key: bool, launch: Launch
) -> dict[str, str]:
    """Variables of the container, secrets among them: whoever can read the Vast account or owns the host can read them.

    ``configfile`` and ``cloud`` (its settings) are relative to the checkout.

    The key of the Vast account stays here, unless asked for: each container has a key of its own that can end it.
    """
    environment = {
        **settings.secrets(),
        "BLUEPRINT_REPOSITORY": source.url,
        "BLUEPRINT_COMMIT": source.commit,
        "BLUEPRINT_SETTINGS": cloud,
        "BLUEPRINT_CONFIGFILE": configfile,
        VARIABLE: launch.to_text(),
        "FINISH_LIMIT_S": f"{launch.finish_s:.0f}",
    }
    if not with_account_key:
        del environment["VAST_API_KEY"]
    return environment
