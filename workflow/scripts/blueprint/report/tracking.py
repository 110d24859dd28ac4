"""A run's scores, verdicts and pictures on an MLflow server, where teams compare runs over weeks.

Through MLflow's own client, which takes its credentials from its own variables (`MLFLOW_TRACKING_TOKEN` and others, see
https://mlflow.org/docs/latest/self-hosting/security/basic-http-auth). Nothing here is imported unless `report.track` is
set.
"""

from __future__ import annotations

import base64
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # its own default keeps a job waiting for minutes
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from blueprint.errors import UserError
from blueprint.fidelity.keys import SCAN_PICTURES
from blueprint.files import read_json

log = logging.getLogger(__name__)

BATCH = 1000
"""Metrics that the server takes at once."""


def track(results: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """Make one MLflow run for each facility.

    Its metrics are ``<score>/<variant>``, the mean over a clip, with the clip's number as the step; its parameters say
    what was judged and what made it; its tags are the verdicts with their sentences; its artifacts report, table,
    pictures of the scan and, below ``worst_frames``, those of the variants.

    Args:
        results: the folder ``results``.
        spec: ``uri`` and ``experiment``; ``facilities``, the clip names of each.

    Returns:
        ``uri``, ``experiment`` and the id of each facility's run (``runs``).

    Raises:
        UserError: the server does not answer or refuses, or a result cannot be read.
    """
    try:
        client = MlflowClient(tracking_uri=spec["uri"])
        found = client.get_experiment_by_name(spec["experiment"])
        experiment = found.experiment_id if found else client.create_experiment(spec["experiment"])
        runs = {facility: _track(client, experiment, results, facility, spec) for facility in spec["facilities"]}
    except MlflowException as error:
        raise UserError(
            f"report.track.uri: {spec['uri']}: {str(error).splitlines()[0]} Correct it, or take report.track out."
        ) from error
    return {"uri": spec["uri"], "experiment": spec["experiment"], "runs": runs}


def _track(client: MlflowClient, experiment: str, results: Path, facility: str, spec: dict[str, Any]) -> str:
    summary, folder = read_json(results / facility / "summary.json"), results / facility
    scan, now_ms = read_json(folder / "fidelity.json"), int(1000 * time.time())
    run = client.create_run(experiment, run_name=facility, tags=_tags(summary, scan)).info.run_id
    metrics = [
        Metric(f"{name}/{variant}", score["mean"], now_ms, step)
        for step, clip in enumerate(spec["facilities"][facility])
        for variant, entry in summary["clips"][clip].items()
        for name, score in entry["scores"].items()
        if score["mean"] is not None
    ]
    metrics += [
        Metric(f"scan/{figure['name']}", figure["value"], now_ms, 0)
        for figure in scan["scan"]["figures"]
        if figure["value"] is not None
    ]
    for first in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics[first : first + BATCH])
    client.log_batch(run, params=_params(summary))
    for path in (results / "report.html", folder / "summary.csv"):
        client.log_artifact(run, str(path))
    for name in SCAN_PICTURES:
        client.log_artifact(run, str(folder / "fidelity" / f"{name}.png"), "scan")
    with tempfile.TemporaryDirectory() as pictures:
        for clip in spec["facilities"][facility]:
            for entry in read_json(folder / "previews" / f"{clip}.json")["worst"]:
                target = Path(pictures) / f"{clip}-{entry['variant']}-{entry['frame']:04d}.webp"
                target.write_bytes(base64.b64decode(entry["picture"]))
        client.log_artifacts(run, pictures, "worst_frames")
    client.set_terminated(run)
    log.info("%s: %d scores, run %s", facility, len(metrics), run)
    return run


def _tags(summary: dict[str, Any], scan: dict[str, Any]) -> dict[str, str]:
    """Verdicts and their sentences: of the scan, of the facility, and of each variant that does not pass."""
    tags = {"verdict": str(summary["verdict"]), "scan": f"{scan['scan']['verdict']}: {scan['scan']['sentence']}"}
    for clip, variants in summary["clips"].items():
        tags |= {f"{clip}/{name}": entry["sentence"] for name, entry in variants.items() if entry["cause"]}
    return tags


def _params(summary: dict[str, Any]) -> list[Param]:
    """What was judged, and what made it."""
    origin, run = summary["provenance"], summary["run"]
    facts = {
        "scene_sha256": origin["preflight"]["scene"]["sha256"],
        "configuration_sha256": origin["configuration_digest"],
        "commit": ", ".join(run["commits"]),
        "engine": ", ".join(origin["engines"]),
        "rasterizer": ", ".join(run["rasterizers"]),
        "gpu": ", ".join(run["gpus"]) or "none",
    }
    return [Param(name, value) for name, value in facts.items()]
