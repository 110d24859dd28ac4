"""Verdicts, the tidy table and where scores come from."""

import csv
import io
import json

import pytest
from pyarrow import parquet

from blueprint import files
from blueprint.errors import UserError
from blueprint.metrics.summary import COLUMNS, as_csv, summarize, write_parquet
from blueprint.metrics.verdicts import judge, worst, worst_frame
from blueprint.report.figures import cost, stage_times

SPEC = {
    "facility": "hall",
    "clips": ["orbit", "sweep"],
    "variants": ["dusk", "fog"],
    "names": ["psnr", "gmsd", "edge_agreement"],
    "thresholds": {"edge_agreement": {"warn": 0.8, "fail": 0.5}, "gmsd": {"fail": 0.2}, "ssim": {"warn": 0.9}},
    "configuration_digest": "c" * 64,
    "environment_digests": {"metrics.yaml": "e" * 64},
}


def write_scores(results, clip, variant, **frames):
    folder = results / "hall"
    mean = {name: sum(values) / len(values) if None not in values else None for name, values in frames.items()}
    made = {"seconds": 2.0, "commit": "a" if clip == "orbit" else "b", "names": list(frames)}
    scores = {"names": list(frames), "frames": frames, "mean": mean, "details": {}, "run": {"made": [made]}}
    files.write_json(folder / "metrics" / clip / f"{variant}.json", scores)
    rendered = {"seconds": 3.0, "commit": "a", "rasterizer": "cpu"}
    files.write_json(folder / "clips" / clip / "provenance.json", {"run": rendered})
    revision = "old" if (clip, variant) == ("orbit", "dusk") else "abc"
    made = {"engine": "diffusers", "model": {"revision": revision}, "inputs": {}, "sha256": "0"}
    run = {"seconds": 10.0, "commit": "a", "gpus": ["L40S"], "vram_peak_gb": 30.0 if variant == "dusk" else 31.5}
    files.write_json(folder / "enriched" / clip / f"{variant}.json", {**made, "run": run})


@pytest.fixture
def results(tmp_path):
    good = {"psnr": [30.0, 20.0], "gmsd": [0.1, 0.1], "edge_agreement": [0.9, 1.0]}
    write_scores(tmp_path, "orbit", "dusk", **good)
    write_scores(tmp_path, "orbit", "fog", **{**good, "edge_agreement": [0.9, 0.5]})
    write_scores(tmp_path, "sweep", "dusk", **good)
    write_scores(tmp_path, "sweep", "fog", **{**good, "gmsd": [0.1, 0.5], "psnr": [None, None]})
    files.write_json(tmp_path / "hall" / "preflight.json", {"scene": {"sha256": "5" * 64}})
    for clip in SPEC["clips"]:
        pairs = [{"variants": ["dusk", "fog"], "delta_e": 7.0}]
        files.write_json(
            tmp_path / "hall" / "diversity" / f"{clip}.json", {"pairs": pairs, "mean": 7.0, "closest": ["dusk", "fog"]}
        )
    return tmp_path


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("edge_agreement", 0.8, "pass"),
        ("edge_agreement", 0.79, "warn"),
        ("edge_agreement", 0.5, "warn"),
        ("edge_agreement", 0.49, "fail"),
        ("gmsd", 0.2, "pass"),
        ("gmsd", 0.21, "fail"),
        ("psnr", 1.0, None),
        ("edge_agreement", None, None),
    ],
)
def test_a_value_beyond_its_threshold_changes_the_verdict(name, value, verdict):
    assert judge(name, value, SPEC["thresholds"].get(name, {})) == verdict


def test_the_worst_verdict_wins_and_none_is_none():
    assert worst(["pass", None, "fail", "warn"]) == "fail"
    assert worst([None, None]) is None


def test_the_worst_frame_follows_the_direction_of_the_score():
    assert worst_frame("psnr", [None, 3.0, 2.0, 2.0]) == 2
    assert worst_frame("gmsd", [0.1, 0.3, 0.2]) == 1
    assert worst_frame("psnr", [None]) is None


def test_verdicts_go_up_from_clip_to_variant_to_facility(results):
    summary = summarize(results, SPEC)
    found = {(clip, v): entry["verdict"] for clip, entries in summary["clips"].items() for v, entry in entries.items()}
    assert found == {
        ("orbit", "dusk"): "pass",
        ("orbit", "fog"): "warn",
        ("sweep", "dusk"): "pass",
        ("sweep", "fog"): "fail",
    }
    assert {variant: entry["verdict"] for variant, entry in summary["variants"].items()} == {
        "dusk": "pass",
        "fog": "fail",
    }
    assert summary["verdict"] == "fail"
    assert summary["counts"] == {"pass": 2, "warn": 1, "fail": 1}
    assert summary["clips"]["orbit"]["fog"]["scores"]["edge_agreement"]["worst_frame"] == 1


