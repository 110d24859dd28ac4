"""Rent a machine at Vast.ai that runs this workflow at this commit, and look after it."""

from __future__ import annotations

import argparse
import json
import logging
import math
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from blueprint import cli
from blueprint import config as configuration
from blueprint.audit import estimate
from blueprint.audit import run as audit
from blueprint.cloud import fleet, lifecycle, offers, share, vast
from blueprint.cloud import launch as launching
from blueprint.cloud.accounts import accounts_in, store_of
from blueprint.cloud.reaper import Reaper, refuse_unwatched
from blueprint.cloud.restore import restore
from blueprint.cloud.settings import CloudSettings, load
from blueprint.cloud.watched import WatchedBucket
from blueprint.errors import UserError

log = logging.getLogger(__name__)
console = Console()
OFFERS_SHOWN = 5
FOLLOW_S = 10.0


def launch(arguments: argparse.Namespace) -> None:
    """Rent the cheapest machine that will do, or several, and start the run there, after a question."""
    settings, root, configfile = load(arguments.settings), Path.cwd(), arguments.configfile
    config = configuration.read_config(Path(configfile))
    if not arguments.gpu_anyway:
        launching.refuse_needless(config, configfile)
    if arguments.dry_run:
        chosen_offers(settings, config, arguments.machines)
        for problem in launching.problems(root, settings, config, configfile):
            console.print(f"[yellow]A launch would be refused:[/yellow] {escape(problem)}")
        console.print("Dry run: nothing was rented.")
        return
    launching.refuse_incomplete_settings(settings, config)
    files = launching.travelling(root, configfile, settings.source)
    source = launching.source_of(root, arguments.remote, arguments.repository, files)
    launching.refuse_unreachable(source, settings.git_token)
    if not arguments.without_audit:
        subject = audit.Subject(root, (Path(configfile),), root, Path(settings.source))
        audit.require_green_audit(subject, root / "results" / "audit.json")
    if not arguments.no_reaper:
        refuse_unwatched(settings)
    scenes = launching.scenes_to_upload(root, config)
    fleet.refuse_second(settings)
    chosen = chosen_offers(settings, config, arguments.machines)
    earlier_usd = math.fsum(entry.cost_usd for entry in accounts_in(store_of(settings)))
    console.print(
        f"Configuration {escape(configfile)}, commit {source.commit[:12]}. The run {settings.run_id} has cost "
        f"{earlier_usd:.2f} USD so far; what it has in the bucket is restored and not made again."
    )
    refuse_unasked(arguments.yes)
    rent(arguments, settings, source, chosen, scenes, files, earlier_usd)


