"""The graph of jobs: exactly the expected ones, on a laptop with neither credentials nor conda nor GPU."""

import copy
import re
import subprocess

import pytest

from small_runs import small_config, write_splat
from workflow_runs import REPOSITORY, clean_environment, planned_jobs, snakemake, snakemake_command, write_config


def two_facilities():
    config = small_config()
    config["facilities"].append(
        {
            "name": "aisle",
            "scene": "resources/demo/warehouse.ply",
            "clips": [{"name": "along", "path": "sweep", "count": 3}],
        }
    )
    return config


def test_two_facilities_plan_exactly_the_expected_jobs(tmp_path):
    dry_run = snakemake(tmp_path, write_config(tmp_path, two_facilities()), "--dry-run", "--verbose")
    clips = [("kitchen", "orbit"), ("kitchen", "sweep"), *(("aisle", f"along-{index}") for index in range(3))]
    variants = ["evening", "neon", "fog"]
    assert planned_jobs(dry_run) == {
        "demo_scene": 2,
        "environment": 2,
        "preflight_scene": 2,
        "cameras": len(clips),
        "render": len(clips),
        "fidelity": 2,
        "enrich": len(clips),
        "metrics": len(clips),
        "diversity": len(clips),
        "preview": len(clips),
        "summary": 2,
        "report": 1,
        "all": 1,
    }
    outputs = set(re.findall(r"results/\S+?\.(?:json|mp4|npz|csv|html)\b", dry_run.stdout))
    for facility, clip in clips:
        assert f"results/{facility}/clips/{clip}/depth.npz" in outputs
        for variant in variants:
            assert f"results/{facility}/enriched/{clip}/{variant}.mp4" in outputs
            assert f"results/{facility}/metrics/{clip}/{variant}.json" in outputs
    assert not any("kitchen" in path and "along" in path for path in outputs)


@pytest.mark.parametrize("command", [["--dry-run"], ["--dag"], ["--rulegraph"], ["--lint"], ["--summary"]], ids=str)
def test_inspection_needs_nothing(tmp_path, command):
    """No credentials, no HOME with settings, no conda on PATH."""
    environment = {**clean_environment(), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    finished = subprocess.run(
        [*snakemake_command(tmp_path, REPOSITORY / "config" / "config.yaml"), *command],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    if command[0] in ("--dag", "--rulegraph"):
        assert finished.stdout.startswith("digraph"), "Graphviz text and nothing else on standard output"


@pytest.mark.parametrize(
    "example", sorted((REPOSITORY / "config" / "examples").glob("*.yaml")), ids=lambda path: path.stem
)
def test_examples_can_be_planned(tmp_path, example):
    for scene in re.findall(r"scene: (\S+)", example.read_text()):
        (tmp_path / scene).parent.mkdir(parents=True, exist_ok=True)
        if not scene.startswith("resources/demo/"):
            write_splat(tmp_path / scene)
    assert planned_jobs(snakemake(tmp_path, example, "--dry-run"))["report"] == 1


BAD = {
    "unknown key": (lambda c: c.update(redner={}), ["redner", "did you mean 'render'"]),
    "wrong type": (lambda c: c["render"].update(width="wide"), ["render.width", "'wide'"]),
    "negative height": (lambda c: c["clips"][0].update(height_m=-1), ["clips[0].height_m", "-1"]),
    "missing scene": (lambda c: c["facilities"][0].update(scene="nowhere.ply"), ["facilities[0].scene", "nowhere.ply"]),
    "two facilities": (lambda c: c["facilities"].append(c["facilities"][0]), ["facilities", "'kitchen'"]),
    "two variants": (lambda c: c["enrich"]["variants"].append(c["enrich"]["variants"][0]), ["variants", "'evening'"]),
    "slash": (lambda c: c["clips"][0].update(name="a/b"), ["clips[0].name", "'a/b'"]),
    "zero frames": (lambda c: c["render"].update(frames=0), ["render.frames", "0"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_configuration_stops_before_any_job(tmp_path, case):
    change, expected = BAD[case]
    config = copy.deepcopy(small_config())
    change(config)
    refused = snakemake(tmp_path, write_config(tmp_path, config, "mine.yaml"), check=False)
    assert refused.returncode != 0
    for part in ["mine.yaml", *expected]:
        assert part in refused.stdout
    assert "Traceback" not in refused.stdout
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "logs").exists()


def test_a_point_cloud_is_refused_before_any_job(tmp_path):
    (tmp_path / "cloud.ply").write_bytes(
        b"ply\nformat ascii 1.0\nelement vertex 1\n"
        b"property float x\nproperty float y\nproperty float z\nend_header\n0 0 0\n"
    )
    config = small_config(facilities=[{"name": "yard", "scene": "cloud.ply"}])
    refused = snakemake(tmp_path, write_config(tmp_path, config, "mine.yaml"), check=False)
    assert refused.returncode != 0
    for part in ("mine.yaml", "facilities[0].scene", "cloud.ply"):
        assert part in refused.stdout
    assert not (tmp_path / "results").exists()


def test_a_users_file_replaces_the_embedded_demo(tmp_path):
    """No clip, variant or facility of the demo leaks into it."""
    config = {"facilities": [{"name": "aisle", "scene": "resources/demo/warehouse.ply"}]}
    dry_run = snakemake(tmp_path, write_config(tmp_path, config), "--dry-run")
    assert "kitchen" not in dry_run.stdout
    assert planned_jobs(dry_run)["render"] == 1