def test_nothing_is_left_out_in_silence(results):
    skipped = {item["what"] for item in summarize(results, SPEC)["not_judged"]}
    assert skipped == {"threshold of ssim", "psnr of sweep/fog"}


def test_the_summary_says_where_it_comes_from_and_keeps_the_machine_apart(results):
    summary = summarize(results, SPEC)
    assert summary["provenance"]["preflight"]["scene"]["sha256"] == "5" * 64
    new = {"engine": "diffusers", "model": {"revision": "abc"}}
    assert summary["provenance"]["variants"]["fog"] == [{**new, "clips": ["orbit", "sweep"]}]
    assert summary["provenance"]["engines"] == ["diffusers"]
    assert summary["provenance"]["environment_digests"] == SPEC["environment_digests"]
    run = summary["run"]
    assert (run["render_s"], run["enrich_s"], run["metrics_s"]) == (6.0, 40.0, 8.0)
    assert (run["rasterizers"], run["gpus"], run["vram_peak_gb"]) == (["cpu"], ["L40S"], 31.5)
    json.dumps(summary, allow_nan=False)


def test_results_of_two_models_and_two_commits_do_not_look_like_one(results):
    summary = summarize(results, SPEC)
    found = [(entry["model"]["revision"], entry["clips"]) for entry in summary["provenance"]["variants"]["dusk"]]
    assert found == [("old", ["orbit"]), ("abc", ["sweep"])]
    assert summary["run"]["commits"] == ["a", "b"], "as recorded when the scores were made, not when they are summed up"


def test_the_table_is_tidy(results):
    rows = list(csv.DictReader(io.StringIO(as_csv(summarize(results, SPEC)))))
    assert len(rows) == 2 * 2 * 3
    row = next(r for r in rows if (r["clip"], r["variant"], r["metric"]) == ("orbit", "fog", "edge_agreement"))
    assert (row["mean"], row["worst"], row["worst_frame"], row["fail"], row["verdict"]) == (
        "0.7",
        "0.5",
        "1",
        "0.5",
        "warn",
    )
    undefined = next(r for r in rows if (r["clip"], r["variant"], r["metric"]) == ("sweep", "fog", "psnr"))
    assert (undefined["mean"], undefined["verdict"]) == ("", "")


def test_parquet_is_the_csv_with_types(results, tmp_path):
    summary = summarize(results, SPEC)
    write_parquet(tmp_path / "summary.parquet", summary)
    table = parquet.read_table(tmp_path / "summary.parquet")
    assert table.schema.equals(COLUMNS)
    types = {"string": str, "double": float, "int64": int}
    typed = {field.name: types[str(field.type)] for field in table.schema}
    assert {name for name, kind in typed.items() if kind is float} == {"mean", "worst", "warn", "fail"}
    assert typed["worst_frame"] is int
    rows = [
        {name: typed[name](value) if value else None for name, value in row.items()}
        for row in csv.DictReader(io.StringIO(as_csv(summary)))
    ]
    assert table.to_pylist() == rows
    assert len(rows) == 2 * 2 * 3 and None in table["mean"].to_pylist()


def test_a_damaged_score_file_is_one_clear_message(results):
    (results / "hall" / "metrics" / "orbit" / "fog.json").write_text("{")
    with pytest.raises(UserError, match=r"fog\.json: not valid JSON"):
        summarize(results, SPEC)


def test_the_cost_of_all_machines_is_added_up(tmp_path):
    assert cost(tmp_path) is None
    for machine, usd in (("a", 1.25), ("b", 0.5)):
        files.write_json(tmp_path / ".cloud" / "ledger" / f"{machine}.json", {"cost_usd": usd, "seconds": 1800.0})
    assert cost(tmp_path) == {"cost_usd": 1.75, "seconds": 3600.0, "machines": 2}


def test_times_are_added_up_by_stage(tmp_path):
    head = "s\th:m:s\tmax_rss\n"
    for path, line in (
        ("hall/render/orbit.tsv", "10.5\t0:00:10\t100.5\n"),
        ("hall/render/sweep.tsv", "20\t0:00:20\t300\n"),
        ("hall/metrics/orbit/fog.tsv", "1\t0:00:01\tNA\n"),
        ("elsewhere/render/orbit.tsv", "99\t0:01:39\t1\n"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(head + line)
    stages = {stage.pop("stage"): stage for stage in stage_times(tmp_path, ["hall"])}
    assert stages == {
        "render": {"jobs": 2, "seconds": 30.5, "longest_s": 20.0, "peak_rss_gb": pytest.approx(0.3145728)},
        "metrics": {"jobs": 1, "seconds": 1.0, "longest_s": 1.0, "peak_rss_gb": None},
    }
