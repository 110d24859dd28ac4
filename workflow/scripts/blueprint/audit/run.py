"""The audit as a whole: its checks in a fixed order, the table, and the record that `launch` asks for."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from blueprint import config as configuration
from blueprint import system
from blueprint.audit import code, estimate
from blueprint.checks import Check
from blueprint.cloud import host_checks, vast
from blueprint.cloud import launch as launching
from blueprint.cloud import settings as cloud_settings
from blueprint.cloud.settings import CloudSettings
from blueprint.environments import inputs
from blueprint.errors import UserError
from blueprint.files import read_json, value_digest, write_json
from blueprint.plan import repositories_needed

FRESH_S = 24 * 3600
"""An audit older than this does not count: buckets, keys and prices change."""
CONNECT_S = 3.0


@dataclass(frozen=True)
class Subject:
    """What is audited."""

    root: Path
    """The checkout."""
    configfiles: tuple[Path, ...]
    """Configuration files, relative to ``workdir`` or absolute."""
    workdir: Path
    """The folder that scenes are relative to and results are written to."""
    cloud: Path | None
    """``cloud.yaml`` of the profile that the run will use; None for a local run."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """The completed configuration.

        Raises:
            UserError: it is not valid.
        """
        return configuration.read_config(*self.configfiles, folder=self.workdir)

    @property
    def travelling(self) -> set[str]:
        """Files of the checkout that go along with a launch and need not be committed, relative to it."""
        files = [self.workdir / path for path in (*self.configfiles, *filter(None, [self.cloud]))]
        root = self.root.resolve()
        return {str(path.resolve().relative_to(root)) for path in files if path.resolve().is_relative_to(root)}

    @property
    def source(self) -> str:
        """How messages name the configuration."""
        return ", ".join(map(str, self.configfiles))

    @cached_property
    def settings(self) -> CloudSettings | None:
        """The cloud settings.

        Raises:
            UserError: they are not valid.
        """
        return (
            cloud_settings.load(self.cloud, runtime_env=self.root / cloud_settings.RUNTIME_ENV) if self.cloud else None
        )


def run(subject: Subject) -> list[Check]:
    """Make every check. Nothing is changed, and nothing is raised for what can be reported.

    A check that rests on a configuration or on settings that are not valid is skipped: their own checks say so.
    """
    root = subject.root
    no_config = _problem(lambda: subject.config)
    no_secrets = _problem(lambda: cloud_settings.read_runtime_env(root / cloud_settings.RUNTIME_ENV))
    no_settings = _problem(lambda: subject.settings)
    checks: list[Callable[[], list[Check]]] = [
        lambda: [_configuration(subject, no_config)],
        _unless(no_config, "scenes", partial(_scenes, subject)),
        _unless(no_config or no_secrets, "DAG", partial(_dag, subject)),
        lambda: [_environments(root)],
        *(lambda name=name: [code.check_linter(root, name)] for name in code.LINTERS),
        lambda: [code.check_git(root, subject.travelling)],
        lambda: [code.check_secrets(root)],
        lambda: [code.check_runtime_env(root)],
        _unless(no_secrets, "cloud settings", lambda: [_cloud_settings(subject, no_settings)]),
        *(
            _unless(no_config or no_settings, name, partial(check, subject))
            for name, check in {
                "disk": _disk,
                "time and cost": _time_and_cost,
                "VRAM": _vram,
                "Hugging Face": _hugging_face,
                "bucket": _bucket,
                "Vast": _vast,
                "shutdown": _shutdown,
                "launch": _launch,
            }.items()
        ),
    ]
    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        return [check for found in pool.map(lambda check: check(), checks) for check in found]


def record(subject: Subject, checks: list[Check], output: Path) -> None:
    """Write the audit as JSON: what was audited, what was found, when."""
    write_json(
        output,
        {
            "commit": _commit(subject.root),
            "configuration": _digest(subject),
            "passed": all(check.result in ("ok", "skip") for check in checks),
            "checks": [check.to_json() for check in checks],
            "run": {"made_at_s": time.time()},
        },
    )


def require_green_audit(subject: Subject, audit: Path) -> None:
    """Refuse to spend money without a fresh audit of this commit and configuration that found nothing.

    Raises:
        UserError: there is no audit, or it is of something else, too old, or not green.
    """
    again = f"Run `make audit CONFIG={subject.source}`, or launch with --without-audit."
    if not audit.is_file():
        raise UserError(f"{audit}: there is no audit of this commit and configuration. {again}")
    recorded = read_json(audit)
    if recorded["commit"] != _commit(subject.root):
        raise UserError(f"{audit}: it is of commit {recorded['commit'][:12]}, not of the present one. {again}")
    if recorded["configuration"] != _digest(subject):
        raise UserError(f"{audit}: it audits another configuration than {subject.source}. {again}")
    age_s = time.time() - recorded["run"]["made_at_s"]
    if not 0 <= age_s < FRESH_S:
        raise UserError(f"{audit}: it is {age_s / 3600:.0f} hours old, {FRESH_S // 3600} are accepted. {again}")
    red = [check["name"] for check in recorded["checks"] if check["result"] not in ("ok", "skip")]
    if red:
        raise UserError(f"{audit}: not green ({', '.join(red)}). Mend these. {again}")


def _configuration(subject: Subject, problem: str | None) -> Check:
    if problem:
        return Check("configuration", "fail", problem, "correct the file; every key is in config/README.md")
    return Check("configuration", "ok", f"{subject.source}: {len(subject.config['facilities'])} facilities")


def _scenes(subject: Subject) -> list[Check]:
    from blueprint import splat  # reading scenes needs numpy and gsply, which a broken environment may lack

    found = []
    for facility in subject.config["facilities"]:
        scene = facility["scene"]
        if configuration.is_demo_scene(scene) and not (subject.workdir / scene).exists():
            found.append(f"{scene}: made by the demo rule")
        else:
            found.append(f"{scene}: {len(splat.load(subject.workdir / scene)):,} Gaussians")
    return [Check("scenes", "ok", "; ".join(found))]


def _dag(subject: Subject) -> list[Check]:
    files = [str(path) for path in subject.configfiles]
    command = ("snakemake", "--dry-run", "--quiet", "--snakefile", str(subject.root / "Snakefile"), "--cores", "1")
    try:
        status, said = code.run_tool(subject.workdir, (*command, "--configfile", *files))
    except UserError as error:
        return [Check("DAG", "fail", str(error), code.INSTALL)]
    if status:
        return [Check("DAG", "fail", said.strip()[-400:], f"run `{' '.join(command)}` and correct what it names")]
    return [Check("DAG", "ok", "the graph of jobs can be built")]


def _environments(root: Path) -> Check:
    folder = root / "envs"
    stale = [problem for name in inputs.names(folder) if (problem := inputs.out_of_step(folder, name))]
    if stale:
        return Check("environments", "fail", "; ".join(stale), "make lock, then commit the result")
    return Check("environments", "ok", f"{len(inputs.names(folder))} files, exact and in step with their inputs")


def _cloud_settings(subject: Subject, problem: str | None) -> Check:
    if problem:
        return Check("cloud settings", "fail", problem, "correct the file; see profiles/vast/README.md")
    if subject.cloud is None:
        return Check("cloud settings", "skip", "a local run needs none", "name them with --cloud for a cloud run")
    return Check("cloud settings", "ok", str(subject.cloud))


def _disk(subject: Subject) -> list[Check]:
    if subject.settings is None:
        return host_checks.disk(subject.config, subject.workdir / configuration.folders(subject.config)["results"])
    needed_gb = host_checks.rented_disk_needed_gb(subject.config)
    rented_gb = subject.settings.machine["disk_gb"]
    evidence = f"{rented_gb} GB will be rented; results, weights, environments and image take {needed_gb:.1f} GB"
    if rented_gb < needed_gb:
        return [Check("disk", "fail", evidence, f"raise vast.disk_gb in {subject.cloud}")]
    return [Check("disk", "ok", evidence)]


def _time_and_cost(subject: Subject) -> list[Check]:
    stages = estimate.estimate(subject.config, subject.workdir / configuration.folders(subject.config)["benchmarks"])
    hours = sum(stage.seconds for stage in stages) / 3600
    evidence = f"{hours:.2f} h: " + "; ".join(map(str, stages))
    settings = subject.settings
    if settings is None:
        return [Check("time and cost", "ok", evidence)]
    rate_usd_per_h = settings.rate_usd_per_h or settings.machine["max_usd_per_h"]
    cost_usd = hours * rate_usd_per_h
    evidence = f"{cost_usd:.2f} USD at up to {rate_usd_per_h:.2f} USD/h, {evidence}"
    if settings.has_budget and cost_usd > settings.max_cost_usd:
        remedy = f"raise max_cost_usd ({settings.max_cost_usd:.2f}) in {subject.cloud}, or make fewer or shorter clips"
        return [Check("time and cost", "fail", evidence, remedy)]
    return [Check("time and cost", "ok", evidence)]


def _vram(subject: Subject) -> list[Check]:
    engine = subject.config["enrich"]["engine"]
    needed_gb = host_checks.vram_needed_gb(subject.config)
    if not needed_gb:
        return [Check("VRAM", "ok", f"{engine} needs no GPU")]
    if subject.settings is None:
        return [Check("VRAM", "skip", f"{engine} needs {needed_gb:.1f} GB", "name the wanted machine with --cloud")]
    wanted_gb = subject.settings.machine["min_vram_gb"]
    evidence = f"{engine} needs {needed_gb:.1f} GB, machines from {wanted_gb} GB are looked for"
    if wanted_gb < needed_gb:
        remedy = f"raise vast.min_vram_gb in {subject.cloud} to {math.ceil(needed_gb)} or more"
        return [Check("VRAM", "fail", evidence, remedy)]
    return [Check("VRAM", "ok", evidence)]


def _hugging_face(subject: Subject) -> list[Check]:
    if not repositories_needed(subject.config):
        return host_checks.hugging_face(subject.config, subject.settings)
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    return _if_reachable("Hugging Face", hub, lambda: host_checks.hugging_face(subject.config, subject.settings))


def _bucket(subject: Subject) -> list[Check]:
    settings = subject.settings
    if settings is None:
        return _not_local("bucket")
    service = settings.endpoint or "https://api.backblazeb2.com"
    return _if_reachable("bucket", service, lambda: host_checks.bucket_access(_quick(settings)))


def _vast(subject: Subject) -> list[Check]:
    settings = subject.settings
    if settings is None:
        return _not_local("Vast")
    if not settings.vast_api_key:
        return [Check("Vast", "fail", "VAST_API_KEY is not set", f"set it (see {cloud_settings.EXAMPLE_ENV})")]

    def ask() -> list[Check]:
        count = len(vast.list_instances(_quick(settings)))
        return [Check("Vast", "ok", f"the key is accepted; the account has {count} instances")]

    return _if_reachable("Vast", os.environ.get("VAST_URL", "https://console.vast.ai"), ask)


def _shutdown(subject: Subject) -> list[Check]:
    return _not_local("shutdown") if subject.settings is None else host_checks.shutdown(subject.settings)


def _launch(subject: Subject) -> list[Check]:
    if subject.settings is None:
        return _not_local("launch")
    found = launching.problems(subject.workdir, subject.settings, subject.config, subject.source)
    if found:
        return [Check("launch", "fail", "\n".join(found), "`launch` would refuse these; correct them")]
    return [Check("launch", "ok", "settings, keys, configuration and scenes are as `launch` needs them")]


def _not_local(name: str) -> list[Check]:
    return [Check(name, "skip", "a local run needs none", "name the cloud settings with --cloud")]


def _quick(settings: CloudSettings) -> CloudSettings:
    """The settings with the short patience of a check."""
    return replace(settings, machine={**settings.machine, "patience_s": host_checks.CHECK_PATIENCE_S})


def _if_reachable(name: str, url: str, check: Callable[[], list[Check]]) -> list[Check]:
    """Make a check of a service, unless there is no way to the service from here."""
    address = urlsplit(url)
    host, port = address.hostname or "", address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except OSError as error:
        return [Check(name, "unknown", f"{host} cannot be reached ({error})", "audit where there is a network")]
    return check()


def _unless(problem: str | None, name: str, check: Callable[[], list[Check]]) -> Callable[[], list[Check]]:
    def guarded() -> list[Check]:
        if problem:
            return [Check(name, "skip", "rests on settings that are not valid", "correct those first")]
        try:
            return check()
        except (UserError, OSError) as error:
            return [Check(name, "fail", str(error), "correct what the evidence names")]
        except ImportError as error:
            return [Check(name, "fail", f"{error.name} is not installed", code.INSTALL)]

    return guarded


def _problem(read: Callable[[], object]) -> str | None:
    try:
        read()
    except (UserError, OSError) as error:
        return str(error)
    return None


def _digest(subject: Subject) -> str:
    settings = subject.cloud.read_text(encoding="utf-8") if subject.cloud else ""
    return value_digest([subject.config if _problem(lambda: subject.config) is None else None, settings])


def _commit(root: Path) -> str:
    return system.git(root, "rev-parse", "HEAD", check=False).stdout.strip()
