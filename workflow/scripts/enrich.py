"""Make every appearance variant of one rendered clip.

A variant that an earlier, interrupted run finished is taken over as it is; the others are made by the chosen engine,
all in one go. What each output was made from, and by what, is written beside it.
"""

from __future__ import annotations

import argparse
import logging
import platform
import shutil
import signal
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blueprint import cli
from blueprint.enrich import Clip, Options, Variant, load_engine
from blueprint.enrich.kept import Kept
from blueprint.enrich.variants import control_files
from blueprint.errors import UserError
from blueprint.files import file_digest, value_digest
from blueprint.video import probe

log = logging.getLogger("enrich")


def enrich(clip: Clip, spec: dict[str, Any], code: str, folder: Path, scratch: Path, **machine: Any) -> list[str]:
    """Make the variants of a clip that are not finished yet.

    Args:
        clip: the rendered clip.
        spec: engine, settings and variants, from `blueprint.enrich.variants.clip_spec`.
        code: digest of the sources.
        folder: where ``<variant>.mp4`` and ``<variant>.json`` go.
        scratch: folder for what is being made; emptied first, removed at the end.
        machine: what `Options` holds besides settings and scratch folder.

    Returns:
        The names of the variants that were made now.

    Raises:
        UserError: the engine failed, or what it made does not align with the clip frame by frame.
    """
    variants = [Variant(**entry) for entry in spec["variants"]]
    inputs = {name: file_digest(getattr(clip, name)) for name in ("rgb", "depth", "depth_m", "cameras")}
    inputs |= {path: file_digest(Path(path)) for path in control_files(spec)}
    options = Options(settings=spec["settings"], scratch=scratch.resolve(), **machine)
    engine = load_engine(spec["engine"])
    identity = engine.identity(options)
    needs = {
        variant.name: {
            "engine": spec["engine"],
            "identity": identity,
            "settings": spec["settings"],
            "variant": asdict(variant),
            "inputs": inputs,
            "code": code,
        }
        for variant in variants
    }
    kept = Kept(folder, {name: value_digest(need) for name, need in needs.items()})
    pending = [variant for variant in variants if not kept.restore(variant.name)]
    log.info("%d of %d variants are finished already", len(variants) - len(pending), len(variants))

    def finish(variant: Variant, video: Path, provenance: dict[str, Any]) -> None:
        made = probe(video)
        if made != clip.info:
            raise UserError(f"{variant.name}: the engine made {made}, but the rendered clip is {clip.info}.")
        run = {"finished": datetime.now(UTC).isoformat(timespec="seconds"), "host": platform.node()}
        run |= provenance.pop("run")
        kept.add(variant.name, video, {**needs[variant.name], **provenance, "clip": asdict(made), "run": run})
        log.info("%s: finished", variant.name)

    if pending:
        shutil.rmtree(scratch, ignore_errors=True)  # what a killed job left
        scratch.mkdir(parents=True)
        try:
            engine.make_variants(clip, pending, options, finish)
        finally:
            shutil.rmtree(scratch)
    missing = [variant.name for variant in variants if not (folder / f"{variant.name}.json").exists()]
    if missing:
        raise UserError(f"{folder}: {spec['engine']} made no output for {', '.join(missing)}.")
    kept.prune()
    return [variant.name for variant in pending]


def main() -> None:
    """Parse the command line and enrich one clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rgb", type=Path, required=True, help="the rendered clip")
    parser.add_argument("--depth", type=Path, required=True, help="its depth as a grey video")
    parser.add_argument("--depth-m", type=Path, required=True, help="its metric depth")
    parser.add_argument("--cameras", type=Path, required=True, help="its cameras")
    parser.add_argument("--spec", type=cli.json_argument, required=True, help="engine, settings, variants (JSON)")
    parser.add_argument("--code", required=True, help="digest of the sources")
    parser.add_argument("--folder", type=Path, required=True, help="where the variants go")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for what is being made")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs given to this job")
    parser.add_argument(
        "--offload", choices=("auto", "always", "never"), default="auto", help="idle models leave the GPU"
    )
    parser.add_argument("--cosmos-root", default="", help="checkout of NVIDIA's repository")
    parser.add_argument(
        "--cache", type=Path, default=Path("resources/embeddings"), help="where text embeddings are kept"
    )
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that an engine ends what it started
    clip = Clip(args.rgb, args.depth, args.depth_m, args.cameras, probe(args.rgb))
    root = Path(args.cosmos_root) if args.cosmos_root else None
    machine = {
        "scratch": args.scratch,
        "gpus": args.gpus,
        "offload": args.offload,
        "cosmos_root": root,
        "cache": args.cache,
    }
    enrich(clip, args.spec, args.code, args.folder, **machine)


if __name__ == "__main__":
    cli.run(main)
