"""The engine cosmos3-diffusers on the CPU: the real pipeline and model classes with tiny random weights."""

import json
import shutil

import numpy as np
import pytest
import torch

import tiny_cosmos3
from blueprint import config as configuration
from blueprint.engines import engine as registered
from blueprint.engines.base import PlannedClip
from blueprint.engines.cosmos3.memory import NANO
from blueprint.engines.cosmos3.prompts import emphasized, with_metadata
from blueprint.engines.cosmos3_diffusers import run as engine
from blueprint.engines.diffusers.controls import blurred
from blueprint.engines.task import Variant
from blueprint.engines.variants import clip_spec
from blueprint.errors import UserError
from blueprint.video import probe
from loopback_hub import Hub, running
from rendered_clips import write_clip
from workflow_runs import snakemake, write_config

CPU = torch.device("cpu")
SETTINGS = {
    **{"num_video_frames_per_chunk": 5, "num_conditional_frames": 1, "num_steps": 2, "guidance": 3.0},
    **{"control_guidance": 1.5, "emphasize_control": True},
}
SIZE = (64, 48)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cosmos3")
    tiny_cosmos3.write(folder)
    return folder


@pytest.fixture(scope="module")
def pipe(weights):
    return engine.load(weights, 10.0, CPU, torch.float32, offload=False)


def frames(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8) for _ in range(count)]


def make(pipe, controls, seed=0, prompt="a hall in rain", **settings):
    variant = Variant("v", seed, prompt=prompt, negative_prompt="blurred")
    return engine.generate(pipe, controls, variant, 24, {**SETTINGS, **settings})


@pytest.mark.parametrize("count", [4, 13])
def test_same_seed_gives_the_same_frames_and_everything_counts(pipe, count):
    """In one chunk that is not full, and in three of 5 frames with one in common."""
    controls = {"depth": frames(count)}
    first = make(pipe, controls)
    assert first.shape == (count, SIZE[1], SIZE[0], 3)
    assert first.dtype == np.uint8
    assert first.std() > 5
    assert np.array_equal(first, make(pipe, controls))
    for other in (
        make(pipe, controls, seed=1),
        make(pipe, controls, prompt="a hall in snow"),
        make(pipe, {"depth": frames(count, seed=1)}),
        make(pipe, controls, guidance=1.0),
        make(pipe, controls, control_guidance=1.0),
        make(pipe, controls, emphasize_control=False),
    ):
        assert other.shape == first.shape
        assert not np.array_equal(first, other)


def test_several_controls_go_together(pipe):
    depth, edge = frames(5), frames(5, seed=1)
    both = make(pipe, {"depth": depth, "edge": edge})
    assert np.array_equal(both, make(pipe, {"edge": edge, "depth": depth})), "however the configuration is written"
    assert not np.array_equal(both, make(pipe, {"depth": depth}))
    assert not np.array_equal(both, make(pipe, {"edge": edge}))


def test_frames_stay_where_their_controls_are(pipe):
    """What is changed from frame 9 on is made in the third chunk, frames 8 to 12, whose first frame is the second's."""
    before = frames(13)
    after = [*before[:9], *frames(4, seed=1)]
    one, other = (make(pipe, {"depth": controls}).astype(int) for controls in (before, after))
    changed = np.abs(one - other).max(axis=(1, 2, 3)) > 0
    assert changed.tolist() == [False] * 9 + [True] * 4


def test_layers_that_wait_in_memory_change_no_frame(weights, pipe):
    offloaded = engine.load(weights, 10.0, CPU, torch.float32, offload=True)
    assert np.array_equal(make(offloaded, {"vis": frames(5)}), make(pipe, {"vis": frames(5)}))


def test_the_schedule_is_nvidias_and_not_what_the_repository_says(weights, pipe):
    assert (pipe.scheduler.config.flow_shift, pipe.scheduler.config.use_karras_sigmas) == (10.0, False)
    other = engine.load(weights, 3.0, CPU, torch.float32, offload=False)
    assert not np.array_equal(make(other, {"depth": frames(5)}), make(pipe, {"depth": frames(5)}))


