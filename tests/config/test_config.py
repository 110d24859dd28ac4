"""The configuration: what is refused and how, which defaults appear, how clips are expanded."""

import copy

import pytest

from blueprint import config as configuration
from blueprint.errors import UserError

MINIMAL = {"facilities": [{"name": "kitchen", "scene": "resources/demo/kitchen.ply"}]}


def changed(**changes):
    return {**copy.deepcopy(MINIMAL), **changes}


def facility(**changes):
    return {"name": "kitchen", "scene": "resources/demo/kitchen.ply", **changes}


def test_minimal_configuration_is_completed_with_the_documented_defaults():
    config = configuration.complete(MINIMAL, "my.yaml")
    assert config["render"]["width"] == 640
    assert config["enrich"]["engine"] == "photometric"
    assert config["enrich"]["disable_guardrails"] is True
    assert config["facilities"][0]["up_axis"] == "z"
    assert config["clips"][0]["count"] == 1, "defaults reach the items of a list that is itself a default"
    assert "render" not in MINIMAL, "the caller's configuration is not changed"


def test_completing_twice_changes_nothing():
    once = configuration.complete(MINIMAL, "my.yaml")
    assert configuration.complete(once, "my.yaml") == once


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(changed(redner={}), ["my.yaml", "'redner'", "did you mean 'render'"], id="unknown key"),
        pytest.param(changed(render={"width": "wide"}), ["render.width", "'wide'", "integer"], id="wrong type"),
        pytest.param(changed(render={"width": 641}), ["render.width", "641", "even"], id="odd width"),
        pytest.param(
            changed(clips=[{"name": "a", "path": "orbit", "height_m": -1}]),
            ["clips[0].height_m", "-1", "minimum"],
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


def test_clips_are_expanded_and_take_the_common_settings():
    config = configuration.complete(
        changed(
            render={"frames": 10},
            clips=[{"name": "look", "path": "orbit", "count": 2}, {"name": "pass", "path": "sweep", "frames": 5}],
        ),
        "my.yaml",
    )
    clips = configuration.clips_of(config, "kitchen")
    assert list(clips) == ["look-0", "look-1", "pass"]
    assert [clip["index"] for clip in clips.values()] == [0, 1, 0]
    assert [clip["frames"] for clip in clips.values()] == [10, 10, 5]
    assert "name" not in clips["pass"], "a clip's spec does not hold its name: renaming is not a change of content"


def test_a_facility_brings_its_own_clips():
    config = configuration.complete(
        changed(facilities=[facility(clips=[{"name": "own", "path": "sweep"}]), facility(name="other")]), "my.yaml"
    )
    assert list(configuration.clips_of(config, "kitchen")) == ["own"]
    assert list(configuration.clips_of(config, "other")) == ["orbit"]


def test_missing_scene_is_refused_with_its_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = configuration.complete(changed(facilities=[facility(), facility(name="b", scene="scan.spz")]), "my.yaml")
    with pytest.raises(UserError, match=r"my\.yaml: facilities\[1\]\.scene: found 'scan\.spz'"):
        configuration.refuse_unusable_files(config, "my.yaml")
    (tmp_path / "scan.spz").touch()
    configuration.refuse_unusable_files(config, "my.yaml")
