"""How long a report with many clips takes to open in headless Chromium, and how much memory it takes.

    python benchmarks/report.py --results results --clips 200

The clips of a finished run are repeated until there are enough. Needs Chromium and its driver. Times are medians, in
seconds from the start of navigation: until something is to be seen, until the page reacts (table, plots and filters
work; clips open as they come in), until all of it has been read. Memory is what the processes of the browser hold for
themselves (USS), less what they hold with an empty page: with the page read, with clips open, after all are closed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from selenium import webdriver

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests")]

import browser  # noqa: E402
from blueprint import files  # noqa: E402
from blueprint.report.page import write_report  # noqa: E402

SETTLE_S = 2.0
TIMES = """
const [page] = performance.getEntriesByType('navigation');
return {seen: performance.getEntriesByName('first-contentful-paint')[0]?.startTime,
        reacts: performance.getEntriesByName('ready')[0].startTime, read: page.loadEventEnd};
"""


def repeat(source: Path, target: Path, count: int) -> dict[str, object]:
    """Write results that hold the clips of ``source`` again and again; returns the report's spec."""
    summary = files.read_json(source / "summary.json")
    originals = summary["clips"]
    names = {f"clip-{number:03d}": clip for number, clip in zip(range(count), itertools.cycle(originals), strict=False)}
    folder = target / summary["facility"]
    for name, clip in names.items():
        (folder / "previews").mkdir(parents=True, exist_ok=True)
        for suffix in (".mp4", ".json"):
            os.link(source / "previews" / f"{clip}{suffix}", folder / "previews" / f"{name}{suffix}")
        shutil.copytree(source / "metrics" / clip, folder / "metrics" / name)
    for name in ("fidelity", "fidelity.json", "preflight.json"):
        (folder / name).symlink_to((source / name).resolve())
    summary["clips"] = {name: originals[clip] for name, clip in names.items()}
    summary["diversity"] = {name: summary["diversity"][clip] for name, clip in names.items()}
    files.write_json(folder / "summary.json", summary)
    variants = list(summary["variants"])
    shown = {"facilities": {summary["facility"]: list(names)}, "variants": variants, "names": list(summary["metrics"])}
    return {"title": f"{count} clips", **shown}


def held_mb(driver: webdriver.Chrome) -> float:
    """Memory of the browser's processes that no other process shares, MB, after garbage was collected."""
    driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    time.sleep(SETTLE_S)
    processes = psutil.Process(driver.service.process.pid).children(recursive=True)
    return sum(process.memory_full_info().uss for process in processes) / 1e6


def memory_mb(page: Path, opened: int) -> tuple[float, float, float]:
    """Memory with the page read, with so many clips open, and with all closed again."""
    with browser.browser() as driver:
        driver.execute_cdp_cmd("HeapProfiler.enable", {})
        driver.get("about:blank")
        empty = held_mb(driver)
        browser.open_page(driver, page)
        browser.wait(driver, "return document.readyState === 'complete'")
        found = [held_mb(driver)]
        for number in range(opened):
            clip = f"document.querySelectorAll('details.clip')[{number}]"
            driver.execute_script(f"{clip}.open = true; {clip}.scrollIntoView()")
            browser.wait(driver, f"return {clip}.querySelector('.views canvas[data-frame]')")
        found.append(held_mb(driver))
        driver.execute_script("document.querySelectorAll('details.clip').forEach(clip => (clip.open = false))")
        found.append(held_mb(driver))
    return tuple(value - empty for value in found)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--open", type=int, default=20, help="clips to open at once for the figure of memory")
    arguments = parser.parse_args()
    source = next(path.parent for path in sorted(arguments.results.glob("*/summary.json")))
    with tempfile.TemporaryDirectory(dir=arguments.results.resolve().parent) as folder:
        page = Path(folder) / "report.html"
        write_report(page, Path(folder), Path("benchmarks/results"), repeat(source, Path(folder), arguments.clips))
        rounds = []
        for _ in range(arguments.rounds):
            with browser.browser() as driver:
                browser.open_page(driver, page)
                rounds.append(driver.execute_script(TIMES))
                version = driver.capabilities["browserVersion"]
        memory = memory_mb(page, min(arguments.open, arguments.clips))
        size_mb = page.stat().st_size / 1e6
    medians = [f"{statistics.median(times[key] for times in rounds) / 1000:.2f}" for key in ("seen", "reacts", "read")]
    console = Console()
    console.print(f"{platform.platform()}, {os.cpu_count()} cores, Chromium {version}")
    memories = ("memory, MB", f"with {arguments.open} open", "closed again")
    table = Table("clips", "page", "something to be seen, s", "reacts, s", "all read, s", *memories)
    table.add_row(str(arguments.clips), f"{size_mb:.0f} MB", *medians, *(f"{value:.0f}" for value in memory))
    console.print(table)


if __name__ == "__main__":
    main()
