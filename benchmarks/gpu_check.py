"""Run everything that has never run on a GPU, cheapest first, and print what passed.

    make gpu-check                on a machine with a GPU; without one it runs what a CPU can and says what a GPU would
    make gpu-check WEIGHTS=1      then one clip and one variant through each engine with the real weights
    make gpu-wheels PYTHON_VERSION=3.12    gather what a borrowed machine's Python lacks (torch, numpy, scipy, numba
                                           it must have), for `PYTHONPATH=<folder> python benchmarks/gpu_check.py`

Each check is a program of its own, ended when the time of the call is over. What has passed is kept in
`.snakemake/gpu-check.json` under the commit, the GPU and the torch, and is not run again: a call continues the one
before. While the cheap checks run, gsplat's kernels are compiled for this machine's GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = REPOSITORY / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from blueprint import cli, system  # noqa: E402
from blueprint.environments.installed import read_pins  # noqa: E402
from blueprint.environments.verify import OLDEST_DRIVER  # noqa: E402
from blueprint.errors import UserError  # noqa: E402
from blueprint.files import read_json, write_json  # noqa: E402

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=")
WHEELS = ("av", "gsply", "pydantic", "pydantic-core", "annotated-types", "typing-inspection", "rich", "markdown-it-py")
WHEELS += ("mdurl", "pygments", "pytest", "pluggy", "iniconfig", "packaging", "pyyaml", "ninja", "piq")
"""What the checks without transformers import besides torch, numpy, scipy and numba; gsplat comes beside them."""
WHEELS_LIMIT_MIB = 55
FRAMES_PER_SECOND = re.compile(r"([\d.]+) frames/s")


@dataclass(frozen=True)
class Check:
    """One program; it passes when its exit status is 0."""

    name: str
    shows: str
    arguments: tuple[str, ...]
    """After the interpreter."""
    minutes: float
    """What it takes at most on an H100, to choose whether to start it."""
    gpu: bool = False
    modules: tuple[str, ...] = ()
    """Modules without which it cannot run on a borrowed machine."""
    weights: bool = False
    kernels: bool = False
    """Waits for gsplat's kernels."""


def tests(*options: str) -> tuple[str, ...]:
    """Arguments that run tests of this repository: paths, and options of pytest."""
    return (*PYTEST, *options)


TINY_MODELS = ("tests/engines/test_cosmos_diffusers.py", "tests/engines/test_cosmos3_diffusers.py")

CHECKS = (
    Check("locked", "what is installed is what is locked", ("workflow/scripts/installed.py",), 0.1),
    Check(
        "renderer-cpu",
        "the CPU renderer agrees with the plain reference",
        tests("tests/render/test_rasterizers.py", "-x", "-m", "not gpu and not slow"),
        2,
        modules=("numba", "pytest"),
    ),
    Check(
        "diffusers-tiny-cpu",
        "tiny random Cosmos weights go through the engines diffusers and cosmos3-diffusers",
        tests(*TINY_MODELS, "-m", "not gpu and not slow", "-x"),
        3,
        modules=("diffusers", "transformers", "av", "cv2", "pytest"),
    ),
    Check(
        "diffusers-tiny",
        "the same weights on CUDA, in bfloat16, with and without offload: equal frames",
        tests(*TINY_MODELS, "-m", "gpu"),
        1,
        gpu=True,
        modules=("diffusers", "transformers", "av", "cv2", "pytest"),
    ),
    Check(
        "gsplat",
        "gsplat draws what the CPU renderer draws, degrees 0 to 3",
        tests("tests/render/test_gsplat.py", "-m", "gpu"),
        2,
        gpu=True,
        modules=("gsplat", "numba", "pytest"),
        kernels=True,
    ),
    Check(
        "render-stage",
        "the whole render stage beside bare gsplat, frames/s",
        ("benchmarks/render.py", "--quick"),
        3,
        gpu=True,
        modules=("gsplat", "numba", "av", "cv2", "rich"),
        kernels=True,
    ),
    *(
        Check(
            f"weights-{engine}",
            f"one clip and one variant through {engine} with the real weights",
            ("benchmarks/gpu_check.py", "weights", engine),
            45,
            gpu=True,
            modules=("snakemake",),
            weights=True,
        )
        for engine in ("diffusers", "cosmos-transfer2.5")
    ),
)