def test_a_part_that_does_not_load_is_an_error(weights, tmp_path):
    """The pipeline itself only warns, and fails later in words that name no file."""
    broken = shutil.copytree(weights, tmp_path / "weights")
    next((broken / "vae").glob("*.safetensors")).write_bytes(b"cut off")
    with pytest.raises(UserError, match=r"weights: vae cannot be loaded"):
        engine.load(broken, 10.0, CPU, torch.float32, offload=False)


def test_weights_of_another_pipeline_are_refused(weights, tmp_path):
    distilled = shutil.copytree(weights, tmp_path / "weights")
    index = json.loads((distilled / tiny_cosmos3.INDEX).read_text())
    names = {"_class_name": "Cosmos3DistilledModularPipeline", "_blocks_class_name": "Cosmos3DistilledBlocks"}
    (distilled / tiny_cosmos3.INDEX).write_text(json.dumps(index | names))
    with pytest.raises(UserError, match="weights of Cosmos3DistilledModularPipeline"):
        engine.load(distilled, 10.0, CPU, torch.float32, offload=False)


def test_an_input_that_the_pipeline_does_not_know_is_an_error(pipe, monkeypatch):
    known = [name for name in pipe.blocks.input_names if name != "control_guidance"]
    monkeypatch.setattr(type(pipe.blocks), "input_names", known)
    with pytest.raises(UserError, match="knows no input control_guidance of Cosmos 3"):
        make(pipe, {"depth": frames(5)})


def test_prompts_tell_length_and_size_as_nvidias_program_does():
    assert with_metadata(" A hall. ", 93, 24, 1280, 720) == (
        "A hall. The video is 3.9 seconds long and is of 24 FPS. This video is of 720x1280 resolution."
    )
    assert with_metadata("", 93, 24, 1280, 720).startswith("The video is 3.9"), "a negative prompt may be empty"
    assert json.loads(with_metadata('{"scene": "a hall", "fps": 1}', 121, 24, 736, 544)) == {
        **{"scene": "a hall", "duration": "5s", "fps": 24.0, "resolution": {"H": 544, "W": 736}},
        "aspect_ratio": "4,3",
    }
    assert with_metadata("[1]", 93, 24, 1280, 720).startswith("[1]. The video"), "a list is a text like any other"
    said = emphasized("A hall.", ["edge", "depth"])
    assert said.startswith("A hall. Follow the edge, depth control video precisely: ")
    assert said.endswith(" align with the edge, depth signal at every frame.")


def test_blur_keeps_edges_and_loses_detail():
    """Of noise around two levels the levels stay; the stronger, the less noise."""
    rng = np.random.default_rng(0)
    frame = np.full((256, 320, 3), 60, np.int64)
    frame[:, 160:] = 180
    noisy = np.clip(frame + rng.integers(-20, 21, frame.shape), 0, 255).astype(np.uint8)
    weak, strong = (blurred(noisy, strength).astype(int) for strength in ("very_low", "very_high"))
    for made in (weak, strong):
        assert made.shape == frame.shape
        assert abs(made[:, :120] - 60).mean() < 4 and abs(made[:, 200:] - 180).mean() < 4
    assert strong[:, :120].std() < weak[:, :120].std() < noisy[:, :120].std() / 2


