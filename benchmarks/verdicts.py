"""Which wrong variants pass, and which right ones are refused? Named corruptions of clips that lie ready.

    make demo
    .venv/bin/python benchmarks/verdicts.py results/kitchen                       # every clip of a facility
    .venv/bin/python benchmarks/verdicts.py results/kitchen results/hall --clips orbit sweep --only lag drift
    .venv/bin/python benchmarks/verdicts.py --read found.json                     # print the tables again

A clip's render and its enriched variants are right; each corruption of `tests/corruptions.py` is applied to one of them
in turn, written as the workflow writes videos, and scored. Beside each verdict stands that of the three scores and
thresholds that commit 1c5ae99 judged by. Any splat can be tried: render it, with any size and number of frames.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests")]

import corruptions  # noqa: E402
from blueprint import video  # noqa: E402
from blueprint.metrics.catalogue import METRICS  # noqa: E402
from blueprint.metrics.score import ClipFiles, score  # noqa: E402
from blueprint.metrics.verdicts import judge, worst  # noqa: E402

BEFORE = {
    "edge_agreement": {"warn": 0.8, "fail": 0.5},
    "depth_edge_agreement": {"warn": 0.9, "fail": 0.7},
    "temporal_stability": {"warn": 0.5, "fail": 0.25},
}
"""What commit 1c5ae99 judged by."""
NOW = {name: metric.thresholds for name, metric in METRICS.items() if metric.thresholds and name not in BEFORE}


def strengths_of(corruption: corruptions.Corruption, decisive: bool) -> tuple[float, ...]:
    """Its strengths, or the weakest alone that is wrong."""
    wrong = [strength for strength in corruption.strengths if strength >= corruption.wrong_from]
    return tuple(wrong[:1]) if decisive and wrong else corruption.strengths


def found_in(clip: Path, only: list[str], part: tuple[int, int], decisive: bool) -> Iterator[dict[str, Any]]:
    """One record per corrupted variant of a clip (``<results>/<facility>/clips/<clip>``)."""
    scene = corruptions.Scene.read(clip)
    files = ClipFiles(clip / "rgb.mp4", clip / "depth.npz", clip / "cameras.json")
    looks = {"render": scene.frames}
    for path in sorted((clip.parents[1] / "enriched" / clip.name).glob("*.mp4")):
        looks[path.stem] = np.stack(list(video.read_video(path)))
    turn = 0
    for corruption in corruptions.REGISTERED:
        for strength in strengths_of(corruption, decisive):
            every = corruption.name == "right as it is"
            for look in looks if every else [list(looks)[turn % len(looks)]]:
                turn += 1
                if turn % part[1] == part[0] and (not only or any(word in corruption.name for word in only)):
                    frames = corruption.make(scene, looks[look], strength)
                    yield record(files, corruption, strength, look, frames, scene)


def record(files: ClipFiles, corruption: Any, strength: float, look: str, frames: np.ndarray, scene: Any) -> dict:
    """Scores and facts of one variant."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "variant.mp4"
        video.write_video(path, frames, scene.fps)
        scores = score(files, path, list({**BEFORE, **NOW}), "cpu")
    return {
        "corruption": corruption.name,
        "unit": corruption.unit,
        "strength": strength,
        "look": look,
        "is": "right" if corruption.wrong_from == corruptions.NEVER else
              "wrong" if strength >= corruption.wrong_from else "between",
        "mean": scores["mean"],
        "says": {name: told.get("says") for name, told in scores["details"].items()},
    }  # fmt: skip


def verdict(entry: dict[str, Any], thresholds: dict[str, dict[str, float]]) -> tuple[str, str]:
    """The verdict of a record, and the first score that led to it."""
    each = {name: judge(name, entry["mean"].get(name), limits) for name, limits in thresholds.items()}
    whole = worst(each.values()) or "pass"
    return whole, next((name for name in each if each[name] == whole), "") if whole != "pass" else ""