class PeakVram(threading.Thread):
    """Asks the driver twice a second for the memory in use, in MiB, until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mib, self._over = 0.0, threading.Event()

    def run(self) -> None:
        """Keep the highest figure."""
        while not self._over.wait(0.5):
            used = system.ask_nvidia_smi("memory.used")
            self.mib = max([self.mib, *(float(gpu[0]) for gpu in used)])

    def stop(self) -> float:
        """End the thread; the peak in GB (10^9 bytes)."""
        self._over.set()
        self.join()
        return self.mib * 2**20 / 1e9


def machine() -> dict[str, Any]:
    """What the table says of this machine, with the reasons why its GPU cannot be used, if any."""
    gpus = system.ask_nvidia_smi("name", "memory.total", "driver_version", "compute_cap")
    about = {"python": platform.python_version(), "processor": platform.machine(), "cores": os.cpu_count()}
    torch = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available())"],
        capture_output=True,
        text=True,
    )
    version, cuda, available = torch.stdout.split() if torch.returncode == 0 else ("none", "None", "False")
    about |= {"gpus": gpus, "torch": version, "cuda": cuda}
    if not gpus:
        obstacle = "there is no NVIDIA GPU"
    elif available != "True":
        oldest = OLDEST_DRIVER.get(int(cuda.split(".")[0]) if cuda != "None" else 0, "a newer one")
        obstacle = f"torch {version} (CUDA {cuda}) finds no device with driver {gpus[0][2]}; it needs {oldest}"
    else:
        obstacle = ""
    return {**about, "obstacle": obstacle}


def reason_to_skip(check: Check, about: dict[str, Any], weights: bool, built: subprocess.Popen[bytes] | None) -> str:
    """Why a check is not run on this machine, or empty."""
    if check.weights and not weights:
        return "asked for with WEIGHTS=1"
    if check.gpu and about["obstacle"]:
        return about["obstacle"]
    missing = [name for name in check.modules if importlib.util.find_spec(name) is None]
    if missing:
        return f"this Python lacks {', '.join(missing)}"
    if check.kernels and built and built.wait():
        return "gsplat's kernels do not compile (logs/gpu-check/kernels.log)"
    if check.name == "locked" and os.environ.get("GPU_CHECK_BORROWED"):
        return "a borrowed Python follows no lock"
    return ""


def compile_kernels(about: dict[str, Any], logs: Path) -> subprocess.Popen[bytes] | None:
    """Start compiling gsplat for this machine's GPU in the background; None where there is nothing to compile."""
    if about["obstacle"] or importlib.util.find_spec("gsplat") is None:
        return None
    command = [sys.executable, str(SCRIPTS / "environments.py"), "compile-gsplat"]
    command += ["--system-compiler"] if os.environ.get("GPU_CHECK_BORROWED") else []
    with (logs / "kernels.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=REPOSITORY)


def run_check(check: Check, limit_s: float, logs: Path) -> dict[str, Any]:
    """Run one check; how it ended, seconds, peak VRAM in GB and frames/s."""
    peak, start, log = PeakVram(), time.monotonic(), logs / f"{check.name}.log"
    peak.start()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, *check.arguments], cwd=REPOSITORY, stdout=stream, stderr=subprocess.STDOUT
        )
        try:
            status = process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = None
    seconds, text = time.monotonic() - start, log.read_text(errors="replace")
    ended = "passed" if status == 0 else "no time left" if status is None else f"FAILED, see {log}"
    speeds = FRAMES_PER_SECOND.findall(text)
    return {
        "ended": ended,
        "seconds": round(seconds, 1),
        "vram_gb": round(peak.stop(), 1),
        "frames_per_s": float(speeds[-1]) if speeds else None,
    }


def check(arguments: argparse.Namespace) -> None:
    """Run what has not passed yet, as far as the time goes; print the table; fail when a check failed."""
    about, start = machine(), time.monotonic()
    commit = system.git(REPOSITORY, "rev-parse", "HEAD", check=False).stdout.strip()
    key = " ".join([commit, about["torch"], *(gpu[0] for gpu in about["gpus"])])
    results = read_json(arguments.state) if arguments.state.exists() else {}
    passed = results.setdefault(key, {})
    logs = REPOSITORY / "logs" / "gpu-check"
    logs.mkdir(parents=True, exist_ok=True)
    chosen = [one for one in CHECKS if not arguments.only or one.name in arguments.only]
    built = compile_kernels(about, logs)
    for one in chosen:
        left_s = arguments.limit_s - (time.monotonic() - start)
        if passed.get(one.name, {}).get("ended") == "passed":
            continue
        if reason := reason_to_skip(one, about, arguments.weights, built):
            passed[one.name] = {"ended": f"not run: {reason}"}
        elif left_s < 10:
            passed[one.name] = {"ended": "no time left"}
        else:
            passed[one.name] = run_check(one, left_s, logs)
        write_json(arguments.state, results)
    if built and built.poll() is None:
        built.kill()
    print(table(about, passed))
    if failed := [name for name, result in passed.items() if result["ended"].startswith("FAILED")]:
        raise UserError(f"failed: {', '.join(failed)}. The logs are in {logs}.")


