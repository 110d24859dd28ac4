"""Is what is installed in this Python what is locked? Asked before every job, and answered from file names and records.

Nothing is imported: names and versions are those of the `.dist-info` folders on `sys.path`, and the records in them
say which libraries and packages must be there, and how large. An environment that conda made carries a record of its
own lock (`write_record`); any other Python is held against `envs/laptop.constraints.txt`.

Standard library only: the Python that is looked at may lack the rest.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from blueprint import system
from blueprint.environments.isolation import isolation
from blueprint.errors import UserError
from blueprint.files import write_json

RECORD = Path("share", "blueprint", "environment.json")
"""Where an environment keeps its record, below its prefix."""
KEPT_FILE = re.compile(rb"(/__init__\.py|\.so[.\d]*),[^,\n]*,(\d*)")
"""Ends of the lines of a RECORD that are looked after: packages and compiled libraries, with sizes in bytes."""
SOURCE_FILE = re.compile(rb"^(?!\.\.)([^,\n]+\.(?:py|so)),", re.MULTILINE)
REQUIREMENT = re.compile(r"^Requires-Dist: *([A-Za-z0-9._-]+)([^\n]*)", re.MULTILINE)
TORCH_LINE = re.compile(r"^(?:__version__|cuda|git_version)\b[^=\n]*=\s*(.*?)\s*$", re.MULTILINE)
UV_LINE = re.compile(r"^ *([-+~]) ([A-Za-z0-9._-]+)(?:==| @ )(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Upstream:
    """An installation from a repository's `uv.lock` beside the environment, and the words that made it."""

    root: str
    sync: list[str]
    """Arguments of `uv` that install it; ``--check`` is added to ask instead."""
    supplements: dict[str, str]
    """What was added besides, version by normalised name."""
    torch: str | None = None
    """The build of its torch as it was when the environment was made."""


@dataclass(frozen=True)
class Lock:
    """What an environment must hold."""

    source: str
    """The file that says so, for messages."""
    repair: str
    """What puts it right; ``{packages}`` stands for those that differ."""
    pins: dict[str, str]
    """Version by normalised name."""
    direct: frozenset[str] | None = None
    """Of the pins, those that must be there on every platform; None when all must."""
    torch: str | None = None
    """Version, CUDA and commit of torch as they were when the environment was made."""
    upstream: Upstream | None = None


@dataclass(frozen=True)
class Distribution:
    """One installed distribution."""

    name: str
    version: str
    folder: Path
    """Its `.dist-info` folder."""


@dataclass(frozen=True)
class Difference:
    """One way in which what is installed is not what is locked."""

    packages: tuple[str, ...]
    text: str
    """Package, both versions, where."""


def normalised(name: str) -> str:
    """A distribution's name as lock files write it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(text: str) -> dict[str, str]:
    """Version by normalised name from lines `name==version ...`; others are passed over."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", text, re.MULTILINE)
    return {normalised(name): version for name, version in found}


def laptop_lock(envs: Path, python: str) -> Lock:
    """What a plain virtual environment must hold: the pins of `envs/laptop.txt` and all that they pull in."""
    requirements, constraints = envs / "laptop.txt", envs / "laptop.constraints.txt"
    return Lock(
        str(constraints),
        f"{python} -m pip uninstall -y {{packages}}; {python} -m pip install -r {requirements} -c {constraints}",
        read_pins(constraints.read_text(encoding="utf-8")),
        frozenset(read_pins(requirements.read_text(encoding="utf-8"))),
    )


def torch_of(paths: Iterable[str]) -> str | None:
    """The build of the torch on a search path, or None without one."""
    found = installed(paths).get("torch")
    return torch_build(found[0]) if found else None


def write_record(prefix: Path, name: str, pins: dict[str, str], upstream: Upstream | None = None) -> None:
    """Leave in an environment, just made, what it must hold from now on.

    Args:
        prefix: the environment's folder.
        name: such as ``render``.
        pins: version by normalised name.
    """
    value = {
        "environment": name,
        "pins": pins,
        "torch": torch_of(sys.path),
        "upstream": asdict(upstream) if upstream else None,
    }
    write_json(prefix / RECORD, value)


