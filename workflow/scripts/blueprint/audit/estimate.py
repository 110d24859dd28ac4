"""What a run will take, per stage: from the benchmark tables of earlier runs, or else from published figures."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from blueprint.config import all_clips, variants_of
from blueprint.errors import UserError

CHUNK_FRAMES = 93
"""Frames that Cosmos-Transfer2.5 makes at once; a longer clip is made in chunks."""

MEGAPIXEL = 1e6
SECONDS_PER_CHUNK = {
    # Published for 93 frames at 720p on one H100 NVL; the slower of two figures where there are two.
    ("cosmos-transfer2.5", "base"): (502.6, "NVIDIA: 93 frames, 720p, base model, H100 NVL"),
    ("cosmos-transfer2.5", "edge/distilled"): (64.5, "NVIDIA: 93 frames, 720p, edge/distilled, H100 NVL"),
    ("diffusers", "base"): (502.6, "NVIDIA's figure for its own program: 93 frames, 720p, H100 NVL"),
}
SECONDS_PER_MEGAPIXEL = {
    # Measured with this workflow on two cores of an AMD EPYC at 320x240; GPUs are faster.
    "render": (2.1, "this project: demo kitchen, 2 cores"),
    "photometric": (0.22, "this project: demo kitchen, 2 cores"),
    "metrics": (0.9, "this project: default scores, 2 cores"),
}


@dataclass(frozen=True)
class StageEstimate:
    """Jobs of one stage and the seconds they take one after another."""

    stage: str
    jobs: int
    seconds: float
    source: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.jobs} x {self.seconds / max(self.jobs, 1):.0f} s ({self.source})"


def estimate(config: Mapping[str, Any], benchmarks: Path) -> list[StageEstimate]:
    """Seconds of each costly stage of a whole run.

    Args:
        config: the completed configuration.
        benchmarks: the folder of Snakemake's benchmark tables, ``<facility>/<stage>/**.tsv``.

    Raises:
        UserError: a benchmark table cannot be read.
    """
    clips = all_clips(config)
    variants = len(variants_of(config))
    megapixels = sum(clip["frames"] * clip["width"] * clip["height"] for clip in clips) / MEGAPIXEL
    return [
        _stage("render", len(clips), benchmarks, _per_megapixel("render", megapixels)),
        _stage("enrich", len(clips), benchmarks, _enrichment(config["enrich"], clips, variants, megapixels)),
        _stage("metrics", len(clips) * variants, benchmarks, _per_megapixel("metrics", megapixels * variants)),
    ]


def _stage(stage: str, jobs: int, benchmarks: Path, published: tuple[float, str]) -> StageEstimate:
    measured = _measured_seconds(benchmarks, stage)
    if measured:
        return StageEstimate(stage, jobs, jobs * mean(measured), f"mean of {len(measured)} earlier jobs")
    return StageEstimate(stage, jobs, *published)


def _measured_seconds(benchmarks: Path, stage: str) -> list[float]:
    seconds = []
    for table in sorted(benchmarks.glob(f"*/{stage}/**/*.tsv")):
        with table.open(encoding="utf-8") as stream:
            try:
                seconds += [float(row["s"]) for row in csv.DictReader(stream, delimiter="\t")]
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{table}: not a benchmark table of Snakemake ({error!r}). Delete it.") from error
    return seconds


def _per_megapixel(stage: str, megapixels: float) -> tuple[float, str]:
    seconds, source = SECONDS_PER_MEGAPIXEL[stage]
    return megapixels * seconds, source


def _enrichment(
    enrich: Mapping[str, Any], clips: list[Mapping[str, Any]], variants: int, megapixels: float
) -> tuple[float, str]:
    if enrich["engine"] == "photometric":
        return _per_megapixel("photometric", megapixels * variants)
    seconds, source = SECONDS_PER_CHUNK[enrich["engine"], enrich.get("model", "base")]
    chunks = sum(math.ceil(clip["frames"] / CHUNK_FRAMES) for clip in clips)
    return chunks * variants * seconds, source