def table(about: dict[str, Any], passed: dict[str, dict[str, Any]]) -> str:
    """The results as a Markdown table, under a line on the machine."""
    gpus = "; ".join(f"{gpu[0]}, {float(gpu[1]) / 1024:.0f} GiB, driver {gpu[2]}" for gpu in about["gpus"])
    lines = [
        f"{gpus or 'no NVIDIA GPU'}; torch {about['torch']}, CUDA {about['cuda']}; Python {about['python']}, "
        f"{about['cores']} cores",
        "",
        "| check | what it shows | result | s | VRAM, GB | frames/s |",
        "|---|---|---|---|---|---|",
    ]
    for one in CHECKS:
        result = passed.get(one.name, {"ended": "not run"})
        figures = [result.get(name) for name in ("seconds", "vram_gb", "frames_per_s")]
        cells = [one.name, one.shows, result["ended"], *("" if figure is None else str(figure) for figure in figures)]
        if result["ended"].startswith("not run"):
            cells[2] += f" (would run `python {shlex.join(one.arguments)}`, up to {one.minutes:g} min)"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def weights(arguments: argparse.Namespace) -> None:
    """Make one variant of one clip of the demo kitchen with an engine's real weights, in conda environments."""
    folder = REPOSITORY / ".snakemake" / "gpu-check" / arguments.engine
    config = {
        "facilities": [{"name": "kitchen", "scene": "resources/demo/kitchen.ply"}],
        "render": {"width": 1280, "height": 720, "fps": 24, "frames": 93},
        "clips": [{"name": "orbit", "path": "orbit"}],
        "enrich": {
            "engine": arguments.engine,
            "variants": [{"name": "evening", "prompt": "A restaurant kitchen in warm evening light."}],
        },
        "metrics": {"names": ["psnr", "edges"]},
    }
    write_json(folder / "config.json", config)  # JSON is YAML
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--sdm", "conda"]
    command += ["--conda-prefix", str(Path.home() / ".cache" / "blueprint" / "conda"), "--cores", "all"]
    command += ["--resources", "gpu=1", "--directory", str(folder), "--configfile", str(folder / "config.json")]
    finished = subprocess.run([*command, "results/kitchen/metrics/orbit/evening.json"], cwd=REPOSITORY)
    if finished.returncode:
        raise UserError(f"{arguments.engine}: the run failed; its logs are in {folder}/logs.")


def wheels(arguments: argparse.Namespace) -> None:
    """Gather, unpacked in one folder, what a borrowed machine's Python lacks."""
    pins = read_pins((REPOSITORY / "envs" / "laptop.constraints.txt").read_text(encoding="utf-8"))
    pins |= {"gsplat": read_pins((REPOSITORY / "envs" / "render.lock.txt").read_text(encoding="utf-8"))["gsplat"]}
    pins |= {"ninja": read_pins((REPOSITORY / "envs" / "render.lock.txt").read_text(encoding="utf-8"))["ninja"]}
    wanted = [f"{name}=={pins[name]}" for name in (*WHEELS, "gsplat")]
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (28, 17)] + ["--platform=manylinux2014_x86_64"]
    options = ["--no-deps", "--only-binary=:all:", f"--python-version={arguments.python_version}", *platforms]
    archives = arguments.output / "archives"
    shutil.rmtree(arguments.output, ignore_errors=True)
    archives.mkdir(parents=True)
    download(["-d", str(archives), *options, *wanted])
    found = sorted(archives.glob("*.whl"))
    size_mib = sum(path.stat().st_size for path in found) / 2**20
    if size_mib > WHEELS_LIMIT_MIB:
        raise UserError(f"{archives}: {size_mib:.1f} MiB, more than the {WHEELS_LIMIT_MIB} MiB that travel.")
    for path in found:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(arguments.output / "packages")
    print(f"{len(found)} packages, {size_mib:.1f} MiB, for Python {arguments.python_version}: {archives}")
    print(f"There: GPU_CHECK_BORROWED=1 PYTHONPATH={arguments.output}/packages python benchmarks/gpu_check.py check")


def download(arguments: Sequence[str]) -> None:
    """Have pip download.

    Raises:
        UserError: in pip's words.
    """
    finished = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", *arguments], capture_output=True, text=True
    )
    if finished.returncode:
        raise UserError(f"pip could not download:\n{finished.stderr.strip()}")


def main() -> None:
    """Parse the command line and run the command."""
    commands = cli.Commands(__doc__)
    command = commands.add(check)
    command.add_argument("--weights", action="store_true", help="the checks with real weights too")
    command.add_argument("--limit-s", type=float, default=3 * 3600.0, help="end after so many seconds")
    command.add_argument("--state", type=Path, default=REPOSITORY / ".snakemake" / "gpu-check.json")
    command.add_argument("--only", nargs="+", choices=[one.name for one in CHECKS], help="these checks alone")
    command = commands.add(weights)
    command.add_argument("engine")
    command = commands.add(wheels)
    command.add_argument("--python-version", default="3.12", help="of the borrowed machine")
    command.add_argument("--output", type=Path, default=REPOSITORY / "build" / "gpu-wheels")
    commands.run()


if __name__ == "__main__":
    cli.run(main)
