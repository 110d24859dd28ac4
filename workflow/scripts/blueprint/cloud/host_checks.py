"""Host checks: is this machine able to do the run, and will its results and its bill be looked after?

They run at every start of a real run, in seconds, and never decide what has to be made: facts of a machine are no part
of any job's inputs.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from huggingface_hub import CacheNotFound, scan_cache_dir

from blueprint.checks import Check, print_table
from blueprint.cloud import bucket as buckets
from blueprint.cloud import vast
from blueprint.cloud.accounts import store_of
from blueprint.cloud.settings import EXAMPLE_ENV, CloudSettings
from blueprint.cloud.shutdown import PROVIDER_MODES, absence_problem, placeholder_problem
from blueprint.engines import ENVIRONMENTS, engine, hub
from blueprint.engines.base import Engine
from blueprint.engines.gpu import check_vram, visible_gpus
from blueprint.errors import UserError
from blueprint.plan import clips_of, planned_clips, repositories_needed, variants_of
from blueprint.train.trainers import trainer

GB = 1e9
CHECK_PATIENCE_S = 20.0
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
OLDEST_DRIVER = "580.65.06"
"""For CUDA 13, which this project's own environments are built with."""

CONDA_FOLDERS = (Path(".snakemake/conda"), Path("~/.cache/blueprint/conda").expanduser())
"""Where the profiles keep the environments."""
CLOCK_TOLERANCE_S = 300.0
"""A clock that is further off is refused: times decide what is made again, and B2 signs by them."""

# Bytes per pixel and frame that the products of a clip take at most: H.264 at the workflow's quality stays below
# 0.5 byte, the archive of depth holds 4 bytes of depth and 1 of alpha and is compressed, frames are decoded one by one.
VIDEO_BYTES_PER_PIXEL = 0.5
DEPTH_BYTES_PER_PIXEL = 5.0
LOGS_AND_REPORT_GB = 1.0
IMAGE_GB = 10.0


def run(settings: CloudSettings | None, config: Mapping[str, Any], root: Path) -> list[Check]:
    """Check this host for a run.

    Args:
        settings: of the cloud profile; None for a local run, which needs neither bucket nor provider.
        config: the completed configuration.
        root: the folder that results are written to (its file system is measured).

    Returns:
        One check per line of the table, in a fixed order; nothing is raised for what can be reported.
    """
    checks: list[Callable[[], list[Check]]] = [
        _guarded("GPU", "Start the run where `nvidia-smi` works.", partial(_gpus, config)),
        _guarded("disk", "Free space, or rent a larger disk (vast.disk_gb).", partial(disk, config, root)),
        _guarded("engine", "See docs/enrichment.md.", lambda: _engine(config).host_checks(config["enrich"])),
        _guarded("RAM", "Rent a machine with more memory, or end what uses it.", partial(_memory, config)),
        _guarded("Hugging Face", f"Set HF_TOKEN (see {EXAMPLE_ENV}).", partial(hugging_face, config, settings)),
    ]
    if settings is not None:
        quick = replace(
            settings, machine={**settings.machine, "patience_s": min(settings.machine["patience_s"], CHECK_PATIENCE_S)}
        )
        checks += [
            _guarded(
                "B2",
                f"Correct bucket, prefix or key ({settings.source}, {EXAMPLE_ENV}).",
                partial(bucket_access, quick),
            ),
            _guarded(
                "clock", "Set the clock (`timedatectl set-ntp true`), or rent another machine.", partial(_clock, quick)
            ),
            _guarded("Vast", f"Set VAST_API_KEY (see {EXAMPLE_ENV}).", partial(_vast, quick)),
            _guarded("hourly rate", f"Set rate_usd_per_h in {settings.source}.", partial(_rate, quick)),
            _guarded(
                "shutdown",
                f"Set shutdown in {settings.source} to stop or destroy.",
                partial(shutdown, quick, here=True),
            ),
        ]
    with ThreadPoolExecutor(len(checks)) as pool:
        return [check for found in pool.map(lambda check: check(), checks) for check in found]


def refuse_failures(checks: Iterable[Check], title: str = "Host checks") -> None:
    """Print the table, and stop when a check failed.

    Raises:
        UserError: at least one check failed.
    """
    checks = list(checks)
    print_table(checks, title)
    failed = [check.name for check in checks if check.result == "fail"]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(checks)} host checks failed ({', '.join(failed)}): see the table above."
        )


def _guarded(name: str, remedy: str, check: Callable[[], list[Check]]) -> Callable[[], list[Check]]:
    def guarded() -> list[Check]:
        try:
            return check()
        except (UserError, OSError) as error:
            return [Check(name, "fail", str(error), remedy)]

    return guarded


