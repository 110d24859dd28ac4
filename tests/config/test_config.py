"""The configuration: what is refused and how, which defaults appear, how clips are expanded."""

import copy
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from blueprint import config as configuration
from blueprint.cameras import PATHS
from blueprint.engines import ENGINES
from blueprint.engines.base import Engine
from blueprint.errors import UserError
from blueprint.metrics.catalogue import METRICS
from blueprint.plan import clips_of
from blueprint.section import Section, key
from workflow_runs import REPOSITORY, clean_environment, snakemake_command

MINIMAL = {"facilities": [{"name": "kitchen", "scene": "resources/demo/kitchen.ply"}]}


def changed(**changes):
    return {**copy.deepcopy(MINIMAL), **changes}


def facility(**changes):
    return {"name": "kitchen", "scene": "resources/demo/kitchen.ply", **changes}


def test_minimal_configuration_is_completed_with_the_documented_defaults():
    config = configuration.complete(MINIMAL, "my.yaml")
    assert config["render"]["width"] == 640
    assert config["enrich"]["engine"] == "photometric"
    assert config["facilities"][0]["up_axis"] == "z"
    assert config["clips"][0]["count"] == 1, "defaults reach the items of a list that is itself a default"
    assert "render" not in MINIMAL, "the caller's configuration is not changed"


def test_completing_twice_changes_nothing():
    once = configuration.complete(MINIMAL, "my.yaml")
    assert configuration.complete(once, "my.yaml") == once


COMPLETED = json.loads((REPOSITORY / "tests" / "config" / "completed.json").read_text())
"""Configurations as they were completed when defaults came from a hand-written schema (scans lie elsewhere since)."""


