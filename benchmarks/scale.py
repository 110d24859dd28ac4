"""What a large run costs on rented machines, by simulation: a machine per job, static shards, shards with take-over.

    python benchmarks/scale.py [--clips 10 100 1000 10000 100000] [--machines 1 8 64 1000] [--seeds 5] ...

Nothing is rented. Simulated, with every number an option or a constant below:

- A clip is `VARIANTS` variants of `VARIANT_S` seconds, NVIDIA's figure for 93 frames at 720p on one H100 PCIe, and
  `REST_S` seconds for all else (an assumption). All clips are alike.
- A machine boots for `--boot-s` seconds, billed: image, environments, 65 GB of weights (an assumption).
- A share of hosts (`--slow-share`) is slower by `--slow-factor`. A host is lost after an exponentially distributed
  time, on average once in 1 / `--lost-per-h` hours. In its place another is rented, which boots and is of its own
  speed. All three are assumptions.
- `per job`: every clip rents a machine, at most as many at a time as named. What a lost one had finished is lost.
- `static`: clip number i belongs to machine i modulo machines. A machine ends when its clips are made. Finished
  variants survive a loss, since they are in the bucket; the variant in the making does not.
- `take-over`: the same, but a machine without a clip takes the last one from the machine that has most left to begin.
- Price: 2.525 USD per hour, one H100 NVL on demand as captured on Vast.ai in June 2026
  (www.usagepricing.com/blueprint/vast-ai).
- Bucket calls: `FILES` files of a clip are written once; by jobs without a folder that outlives them each is asked for
  and read once more. A machine of a shard lists its shard when it starts and when it ends, 1000 names a call. A claim
  is three calls.

The same seed gives the same hosts to `static` and `take-over` in the order in which they are rented.
"""

from __future__ import annotations

import argparse
import heapq
import math
import os
import platform
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean

from rich import box
from rich.console import Console
from rich.table import Table

VARIANTS = 9
VARIANT_S = 264.1
REST_S = 60.0
CLIP_S = VARIANTS * VARIANT_S + REST_S
FILES = 60
"""Of a clip: products, logs, benchmarks and Snakemake's records, counted in the demo and rounded up."""
NAMES_PER_LIST = 1000
CLAIM_CALLS = 3
WAYS = ("per job", "static", "take-over")


@dataclass(frozen=True)
class Market:
    """Machines as they can be rented."""

    boot_s: float = 1200.0
    lost_per_h: float = 0.05
    slow_share: float = 0.1
    slow_factor: float = 2.0
    usd_per_h: float = 2.525


@dataclass
class Run:
    """What became of a simulated run."""

    made: list[int] = field(default_factory=list)
    """Numbers of the clips in the order in which they were finished."""
    makespan_s: float = 0.0
    billed_s: float = 0.0
    machines: int = 0
    """Rented in all, those in the place of lost ones included."""
    lists: int = 0

    @property
    def wasted_h(self) -> float:
        """Billed hours beyond those that all clips take on a machine that is neither slow nor booting."""
        return (self.billed_s - len(self.made) * CLIP_S) / 3600

    def cost_usd(self, market: Market) -> float:
        """Price of all machines."""
        return self.billed_s / 3600 * market.usd_per_h

    def bucket_calls(self, way: str) -> int:
        """Calls to the bucket by the assumptions of this module."""
        clips = len(self.made)
        per_clip = {"per job": 3 * FILES, "static": FILES, "take-over": FILES + CLAIM_CALLS}[way]
        return clips * per_clip + self.lists


@dataclass
class Host:
    """A rented machine: when it is ready, how fast it is, when it is lost."""

    ready_s: float
    slowness: float
    lost_s: float


def hosts(market: Market, draw: random.Random) -> Iterator[tuple[float, float]]:
    """Slowness and life in seconds of one host after the other."""
    while True:
        slowness = market.slow_factor if draw.random() < market.slow_share else 1.0
        yield slowness, draw.expovariate(market.lost_per_h / 3600) if market.lost_per_h else math.inf


