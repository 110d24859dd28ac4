"""The job of a clip: score all its variants, each score that is not known yet."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from blueprint import files, provenance
from blueprint.errors import UserError
from blueprint.kept import KeptValues
from blueprint.metrics.score import ClipFiles, score

log = logging.getLogger(__name__)


def score_variants(
    clip: ClipFiles, variants: Mapping[str, Path], codes: Mapping[str, str], folder: Path, device: str, **made: Any
) -> None:
    """Write ``<folder>/<variant>.json`` for every variant.

    A score is kept as long as variant, render, depth, cameras and the code that computes it are what they were. The
    scores of a finished variant survive a job that is killed later.

    Args:
        clip: the rendered clip.
        variants: the enriched clips by name.
        codes: the scores to compute, and the digest of the code of each.
        folder: where the scores go.
        device: ``cpu`` or ``cuda``.
        made: facts for the record of who made them, and the ``environment`` (see `blueprint.provenance.record`).

    Raises:
        UserError: a file cannot be read, or a variant does not align with its render.
    """
    inputs = {name: files.file_digest(path) for name, path in asdict(clip).items()}
    digests, seen = {}, {}
    for variant, path in variants.items():
        seen[variant] = {**inputs, "variant": files.file_digest(path)}
        check_record(path, seen[variant])
        digests |= {
            _key(variant, name): files.value_digest([name, code, seen[variant]]) for name, code in codes.items()
        }
    kept = KeptValues(folder, digests)
    for variant, path in variants.items():
        missing = [name for name in codes if _key(variant, name) not in kept.values]
        log.info("%s: %d of %d scores are known already", variant, len(codes) - len(missing), len(codes))
        if missing:
            start = time.monotonic()
            found = score(clip, path, missing, device)
            run = provenance.record(start, **made, device=device)
            log.info("%s: %d frames in %.1f s on %s", variant, found["frame_count"], run["seconds"], device)
            kept.add({_key(variant, name): _part(found, name, run) for name in missing})
        parts = {name: kept.values[_key(variant, name)] for name in codes}
        files.write_json(folder / f"{variant}.json", {**_joined(parts), "inputs": seen[variant]})


def check_record(variant: Path, seen: Mapping[str, str]) -> None:
    """Refuse a video that is not the one its record was written for; one from elsewhere has no record.

    Args:
        variant: the enriched clip; its record lies beside it.
        seen: SHA-256 of the ``variant`` and of the ``rgb`` that it is compared with, as they are now.

    Raises:
        UserError: the video has changed, or was made from another render.
    """
    record = variant.with_suffix(".json")
    if not record.is_file():
        return
    made = files.read_json(record)
    if made.get("sha256") != seen["variant"]:
        raise UserError(
            f"{variant}: has SHA-256 {seen['variant'][:16]}, but {record.name} beside it was written for "
            f"{str(made.get('sha256'))[:16]}: the video was changed or replaced. Delete both and run again."
        )
    source = made.get("inputs", {}).get("rgb")
    if source not in (None, seen["rgb"]):
        raise UserError(
            f"{variant}: was made from a render with SHA-256 {source[:16]}, the present one has {seen['rgb'][:16]}. "
            "Delete the variant and its record and run again."
        )


def _key(variant: str, name: str) -> str:
    return f"{variant}/{name}"


PER_SCORE = ("frames", "mean", "details")


def _part(found: dict[str, Any], name: str, run: dict[str, Any]) -> dict[str, Any]:
    """One score of what `score` returns."""
    clip = {key: value for key, value in found.items() if key not in (*PER_SCORE, "names")}
    return {"clip": clip, "run": run, **{key: found[key][name] for key in PER_SCORE if name in found[key]}}


def _joined(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The scores of a variant as its file holds them; ``run`` lists who made which of them."""
    runs: list[dict[str, Any]] = []
    for name, part in parts.items():
        known = next((run for run in runs if {**run, "names": None} == {**part["run"], "names": None}), None)
        if known:
            known["names"].append(name)
        else:
            runs.append({**part["run"], "names": [name]})
    joined = {key: {name: part[key] for name, part in parts.items() if key in part} for key in PER_SCORE}
    return {"names": list(parts), **joined, **next(iter(parts.values()))["clip"], "run": {"made": runs}}
