"""Rent a machine at Vast.ai that runs this workflow at this commit, and look after it."""

from __future__ import annotations

import argparse
import logging
import re
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from blueprint import cli
from blueprint.audit import run as audit
from blueprint.cloud import launch as launching
from blueprint.cloud import settings as cloud_settings
from blueprint.cloud import sync, vast
from blueprint.cloud.settings import CloudSettings
from blueprint.errors import UserError

log = logging.getLogger("vast")
console = Console()
OFFERS_SHOWN = 5


def launch(settings: CloudSettings, arguments: argparse.Namespace) -> None:
    """Rent the cheapest machine that will do and start the run on it."""
    root = Path.cwd()
    configfile = arguments.configfile or "config/config.yaml"
    config = launching.read_config(Path(configfile))
    launching.refuse_incomplete_settings(settings, config)
    launching.refuse_untracked(root, configfile, settings.source)
    source = launching.source_of(root, arguments.remote, arguments.repository)
    launching.refuse_unreachable(source, settings.git_token)
    if not arguments.without_audit:
        subject = audit.Subject(root, (Path(configfile),), root, Path(settings.source))
        audit.require_green_audit(subject, root / "results" / "audit.json")
    scenes = launching.scenes_to_upload(root, config)
    refuse_second(settings)
    offers = vast.find_offers(settings)
    if not offers:
        raise UserError(
            f"{settings.source}: vast: no machine on offer meets all of {dict(settings.machine)}. Relax one of them."
        )
    show_offers(offers[:OFFERS_SHOWN])
    offer = offers[0]
    console.print(f"{offer.gpu}, {offer.location}: [bold]{offer.rate_usd_per_h:.3f} USD per hour[/bold], plus traffic.")
    if settings.has_budget:
        hours = settings.max_cost_usd / offer.rate_usd_per_h
        console.print(
            f"The budget of {settings.max_cost_usd:g} USD (run {settings.run_id}) lasts {hours:.1f} h at most."
        )
    else:
        console.print("[yellow]There is no budget (max_cost_usd is 0 or less): nothing limits the cost.[/yellow]")
    if arguments.dry_run:
        console.print("Dry run: nothing was rented.")
        return
    if scenes:
        bucket = sync.Bucket(settings, root)
        known = bucket.listing()
        missing = [scene for scene in scenes if known.get(scene) != stamp(root / scene)]
        console.print(f"Uploading {len(missing)} of {len(scenes)} scenes to the bucket ...")
        bucket.upload(missing)
    number, label = vast.create_instance(
        settings,
        offer,
        launching.environment_of(settings, source, arguments.configfile, arguments.with_account_key),
        launching.bootstrap_script(root),
    )
    console.print(f"Rented instance {number} ({label}), commit {source.commit[:12]}. It costs money from now on.")
    console.print(f"Follow it with `python workflow/scripts/vast.py logs {number}`.")


def refuse_second(settings: CloudSettings) -> None:
    """Two machines of one run would make the same results twice, and pay twice.

    Raises:
        UserError: the run has an instance that is at work, or that Vast may start again.
    """
    for instance in vast.list_instances(settings):
        if is_ours(settings, instance) and instance.state not in ("stopping", "stopped"):
            raise UserError(
                f"run {settings.run_id}: instance {instance.id} is {instance.state}. End it first (`vast.py stop "
                f"{instance.id}`), or set another run_id in {settings.source}."
            )