def planned(frame_count=5, **enrich):
    given = {"engine": "cosmos3-diffusers", "variants": [{"name": "rain", "prompt": "rain"}], **enrich}
    whole = configuration.complete({"facilities": [{"name": "hall", "scene": "scan.ply"}], "enrich": given}, "my.yaml")
    return whole["enrich"], PlannedClip("orbit", whole["facilities"][0], 1280, 720, frame_count)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"controls": {"depth": {"control_weight": 1.0}}}, "`control_weight`: the pipeline of diffusers weighs"),
        ({"controls": {"depth": {"mask_path": "a.mp4"}}}, "`mask_path`: Cosmos 3 has no masks"),
        ({"controls": {"seg": {}}}, "give `controls.seg.control_path`"),
        ({"controls": {}}, "no control"),
        ({"server_urls": ["http://127.0.0.1:8000"]}, "unknown key 'server_urls'"),
        ({"model": "nvidia/Cosmos3-Super"}, "nvidia/Cosmos3-Nano"),
        ({"num_video_frames_per_chunk": 92}, "Take 89 or 93"),
        ({"num_video_frames_per_chunk": 5, "num_conditional_frames": 9}, "no chunk would add a frame"),
        ({"frame_count": 1}, "2 to 5000"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name_before_a_job_runs(wrong, said):
    with pytest.raises(UserError) as refusal:
        clip_spec(*planned(**wrong))
    assert said in str(refusal.value)


def test_weights_memory_and_time_are_told_before_a_gpu_is_paid_for():
    found = registered("cosmos3-diffusers")
    enrich, _ = planned(num_video_frames_per_chunk=121, revision="a" * 40, disable_guardrails=False)
    needed = found.repositories(enrich)
    assert (needed[0].id, needed[0].revision) == (NANO, "a" * 40)
    assert {repository.id for repository in needed[1:]} == {"nvidia/Cosmos-1.0-Guardrail", "Qwen/Qwen3Guard-Gen-0.6B"}
    assert found.repositories(planned()[0]) == [found.repositories(planned()[0])[0]], "no guardrails unless wanted"
    assert found.vram_needed_gb(enrich, 1280, 720) < found.vram_needed_gb({**enrich, "offload": "never"}, 1280, 720)
    seconds, source = found.seconds(enrich, PlannedClip("orbit", {}, 1280, 720, 121))
    assert seconds == pytest.approx(540)
    assert "estimate" in source


def test_rule_makes_clips_from_the_hubs_weights(weights, tmp_path):
    project = tmp_path / "project"
    write_clip(project / "results" / "hall" / "clips" / "orbit", frames=7)
    marker = project / "results" / "preflight" / "cosmos-diffusers.json"
    marker.parent.mkdir()
    marker.write_text('{"lock": {}}')
    enrich = {
        **{"engine": "cosmos3-diffusers", "resolution": "256", "num_steps": 1, "num_video_frames_per_chunk": 5},
        **{"gpus": 0, "controls": {"depth": {}, "edge": {}, "vis": {}}},
        "variants": [{"name": "rain", "prompt": "a hall in rain", "seed": 5}],
    }
    config = write_config(
        project, {"facilities": [{"name": "hall", "scene": "resources/demo/kitchen.ply"}], "enrich": enrich}
    )
    with running(Hub({NANO: {"main": weights}})) as hub:
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(project / "hf"), "HF_HUB_DISABLE_XET": "1"}
        target = "results/hall/enriched/orbit/rain.mp4"
        snakemake(project, config, "--allowed-rules", "enrich", "-F", target, environment=environment)
        assert not hub.asked_for("Guardrail") and not hub.asked_for("somebody")
        commit = hub.commit(weights)
    assert probe(project / target) == probe(project / "results" / "hall" / "clips" / "orbit" / "rgb.mp4")
    provenance = json.loads((project / target).with_suffix(".json").read_text())
    assert provenance["model"] == {"name": NANO, "commit": commit, "dtype": "torch.float32"}
    assert (provenance["fit"]["model_width"], provenance["fit"]["chunks"]) == (320, 2)
    assert provenance["run"]["device"] == "cpu"


@pytest.mark.gpu
def test_on_a_card_offload_changes_no_frame(weights):
    device = torch.device("cuda:0")
    made = [
        make(engine.load(weights, 10.0, device, torch.bfloat16, offload), {"depth": frames(7)})
        for offload in (False, True)
    ]
    assert np.array_equal(*made)