def refuse_unasked(yes: bool) -> None:
    """Ask whether to spend money, unless that was said before.

    Raises:
        UserError: the answer is no, or there is nobody to answer.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("launch: asks before it rents, and nobody is there to answer. In a script, give --yes.")
    if console.input("Rent it? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("launch: nothing was rented.")


def rent(
    arguments: argparse.Namespace,
    settings: CloudSettings,
    source: launching.Source,
    chosen: list[offers.Offer],
    scenes: list[str],
    files: dict[str, bytes],
    earlier_usd: float,
) -> None:
    """Upload scenes and settings; for each machine write the launch record and rent it.

    Raises:
        UserError: none was rented; where some were, the others are told of.
    """
    root = Path.cwd()
    if scenes:
        console.print(f"Uploaded {launching.upload_scenes(settings, root, scenes)} of {len(scenes)} scenes.")
    store = store_of(settings)
    now_s, sent = time.time() + store.authorise(), launching.send(store, files)
    together = {share.VARIABLE: secrets.token_hex(4)} if len(chosen) > 1 else {}
    rented = 0
    for offer in chosen:
        order = launching.order(settings, offer, earlier_usd, now_s, sent)
        store.put(order.name, order.to_text().encode())  # before it costs anything: the reaper goes by it
        environment = launching.environment_of(settings, source, *files, arguments.with_account_key, order) | together
        try:
            script = launching.bootstrap_script(root)
            number = offers.create_instance(settings, offer, order.label, environment, script)
        except UserError as error:
            if not rented and offer is chosen[-1]:
                raise
            log.warning("%s", error)
            continue
        rented += 1
        said = f"Rented instance {number} ({order.label}), commit {source.commit[:12]}."
        console.print(f"{said} It costs money from now on.")
        fleet.schedule_stop(settings, number, order.deadline_s)
        console.print(f"It ends at {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(order.deadline_s))} at the latest.")
        console.print(f"Follow it with `.venv/bin/blueprint logs {number} -f`.")
    if together:
        console.print(f"{rented} of {len(chosen)} machines share the run.")


def chosen_offers(settings: CloudSettings, config: Mapping[str, Any], machines: int) -> list[offers.Offer]:
    """Print the cheapest offers and what those to take, the first ones, mean for time and budget.

    Raises:
        UserError: there are not enough.
    """
    found = offers.find_offers(settings)
    if not found:
        raise UserError(
            f"{settings.source}: vast: no machine on offer meets all of {dict(settings.machine)}. Relax one of them."
        )
    table = Table("offer", "GPU", "VRAM GB", "USD/h", "reliability", "disk GB", "place", box=box.SIMPLE_HEAD)
    for offer in found[: max(OFFERS_SHOWN, machines)]:
        figures = (f"{offer.vram_gb:.0f}", f"{offer.rate_usd_per_h:.3f}", f"{offer.reliability:.3f}")
        table.add_row(str(offer.id), escape(offer.gpu), *figures, f"{offer.disk_gb:.0f}", escape(offer.location))
    console.print(table)
    if not 1 <= machines <= len(found):
        raise UserError(f"--machines: found {machines}; there are {len(found)} offers. Give 1 to {len(found)}.")
    offer, rate = found[0], sum(offer.rate_usd_per_h for offer in found[:machines])
    price = f"[bold]{offer.rate_usd_per_h:.3f} USD per hour[/bold]"
    console.print(f"{escape(offer.gpu)}, {escape(offer.location)}: {price}, plus traffic.")
    if machines > 1:
        console.print(f"{machines} machines: {rate:.3f} USD per hour, plus traffic; the first {machines} of the table.")
    stages = estimate.estimate(config, Path(configuration.folders(config)["benchmarks"]))
    hours = sum(stage.seconds for stage in stages) / 3600
    console.print(f"Estimate of the whole run: {hours:.2f} h, {hours * offer.rate_usd_per_h:.2f} USD, plus setting up.")
    if settings.has_budget:
        hours = settings.max_cost_usd / rate
        budget = f"The budget of {settings.max_cost_usd:g} USD (run {settings.run_id}) lasts {hours:.1f} h at most."
        console.print(budget)
    else:
        console.print("[yellow]There is no budget (max_cost_usd is 0 or less): nothing limits the cost.[/yellow]")
    return found[:machines]


def status(arguments: argparse.Namespace) -> None:
    """List this run's instances, and what each machine has done of it where several share it, or all of the account."""
    settings = load(arguments.settings)
    found = [row for row in vast.list_instances(settings) if arguments.all or fleet.is_ours(settings, row)]
    if arguments.json:
        fields = ("id", "state", "gpu", "rate_usd_per_h", "label", "ssh", "message")
        print(json.dumps([{field: getattr(row, field) for field in fields} for row in found], indent=2))
        return
    if found:
        console.print(instances(found))
    else:
        console.print(f"Run {settings.run_id} has no instance.")
    if arguments.all:
        return
    try:
        if parts := share.parts_of(store_of(settings)):
            console.print(shares(settings, parts))
    except UserError as error:
        log.warning("Who has which clip is not known: %s", error)


def instances(found: list[vast.Instance]) -> Table:
    """Instances as a table."""
    table = Table("instance", "state", "GPU", "USD/h", "label", "ssh", "message", box=box.SIMPLE_HEAD)
    for row in found:
        rate = f"{row.rate_usd_per_h:.3f}" if row.rate_usd_per_h else "?"
        table.add_row(*map(escape, (str(row.id), row.state, row.gpu, rate, row.label, row.ssh, row.message)))
    return table


def shares(settings: CloudSettings, parts: list[share.Part]) -> Table:
    """What each machine has done and cost, and all of them of the budget."""
    table = Table("machine", "clips claimed", "done", "now at", "hours", "USD", box=box.SIMPLE_HEAD)
    for part in parts:
        figures = (str(part.claimed), str(part.done), part.at, f"{part.seconds / 3600:.2f}", f"{part.cost_usd:.2f}")
        table.add_row(*map(escape, (part.machine, *figures)))
    budget = f"{settings.max_cost_usd:.2f}" if settings.has_budget else "no budget"
    table.caption = f"total {math.fsum(part.cost_usd for part in parts):.2f} of {budget}"
    return table


