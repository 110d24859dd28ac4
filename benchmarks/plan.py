"""CPU time of a dry run of a large configuration, beside bare Snakemake with the same jobs.

    python benchmarks/plan.py [--facilities 100] [--clips 10] [--variants 9] [--rounds 2] [--run]

The bare workflow has the same rules with the same inputs and outputs and nothing else. The plain one has what
`snakemake --lint` asks of every rule besides, and what a person reads: a log, a benchmark, constant parameters, a
message, a shell command that names them. Neither has a configuration to check, a specification to work out or a digest
of code: what this workflow takes more than the plain one is what its own Python costs. All are planned from nothing, in
turn, by the same Snakemake. CPU time is user and system time of the process; the least of the rounds counts.

With `--run` all are also run once, every job doing nothing but `touch` its outputs: what it takes beyond the dry run is
scheduling and bookkeeping. Specifications, digests and benchmarks stay; the programs and the check of the installation
before each job are left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import yaml
from rich import box
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[1]

BARE = """
FACILITIES, CLIPS, VARIANTS = config["facilities"], config["clips"], config["variants"]


wildcard_constraints:
    facility="|".join(FACILITIES),
    clip="|".join(CLIPS),
    variant="|".join(VARIANTS),


def everywhere(pattern):
    return expand(pattern, facility=FACILITIES, clip=CLIPS, variant=VARIANTS)


rule all:
    input:
        "results/report.html",
        everywhere("results/{facility}/clips/{clip}/rgb.mp4"),
        everywhere("results/{facility}/clips/{clip}/depth.mp4"),
        everywhere("results/{facility}/clips/{clip}/depth.npz"),
        everywhere("results/{facility}/enriched/{clip}/{variant}.mp4"),
        everywhere("results/{facility}/enriched/{clip}/{variant}.json"),
        everywhere("results/{facility}/metrics/{clip}/{variant}.json"),
        expand("results/{facility}/fidelity.json", facility=FACILITIES),
        expand("results/{facility}/summary.csv", facility=FACILITIES),


rule demo_scene:
    output: "resources/demo/{scene}.ply"
    shell: "touch {output}"


rule environment:
    output: "results/preflight/{environment}.json"
    shell: "touch {output}"


rule preflight_scene:
    input: "resources/demo/kitchen.ply", "results/preflight/render.json"
    output: "results/{facility}/preflight.json"
    shell: "touch {output}"


rule cameras:
    input: "resources/demo/kitchen.ply", "results/{facility}/preflight.json"
    output: "results/{facility}/clips/{clip}/cameras.json"
    shell: "touch {output}"


rule render:
    input:
        "resources/demo/kitchen.ply",
        "results/{facility}/clips/{clip}/cameras.json",
        "results/preflight/render.json",
    output:
        "results/{facility}/clips/{clip}/rgb.mp4",
        "results/{facility}/clips/{clip}/depth.mp4",
        "results/{facility}/clips/{clip}/depth.npz",
        "results/{facility}/clips/{clip}/provenance.json",
    shell: "touch {output}"


rule fidelity:
    input:
        "resources/demo/kitchen.ply",
        expand("results/{{facility}}/clips/{clip}/cameras.json", clip=CLIPS),
        "results/preflight/render.json",
    output:
        "results/{facility}/fidelity.json",
        "results/{facility}/fidelity/map.png",
        "results/{facility}/fidelity/worst.png",
        "results/{facility}/fidelity/look.png",
    shell: "touch {output}"


rule enrich:
    input:
        rules.render.output,
        "results/{facility}/clips/{clip}/cameras.json",
        "results/preflight/render.json",
    output:
        expand("results/{{facility}}/enriched/{{clip}}/{variant}.{kind}", variant=VARIANTS, kind=["mp4", "json"]),
    shell: "touch {output}"


rule metrics:
    input:
        "results/{facility}/clips/{clip}/rgb.mp4",
        "results/{facility}/clips/{clip}/depth.npz",
        "results/{facility}/clips/{clip}/cameras.json",
        expand("results/{{facility}}/enriched/{{clip}}/{variant}.{kind}", variant=VARIANTS, kind=["mp4", "json"]),
        "results/preflight/metrics.json",
    output: expand("results/{{facility}}/metrics/{{clip}}/{variant}.json", variant=VARIANTS)
    shell: "touch {output}"