class Simulation:
    """One run in one way."""

    def __init__(self, clips: int, machines: int, way: str, market: Market, seed: int) -> None:
        """Deal the clips out; nothing is rented yet."""
        self.way, self.market, self.run = way, market, Run()
        self.stock = hosts(market, random.Random(seed))
        places = min(machines, clips)
        self.queues = [deque(range(clips))] if way == "per job" else self._dealt(clips, places)
        self.hosts: list[Host | None] = [None] * places
        self.events = [(0.0, place) for place in range(places)]

    @staticmethod
    def _dealt(clips: int, places: int) -> list[deque[int]]:
        return [deque(range(place, clips, places)) for place in range(places)]

    def play(self) -> Run:
        """Make all clips."""
        while self.events:
            now, place = heapq.heappop(self.events)
            clip = self._next_clip(place)
            if clip is None:
                continue
            end = self._make(place, now)
            self.run.made.append(clip)
            self.run.makespan_s = max(self.run.makespan_s, end)
            if self.way == "per job":
                self.hosts[place] = None
            heapq.heappush(self.events, (end, place))
        if self.way != "per job":
            files_each = FILES * len(self.run.made) / len(self.hosts)
            self.run.lists = 2 * self.run.machines * math.ceil(files_each / NAMES_PER_LIST)
        return self.run

    def _next_clip(self, place: int) -> int | None:
        own = self.queues[0 if self.way == "per job" else place]
        if own:
            return own.popleft()
        if self.way == "take-over" and (longest := max(self.queues, key=len)):
            return longest.pop()
        return None

    def _rent(self, now: float) -> Host:
        slowness, life_s = next(self.stock)
        self.run.machines += 1
        return Host(now + self.market.boot_s, slowness, now + life_s)

    def _make(self, place: int, now: float) -> float:
        """Make one clip, on as many machines as are lost over it; return when it is finished."""
        left, start = VARIANTS, now
        while True:
            host = self.hosts[place] = self.hosts[place] or self._rent(now)
            begin = max(now, host.ready_s)
            end = begin + (left * VARIANT_S + REST_S) * host.slowness
            if end <= host.lost_s:
                self.run.billed_s += end - start
                return end
            if self.way != "per job":  # what is finished survives
                left -= min(left, int(max(0.0, host.lost_s - begin) / (VARIANT_S * host.slowness)))
            now, self.hosts[place] = max(now, host.lost_s), None


def simulate(clips: int, machines: int, way: str, market: Market, seed: int = 0) -> Run:
    """Simulate a run.

    Args:
        clips: how many are made.
        machines: how many are rented at a time.
        way: one of `WAYS`.
        market: the machines.
        seed: of all that is random.
    """
    return Simulation(clips, machines, way, market, seed).play()


def rows(clips: int, machines: int, market: Market, seeds: int) -> Iterator[tuple[str, ...]]:
    """A row of the table for each way, means over the seeds."""
    ideal_h = math.ceil(clips / machines) * CLIP_S / 3600
    for way in WAYS:
        runs = [simulate(clips, machines, way, market, seed) for seed in range(seeds)]
        hours = fmean(run.makespan_s for run in runs) / 3600
        yield (
            *(f"{clips:,}", f"{machines:,}", way, f"{hours:,.1f}", f"{hours / ideal_h:.2f}"),
            f"{fmean(run.cost_usd(market) for run in runs):,.0f}",
            f"{fmean(run.wasted_h for run in runs):,.1f}",
            f"{fmean(run.machines for run in runs):,.0f}",
            f"{fmean(run.bucket_calls(way) for run in runs):,.0f}",
        )


def main() -> None:
    """Run the simulation and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[10, 100, 1000, 10_000, 100_000])
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 8, 64, 1000])
    parser.add_argument("--seeds", type=int, default=5)
    for name, value in vars(Market()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    arguments = parser.parse_args()
    market = Market(**{name: getattr(arguments, name) for name in vars(Market())})
    table = Table(title=f"{arguments.seeds} seeds, {market}", box=box.SIMPLE_HEAD)
    for column in ("clips", "machines", "way", "hours", "of ideal", "USD", "wasted GPU h", "rented", "bucket calls"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for clips in arguments.clips:
        for machines in arguments.machines:
            if machines <= clips:
                for row in rows(clips, machines, market, arguments.seeds):
                    table.add_row(*row)
                table.add_section()
    console = Console(width=120)
    console.print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}. "
        f"Simulated: {VARIANTS} variants of {VARIANT_S} s and {REST_S:g} s for the rest of a clip. Ideal: the same "
        "clips on as many machines that boot at once and are neither slow nor lost."
    )
    console.print(table)


if __name__ == "__main__":
    main()
