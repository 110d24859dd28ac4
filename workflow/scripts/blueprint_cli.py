"""One command for the whole workflow; each part is thin over a program that works without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import psutil
import typer

from blueprint import checks, cli
from blueprint import config as configuration
from blueprint.audit import outlook
from blueprint.cloud import settings as cloud_settings
from blueprint.errors import UserError
from blueprint.provenance import VERSION

SCRIPTS = Path(__file__).resolve().parent
SNAKEFILE = SCRIPTS.parents[1] / "Snakefile"
DEMO = SCRIPTS.parents[1] / "config" / "config.yaml"
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Options that a command does not know itself go to the program below it."""

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__, rich_markup_mode=None)
Config = Annotated[Path, typer.Argument(help="the configuration, a YAML file (default: the demo kitchen)")]
Cloud = Annotated[Path, typer.Option("--settings", help="settings of rented machines")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
CLOUD = Path("profiles/vast/cloud.yaml")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(VERSION.read_text(encoding="utf-8").strip())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """One command for the whole workflow; each part is thin over a program that works without it."""


@app.command(context_settings=PASSED_ON)
def run(context: typer.Context, config: Config = DEMO) -> None:
    """Make the results of a configuration, or what is missing of them: `snakemake --configfile CONFIG`.

    Other options go to Snakemake: -n, --cores 4, a target.
    """
    _refuse_absent(config)
    if not {"--unlock", "-n", "--dry-run", "--dryrun"} & set(context.args):
        _refuse_locked(config)
    _end(_snakemake("--configfile", config, *_after_options(context.args)))


@app.command()
def plan(config: Config = DEMO, settings: Cloud = CLOUD, as_json: AsJson = False) -> None:
    """Say what a run would do: jobs, minutes, gigabytes, US dollars. Nothing is run: `snakemake -n`."""
    _refuse_absent(config)
    dry_run = subprocess.run(
        _snakemake("--configfile", config, "--dry-run", "--quiet", "rules"), capture_output=True, text=True
    )
    if dry_run.returncode:
        raise UserError((dry_run.stderr + dry_run.stdout).strip())
    cloud = cloud_settings.load(settings) if settings.is_file() else None
    found = outlook.outlook(
        configuration.read_config(config), outlook.planned_jobs(dry_run.stdout + dry_run.stderr), cloud
    )
    print(json.dumps(found, indent=2) if as_json else outlook.describe(found))


@app.command(context_settings=PASSED_ON)
def audit(context: typer.Context, config: Config = DEMO, as_json: AsJson = False) -> None:
    """Find for free what would fail on a rented machine (--local: on this one), as `make audit` does."""
    _refuse_absent(config)
    done = subprocess.run(_program("audit", "--configfile", config, *context.args))
    if as_json:
        print(Path("results/audit.json").read_text(encoding="utf-8"))
    sys.exit(done.returncode)


@app.command(context_settings=PASSED_ON)
def launch(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="the configuration, a YAML file in this checkout")],
    settings: Cloud = CLOUD,
) -> None:
    """Rent a machine at Vast.ai and start the run on it, after a question (-n: only say what it would cost)."""
    _vast(settings, "launch", "--configfile", config, *context.args)


@app.command(context_settings=PASSED_ON)
def status(context: typer.Context, settings: Cloud = CLOUD) -> None:
    """List this run's machines, their state and rate (--all: of the account; --json)."""
    _vast(settings, "status", *context.args)


@app.command(context_settings=PASSED_ON)
def logs(context: typer.Context, settings: Cloud = CLOUD) -> None:
    """Print the last lines of a machine's log (-f: go on)."""
    _vast(settings, "logs", *context.args)


@app.command()
def pull(settings: Cloud = CLOUD) -> None:
    """Copy results so far from the bucket into this folder, with progress bars; never over newer files."""
    _vast(settings, "pull", "--watch")


@app.command(context_settings=PASSED_ON)
def stop(context: typer.Context, settings: Cloud = CLOUD) -> None:
    """End a machine now, without a final copy (--destroy: its disk too)."""
    _vast(settings, "stop", *context.args)


@app.command(context_settings=PASSED_ON)
def reap(context: typer.Context, settings: Cloud = CLOUD) -> None:
    """End machines that nobody else ends; to be run every 10 minutes (-n: only say which)."""
    _vast(settings, "reap", *context.args)


@app.command(context_settings=PASSED_ON)
def ledger(context: typer.Context, settings: Cloud = CLOUD) -> None:
    """Print the cost of all machines of the run (after a pull; --json)."""
    _end(_program("cloud", "ledger", "--settings", settings, *context.args))