def stamp(path: Path) -> sync.Stamp:
    """What tells this version of a file from another one."""
    status = path.stat()
    return sync.Stamp(status.st_size, status.st_mtime_ns // 1_000_000)


def show_offers(offers: list[vast.Offer]) -> None:
    """Print offers as a table, the one that will be taken first."""
    table = Table("offer", "GPU", "VRAM GB", "USD/h", "reliability", "disk GB", "place", box=box.SIMPLE_HEAD)
    for offer in offers:
        table.add_row(
            str(offer.id),
            offer.gpu,
            f"{offer.vram_gb:.0f}",
            f"{offer.rate_usd_per_h:.3f}",
            f"{offer.reliability:.3f}",
            f"{offer.disk_gb:.0f}",
            offer.location,
        )
    console.print(table)


def status(settings: CloudSettings, arguments: argparse.Namespace) -> None:
    """List this run's instances, or all of the account."""
    found = [instance for instance in vast.list_instances(settings) if arguments.all or is_ours(settings, instance)]
    if not found:
        console.print(f"Run {settings.run_id} has no instance.")
        return
    table = Table("instance", "state", "GPU", "USD/h", "label", "ssh", "message", box=box.SIMPLE_HEAD)
    for instance in found:
        rate = f"{instance.rate_usd_per_h:.3f}" if instance.rate_usd_per_h else "?"
        table.add_row(
            str(instance.id), instance.state, instance.gpu, rate, instance.label, instance.ssh, instance.message
        )
    console.print(table)


def is_ours(settings: CloudSettings, instance: vast.Instance) -> bool:
    """Whether `launch` made the instance for this run."""
    return re.fullmatch(rf"blueprint-{re.escape(settings.run_id)}-[0-9a-f]{{8}}", instance.label) is not None


def chosen(settings: CloudSettings, number: int | None) -> int:
    """The instance that was named, or the only one of this run.

    Raises:
        UserError: none was named and there is not exactly one.
    """
    if number is not None:
        return number
    ours = [instance.id for instance in vast.list_instances(settings) if is_ours(settings, instance)]
    if len(ours) != 1:
        listed = ", ".join(map(str, ours)) or "none"
        raise UserError(f"run {settings.run_id}: found {len(ours)} instances ({listed}). Name the one that is meant.")
    return ours[0]


def logs(settings: CloudSettings, arguments: argparse.Namespace) -> None:
    """Print the last lines of an instance's log."""
    print(vast.logs(settings, chosen(settings, arguments.instance), arguments.lines), end="")


def pull(settings: CloudSettings, arguments: argparse.Namespace) -> None:
    """Copy results, logs and the cost ledger from the bucket into this checkout, never over newer files."""
    report = sync.restore(settings, Path.cwd())
    console.print(f"{report.files} files, {report.bytes / 1e6:.1f} MB in {report.seconds:.1f} s.")


def stop(settings: CloudSettings, arguments: argparse.Namespace) -> None:
    """Stop (or destroy) an instance, and wait until Vast says that it has ended. It is not synced first."""
    number = chosen(settings, arguments.instance)
    state = vast.shutdown(settings, "destroy" if arguments.destroy else "stop", number)
    console.print(f"Instance {number} is {state}." + ("" if state == "gone" else " Its disk is kept, and billed."))


def main() -> None:
    """Parse the command line and run the sub-command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, default=Path("profiles/vast/cloud.yaml"), help="cloud settings")
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("launch", help=launch.__doc__)
    command.add_argument("--configfile", help="configuration of the run, a committed file (default: the demo)")
    command.add_argument("--remote", default="origin", help="git remote that the machine fetches from")
    command.add_argument("--repository", help="address the machine fetches from, when the remote's own is not public")
    command.add_argument(
        "--with-account-key", action="store_true", help="send VAST_API_KEY too, should a container's own key not do"
    )
    command.add_argument("--without-audit", action="store_true", help="launch without a fresh, green `make audit`")
    command.add_argument("--dry-run", "-n", action="store_true", help="look for offers, rent nothing")
    command.set_defaults(run=launch)

    command = commands.add_parser("status", help=status.__doc__)
    command.add_argument("--all", action="store_true", help="every instance of the account")
    command.set_defaults(run=status)

    command = commands.add_parser("logs", help=logs.__doc__)
    command.add_argument("instance", type=int, nargs="?")
    command.add_argument("--lines", type=int, default=200)
    command.set_defaults(run=logs)

    commands.add_parser("pull", help=pull.__doc__).set_defaults(run=pull)

    command = commands.add_parser("stop", help=stop.__doc__)
    command.add_argument("instance", type=int, nargs="?")
    command.add_argument("--destroy", action="store_true", help="delete the disk as well")
    command.set_defaults(run=stop)

    arguments = parser.parse_args()
    arguments.run(cloud_settings.load(arguments.settings), arguments)


if __name__ == "__main__":
    cli.run(main)