rule diversity:
    input: expand("results/{{facility}}/enriched/{{clip}}/{variant}.mp4", variant=VARIANTS)
    output: "results/{facility}/diversity/{clip}.json"
    shell: "touch {output}"


rule preview:
    input:
        "results/{facility}/clips/{clip}/rgb.mp4",
        "results/{facility}/clips/{clip}/depth.mp4",
        expand("results/{{facility}}/enriched/{{clip}}/{variant}.mp4", variant=VARIANTS),
        expand("results/{{facility}}/metrics/{{clip}}/{variant}.json", variant=VARIANTS),
    output: "results/{facility}/previews/{clip}.mp4", "results/{facility}/previews/{clip}.json"
    shell: "touch {output}"


rule summary:
    input:
        expand("results/{{facility}}/metrics/{clip}/{variant}.json", clip=CLIPS, variant=VARIANTS),
        expand("results/{{facility}}/diversity/{clip}.json", clip=CLIPS),
        expand("results/{{facility}}/enriched/{clip}/{variant}.json", clip=CLIPS, variant=VARIANTS),
        expand("results/{{facility}}/clips/{clip}/provenance.json", clip=CLIPS),
        "results/{facility}/preflight.json",
    output: "results/{facility}/summary.csv", "results/{facility}/summary.json"
    shell: "touch {output}"


rule report:
    input:
        expand("results/{facility}/summary.json", facility=FACILITIES),
        everywhere("results/{facility}/metrics/{clip}/{variant}.json"),
        everywhere("results/{facility}/previews/{clip}.mp4"),
        everywhere("results/{facility}/previews/{clip}.json"),
        expand("results/{facility}/fidelity.json", facility=FACILITIES),
        expand("results/{facility}/fidelity/{picture}.png", facility=FACILITIES, picture=["map", "worst", "look"]),
    output: "results/report.html"
    shell: "touch {output}"