def vram_needed_gb(config: Mapping[str, Any]) -> float:
    """GB of memory that one card needs, for the largest clip of a completed configuration or for its training."""
    enrich, trained = config["enrich"], trainer(config)
    largest = max(planned_clips(config), key=lambda clip: clip.width * clip.height)
    needed_gb = engine(enrich["engine"]).vram_needed_gb(enrich, largest.width, largest.height)
    return max(needed_gb, trained.vram_gb if trained else 0.0)


def _gpus(config: Mapping[str, Any]) -> list[Check]:
    name, backend = config["enrich"]["engine"], config["render"]["backend"]
    needed_gb = vram_needed_gb(config)
    if not needed_gb and backend != "gsplat":
        return [Check("GPU", "skip", f"engine {name} and render backend {backend} need none", "Nothing to do.")]
    gpus = visible_gpus()
    if not gpus:
        raise UserError(f"nvidia-smi finds none, and engine {name} with render backend {backend} needs one")
    old = _version(gpus[0].driver) < _version(OLDEST_DRIVER)
    return [
        Check("GPU", "ok", f"{len(gpus)} x {gpus[0].name}"),
        Check(
            "driver",
            "fail" if old else "ok",
            f"{gpus[0].driver}, at least {OLDEST_DRIVER} is needed",
            f"Rent a machine with driver {OLDEST_DRIVER} or newer (vast.min_driver)." if old else "",
        ),
        check_vram(needed_gb, gpus),
    ]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def products_gb(config: Mapping[str, Any], root: Path) -> float:
    """GB of results that the DAG still has to write below ``root``, at most.

    Per clip of F frames of W x H pixels: F*W*H * (2 videos * 0.5 + 5 of the depth archive + 0.5 per variant) bytes, for
    the products that are not there yet; plus 1 GB for logs and the report.
    """
    total = 0.0
    for facility in config["facilities"]:
        for name, clip in clips_of(config, facility).items():
            pixels = clip["frames"] * clip["width"] * clip["height"]
            folder = root / facility["name"]
            costs = {
                folder / "clips" / name / "rgb.mp4": VIDEO_BYTES_PER_PIXEL,
                folder / "clips" / name / "depth.mp4": VIDEO_BYTES_PER_PIXEL,
                folder / "clips" / name / "depth.npz": DEPTH_BYTES_PER_PIXEL,
            }
            for variant in variants_of(config):
                costs[folder / "enriched" / name / f"{variant}.mp4"] = VIDEO_BYTES_PER_PIXEL
            total += sum(pixels * cost for path, cost in costs.items() if not path.exists())
    return total / GB + LOGS_AND_REPORT_GB


def _engine(config: Mapping[str, Any]) -> Engine:
    return engine(config["enrich"]["engine"])


def environments_of(config: Mapping[str, Any]) -> set[str]:
    """The environments with torch that the jobs of a run are in."""
    models = [_engine(config), *filter(None, [trainer(config)])]
    return {"render", "metrics", *(model.environment for model in models)}


def _weights_gb(config: Mapping[str, Any]) -> float:
    trained = trainer(config)
    return _engine(config).downloads_gb(config["enrich"]) + (trained.weights_gb if trained else 0.0)


def disk_needed_gb(config: Mapping[str, Any], root: Path) -> float:
    """GB that a run on this machine may still write: results, weights that are not cached yet, and, where there is a
    conda, the environments, unless all of them are there."""
    weights_gb = max(0.0, _weights_gb(config) - _cached_gb(config))
    finished = sum(1 for folder in CONDA_FOLDERS for _ in folder.glob("*.env_setup_done"))
    names = environments_of(config)
    absent = shutil.which("conda") and finished < len(names)
    environments_gb = sum(ENVIRONMENTS[name].disk_gb for name in names) if absent else 0.0
    return products_gb(config, root) + weights_gb + environments_gb


def rented_disk_needed_gb(config: Mapping[str, Any]) -> float:
    """GB that the disk of a machine must have which is rented for the whole run: as above, from nothing, plus the
    container's image."""
    environments_gb = sum(ENVIRONMENTS[name].disk_gb for name in environments_of(config))
    return products_gb(config, Path()) + _weights_gb(config) + environments_gb + IMAGE_GB


def _cached_gb(config: Mapping[str, Any]) -> float:
    needed = {repository.id for repository in repositories_needed(config)}
    try:
        return sum(cached.size_on_disk for cached in scan_cache_dir().repos if cached.repo_id in needed) / GB
    except CacheNotFound:
        return 0.0