def pruned(old, new):
    """What ``old`` says of the keys that both have: an engine or a camera path has only its own now, others came."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {key: pruned(old[key], value) for key, value in new.items() if key in old}
    if isinstance(old, list) and isinstance(new, list):
        return [pruned(before, now) for before, now in zip(old, new, strict=True)]
    return old


@pytest.mark.parametrize("name", COMPLETED["examples"])
def test_the_examples_are_completed_as_they_always_were(name):
    new = configuration.read_config(REPOSITORY / name)
    given = yaml.safe_load((REPOSITORY / name).read_text())
    assert pruned(new, given) == given, "nothing that the file says is lost"
    del new["metrics"]  # other scores are computed by default since
    assert new.pop("output") == (stem if (stem := Path(name).stem) != "config" else ".")
    assert pruned(new, COMPLETED["examples"][name]) == pruned(COMPLETED["examples"][name], new)


def test_a_configuration_of_many_keys_is_completed_as_it_always_was():
    new = configuration.complete(COMPLETED["written"], "my.yaml")
    assert pruned(new, COMPLETED["completed"]) == pruned(COMPLETED["completed"], new)
    assert pruned(new, COMPLETED["written"]) == COMPLETED["written"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(changed(redner={}), ["my.yaml", "'redner'", "did you mean 'render'"], id="unknown key"),
        pytest.param(changed(render={"width": "wide"}), ["render.width", "'wide'", "integer"], id="wrong type"),
        pytest.param(changed(render={"width": 641}), ["render.width", "641", "even"], id="odd width"),
        pytest.param(
            changed(clips=[{"name": "a", "path": "orbit", "height_m": -1}]),
            ["clips[0].height_m", "-1", "minimum of 0", "Camera height"],
            id="negative height",
        ),
        pytest.param(
            changed(clips=[{"name": "a/b", "path": "orbit"}]), ["clips[0].name", "'a/b'", "folder"], id="slash"
        ),
        pytest.param(changed(render={"frames": 0}), ["render.frames", "found 0"], id="zero frames"),
        pytest.param(
            changed(clips=[{"name": "a", "path": "orbit", "frames": 0}]), ["clips[0].frames", "found 0"], id="zero"
        ),
        pytest.param(changed(facilities=[facility(), facility()]), ["facilities", "'kitchen'", "2 times"], id="twins"),
        pytest.param(
            changed(facilities=[facility(), facility(name="Kitchen")]), ["facilities", "'kitchen'"], id="case twins"
        ),
        pytest.param(
            changed(enrich={"variants": [{"name": "dim", "preset": "dim"}] * 2}),
            ["enrich.variants", "'dim'"],
            id="variants",
        ),
        pytest.param(
            changed(clips=[{"name": "a", "path": "orbit", "count": 2}, {"name": "a-1", "path": "orbit"}]),
            ["clips", "'a-1'"],
            id="expanded clip names",
        ),
        pytest.param({}, ["(top level)", "facilities"], id="empty"),
        pytest.param(changed(render={"near_m": 2, "far_m": 2}), ["render", "near_m (2)", "far_m (2)"], id="near"),
        pytest.param(changed(render={"far_m": float("inf")}), ["render.far_m", "found inf", "finite"], id="infinity"),
        pytest.param(changed(render={"near_m": float("nan")}), ["render.near_m", "found nan", "finite"], id="NaN"),
        pytest.param(changed(render={"fps": True}), ["render.fps", "found True", "integer"], id="true as number"),
        pytest.param(changed(render={"fps": None}), ["render.fps", "without a value"], id="no value"),
        pytest.param(changed(render=None), ["render", "without a value"], id="no keys"),
        pytest.param(changed(render=[]), ["render", "found []", "not keys with values"], id="list as section"),
        pytest.param(
            changed(clips=[{"name": "a", "path": "sweep", "radius_m": 1}]),
            ["clips[0]", "'radius_m'", "`sweep` does not take", "`orbit`, `manipulation`"],
            id="radius of a sweep",
        ),
        pytest.param(
            changed(facilities=[facility(clips=[{"name": "a", "path": "orbit", "length_m": 1}])]),
            ["facilities[0].clips[0]", "'length_m'", "`orbit` does not take", "`sweep`"],
            id="length of an orbit",
        ),
        pytest.param(
            changed(clips=[{"name": "a", "path": "spiral"}]), ["clips[0].path", "'spiral'", "orbit, sweep"], id="path"
        ),
        pytest.param(changed(clips=[{"name": "a"}]), ["clips[0]", "'path'", "missing", "orbit, sweep"], id="no path"),
        pytest.param(changed(clips=["orbit"]), ["clips[0]", "'orbit'", "not keys with values"], id="clip as text"),
        pytest.param(changed(clips=[{"name": "a", "path": "file"}]), ["clips[0]", "'file'", "missing"], id="no file"),
        pytest.param(
            changed(enrich={"engine": "magic"}), ["enrich.engine", "'magic'", "photometric, "], id="unknown engine"
        ),
        pytest.param(
            changed(enrich={"guidance": 3}),
            ["enrich", "'guidance'", "`photometric` does not take", "`cosmos-transfer2.5`, `diffusers`"],
            id="key of another engine",
        ),
        pytest.param(
            changed(enrich={"variants": [{"name": "a", "preset": "dim", "prompt": "a dim room"}]}),
            ["enrich.variants[0]", "'prompt'", "`photometric` does not take", "`cosmos-transfer2.5`, `diffusers`"],
            id="variant's key of another engine",
        ),
        pytest.param(
            changed(metrics={"thresholds": {"ssim": {"warn": 0.2, "fail": 0.3}}}),
            ["metrics.thresholds.ssim", "warn (0.2)", "beyond fail (0.3)", "higher is better"],
            id="warn beyond fail",
        ),
        pytest.param(
            changed(metrics={"thresholds": {"lpips": {"warn": 0.3, "fail": 0.2}}}),
            ["metrics.thresholds.lpips", "warn (0.3)", "beyond fail (0.2)", "lower is better"],
            id="warn beyond fail, less is better",
        ),
        pytest.param(changed(metrics={"names": ["psnr", "psnr"]}), ["metrics.names", "more than once"], id="score"),
        pytest.param(
            changed(enrich={"variants": [{"name": "a", "preset": "dim", "preset_set": "all"}]}),
            ["enrich.variants[0]", "preset (dim)", "preset_set (all)"],
            id="preset and set",
        ),
        pytest.param(changed(facilities=[facility(name="kitchen\n")]), ["facilities[0].name", "folder"], id="newline"),
        pytest.param(
            changed(facilities=[facility(name="Report.html")]), ["facilities[0].name", "something else"], id="file"
        ),
        pytest.param(changed(facilities=[facility(name="a" * 64)]), ["facilities[0].name", "repetitions"], id="aaa"),
        pytest.param({**MINIMAL, 1: 2}, ["(top level)", "unknown key 1"], id="number as key"),
    ],
)
def test_bad_configuration_names_file_key_and_value(config, expected):
    with pytest.raises(UserError) as refusal:
        configuration.complete(config, "my.yaml")
    for part in ["my.yaml", *expected]:
        assert part in str(refusal.value)


def test_every_violation_is_told_at_once():
    with pytest.raises(UserError) as refusal:
        configuration.complete(changed(render={"width": "wide", "fps": 0}), "my.yaml")
    assert "render.width" in str(refusal.value)
    assert "render.fps" in str(refusal.value)


def test_a_problem_of_a_file_is_told_with_its_line(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("facilities:\n  - name: a\n    scene: a.ply\nrender:\n\n  width: wide\n  colour: red\nclips: []\n")
    with pytest.raises(UserError) as refusal:
        configuration.read_config(path)
    told = [line.removeprefix(str(tmp_path)).split(": ")[:2] for line in str(refusal.value).splitlines()]
    assert sorted(told) == [["/my.yaml:6", "render.width"], ["/my.yaml:7", "render"], ["/my.yaml:8", "clips"]]


@pytest.mark.parametrize("named", [True, False])
def test_snakemake_tells_it_with_the_line_before_any_job(tmp_path, named):
    path = tmp_path / "config" / "config.yaml"
    path.parent.mkdir()
    slip = "render: {fps: 6}" if named else "clips: [{]"
    path.write_text(f"facilities: [{{name: a, scene: resources/demo/kitchen.ply}}]\nrender: {{fps: 5}}\n{slip}\n")
    command = [
        part for part in snakemake_command(tmp_path, path, "-n") if named or part not in ("--configfile", str(path))
    ]
    done = subprocess.run(command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True)
    expected = f"{path}:3: the key 'render' stands twice" if named else "config/config.yaml:3: not valid YAML"
    assert done.returncode and expected in done.stdout + done.stderr


def test_one_scene_has_one_spelling():
    config = configuration.complete(changed(facilities=[facility(scene="./resources//demo/kitchen.ply")]), "my.yaml")
    assert config["facilities"][0]["scene"] == "resources/demo/kitchen.ply"


def test_clips_are_expanded_and_take_the_common_settings():
    config = configuration.complete(
        changed(
            render={"frames": 10},
            clips=[{"name": "look", "path": "orbit", "count": 2}, {"name": "pass", "path": "sweep", "frames": 5}],
        ),
        "my.yaml",
    )
    clips = clips_of(config, config["facilities"][0])
    assert list(clips) == ["look-0", "look-1", "pass"]
    assert [clip["index"] for clip in clips.values()] == [0, 1, 0]
    assert [clip["frames"] for clip in clips.values()] == [10, 10, 5]
    assert "name" not in clips["pass"], "a clip's spec does not hold its name: renaming is not a change of content"


def test_a_facility_brings_its_own_clips():
    config = configuration.complete(
        changed(facilities=[facility(clips=[{"name": "own", "path": "sweep"}]), facility(name="other")]), "my.yaml"
    )
    assert list(clips_of(config, config["facilities"][0])) == ["own"]
    assert list(clips_of(config, config["facilities"][1])) == ["orbit"]


def test_missing_scene_is_refused_with_its_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = configuration.complete(changed(facilities=[facility(), facility(name="b", scene="scan.spz")]), "my.yaml")
    with pytest.raises(UserError, match=r"my\.yaml: facilities\[1\]\.scene: found 'scan\.spz'"):
        configuration.refuse_unusable_files(config, "my.yaml")
    (tmp_path / "scan.spz").touch()
    configuration.refuse_unusable_files(config, "my.yaml")


ODD = [None, True, 0, -1, 1e400, float("nan"), 10**30, "", "\n", "\0", "é" * 300, [], [[]], {}, {"a": 1}, {1: 2}, b"x"]


def places(value, location=()):
    """Every key and list item of a configuration."""
    for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*location, step)
        if isinstance(inner, dict | list):
            yield from places(inner, (*location, step))


@pytest.mark.parametrize("location", list(places(COMPLETED["written"])), ids=str)
def test_no_value_goes_through_in_a_wrong_type_or_breaks_the_program(location):
    for odd in ODD:
        config = copy.deepcopy(COMPLETED["written"])
        part = config
        for step in location[:-1]:
            part = part[step]
        before, part[location[-1]] = part[location[-1]], odd
        try:
            configuration.complete(config, "my.yaml")
            assert type(odd) is type(before) or {type(odd), type(before)} == {int, float}, (odd, before)
            assert odd != "\0"
        except UserError as refusal:
            assert all(line.startswith("my.yaml: ") for line in str(refusal).splitlines())


def test_a_camera_path_an_engine_and_a_score_are_known_once_they_are_registered(monkeypatch):
    class SpiralKeys(Section):
        turns: float = key("Turns of the spiral.", 2, gt=0)

    class Paint(Engine):
        name, summary, module, keys = "paint", "A toy.", "paint", SpiralKeys

    score = replace(METRICS["psnr"], name="beauty", thresholds={"warn": 0.5, "fail": 0.4})
    path = replace(PATHS["orbit"], name="spiral", keys=SpiralKeys)
    for registered, entry in ((PATHS, path), (ENGINES, Paint()), (METRICS, score)):
        monkeypatch.setitem(registered, entry.name, entry)
    config = configuration.complete(
        changed(
            clips=[{"name": "a", "path": "spiral"}],
            enrich={"engine": "paint", "turns": 3},
            metrics={"names": ["beauty"]},
        ),
        "my.yaml",
    )
    assert (config["clips"][0]["turns"], config["enrich"]["turns"]) == (2, 3)
    assert config["metrics"]["thresholds"]["beauty"] == score.thresholds
    with pytest.raises(UserError, match=r"'turns', which `sweep` does not take \(it goes with `spiral`\)"):
        configuration.complete(changed(clips=[{"name": "a", "path": "sweep", "turns": 1}]), "my.yaml")