@app.command()
def report(
    config: Config = DEMO, show: Annotated[bool, typer.Option(help="open it in a browser, or print its path")] = True
) -> None:
    """Open the report of a configuration in a browser."""
    page = _results(config) / "report.html"
    if not page.is_file():
        raise UserError(f"{page}: there is no report yet. Make it: blueprint run {config}")
    print(page)
    if show:
        webbrowser.open(page.resolve().as_uri())


@app.command()
def compare(
    current: Annotated[Path, typer.Argument(help="a configuration, or its folder of results")],
    baseline: Annotated[Path, typer.Argument(help="the one to compare it with")],
) -> None:
    """Put the scores of two runs side by side: compare.html and compare.csv in the folder of the first."""
    folders = [place if place.is_dir() else _results(place) for place in (current, baseline)]
    found = [sorted(folder.glob("*/summary.json")) for folder in folders]
    for folder, summaries in zip(folders, found, strict=True):
        if not summaries:
            raise UserError(f"{folder}: holds no <facility>/summary.json. Name a configuration that has been run.")
    page, table = folders[0] / "compare.html", folders[0] / "compare.csv"
    spec = json.dumps({"title": f"{current} against {baseline}", "baseline": str(folders[1])})
    arguments = ["--current", *found[0], "--baseline", *found[1], "--spec", spec, "--page", page, "--table", table]
    done = subprocess.run(_program("compare", *arguments))
    print(page)
    sys.exit(done.returncode)


@app.command(context_settings=PASSED_ON)
def look(context: typer.Context, scan: Annotated[Path, typer.Argument(help="a splat")]) -> None:
    """Picture a scan, guess its up axis, floor and units, and write my.yaml to begin with (--json)."""
    _end(_program("look", scan, *context.args))


@app.command(context_settings=PASSED_ON)
def export(context: typer.Context, config: Config = DEMO) -> None:
    """Write the clips that passed as training data, in the layouts of `export.layouts`: `snakemake export`."""
    _refuse_absent(config)
    _end(_snakemake("--configfile", config, *context.args, "--", "export"))


@app.command()
def lock(
    package: Annotated[str | None, typer.Argument(help="name==version to set wherever it is pinned")] = None,
) -> None:
    """Lock the environments of the stages again, as `make lock` does."""
    _end(_program("environments", "lock", *(["--package", package] if package else [])))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine has and what it lacks, with remedies."""
    found = outlook.doctor(Path.cwd())
    if as_json:
        print(json.dumps([check.to_json() for check in found], indent=2))
    else:
        checks.print_table(found, "This machine")
    sys.exit(any(check.result == "fail" for check in found))


def _program(name: str, *arguments: object) -> list[str]:
    return [sys.executable, str(SCRIPTS / f"{name}.py"), *map(str, arguments)]


def _snakemake(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), *map(str, arguments)]


def _vast(settings: Path, *arguments: object) -> None:
    _end(_program("vast", "--settings", settings, *arguments))


def _end(command: Sequence[str]) -> None:
    """Become another program: its output, its exit status, and Ctrl-C are its own."""
    sys.stdout.flush()
    os.execv(command[0], command)


def _after_options(arguments: list[str]) -> list[str]:
    """Arguments for Snakemake; its --configfile takes many values, so targets must not follow it."""
    return ["--", *arguments] if arguments and not arguments[0].startswith("-") else arguments


def _results(config: Path) -> Path:
    _refuse_absent(config)
    return Path(configuration.folders(configuration.read_config(config))["results"])


def _refuse_absent(config: Path) -> None:
    if not config.is_file():
        raise UserError(f"{config}: there is no such file in {Path.cwd()}. Name a configuration (config/README.md).")


def _refuse_locked(config: Path) -> None:
    if not list(Path(".snakemake/locks").glob("*")):
        return
    running = [str(process.pid) for process in psutil.process_iter() if _works_here(process)]
    if running:
        raise UserError(
            f"{Path.cwd()}: a run is at work here (processes {', '.join(running)}). Wait for it, or end it: "
            f"kill {' '.join(running)}"
        )
    raise UserError(
        f"{Path.cwd()}: locked by a run that was killed. Unlock it, then run again (what is finished is kept): "
        f"blueprint run {config} --unlock"
    )


def _works_here(process: psutil.Process) -> bool:
    try:
        words = " ".join(process.cmdline())
        return (
            process.pid != os.getpid()
            and process.cwd() == str(Path.cwd())
            and ("snakemake" in words or (str(SCRIPTS) in words and __file__ not in words))
        )
    except psutil.Error:
        return False


def main() -> None:
    """Parse the command line and run the sub-command."""
    app(prog_name="blueprint")


if __name__ == "__main__":
    cli.run(main)
