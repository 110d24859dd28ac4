"""Results, cost and the guard of a run on a rented machine.

python workflow/scripts/cloud.py restore     fill this checkout from the bucket, never over newer files
python workflow/scripts/cloud.py sync        copy what is finished to the bucket once, and verify it
python workflow/scripts/cloud.py ledger      count this machine's time and print the cost of all machines
python workflow/scripts/cloud.py finish      final copy, verification, end of the instance
python workflow/scripts/cloud.py share       this machine's part of a run that several machines share
python workflow/scripts/cloud.py guard       what a run starts in the background
python workflow/scripts/cloud.py fetch-environments --run snakemake ...    unpack those that an earlier machine kept
python workflow/scripts/cloud.py keep-environments --run snakemake ...     keep those of this run, as they are made
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from blueprint import cli
from blueprint import config as configuration
from blueprint.audit.estimate import job_limits_s
from blueprint.cloud import guard, ledger, lifecycle, share, sync
from blueprint.cloud.accounts import Accounts, store_of
from blueprint.cloud.bucket import LEDGER
from blueprint.cloud.environment_cache import fetch_needed, keep_needed
from blueprint.cloud.machine import machine_id
from blueprint.cloud.restore import restore as fill
from blueprint.cloud.settings import CloudSettings, load
from blueprint.errors import UserError


def restore(settings: CloudSettings, root: Path, _: int) -> None:
    """Fill the working directory from the bucket."""
    print(lifecycle.describe(fill(settings, root)))


def copy(settings: CloudSettings, root: Path, _: int) -> None:
    """Copy to the bucket once, and verify.

    Raises:
        UserError: something is not in the bucket as it is here.
    """
    worker = sync.Sync(settings, root)
    report = worker.run(settle_s=0)
    print(f"Copied {report.files} files ({report.bytes / 1e6:.1f} MB) to the bucket in {report.seconds:.1f} s.")
    if differing := worker.verify():
        raise UserError(f"{len(differing)} files differ in the bucket, such as {', '.join(differing[:3])}.")
    print("Verified: every finished file is in the bucket.")


def cost(settings: CloudSettings, root: Path, as_json: bool) -> None:
    """Count this machine's time (on an instance) and print all accounts."""
    folder = root / LEDGER
    if settings.instance_id is not None:
        Accounts(settings, root).exchange()
    if as_json:
        accounts = [asdict(entry) for entry in ledger.entries(folder)]
        print(json.dumps({"total_usd": ledger.total_usd(folder), "machines": accounts}, indent=2))
        return
    table = Table(title=f"Cost of run {settings.run_id}", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("machine", "last counted (UTC)", "hours", "USD/h", "USD"):
        table.add_column(column)
    for entry in ledger.entries(folder):
        hours, rate, usd = (f"{value:.2f}" for value in (entry.seconds / 3600, entry.rate_usd_per_h, entry.cost_usd))
        table.add_row(entry.machine, entry.updated.removesuffix("+00:00"), hours, rate, usd)
    budget = f"{settings.max_cost_usd:.2f}" if settings.has_budget else "no budget"
    table.caption = f"total {ledger.total_usd(folder):.2f} of {budget}"
    Console().print(table)


def finish(settings: CloudSettings, root: Path, status: int) -> None:
    """Final copy, verification, end of the instance; ``status`` is the run's exit status.

    The exit status is 1 when the machine was not ended, 3 when it was, but work or results are not as they should be.
    """
    if status:
        logging.info("The run ended with status %d.", status)
    ending = lifecycle.finish(settings, root, finished=status == 0)
    print(ending)
    if not ending.is_good:
        sys.exit(3 if ending.machine else 1)


def watch(settings: CloudSettings, root: Path, _: int) -> None:
    """Be the guard of this working directory, unless there is one."""
    with guard.only_one(root) as is_only_one:
        if is_only_one:
            ending = guard.Guard(settings, root).watch()
            logging.shutdown()
            sys.stdout.flush()
            os._exit(0 if ending.is_good else 1)  # whatever still hangs in a thread


def work(settings: CloudSettings, root: Path, configfile: str) -> None:
    """Make shares of the run until none is left for this machine, then end it."""
    config = configuration.read_config(Path(configfile))
    limits_s = {"snakemake": settings.max_hours * 3600, **job_limits_s(config, None)}
    life = lifecycle.Lifecycle(settings, root, limits_s)
    print(life.prepare(config))
    print(life.start())
    machine = machine_id(settings.instance_id)
    claims = share.Claims(store_of(settings), os.environ[share.VARIABLE], machine, share.lost_s(settings))
    sharer = share.Sharer(settings, root, claims, share.shares_of(config, configfile), configfile)
    print(life.conclude("success" if sharer.work() else "error"))


COMMANDS = {
    "restore": restore,
    "sync": copy,
    "ledger": cost,
    "finish": finish,
    "share": work,
    "guard": watch,
    "fetch-environments": fetch_needed,
    "keep-environments": keep_needed,
}


def main() -> None:
    """Parse the command line and carry out one command in the current working directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--settings", type=Path, default=Path("profiles/vast/cloud.yaml"), help="cloud.yaml")
    parser.add_argument("--status", type=int, default=0, help="finish: exit status of the run")
    parser.add_argument("--configfile", default="config/config.yaml", help="share: configuration of the run")
    parser.add_argument("--json", action="store_true", help="ledger: print JSON")
    parser.add_argument("--run", nargs=argparse.REMAINDER, default=[], help="...-environments: the run's command line")
    arguments = parser.parse_args()
    details = {"ledger": arguments.json, "finish": arguments.status, "share": arguments.configfile}
    detail = details.get(arguments.command, arguments.run)
    COMMANDS[arguments.command](load(arguments.settings), Path.cwd(), detail)


if __name__ == "__main__":
    cli.run(main)
