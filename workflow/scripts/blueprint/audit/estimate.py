"""What a run will take, per stage: from the benchmark tables of earlier runs, or else from published figures."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from blueprint.engines import engine
from blueprint.engines.base import MEGAPIXEL, PlannedClip
from blueprint.errors import UserError
from blueprint.plan import planned_clips, variants_of

SECONDS_PER_MEGAPIXEL = {
    # Measured with this workflow on two cores of an AMD EPYC at 320x240; GPUs are faster.
    "render": (2.1, "this project: demo kitchen, 2 cores"),
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


def estimate(config: Mapping[str, Any], benchmarks: Path | None) -> list[StageEstimate]:
    """Seconds of each costly stage of a whole run.

    Args:
        config: the completed configuration.
        benchmarks: the folder of Snakemake's benchmark tables, ``<facility>/<stage>/**.tsv``; None: published figures.

    Raises:
        UserError: a benchmark table cannot be read.
    """
    clips = planned_clips(config)
    variants = len(variants_of(config))
    megapixels = sum(clip.frames * clip.width * clip.height for clip in clips) / MEGAPIXEL
    return [
        _stage("render", len(clips), benchmarks, _per_megapixel("render", megapixels)),
        _stage("enrich", len(clips), benchmarks, _enrichment(config["enrich"], clips, variants)),
        _stage("metrics", len(clips), benchmarks, _per_megapixel("metrics", megapixels * variants)),
    ]


def job_limits_s(config: Mapping[str, Any], benchmarks: Path | None) -> dict[str, float]:
    """The longest that a job may take, by the program it runs: ten times the estimate, and at least an hour."""
    stages = estimate(config, benchmarks)
    return {f"{stage.stage}.py": max(3600.0, 10 * stage.seconds / max(stage.jobs, 1)) for stage in stages}


def _stage(stage: str, jobs: int, benchmarks: Path | None, published: tuple[float, str]) -> StageEstimate:
    measured = _measured_seconds(benchmarks, stage) if benchmarks else []
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


def _enrichment(enrich: Mapping[str, Any], clips: list[PlannedClip], variants: int) -> tuple[float, str]:
    estimates = [engine(enrich["engine"]).seconds(enrich, clip) for clip in clips]
    return variants * sum(seconds for seconds, _ in estimates), estimates[0][1]