def disk(config: Mapping[str, Any], root: Path) -> list[Check]:
    needed_gb = disk_needed_gb(config, root)
    place = next(folder for folder in (root, *root.resolve().parents) if folder.exists())
    free_gb = psutil.disk_usage(str(place)).free / GB
    if free_gb < needed_gb:
        raise UserError(f"{free_gb:.1f} GB free in {place}, the run may write {needed_gb:.1f} GB")
    return [Check("disk", "ok", f"{free_gb:.1f} GB free, the run may write {needed_gb:.1f} GB")]


def _memory(config: Mapping[str, Any]) -> list[Check]:
    needs = {_engine(config).name: _engine(config).fills_gb(config["enrich"])}
    if trained := trainer(config):
        needs[trained.name] = trained.ram_gb
    name, needed_gb = max(needs.items(), key=lambda need: need[1])
    free_gb = psutil.virtual_memory().available / GB
    if CGROUP_LIMIT.exists() and (limit := CGROUP_LIMIT.read_text(encoding="utf-8").strip()).isdecimal():
        free_gb = min(free_gb, int(limit) / GB)
    if free_gb < needed_gb:
        raise UserError(f"{free_gb:.1f} GB available, {name} needs {needed_gb:.1f} GB")
    return [Check("RAM", "ok", f"{free_gb:.1f} GB available, {name} needs {needed_gb:.1f} GB")]


def hugging_face(config: Mapping[str, Any], settings: CloudSettings | None) -> list[Check]:
    repositories = repositories_needed(config)
    if not repositories:
        return [Check("Hugging Face", "skip", f"engine {config['enrich']['engine']} needs no model", "Nothing to do.")]
    token = settings.hf_token if settings else os.environ.get("HF_TOKEN")
    return hub.check_access(repositories, token)


def bucket_access(settings: CloudSettings) -> list[Check]:
    bucket = buckets.Bucket(settings, Path.cwd())
    # Outside the folders that are synced, so that no machine ever restores it. Hidden afterwards, which needs no right
    # to delete.
    probe, content = f"{bucket.remote}/probe/{secrets.token_hex(8)}", "blueprint"
    bucket.rclone("rcat", probe, stdin=content)
    try:
        found = bucket.rclone("cat", probe)
    finally:
        bucket.rclone("deletefile", probe)
    if found != content:
        raise UserError(f"{buckets.remote_path(settings)}: what was written came back as {len(found)} other characters")
    return [Check("B2", "ok", f"wrote, read and hid a probe in {buckets.remote_path(settings)}")]


def _clock(settings: CloudSettings) -> list[Check]:
    try:
        offset_s = store_of(settings).authorise()
    except UserError as error:
        return [Check("clock", "unknown", f"B2 does not say what time it is ({error})", "See the check of B2.")]
    found = (
        f"{abs(offset_s):.0f} s {'behind' if offset_s > 0 else 'ahead of'} B2's clock, {CLOCK_TOLERANCE_S:g} s allowed"
    )
    if abs(offset_s) > CLOCK_TOLERANCE_S:
        raise UserError(found)
    return [Check("clock", "ok", found)]


def _vast(settings: CloudSettings) -> list[Check]:
    if settings.shutdown not in PROVIDER_MODES and settings.instance_id is None:
        return [Check("Vast", "skip", "no Vast instance; shutdown is a command of its own", "Nothing to do.")]
    missing = [
        name
        for name, value in (("VAST_API_KEY", settings.vast_api_key), ("VAST_INSTANCE_ID", settings.instance_id))
        if not value
    ]
    if missing:
        raise UserError(f"not set: {' and '.join(missing)}; nobody could end this machine")
    found = vast.describe(settings)
    if found.state == "gone":
        raise UserError(f"Vast knows no instance {found.id} of this key's account")
    return [Check("Vast", "ok", f"instance {found.id}, {found.gpu}, {found.state}")]


def _rate(settings: CloudSettings) -> list[Check]:
    if not settings.has_budget:
        return [Check("hourly rate", "skip", "max_cost_usd is 0 or less: no budget to keep", "Nothing to do.")]
    rate = vast.rate_usd_per_h(settings)
    hours = settings.max_cost_usd / rate
    return [Check("hourly rate", "ok", f"{rate:.3f} USD/h: {settings.max_cost_usd:g} USD last {hours:.1f} h")]


def shutdown(settings: CloudSettings, here: bool = False) -> list[Check]:
    """Whether the setting ends a machine; ``here``: this one, on which a command has to be found."""
    if problem := placeholder_problem(settings.shutdown) or (here and absence_problem(settings.shutdown)):
        raise UserError(problem)
    return [Check("shutdown", "ok", settings.shutdown)]
