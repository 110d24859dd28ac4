"""The plan in plain Python: what each job is told, and what makes it say something else."""

import copy
import subprocess
import sys

import pytest

from blueprint.config import complete
from blueprint.errors import UserError
from blueprint.plan import make_plan
from small_runs import small_config
from workflow_runs import REPOSITORY, SCRIPTS

SOURCE = "mine.yaml"


def plan(**changes):
    return make_plan(complete(small_config(**changes), SOURCE), SOURCE)


def two_facilities():
    other = {"name": "aisle", "scene": "resources/demo/warehouse.ply", "clips": [{"name": "along", "path": "sweep"}]}
    other["clips"][0]["count"] = 2
    return small_config(facilities=[*small_config()["facilities"], other])


def specs(config):
    """All that the jobs of a configuration are told, by stage and by what the job is of."""
    made = make_plan(complete(config, SOURCE), SOURCE)
    told = {("render",): made.render_spec(), ("report",): made.report_spec(), ("compare",): made.comparison_spec()}
    for facility, clips in made.clips.items():
        told["preflight", facility] = made.scene_spec(facility)
        told["summary", facility] = made.summary_spec(facility, REPOSITORY / "envs")
        for clip in clips:
            told["cameras", facility, clip] = made.camera_spec(facility, clip)
            told["enrich", facility, clip] = made.enrich_specs[facility, clip]
    return told


def test_facilities_clips_and_variants():
    made = make_plan(complete(two_facilities(), SOURCE), SOURCE)
    assert {name: list(clips) for name, clips in made.clips.items()} == {
        "kitchen": ["orbit", "sweep"],
        "aisle": ["along-0", "along-1"],
    }
    assert [clip["index"] for clip in made.clips["aisle"].values()] == [0, 1]
    assert list(made.variants) == ["evening", "neon", "fog"]
    assert made.environments == ["render", "metrics"]
    assert made.camera_spec("aisle", "along-1")["floor_height_m"] == made.facilities["aisle"]["floor_height_m"]


CHANGES = {
    "frames of the clips": (lambda c: c["render"].update(frames=5), {"cameras", "summary"}),
    "what is near": (lambda c: c["render"].update(near_m=0.1), {"render", "summary"}),
    "a look": (lambda c: c["enrich"]["variants"][1].update(preset="haze"), {"enrich", "summary"}),
    "the seed": (lambda c: c["enrich"].update(seed=7), {"enrich", "summary"}),
    "a threshold": (lambda c: c["metrics"].update(thresholds={"ssim": {"fail": 0.1}}), {"summary"}),
    "the scores": (lambda c: c["metrics"].update(names=["psnr"]), {"summary", "report"}),
    "the title": (lambda c: c.update(report={"title": "Ours"}), {"report", "compare"}),
    "the size of the report": (lambda c: c.update(report={"preview_width_px": 64}), set()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_reaches_the_jobs_that_it_concerns(change):
    apply, stages = CHANGES[change]
    before, config = specs(two_facilities()), two_facilities()
    apply(config)
    after = specs(config)
    assert {key[0] for key in before if before[key] != after[key]} == stages


def test_a_change_of_one_facility_leaves_the_others():
    config = two_facilities()
    config["facilities"][1]["floor_height_m"] = -0.1
    before, after = specs(two_facilities()), specs(config)
    changed = {key for key in before if before[key] != after[key]}
    assert {key[1] for key in changed} == {"aisle"}
    assert {key[0] for key in changed} == {"preflight", "cameras", "summary"}


def test_facts_of_the_machine_are_in_no_specification():
    here = two_facilities()
    there = copy.deepcopy(here)
    there["render"]["backend"] = "gsplat"
    there["metrics"]["torch_home"] = "/elsewhere/torch"
    assert specs(here) == specs(there)


def test_planning_needs_neither_snakemake_nor_torch():
    """It is done on a laptop, in the audit and in every dry run."""
    code = "import sys, blueprint.plan; print([n for n in ('snakemake', 'torch', 'av', 'cv2') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


BAD = {
    "no such scene": (
        {"facilities": [{"name": "yard", "scene": "nowhere.ply"}]},
        ["facilities[0].scene", "'nowhere.ply'"],
    ),
    "a look without a preset": (
        {"enrich": {"engine": "photometric", "variants": [{"name": "evening"}]}},
        ["evening", "preset"],
    ),
    "frames too small for a score": (
        {"render": {"width": 64, "height": 64, "frames": 4}, "metrics": {"names": ["ms_ssim"]}},
        ["metrics.names", "ms_ssim", "64 x 64"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_made_is_said_before_any_job(case):
    changes, expected = BAD[case]
    with pytest.raises(UserError) as refused:
        plan(**changes)
    for part in [SOURCE, *expected]:
        assert part in str(refused.value)


def test_a_job_without_a_shared_folder_is_planned_as_here():
    """It has none of the files that the configuration names but its own inputs."""
    config = complete(small_config(facilities=[{"name": "hall", "scene": "nowhere.ply"}]), "c.yaml")
    with pytest.raises(UserError, match=r"nowhere\.ply"):
        make_plan(config, "c.yaml")
    assert list(make_plan(config, "c.yaml", files_are_here=False).clips["hall"]) == ["orbit", "sweep"]


def test_a_run_to_compare_with(tmp_path):
    with pytest.raises(UserError, match="say which results to compare with"):
        plan().baseline_summaries()
    with pytest.raises(UserError, match=r"holds no <facility>/summary\.json"):
        plan(baseline=str(tmp_path)).baseline_summaries()
    (tmp_path / "kitchen").mkdir()
    (tmp_path / "kitchen" / "summary.json").write_text("{}")
    assert plan(baseline=str(tmp_path)).baseline_summaries() == [str(tmp_path / "kitchen" / "summary.json")]
