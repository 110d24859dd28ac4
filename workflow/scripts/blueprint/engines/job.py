"""The job of a clip: make every variant that is not finished yet, and record what each was made from, and by what."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from blueprint.engines.alignment import edges, refuse_drift
from blueprint.engines.task import Clip, Options, Variant
from blueprint.errors import UserError
from blueprint.files import file_digest, value_digest
from blueprint.kept import Kept
from blueprint.provenance import record
from blueprint.video import probe, read_video

log = logging.getLogger(__name__)


def enrich(
    clip: Clip,
    spec: dict[str, Any],
    code: str,
    folder: Path,
    scratch: Path,
    environment: Path | None = None,
    **machine: Any,
) -> list[str]:
    """Make the variants of a clip that are not finished yet.

    Args:
        clip: the rendered clip.
        spec: from `blueprint.engines.variants.clip_spec`.
        code: digest of the sources that decide the pixels.
        folder: where ``<variant>.mp4`` and ``<variant>.json`` go.
        scratch: folder for what is being made; emptied first, removed at the end.
        environment: marker of the environment that this runs in.
        machine: what `Options` holds besides settings and scratch folder.

    Returns:
        The names of the variants that were made now.

    Raises:
        UserError: the engine failed, or what it made does not align with the clip frame by frame.
    """
    started = time.monotonic()
    variants = [Variant(**entry) for entry in spec["variants"]]
    options = Options(settings=spec["settings"], scratch=scratch.resolve(), **machine)
    engine = import_module(spec["module"])  # only the chosen one: each lives in its own environment
    common = {
        "engine": spec["engine"],
        "identity": engine.identity(options),
        "settings": spec["settings"],
        "inputs": _input_digests(clip, spec["files"]),
        "code": code,
    }
    needs = {variant.name: {**common, "variant": asdict(variant)} for variant in variants}
    kept = Kept(folder, {name: value_digest(need) for name, need in needs.items()})
    pending = [variant for variant in variants if not kept.restore(variant.name)]
    log.info("%d of %d variants are finished already", len(variants) - len(pending), len(variants))
    render_edges = cache(lambda: edges(read_video(clip.rgb)))

    def finish(variant: Variant, video: Path, provenance: dict[str, Any]) -> None:
        made = probe(video)
        if made != clip.info:
            raise UserError(f"{variant.name}: the engine made {made}, but the rendered clip is {clip.info}.")
        refuse_drift(variant.name, video, render_edges())
        run = record(started, environment) | provenance.pop("run")
        kept.add(variant.name, video, {**needs[variant.name], **provenance, "clip": asdict(made), "run": run})
        log.info("%s: finished", variant.name)

    if pending:
        with _emptied(scratch):
            engine.make_variants(clip, pending, options, finish)
    missing = [variant.name for variant in variants if not (folder / f"{variant.name}.json").exists()]
    if missing:
        raise UserError(f"{folder}: {spec['engine']} made no output for {', '.join(missing)}.")
    kept.prune()
    return [variant.name for variant in pending]


def _input_digests(clip: Clip, files: Sequence[str]) -> dict[str, str]:
    digests = {name: file_digest(getattr(clip, name)) for name in ("rgb", "depth", "depth_m", "cameras")}
    return digests | {path: file_digest(Path(path)) for path in files}


@contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """An empty folder, whatever a killed job left there; it is removed at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(folder)
