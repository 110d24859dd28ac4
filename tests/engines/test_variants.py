"""Variants: where their words come from, what is filled in, what is refused, and what a job's spec holds."""

import pytest

from blueprint import config as configuration
from blueprint.engines.presets import PRESET_SETS, PRESETS
from blueprint.engines.variants import clip_spec
from blueprint.errors import UserError
from blueprint.plan import planned_clips

KITCHEN = {"name": "kitchen", "scene": "scan.ply", "description": "a bright kitchen"}


def spec(enrich, facility=KITCHEN):
    frames = {"frames": enrich["clip_frames"]} if "clip_frames" in enrich else {}
    enrich = {key: value for key, value in enrich.items() if key != "clip_frames"}
    config = configuration.complete({"facilities": [facility], "enrich": enrich, "render": frames}, "my.yaml")
    return clip_spec(config["enrich"], planned_clips(config)[0])


def generative(**variant):
    return {"engine": "cosmos-transfer2.5", "variants": [{"name": "v", **variant}]}


def test_preset_sets_hold_presets():
    assert set(PRESET_SETS["all"]) == set(PRESETS) >= set(PRESET_SETS["lighting"])
    assert len(PRESETS) >= 6


def test_preset_set_becomes_one_variant_per_preset():
    made = spec({"seed": 3, "variants": [{"name": "look", "preset_set": "lighting"}, {"name": "x", "preset": "dim"}]})
    names = [variant["name"] for variant in made["variants"]]
    assert names == ["look-warm_evening", "look-cold_fluorescent", "look-dim", "look-overexposed_window", "x"]
    assert made["variants"][2] == {"name": "look-dim", "seed": 3, "preset": "dim"}


def test_names_that_a_preset_set_makes_must_be_unique():
    with pytest.raises(UserError, match="'look-dim'"):
        spec({"variants": [{"name": "look", "preset_set": "all"}, {"name": "look-dim", "preset": "dim"}]})


def test_photometric_spec_holds_nothing_that_its_pixels_do_not_depend_on():
    one = spec({"variants": [{"name": "v", "preset": "haze"}]})
    other = spec({"variants": [{"name": "v", "preset": "haze"}]}, {**KITCHEN, "description": "something else"})
    assert one == other
    assert (one["settings"], one["files"]) == ({}, [])


def test_prompt_takes_the_facilitys_facts():
    made = spec(generative(prompt="{facility.description} in {facility.name}, at night", negative_prompt="blur"))
    assert made["variants"][0]["prompt"] == "a bright kitchen in kitchen, at night"
    assert made["variants"][0]["negative_prompt"] == "blur"


def test_prompt_file_counts_by_its_text(tmp_path):
    path = tmp_path / "prompt of mine.txt"
    path.write_text("{facility.description}\n  in the rain\n")
    assert spec(generative(prompt_file=str(path)))["variants"][0]["prompt"] == "a bright kitchen in the rain"
    path.write_text("in the snow")
    assert spec(generative(prompt_file=str(path)))["variants"][0]["prompt"] == "in the snow"
    path.write_text("in the\0snow")
    with pytest.raises(UserError, match="'v': the text holds a NUL character"):
        spec(generative(prompt_file=str(path)))


def test_preset_has_words_for_generative_engines():
    for name in PRESETS:
        prompt = spec(generative(preset=name))["variants"][0]["prompt"]
        assert prompt.startswith("a bright kitchen, "), name


