"""What a copy to the bucket costs, beside plain `rclone copy` of the same folder.

The bucket is b2sdk's simulator on loopback, in a process of its own: calls are counted exactly, seconds hold no
network. Both sides use the same rclone and the same number of transfers.

    python benchmarks/sync.py [--files 1000 10000] [--megabytes 50]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")]

from blueprint.cloud.bucket import PARALLEL, Bucket, rclone_binary  # noqa: E402
from blueprint.cloud.restore import restore  # noqa: E402
from blueprint.cloud.settings import CloudSettings  # noqa: E402
from blueprint.cloud.sync import Sync  # noqa: E402

SMALL_BYTES = 2000


class Service:
    """The simulator in its own process."""

    def __enter__(self) -> Service:
        command = [sys.executable, str(REPOSITORY / "tests" / "loopback_b2.py"), "--bucket", "results"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.key = json.loads(self.process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()

    def calls(self) -> dict[str, int]:
        """Calls by name since the last time."""
        self.process.stdin.write("calls\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def settings(self) -> CloudSettings:
        """Settings of a run in this bucket."""
        return CloudSettings(
            bucket="results",
            prefix="benchmark",
            endpoint=self.key["endpoint"],
            run_id="run",
            interval_s=60,
            grace_s=60,
            max_cost_usd=0,
            rate_usd_per_h=None,
            shutdown="stop",
            machine={"patience_s": 60},
            source="benchmark",
            key_id=self.key["B2_APPLICATION_KEY_ID"],
            application_key=self.key["B2_APPLICATION_KEY"],
        )


def measure(service: Service, action: Callable[[], object]) -> tuple[float, dict[str, int]]:
    """Seconds and calls of one action."""
    service.calls()
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin, service.calls()


def make_files(root: Path, count: int) -> None:
    """A results folder with ``count`` small files in folders of 100."""
    for number in range(count):
        path = root / f"results/kitchen/{number // 100:03d}/{number:05d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(SMALL_BYTES))


def run(count: int, megabytes: int, table: Table) -> None:
    """Measure with ``count`` finished files and add the rows to the table."""
    with Service() as service, tempfile.TemporaryDirectory() as folder:
        root, settings = Path(folder) / "here", service.settings()
        make_files(root, count)
        ours = Sync(settings, root)
        bucket = Bucket(settings, root)

        def plain(*arguments: str) -> None:
            bucket.rclone("copy", *arguments, *PARALLEL)

        def row(what: str, mine: Callable[[], object], peer: Callable[[], object] | None) -> None:
            seconds, calls = measure(service, mine)
            cells = [f"{count}", what, f"{seconds:.2f}", f"{sum(calls.values())}"]
            if peer:
                peer_s, peer_calls = measure(service, peer)
                cells += [f"{peer_s:.2f}", f"{sum(peer_calls.values())}", f"{peer_s / seconds:.1f}"]
            table.add_row(*cells)

        def new_file(name: str) -> None:
            (root / f"results/kitchen/{name}.mp4").write_bytes(os.urandom(megabytes * 1_000_000))

        row("all files are new", ours.run, None)
        row("nothing is new", ours.run, lambda: plain(".", bucket.remote))
        row("nothing is new, guard just started", lambda: Sync(settings, root).run(), lambda: plain(".", bucket.remote))
        # One after the other: each side is measured with its own new file.
        new_file("ours")
        seconds, calls = measure(service, ours.run)
        new_file("peer")
        peer_s, peer_calls = measure(service, lambda: plain(".", bucket.remote))
        table.add_row(
            *(f"{count}", f"one new file of {megabytes} MB", f"{seconds:.2f}", f"{sum(calls.values())}"),
            *(f"{peer_s:.2f}", f"{sum(peer_calls.values())}", f"{peer_s / seconds:.1f}"),
        )
        row("verify", ours.verify, lambda: bucket.rclone("check", ".", bucket.remote, "--one-way"))
        for name in ("restored", "copied"):
            (Path(folder) / name).mkdir()
        row(
            "restore",
            lambda: restore(settings, Path(folder) / "restored"),
            lambda: plain(bucket.remote, str(Path(folder) / "copied")),
        )


def main() -> None:
    """Print machine, versions and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--megabytes", type=int, default=50)
    arguments = parser.parse_args()
    rclone = subprocess.run([rclone_binary(), "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    memory_gb = psutil.virtual_memory().total / 1e9
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, {memory_gb:.0f} GB, load {os.getloadavg()[0]:.1f}")
    print(f"Python {platform.python_version()}, rclone {rclone}, b2sdk {version('b2sdk')}")
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("files", "what", "s", "calls", "rclone copy: s", "calls", "ratio of s"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for count in arguments.files:
        run(count, arguments.megabytes, table)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