"""


def plain(bare: str) -> str:
    """The bare workflow with the directives that rules of a real one have."""

    def dressed(rule: re.Match[str]) -> str:
        quoted = re.search(r"output:.*?\"(.*?)\"", rule[0], re.DOTALL)[1]
        path = (
            quoted.replace("{{", "{").replace("}}", "}").replace("{variant}.{kind}", "all").replace("{variant}", "all")
        )
        return rule[0].replace(
            'shell: "touch {output}"',
            f"""log: "logs/{path}.log"
    benchmark: "benchmarks/{path}.tsv"
    threads: 2
    params: spec=SPEC, code="0123456789abcdef"
    message: "Making {path.replace("{", "{wildcards.")}"
    shell:
        "python program.py --input {{input:q}} --spec {{params.spec:q}} --code {{params.code}} --output {{output:q}}"
        " > {{log:q}} 2>&1\"""",
        )

    rules = re.sub(r"^rule (?!all).*?shell: .*?$", dressed, bare, flags=re.MULTILINE | re.DOTALL)
    return f"SPEC = 'x' * 500\n{rules}"


def configurations(facilities: int, clips: int, variants: int) -> tuple[dict[str, object], dict[str, object]]:
    """The same run, configured for this project and for the bare workflow."""
    places = [f"place-{number:03d}" for number in range(facilities)]
    looks = [f"look-{number}" for number in range(variants)]
    ours = {
        "facilities": [{"name": name, "scene": "resources/demo/kitchen.ply"} for name in places],
        "clips": [{"name": "clip", "path": "sweep", "count": clips}],
        "enrich": {"engine": "photometric", "variants": [{"name": name, "preset": "haze"} for name in looks]},
    }
    return ours, {
        "facilities": places,
        "clips": [f"clip-{number}" for number in range(clips)] if clips > 1 else ["clip"],
        "variants": looks,
    }


def without_work(bare_or_plain: str) -> str:
    """Rules whose jobs touch their outputs and do nothing else."""
    shell = re.compile(r"^    shell:(?: \"touch.*| *\n(?:        .*\n?)+)", re.MULTILINE)
    return shell.sub('    shell: "touch {output:q}"\n', bare_or_plain)


def idle_checkout(folder: Path) -> Path:
    """A copy of this workflow whose jobs do nothing; its Snakefile."""
    shutil.copy(REPOSITORY / "Snakefile", folder)
    for name in ("rules", "workflow", "envs", "config"):
        shutil.copytree(REPOSITORY / name, folder / name)
    for rules in (folder / "rules").glob("*.smk"):
        text = without_work(rules.read_text())
        rules.write_text(re.sub(r"shell\.prefix\(.*\)", "pass", text))
    return folder / "Snakefile"


def run(snakefile: Path, folder: Path, *options: str) -> tuple[float, float, str]:
    """CPU and wall-clock seconds of a run of Snakemake with its jobs, and what it printed."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(folder)]
    command += ["--configfile", str(folder / "config.yaml"), "--cores", "2", "--quiet", "rules", *options]
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    after, wall_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began_s
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall_s, done.stdout + done.stderr


def dry_run(snakefile: Path, config: dict[str, object], folder: Path) -> tuple[float, dict[str, int]]:
    """CPU seconds of a dry run, and the jobs of each rule."""
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    cpu_s, _, printed = run(snakefile, folder, "--dry-run")
    table = re.search(r"^job\s+count\n[-\s]+\n(.*?)^total", printed, re.MULTILINE | re.DOTALL)
    return cpu_s, {rule: int(count) for rule, count in (line.split() for line in table[1].splitlines())}


def real_runs(
    sides: dict[str, tuple[Path, dict[str, object], Path]], planning_s: dict[str, float], jobs: int, folder: Path
) -> Table:
    """Run all sides with jobs that do nothing; what each took."""
    table = Table(title=f"{jobs} jobs that do nothing, run", box=box.SIMPLE_HEAD)
    for column in ("side", "CPU s", "wall s", "ms per job beyond the dry run", "of bare", "of plain"):
        table.add_column(column)
    took = {}
    for side, (snakefile, _, place) in sides.items():
        if snakefile.parent == REPOSITORY:
            (folder / "idle").mkdir()
            snakefile = idle_checkout(folder / "idle")
        else:
            snakefile.write_text(without_work(snakefile.read_text()))
        took[side] = run(snakefile, place)[:2]
    for side, (cpu_s, wall_s) in took.items():
        ratios = (f"{cpu_s / took[f'{peer} Snakemake'][0]:.2f}" for peer in ("bare", "plain"))
        table.add_row(side, f"{cpu_s:.1f}", f"{wall_s:.1f}", f"{1000 * (cpu_s - planning_s[side]) / jobs:.1f}", *ratios)
    return table


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facilities", type=int, default=100)
    parser.add_argument("--clips", type=int, default=10, help="of each facility")
    parser.add_argument("--variants", type=int, default=9, help="of each clip")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--run", action="store_true", help="also run all, with jobs that do nothing")
    arguments = parser.parse_args()
    ours, theirs = configurations(arguments.facilities, arguments.clips, arguments.variants)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sides = {"this workflow": (REPOSITORY / "Snakefile", ours, folder / "ours")}
        for side, text in {"bare Snakemake": BARE, "plain Snakemake": plain(BARE)}.items():
            snakefile = folder / side.split()[0]
            snakefile.write_text(text)
            sides[side] = (snakefile, theirs, folder / f"{snakefile.name}-run")
        rounds = [{side: dry_run(*what) for side, what in sides.items()} for _ in range(arguments.rounds)]
        seconds = {side: min(found[side][0] for found in rounds) for side in sides}
        idle = real_runs(sides, seconds, sum(rounds[0]["bare Snakemake"][1].values()), folder) if arguments.run else ""
    jobs = {side: rounds[0][side][1] for side in sides}
    if len({tuple(sorted(counts.items())) for counts in jobs.values()}) > 1:
        sys.exit(f"they do not have the same jobs: {jobs}")
    table = Table(title=f"{sum(jobs['this workflow'].values())} jobs, dry run", box=box.SIMPLE_HEAD)
    for column in ("side", "CPU s", "of bare", "of plain"):
        table.add_column(column)
    for side, least in seconds.items():
        table.add_row(
            side, f"{least:.1f}", *(f"{least / seconds[f'{peer} Snakemake']:.2f}" for peer in ("bare", "plain"))
        )
    console = Console()
    console.print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 1e9:.0f} GB; Python {platform.python_version()}, "
        f"Snakemake {version('snakemake')}"
    )
    console.print(table, idle)
    console.print(", ".join(f"{rule} {count}" for rule, count in sorted(jobs["this workflow"].items())))


if __name__ == "__main__":
    main()