def logs(arguments: argparse.Namespace) -> None:
    """Print the last lines of an instance's log, and with --follow what comes after them."""
    settings = load(arguments.settings)
    number, seen = fleet.chosen(settings, arguments.instance), []
    while True:
        lines = vast.logs(settings, number, arguments.lines).splitlines(keepends=True)
        print("".join(news(seen, lines)), end="", flush=True)
        if not arguments.follow:
            return
        seen = lines or seen
        time.sleep(FOLLOW_S)


def news(seen: list[str], lines: list[str]) -> list[str]:
    """Of the last lines of a log, those that follow the ones seen before."""
    overlaps = (count for count in range(min(len(seen), len(lines)), 0, -1) if seen[-count:] == lines[:count])
    return lines[next(overlaps, 0) :]


def pull(arguments: argparse.Namespace) -> None:
    """Copy results, logs and the cost ledger from the bucket into this checkout, never over newer files."""
    settings, root = load(arguments.settings), Path.cwd()
    bucket = WatchedBucket(settings, root) if arguments.watch else None
    console.print(escape(lifecycle.describe(restore(settings, root, bucket=bucket))))


def stop(arguments: argparse.Namespace) -> None:
    """Stop (or destroy) an instance, and wait until Vast says that it has ended. It is not synced first."""
    settings = load(arguments.settings)
    for number in fleet.ours(settings) if arguments.every else [fleet.chosen(settings, arguments.instance)]:
        state = vast.shutdown(settings, "destroy" if arguments.destroy else "stop", number)
        console.print(f"Instance {number} is {state}." + ("" if state == "gone" else " Its disk is kept, and billed."))


def reap(arguments: argparse.Namespace) -> None:
    """End what is past its deadline, silent, or a disk kept too long; meant to be run every 10 minutes."""
    found = Reaper(load(arguments.settings)).reap(arguments.dry_run)
    for one in found:
        done = f"{one.verdict.action}: {one.verdict.reason}"
        print(f"instance {one.instance.id} ({one.run_id}) was {one.instance.state}; {done}; {one.state or one.problem}")
    print(f"Looked at {len(found)} instances.")
    if any(one.problem for one in found):
        sys.exit(1)


def main() -> None:
    """Parse the command line and run the sub-command."""
    program = cli.Commands(__doc__)
    program.parser.add_argument("--settings", type=Path, default=Path("profiles/vast/cloud.yaml"), help="cloud.yaml")
    command = program.add(launch)
    command.add_argument("--configfile", required=True, help="configuration of the run, a committed file")
    command.add_argument("--machines", type=int, default=1, help="how many machines share the run (default 1)")
    command.add_argument("--remote", default="origin", help="git remote that the machine fetches from")
    command.add_argument("--repository", help="address the machine fetches from, when the remote's own is not public")
    command.add_argument(
        "--with-account-key", action="store_true", help="send VAST_API_KEY too, should a container's own key not do"
    )
    command.add_argument("--without-audit", action="store_true", help="launch without a fresh, green `make audit`")
    command.add_argument("--no-reaper", action="store_true", help="launch though no reaper has reported within a day")
    command.add_argument("--gpu-anyway", action="store_true", help="rent a GPU though the configuration needs none")
    command.add_argument("--yes", action="store_true", help="rent without asking")
    command.add_argument("--dry-run", "-n", action="store_true", help="look for offers, rent nothing")
    command = program.add(status)
    command.add_argument("--all", action="store_true", help="every instance of the account")
    command.add_argument("--json", action="store_true", help="print JSON")
    command = program.add(logs)
    command.add_argument("instance", type=int, nargs="?")
    command.add_argument("--lines", type=int, default=200)
    command.add_argument("--follow", "-f", action="store_true", help="go on until interrupted")
    program.add(pull).add_argument("--watch", action="store_true", help="show what is transferred")
    command = program.add(stop)
    command.add_argument("instance", type=int, nargs="?")
    command.add_argument("--every", action="store_true", help="every instance of the run")
    command.add_argument("--destroy", action="store_true", help="delete the disk as well")
    program.add(reap).add_argument("--dry-run", "-n", action="store_true", help="say what would be ended, end nothing")
    program.run()


if __name__ == "__main__":
    cli.run(main)