def lock_of(prefix: Path, envs: Path, python: str) -> Lock:
    """The lock that the Python at ``prefix`` is held against: its own record, or else that of the laptop."""
    path = prefix / RECORD
    if not path.exists():
        return laptop_lock(envs, python)
    value = json.loads(path.read_text(encoding="utf-8"))
    repair = f"rm -rf {prefix} && snakemake --sdm conda --conda-create-envs-only"
    upstream = Upstream(**value["upstream"]) if value["upstream"] else None
    return Lock(f"envs/{value['environment']}.yaml", repair, value["pins"], None, value["torch"], upstream)


def installed(paths: Iterable[str]) -> dict[str, list[Distribution]]:
    """All distributions on the search path by normalised name, in the order in which Python would find them."""
    found: dict[str, list[Distribution]] = {}
    for path in map(Path, dict.fromkeys(paths)):
        for folder in sorted(path.glob("*.dist-info")) if path.is_dir() else ():
            name, _, version = folder.name.removesuffix(".dist-info").partition("-")
            one = Distribution(normalised(name), version, folder)
            found.setdefault(one.name, []).append(one)
    return found


def torch_build(torch: Distribution) -> str:
    """Version, CUDA and commit of a torch, read from its `version.py` without importing it."""
    path = torch.folder.with_name("torch") / "version.py"
    lines = TORCH_LINE.findall(path.read_text(encoding="utf-8")) if path.exists() else ["no torch/version.py"]
    return " ".join(line.strip("'\"") for line in lines)


def differences(lock: Lock, paths: Sequence[str]) -> list[Difference]:
    """Every way in which what is on the search path differs from the lock; empty when nothing does.

    Args:
        paths: ``sys.path`` of the Python in question.
    """
    found = installed(paths)
    there = {name: found[name] for name in lock.pins if name in found}
    records = {name: record_of(others[0]) for name, others in there.items()}
    texts = {name: _other_version(others, lock.pins[name]) for name, others in there.items()}
    if "torch" in there and not texts["torch"]:
        texts["torch"] = _other_build(there["torch"][0], lock)
    texts |= {name: damage(there[name][0], records[name]) for name, text in texts.items() if not text}
    texts |= {name: f"not installed{why}" for name, why in absent(lock, found)}
    lines = [Difference((name,), f"{name}: locked {lock.pins[name]}, {text}") for name, text in texts.items() if text]
    return lines + shadowed(lock, found, records)


def _other_version(found: list[Distribution], pin: str) -> str:
    first, site = found[0], found[0].folder.parent
    if not _same(first.version, pin):
        return f"installed {first.version} (in {site})"
    again = [other.version for other in found[1:] if other.folder.parent == site]
    return f"installed twice, {first.version} and {again[0]} (in {site})" if again else ""


def _other_build(torch: Distribution, lock: Lock) -> str:
    build = torch_build(torch)
    if lock.torch:
        return f"of the build {lock.torch}, installed is {build}" if build != lock.torch else ""
    return "" if _same(build.split()[0], lock.pins["torch"]) else f"but its files are those of {build}"


def _same(version: str, pin: str) -> bool:
    """A pin without a build (`+cpu`) is met by every build."""
    return version == pin or ("+" not in pin and version.partition("+")[0] == pin)


def record_of(distribution: Distribution) -> bytes:
    """The list of a distribution's files, with hashes and sizes; empty when it has none."""
    path = distribution.folder / "RECORD"
    return path.read_bytes() if path.exists() else b""


def damage(distribution: Distribution, record: bytes) -> str:
    """The first top-level package or compiled library of a distribution that is gone or has another size, in words."""
    site = distribution.folder.parent
    for match in KEPT_FILE.finditer(record):
        name = os.fsdecode(record[record.rfind(b"\n", 0, match.start()) + 1 : match.end(1)])
        if name.endswith(".py") and name.count("/") > 1:
            continue
        path = site / name
        try:
            there = path.stat().st_size
        except OSError:
            return f"but {path} is gone"
        if match[2] and there != int(match[2]):
            return f"but something wrote over {path} ({there} bytes instead of {int(match[2])})"
    return ""