def tables(entries: list[dict[str, Any]], console: Console) -> None:
    """Print what was found."""
    groups = defaultdict(list)
    for entry in entries:
        groups[entry["corruption"]].append(entry)
    table = Table("corruption", "of", "strength: pass/warn/fail", "named cause", "1c5ae99: pass/warn/fail", "verdict")
    for name, group in groups.items():
        strengths = defaultdict(list)
        for entry in group:
            strengths[entry["strength"]].append(entry)
        for strength, same in strengths.items():
            now, causes, before = defaultdict(int), defaultdict(int), defaultdict(int)
            for entry in same:
                whole, cause = verdict(entry, NOW)
                now[whole] += 1
                causes[cause] += bool(cause)
                before[verdict(entry, BEFORE)[0]] += 1
            counts = ("/".join(str(each[key]) for key in ("pass", "warn", "fail")) for each in (now, before))
            named = ", ".join(f"{key} {many}" for key, many in sorted(causes.items(), key=lambda x: -x[1]) if key)
            table.add_row(
                name, same[0]["is"], f"{abs(strength):g} {same[0]['unit']}: {next(counts)}", named, next(counts)
            )
    console.print(table)
    total = Table(
        "clip", "wrong", "pass", "of 100", "right", "warn", "fail", "1c5ae99: wrong that pass", "right that warn, fail"
    )
    for clip in [*dict.fromkeys(entry["clip"] for entry in entries), "all"]:
        here = [entry for entry in entries if clip in (entry["clip"], "all")]
        wrong = [entry for entry in here if entry["is"] == "wrong"]
        right = [entry for entry in here if entry["is"] == "right"]
        cells = []
        for thresholds in (NOW, BEFORE):
            passed = sum(verdict(entry, thresholds)[0] == "pass" for entry in wrong)
            warned, failed = (
                sum(verdict(entry, thresholds)[0] == kind for entry in right) for kind in ("warn", "fail")
            )
            cells.append((passed, warned, failed))
        (passed, warned, failed), old = cells
        share = f"{100 * passed / max(len(wrong), 1):.1f}"
        numbers = (len(wrong), passed, share, len(right), warned, failed, old[0], f"{old[1]}, {old[2]}")
        total.add_row(clip, *map(str, numbers))
    console.print(total)
    for entry in entries:
        whole, cause = verdict(entry, NOW)
        if (entry["is"] == "wrong" and whole == "pass") or (entry["is"] == "right" and whole != "pass"):
            nearest = f"{cause} {entry['mean'][cause]:.3g}" if cause else ""
            console.print(f"{entry['is']}, {whole}: {entry['clip']}, {entry['corruption']} {abs(entry['strength']):g} "
                          f"{entry['unit']} of {entry['look']} {nearest}", highlight=False)  # fmt: skip


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facilities", type=Path, nargs="*", help="folders results/<facility>")
    parser.add_argument("--clips", nargs="*", help="these clips alone")
    parser.add_argument("--only", nargs="*", default=[], help="corruptions with one of these words in their name")
    parser.add_argument("--decisive", action="store_true", help="of every corruption the weakest wrong strength alone")
    parser.add_argument("--part", default="0/1", help="i/n: every n-th variant, beginning with the i-th")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", type=Path, help="JSON of all scores found, for --read")
    parser.add_argument("--read", type=Path, nargs="*", default=[], help="print what earlier runs wrote")
    arguments = parser.parse_args()
    cv2.setNumThreads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    console = Console(width=180)
    entries = [entry for path in arguments.read for entry in json.loads(path.read_text())]
    start = time.monotonic()
    index, parts = map(int, arguments.part.split("/"))
    for facility in arguments.facilities:
        for clip in sorted((facility / "clips").iterdir()):
            if not arguments.clips or clip.name in arguments.clips:
                for entry in found_in(clip, arguments.only, (index, parts), arguments.decisive):
                    entries.append({"clip": f"{facility.name}/{clip.name}", **entry})
                    if arguments.write:
                        arguments.write.write_text(json.dumps(entries))
    tables(entries, console)
    console.print(f"{len(entries)} variants, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
