"""What a run writes is what the schemas of the result files say, and nothing besides."""

import copy
import shutil

import pytest

from blueprint.files import read_json, write_json
from blueprint.metrics.catalogue import METRICS
from blueprint.metrics.job import score_variants
from blueprint.metrics.score import ClipFiles
from blueprint.metrics.summary import summarize
from blueprint.result_files import FILES
from result_schemas import file_errors
from small_runs import small_config

WRITTEN = {
    "cameras": "clips/*/cameras.json",
    "scores": "metrics/*/*.json",
    "fidelity": "fidelity.json",
    "summary": "summary.json",
}
NAMES = [name for name, metric in METRICS.items() if not metric.weights]


def test_every_schema_is_tried():
    assert list(WRITTEN) == list(FILES)


@pytest.mark.parametrize("kind", WRITTEN)
def test_the_files_of_a_run_are_as_their_schema_says(finished_run, kind):
    paths = sorted((finished_run / "results" / "kitchen").glob(WRITTEN[kind]))
    assert paths
    for path in paths:
        assert file_errors(kind, read_json(path)) == [], path


def objects(value):
    """Every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(child)


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_key_that_comes_or_goes_is_found(finished_run, kind):
    value = read_json(next((finished_run / "results" / "kitchen").glob(WRITTEN[kind])))
    assert "'new' was unexpected" in file_errors(kind, {**value, "new": 1})[0]
    for key in value:
        assert file_errors(kind, {name: entry for name, entry in value.items() if name != key}), key
    deep = copy.deepcopy(value)
    for each in objects(deep):
        each["new"] = "something"
    assert sum("'new' was unexpected" in error for error in file_errors(kind, deep)) > 1


def test_scores_that_tell_more_and_a_summary_with_causes_are_so_too(finished_run, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(finished_run / "results", results)
    facility, variants = results / "kitchen", [entry["name"] for entry in small_config()["enrich"]["variants"]]
    for clip in ("orbit", "sweep"):
        rendered = ClipFiles(*(facility / "clips" / clip / name for name in ("rgb.mp4", "depth.npz", "cameras.json")))
        made = {variant: facility / "enriched" / clip / f"{variant}.mp4" for variant in variants}
        codes = dict.fromkeys(NAMES, "0")
        score_variants(rendered, made, codes, facility / "metrics" / clip, "cpu", environment=None, gpus=[])
    spec = {
        "facility": "kitchen",
        "clips": ["orbit", "sweep"],
        "variants": variants,
        "names": NAMES,
        "thresholds": {name: {"warn": 1e3, "fail": 2e3} for name in NAMES if METRICS[name].better == "higher"},
        "configuration_digest": "c" * 64,
        "environment_digests": {},
    }
    spec["thresholds"]["local_change"] = {"warn": -1.0}
    told = [read_json(path) for path in sorted(facility.glob(WRITTEN["scores"]))]
    assert all("says" in scores["details"]["local_change"] for scores in told)
    assert [file_errors("scores", scores) for scores in told] == [[]] * len(told)
    summary = summarize(results, spec)
    assert summary["clips"]["orbit"][variants[0]]["cause"]
    write_json(tmp_path / "summary.json", summary)
    assert file_errors("summary", read_json(tmp_path / "summary.json")) == []
