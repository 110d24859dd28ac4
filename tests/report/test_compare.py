"""Two runs side by side, and a run that fails on its verdict: through the real Snakemake."""

import copy
import csv

import pytest

import browser
import synthetic_results
from blueprint import files
from blueprint.report.comparison import compare, write_comparison
from small_runs import small_config, write_splat
from workflow_runs import planned_jobs, snakemake, write_config


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    results = synthetic_results.make_results(tmp_path_factory.mktemp("results"), clips=("sweep",), count=2)
    return files.read_json(results / "hall" / "summary.json")


@pytest.fixture
def changed(summary):
    other = copy.deepcopy(summary)
    scores = other["clips"]["sweep"]["dusk"]["scores"]
    scores["psnr"]["mean"] += 1.5  # the baseline was better
    scores["gmsd"]["mean"] += 0.1  # less is better: it was worse
    scores["ssim"]["mean"] += 0.00002
    scores["ms_ssim"]["mean"] = None
    scores["edge_agreement"]["verdict"] = "fail"
    del other["clips"]["sweep"]["moved"]
    other["clips"]["pan"] = {"dusk": copy.deepcopy(summary["clips"]["sweep"]["dusk"])}
    return other


def test_every_score_of_either_run_has_one_row_and_its_direction_counts(summary, changed):
    rows = compare([summary], [changed])
    names = len(synthetic_results.NAMES)
    assert len(rows) == 3 * names + names
    found = {(row["clip"], row["variant"], row["metric"]): row for row in rows}
    dusk = {name: found["sweep", "dusk", name] for name in synthetic_results.NAMES}
    assert {name: row["change"] for name, row in dusk.items()} == {
        "psnr": "worse",
        "ssim": "same",
        "ms_ssim": "undefined",
        "gmsd": "better",
        "edge_agreement": "same",
        "depth_edge_agreement": "same",
        "temporal_stability": "same",
    }
    assert dusk["psnr"]["difference"] == pytest.approx(-1.5)
    assert (dusk["edge_agreement"]["verdict_then"], dusk["edge_agreement"]["verdict_now"]) == ("fail", "pass")
    assert found["sweep", "moved", "psnr"]["change"] == "only now"
    assert found["pan", "dusk", "psnr"]["change"] == "only then"
    assert rows[0]["change"] == "worse"


def hall_config(folder, **metrics):
    """A configuration whose facility is the synthetic one; its scene is never read."""
    write_splat(folder / "hall.ply")
    config = small_config(metrics={"names": synthetic_results.NAMES, **metrics})
    config["facilities"] = [{"name": "hall", "scene": "hall.ply"}]
    return write_config(folder, config)


def test_snakemake_compares_with_a_baseline(tmp_path, summary, changed):
    files.write_json(tmp_path / "results" / "hall" / "summary.json", summary)
    files.write_json(tmp_path / "before" / "hall" / "summary.json", changed)
    config = hall_config(tmp_path)
    snakemake(tmp_path, config, "compare", "--allowed-rules", "compare", "--config", "baseline=before")
    with (tmp_path / "results" / "compare.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["change"] for row in rows} == {"worse", "better", "same", "undefined", "only now", "only then"}
    page = (tmp_path / "results" / "compare.html").read_text()
    assert "This run against the results in before" in page
    assert page.count("<tr data-verdict") == len(rows)


@pytest.mark.skipif(not (browser.CHROMIUM and browser.DRIVER), reason="Chromium and its driver are not on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_without_complaint_and_sorts(tmp_path, summary, changed, width):
    page = tmp_path / "compare.html"
    spec = {"title": "Hall", "baseline": "before"}
    write_comparison(page, tmp_path / "compare.csv", [summary], [changed], spec)
    with browser.browser(width) as driver:
        browser.requests(driver)
        browser.open_page(driver, page)
        driver.execute_script("document.querySelectorAll('#scores th button')[5].click()")
        keys = driver.execute_script(
            "return [...document.querySelectorAll('#scores tbody tr')].map(row => row.cells[5].dataset.key)"
        )
        known = [float(key) for key in keys if key]
        assert known == sorted(known) and known[0] == pytest.approx(-1.5)
        assert keys[len(known) :] == [""] * (len(keys) - len(known)), "what is unknown comes last"
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.console(driver) == []
        assert browser.requests(driver) == [page.as_uri()]


@pytest.mark.parametrize(
    ("baseline", "message"),
    [([], "say which results to compare with"), (["--config", "baseline=nowhere"], "nowhere holds no")],
)
def test_a_comparison_with_nothing_is_one_clear_message(tmp_path, summary, baseline, message):
    files.write_json(tmp_path / "results" / "hall" / "summary.json", summary)
    config = hall_config(tmp_path)
    finished = snakemake(tmp_path, config, "compare", "--allowed-rules", "compare", *baseline, check=False)
    assert finished.returncode != 0
    assert message in finished.stdout


def test_a_bad_verdict_fails_the_run_and_leaves_the_report(tmp_path, summary):
    assert summary["verdict"] == "fail"
    files.write_json(tmp_path / "results" / "hall" / "summary.json", summary)
    page = tmp_path / "results" / "report.html"
    page.write_text("<html>")
    asked = hall_config(tmp_path, fail_run=True)
    gate = ["results/passed.txt", "--allowed-rules", "passed"]
    finished = snakemake(tmp_path, asked, *gate, check=False)
    assert finished.returncode != 0
    assert "the verdict of hall is `fail`" in finished.stdout
    assert page.exists()
    files.write_json(tmp_path / "results" / "hall" / "summary.json", {**summary, "verdict": "warn"})
    snakemake(tmp_path, asked, *gate)
    assert (tmp_path / "results" / "passed.txt").read_text() == "hall: warn\n"


@pytest.mark.parametrize("asked", [True, False])
def test_the_verdict_is_part_of_a_run_only_when_asked(tmp_path, asked):
    planned = planned_jobs(snakemake(tmp_path, hall_config(tmp_path, fail_run=asked), "--dry-run"))
    assert planned.get("passed", 0) == asked
