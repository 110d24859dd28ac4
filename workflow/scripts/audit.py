"""Find, in about a minute and for free, what would fail on a paid machine. Nothing is installed or changed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # an audit leaves nothing behind, not even compiled modules

from blueprint import cli  # noqa: E402
from blueprint.audit import run, secrets  # noqa: E402
from blueprint.checks import print_table  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run the audit, print its table, record it, and exit with status 1 when a check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", type=Path, nargs="+", default=[Path("config/config.yaml")])
    parser.add_argument(
        "--cloud", type=Path, default=Path("profiles/vast/cloud.yaml"), help="settings of the rented machine"
    )
    parser.add_argument("--local", action="store_true", help="audit for a run on this machine: no cloud settings")
    parser.add_argument("--output", type=Path, default=Path("results/audit.json"))
    parser.add_argument(
        "--update-baseline", action="store_true", help=f"record the findings of the secret scan in {secrets.BASELINE}"
    )
    arguments = parser.parse_args()
    if arguments.update_baseline:
        count = secrets.write_baseline(ROOT)
        print(f"{count} findings recorded; judge them with `detect-secrets audit {secrets.BASELINE}`.")
        return
    subject = run.Subject(ROOT, tuple(arguments.configfile), Path.cwd(), None if arguments.local else arguments.cloud)
    checks = run.run(subject)
    print_table(checks, "Audit")
    run.record(subject, checks, arguments.output)
    failed = [check.name for check in checks if check.result == "fail"]
    unknown = [check.name for check in checks if check.result == "unknown"]
    if unknown:
        print(f"could not be checked here: {', '.join(unknown)}", file=sys.stderr)
    if failed:
        print(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main)