def absent(lock: Lock, found: dict[str, list[Distribution]]) -> list[tuple[str, str]]:
    """Locked distributions that are not there and should be, with who needs them.

    A lock for all platforms (the laptop's) also names what only some builds of torch want: of its indirect packages,
    those count that an installed one asks for.
    """
    missing = [name for name in lock.pins if name not in found]
    if lock.direct is None or not missing:
        return [(name, "") for name in missing]
    needed = {}
    for others in found.values():
        for name, rest in _requirements(others[0].folder / "METADATA"):
            if name in missing and _applies(rest):
                needed[name] = f", though {others[0].name} needs it"
    return [(name, needed.get(name, "")) for name in missing if name in lock.direct or name in needed]


def _requirements(metadata: Path) -> list[tuple[str, str]]:
    if not metadata.exists():
        return []
    header = metadata.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    return [(normalised(name), rest) for name, rest in REQUIREMENT.findall(header)]


def _applies(requirement: str) -> bool:
    """Whether a requirement's marker holds here; those of extras do not."""
    marker = requirement.partition(";")[2].strip()
    if not marker:
        return True
    from packaging.markers import Marker  # of the laptop's packages; looked for only when something is missing

    return Marker(marker).evaluate({"extra": ""})


def shadowed(lock: Lock, found: dict[str, list[Distribution]], records: dict[str, bytes]) -> list[Difference]:
    """Locked distributions some of whose files an unlocked one wrote, or has in a folder that Python searches first."""
    lines = []
    for name, others in found.items():
        if name in lock.pins:
            continue
        files = set(SOURCE_FILE.findall(record_of(others[0])))
        packages = {file.split(b"/")[0] + b"/" for file in files if b"/" in file}
        for locked, record in records.items():
            if not any(record.startswith(package) or b"\n" + package in record for package in packages):
                continue
            if both := files.intersection(SOURCE_FILE.findall(record)):
                text = (
                    f"{locked}: locked {lock.pins[locked]}, but {name} {others[0].version}, which is not locked, "
                    f"brings the same files ({os.fsdecode(min(both))})"
                )
                lines.append(Difference((name, locked), text))
    return lines


def upstream_differences(upstream: Upstream) -> list[Difference]:
    """How an upstream installation differs from its lock, by uv's own comparison, which changes nothing."""
    site = [str(path) for path in Path(upstream.root).glob(".venv/lib/python3*/site-packages")]
    pins = {name: others[0].version for name, others in installed(site).items()} | upstream.supplements
    more = differences(Lock("", "", pins, None, upstream.torch), site)
    command = [sys.executable, "-m", "uv", *upstream.sync, "--check", "--offline"]
    finished = system.run(command, folder=Path(upstream.root), environment=isolation())
    if finished.returncode == 0:
        return more
    versions: dict[str, dict[str, str]] = {}
    for sign, name, version in UV_LINE.findall(finished.stderr):
        versions.setdefault(name, {})[sign] = version
    lines = []
    for name, signs in versions.items():
        locked = signs.get("+") or signs.get("~") or "no version"
        now = f"installed {signs['-']}" if "-" in signs else "installed otherwise" if "~" in signs else "not installed"
        lines.append(Difference((name,), f"{name}: locked {locked}, {now} (in {upstream.root}/.venv)"))
    if not lines:
        lines = [Difference((), f"uv finds {upstream.root} out of step with its lock:\n{finished.stderr.strip()}")]
    return lines + more


def check(envs: Path) -> None:
    """Hold this Python against its lock.

    Raises:
        UserError: every package that differs, with both versions and the command that repairs it.
    """
    prefix = Path(sys.prefix)
    lock = lock_of(prefix, envs, sys.executable)
    found = differences(lock, sys.path)
    if lock.upstream:
        found += upstream_differences(lock.upstream)
    if found:
        packages = " ".join(dict.fromkeys(package for one in found for package in one.packages))
        listed = "\n".join(f"  {one.text}" for one in found)
        raise UserError(
            f"{prefix} is not what {lock.source} locks:\n{listed}\n"
            f"Something changed it after it was made. Nothing was run. Repair it:\n"
            f"  {lock.repair.format(packages=packages)}"
        )
