"""Fetch the weights of the learned scores (LPIPS, DISTS) into the torch cache."""

from __future__ import annotations

import argparse

from blueprint import cli
from blueprint.metrics import weights


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", help="scores whose weights to fetch")
    parser.add_argument("--torch-home", default="", help="the torch cache (default: where torch looks)")
    arguments = parser.parse_args()
    for path in weights.fetch(arguments.names, weights.torch_home(arguments.torch_home)):
        print(path)


if __name__ == "__main__":
    cli.run(main)
