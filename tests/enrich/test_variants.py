"""Variants: where their words come from, what is filled in, what is refused, and what a job's spec holds."""

import pytest

from blueprint import config as configuration
from blueprint.enrich.presets import PRESET_SETS, PRESETS
from blueprint.enrich.variants import clip_spec
from blueprint.errors import UserError

KITCHEN = {"name": "kitchen", "scene": "scan.ply", "description": "a bright kitchen"}


def spec(enrich, facility=KITCHEN):
    config = configuration.complete({"facilities": [facility], "enrich": enrich}, "my.yaml")
    return clip_spec(config["enrich"], config["facilities"][0], "orbit")


def generative(**variant):
    return {"engine": "cosmos-transfer2.5", "variants": [{"name": "v", **variant}]}


def test_schema_and_presets_agree():
    properties = configuration.load_schema()["$defs"]["variant"]["properties"]
    assert properties["preset"]["enum"] == list(PRESETS)
    assert properties["preset_set"]["enum"] == list(PRESET_SETS)
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
    one = spec({"variants": [{"name": "v", "preset": "haze", "prompt": "thick fog"}], "disable_guardrails": False})
    other = spec({"variants": [{"name": "v", "preset": "haze"}]}, {**KITCHEN, "description": "something else"})
    assert one == other == {"engine": "photometric", "settings": {}, "variants": one["variants"]}


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
        pytest.param({"variants": [{"name": "v", "prompt": "x"}]}, ["'v'", "preset", "haze"], id="photometric prompt"),
        pytest.param({"variants": [{"name": "v", "preset": "hazy"}]}, ["'hazy'", "haze"], id="unknown preset"),
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