@pytest.mark.parametrize(
    ("enrich", "expected"),
    [
        pytest.param(generative(), ["'v'", "no prompt", "no default"], id="no prompt"),
        pytest.param(generative(prompt="a", prompt_file="b"), ["both `prompt` and `prompt_file`"], id="two prompts"),
        pytest.param(generative(prompt_file="absent.txt"), ["'v'", "absent.txt"], id="absent file"),
        pytest.param(generative(prompt="{facilty.name}"), ["{facilty.name}", "facility.name"], id="placeholder"),
        pytest.param({"variants": [{"name": "v"}]}, ["'v'", "preset", "haze"], id="photometric without a preset"),
        pytest.param({"variants": [{"name": "v", "preset": "hazy"}]}, ["'hazy'", "haze"], id="unknown preset"),
        pytest.param(generative(prompt=" \n\t"), ["'v'", "white space"], id="white space"),
        pytest.param(generative(prompt="a\0b"), ["NUL"], id="NUL"),
        pytest.param(generative(prompt="x" * 8001), ["'v'", "8001 characters", "512 tokens"], id="long prompt"),
        pytest.param(generative(prompt="x", negative_prompt=""), ["negative_prompt"], id="empty negative prompt"),
        pytest.param(generative(prompt="x", negative_prompt=" "), ["'v'", "white space"], id="blank negative prompt"),
        pytest.param(
            {
                "engine": "cosmos-transfer2.5",
                "variants": [{"name": f"v{number}", "prompt": "x" * 7000} for number in range(20)],
            },
            ["'orbit'", "bytes", "100000"],
            id="more than a command line takes",
        ),
        pytest.param(
            {
                **{"engine": "cosmos-transfer2.5", "model": "edge/distilled", "controls": {"edge": {}}},
                **{"variants": [{"name": "v", "prompt": "x"}], "clip_frames": 94},
            },
            ["'v'", "94 frames", "up to 93"],
            id="long clip for the distilled model",
        ),
        pytest.param(
            {"engine": "diffusers", "variants": [{"name": "v", "prompt": "x"}], "clip_frames": 1},
            ["'v'", "1 frame(s)", "num_conditional_frames"],
            id="clip of one frame",
        ),
    ],
)
def test_what_an_engine_cannot_make_is_refused(enrich, expected):
    with pytest.raises(UserError) as refusal:
        spec(enrich)
    for part in expected:
        assert part in str(refusal.value)


def test_fact_that_is_not_given_is_refused():
    with pytest.raises(UserError, match=r"description.*kitchen.*has none"):
        spec(generative(preset="dim"), {"name": "kitchen", "scene": "scan.ply"})


def test_engines_are_told_to_keep_the_same_things_out():
    """Each program has a default of its own; with those, two engines could not be compared."""
    native, diffusers = (
        spec({**generative(preset="dim"), "engine": name}) for name in ("cosmos-transfer2.5", "diffusers")
    )
    assert native["variants"] == diffusers["variants"]
    assert native["variants"][0]["negative_prompt"]
    for key in ("guidance", "num_steps", "resolution", "num_conditional_frames", "num_video_frames_per_chunk"):
        assert native["settings"][key] == diffusers["settings"][key]


@pytest.mark.parametrize(
    ("variant", "enrich", "said"),
    [
        ({"image_context": {"image_path": "a.png"}, "controls": {"depth": {}, "edge": {}}}, {}, "found depth, edge"),
        ({"image_context": {"image_path": "a.png"}, "controls": {"vis": {}}}, {}, "found vis"),
        ({"image_context": {"image_path": "a.webp"}}, {}, "image_path"),
        ({"guided_generation": {"mask_path": "a.npz"}}, {}, "mask_path"),
        (
            {"guided_generation": {"mask_path": "a.mp4"}, "controls": {"edge": {}}},
            {"model": "edge/distilled"},
            "has no guided_generation",
        ),
        ({"image_context": {"image_path": "a.png"}}, {"engine": "diffusers"}, "unknown key 'image_context'"),
        ({"guided_generation": {"mask_path": "a.mp4"}}, {"engine": "cosmos3"}, "unknown key 'guided_generation'"),
        ({"image_context": {"image_path": "a.png"}}, {"engine": "cosmos3-diffusers"}, "unknown key 'image_context'"),
    ],
)
def test_a_style_that_a_model_would_not_take_is_refused_before_a_job_runs(variant, enrich, said):
    given = {"engine": "cosmos-transfer2.5", **enrich, "variants": [{"name": "v", "prompt": "rain", **variant}]}
    with pytest.raises(UserError) as refusal:
        config = configuration.complete(
            {"facilities": [{"name": "hall", "scene": "s.ply"}], "enrich": given}, "my.yaml"
        )
        clip_spec(config["enrich"], planned_clips(config)[0])
    assert said in str(refusal.value)
