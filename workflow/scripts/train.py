"""Post-train a world model on the clips that passed, score it before and after, and write the verdict and its page."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from blueprint import cli
from blueprint.export.episodes import collect
from blueprint.files import read_json, write_json
from blueprint.report import training as page
from blueprint.train import evaluate
from blueprint.train.trainers import TRAINING_SETS

log = logging.getLogger("train")


def train(args: argparse.Namespace) -> None:
    """Post-train on one training set."""
    episodes = collect(args.results, args.spec)
    facts = evaluate.train(episodes, args.spec, args.set, args.module, args.parameters, args.environment)
    write_json(args.output, facts)
    log.info("%s: %s", args.set, facts)


def score(args: argparse.Namespace) -> None:
    """Predict the held-out windows with the base model or a post-trained one."""
    episodes = collect(args.results, args.spec)
    write_json(args.output, evaluate.score(args.parameters, episodes, args.spec, args.module))


def judge(args: argparse.Namespace) -> None:
    """Compare before and after, and write the page."""
    names = (evaluate.BASE, *TRAINING_SETS)
    scores = {name: read_json(args.folder / name / "scores.json") for name in names}
    trainings = {name: read_json(args.folder / name / "training.json") for name in TRAINING_SETS}
    found = evaluate.verdict(scores, trainings, args.spec)
    parameters = {name: args.folder / name / "parameters.pt" for name in TRAINING_SETS}
    windows = evaluate.held_out(collect(args.results, args.spec), args.spec, args.module)
    page.write_rollouts(args.video, windows, parameters, args.module)
    page.write_page(args.page, args.video, found, scores, trainings, args.spec)
    write_json(args.output, found)
    log.info("%s: %s", found["verdict"], found["sentence"])


def main() -> None:
    """Parse the command line and run the sub-command."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for step in (train, score, judge):
        command = commands.add_parser(step.__name__, help=step.__doc__)
        command.set_defaults(run=step)
        command.add_argument("--results", type=Path, required=True, help="folder of the results")
        command.add_argument("--spec", type=cli.json_argument, required=True, help="what to train on (JSON)")
        command.add_argument("--module", required=True, help="module of the trainer")
        command.add_argument("--threads", type=int, default=1, help="threads to compute with")
        command.add_argument("--output", type=Path, required=True, help="JSON file to write")
        if step is train:
            command.add_argument("--set", required=True, help="training set")
            command.add_argument("--environment", type=Path, help="marker of the environment this runs in")
        if step is not judge:
            command.add_argument("--parameters", type=Path, help="the model's parameters")
        else:
            command.add_argument("--folder", type=Path, required=True, help="folder with trainings and scores")
            command.add_argument("--video", type=Path, required=True, help="side-by-side predictions to write")
            command.add_argument("--page", type=Path, required=True, help="page to write")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.run(args)


if __name__ == "__main__":
    cli.run(main)
