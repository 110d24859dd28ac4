"""Post-train a world model on the clips that passed, or score one on held-out clips."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from blueprint import cli, secret
from blueprint.export.episodes import collect
from blueprint.files import write_json
from blueprint.train import evaluate
from blueprint.train.interface import Place

log = logging.getLogger("train")


def train(args: argparse.Namespace, place: Place) -> None:
    """Post-train on one training set."""
    episodes = collect(args.results, args.spec)
    facts = evaluate.train(episodes, args.spec, args.set, args.module, args.parameters, place, args.environment)
    write_json(args.output, facts)
    log.info("%s: %s", args.set, facts)


def score(args: argparse.Namespace, place: Place) -> None:
    """Predict the held-out windows with the base model or a post-trained one."""
    episodes = collect(args.results, args.spec)
    write_json(args.output, evaluate.score(args.parameters, episodes, args.spec, args.module, place, args.shown))


def main() -> None:
    """Parse the command line and run the sub-command."""
    secret.take("HF_TOKEN")
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for step in (train, score):
        command = commands.add_parser(step.__name__, help=step.__doc__)
        command.set_defaults(run=step)
        command.add_argument("--results", type=Path, required=True, help="folder of the results")
        command.add_argument("--spec", type=cli.json_argument, required=True, help="what to train on (JSON)")
        command.add_argument("--module", required=True, help="module of the trainer")
        command.add_argument("--parameters", type=Path, help="the model's parameters (score: default the base model)")
        command.add_argument("--scratch", type=Path, required=True, help="folder for what is being made")
        command.add_argument("--threads", type=int, default=1, help="threads to compute with")
        command.add_argument("--gpus", type=int, default=0, help="GPUs given to this job")
        command.add_argument("--machine", type=cli.json_argument, default={}, help="facts of this machine (JSON)")
        command.add_argument("--output", type=Path, required=True, help="JSON file to write")
        if step is train:
            command.add_argument("--set", required=True, help="training set")
            command.add_argument("--environment", type=Path, help="marker of the environment this runs in")
        else:
            command.add_argument("--shown", type=Path, required=True, help="video of predictions to write")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    args.run(args, Place(args.scratch, args.output.parent, args.gpus, args.threads, args.machine))


if __name__ == "__main__":
    cli.run(main)
