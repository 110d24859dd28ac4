"""An environment from the bucket beside the same one made from the package index, with the real uv, tar and rclone.

The bucket is a loopback B2 on this machine, so its figure is packing, moving and unpacking without a network; the index
is whichever uv is set to, so its figure has this machine's network in it. Conda's own part (Python) is in neither.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests")]

from blueprint import cli  # noqa: E402
from blueprint.cloud import settings as cloud_settings  # noqa: E402
from blueprint.cloud.environment_cache import EnvironmentCache, mark_of  # noqa: E402
from blueprint.environments.fill import install  # noqa: E402
from loopback_b2 import LoopbackB2  # noqa: E402


def main() -> None:
    """Print one line per step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", default="metrics", help="whose lock is installed")
    parser.add_argument("--architectures", help="of `render`: compile gsplat for them too, such as 9.0")
    arguments = parser.parse_args()
    name = arguments.environment
    print(f"Python {platform.python_version()}, {psutil.cpu_count()} CPU cores, load {psutil.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder, LoopbackB2() as b2:
        root = Path(folder)
        (root / "cloud.yaml").write_text(f"{{bucket: {b2.bucket}, endpoint: '{b2.endpoint}', call_s: 600}}")
        cache = EnvironmentCache(cloud_settings.load(root / "cloud.yaml", b2.environment(), root / "none"), root)
        environment, lock = root / "conda" / "0_", ROOT / "envs" / f"{name}.lock.txt"
        for step in ("as it is now", "once more, from uv's cache"):
            venv.create(environment, with_pip=True, clear=True)
            timed(f"{name} from the package index, {step}", lambda: install(str(environment / "bin" / "python"), lock))
        if arguments.architectures:
            command = [environment / "bin" / "python", ROOT / "workflow" / "scripts" / "environments.py"]
            command += ["compile-gsplat", "--architectures", arguments.architectures]
            timed("gsplat compiled", lambda: subprocess.run(command, check=True, capture_output=True))
        mark_of(environment).touch()
        size = sum(path.stat().st_size for path in environment.rglob("*") if path.is_file() and not path.is_symlink())
        timed("packed and put into the bucket", lambda: cache.keep(environment))
        packed = sum(len(content) for content, _ in b2.files().values())
        print(f"{size / 1e9:.2f} GB on the disk, {packed / 1e9:.2f} GB in the bucket")
        environment.rename(environment.with_name("before"))
        timed("fetched and unpacked", lambda: cache.fetch(environment))


def timed(what: str, action: Callable[[], object]) -> None:
    """Carry out a step and print its wall time."""
    started = time.perf_counter()
    action()
    print(f"{time.perf_counter() - started:7.1f} s  {what}")


if __name__ == "__main__":
    cli.run(main)
