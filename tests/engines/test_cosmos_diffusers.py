"""The diffusers engine on the CPU: the real pipeline and model classes with tiny random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_cosmos
from blueprint.engines.cosmos import NEGATIVE_PROMPT
from blueprint.engines.cosmos_model import TRANSFER
from blueprint.engines.diffusers import run as engine
from blueprint.engines.diffusers.controls import control_frames
from blueprint.engines.task import Clip, Variant
from blueprint.errors import UserError
from blueprint.video import probe, read_video
from loopback_hub import Hub, running
from rendered_clips import write_clip
from workflow_runs import snakemake, write_config

CPU = torch.device("cpu")
SETTINGS = {"num_video_frames_per_chunk": 5, "num_conditional_frames": 1, "num_steps": 2, "guidance": 3}
PROMPTS = ["a hall in rain", "a hall in snow", NEGATIVE_PROMPT]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    tiny_cosmos.write(folder / "base", folder / "controlnet")
    return folder


def load(weights, cache, prompts=PROMPTS, commit="abc"):
    return engine.load(
        weights / "base", weights / "controlnet", prompts, cache, commit, engine.Guardrails(None), CPU, torch.float32
    )


def frames(count, height=64, width=96):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def variant(seed=0, prompt=PROMPTS[0]):
    return Variant("v", seed, prompt=prompt, negative_prompt=NEGATIVE_PROMPT, controls={"depth": {}})


def test_same_seed_gives_the_same_frames_with_and_without_offload(weights, tmp_path):
    pipe, embeddings = load(weights, tmp_path)
    controls = frames(7)
    first = engine.generate(pipe, controls, variant(), 1.0, SETTINGS, embeddings)
    assert first.shape == (7, 64, 96, 3), "two chunks of 5 frames with one in common, cut to length"
    assert first.dtype == np.uint8
    assert first.std() > 10
    again = engine.generate(pipe, controls, variant(), 1.0, SETTINGS, embeddings)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, engine.generate(pipe, controls, variant(seed=1), 1.0, SETTINGS, embeddings))
    other = engine.generate(pipe, controls, variant(prompt=PROMPTS[1]), 1.0, SETTINGS, embeddings)
    assert not np.array_equal(first, other), "the prompt counts"
    one, none = (
        engine.generate(pipe, controls, variant(), 1.0, {**SETTINGS, "guidance": guidance}, embeddings)
        for guidance in (1, 0)
    )
    assert not np.array_equal(one, none), "1 is on, as in NVIDIA's program, though the pipeline takes it for off"
    unheld = engine.generate(pipe, controls[::-1], variant(), 1.0, SETTINGS, embeddings)
    assert not np.array_equal(first, unheld), "the control counts"

    pipe.model_cpu_offload_seq = engine.OFFLOAD_SEQUENCE
    pipe.enable_model_cpu_offload(device=CPU)
    for model in (pipe.transformer, pipe.vae, pipe.controlnet):
        assert hasattr(model, "_hf_hook")
    offloaded = engine.generate(pipe, controls, variant(), 1.0, SETTINGS, embeddings)
    assert np.array_equal(first, offloaded)


def test_cached_embeddings_equal_fresh_ones_and_spare_the_text_encoder(weights, tmp_path):
    pipe, fresh = load(weights, tmp_path / "one")
    assert pipe.text_encoder is None, "it leaves memory once every prompt is embedded"
    assert fresh[PROMPTS[0]].shape == (1, 512, 32)
    assert not torch.equal(fresh[PROMPTS[0]], fresh[PROMPTS[1]])
    reference = engine.Cosmos2_5_TransferPipeline.from_pretrained(
        str(weights / "base"),
        controlnet=engine.AutoModel.from_pretrained(str(weights / "controlnet")),
        safety_checker=engine.Guardrails(None),
    )
    with torch.no_grad():
        expected, _ = reference.encode_prompt(PROMPTS[0], do_classifier_free_guidance=False)
    assert torch.equal(fresh[PROMPTS[0]], expected), "the pipeline's own embedding"

    load(weights, tmp_path / "two", PROMPTS[:1])
    (weights / "base" / "text_encoder").rename(weights / "hidden")
    try:
        pipe, cached = load(weights, tmp_path / "one")
        assert pipe.tokenizer is None
        assert all(torch.equal(cached[prompt], fresh[prompt]) for prompt in PROMPTS)
        with pytest.raises(OSError, match="no file named"):
            load(weights, tmp_path / "two")
    finally:
        (weights / "hidden").rename(weights / "base" / "text_encoder")


def test_embeddings_of_other_weights_are_not_taken(weights, tmp_path):
    load(weights, tmp_path, PROMPTS[:1])
    load(weights, tmp_path, PROMPTS[:1], commit="def")
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


@pytest.fixture
def hub(weights, tmp_path):
    revisions = {"diffusers/general": weights / "base", "diffusers/controlnet/general/depth": weights / "controlnet"}
    with running(Hub({TRANSFER: revisions})) as hub:
        yield hub


def configure(project, **enrich):
    variants = [{"name": "rain", "prompt": PROMPTS[0], "seed": 5}, {"name": "snow", "prompt": PROMPTS[1]}]
    settings = {"resolution": "256", "num_steps": 2, "num_video_frames_per_chunk": 5, "gpus": 0}
    return write_config(
        project,
        {
            "facilities": [{"name": "hall", "scene": "resources/demo/kitchen.ply"}],
            "enrich": {"engine": "diffusers", "variants": variants, **settings, **enrich},
        },
    )


def run(project, hub, config):
    environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(project / "hf"), "HF_HUB_DISABLE_XET": "1"}
    targets = [f"results/hall/enriched/orbit/{name}.mp4" for name in ("rain", "snow")]
    return snakemake(project, config, "--allowed-rules", "enrich", "-F", *targets, environment=environment)


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    write_clip(folder / "results" / "hall" / "clips" / "orbit", frames=7)
    marker = folder / "results" / "preflight" / "cosmos-diffusers.json"
    marker.parent.mkdir()
    marker.write_text('{"lock": {}}')
    return folder


def test_rule_makes_aligned_clips_from_the_hubs_weights(project, hub, weights):
    run(project, hub, configure(project))
    folder = project / "results" / "hall" / "enriched" / "orbit"
    for name in ("rain", "snow"):
        assert probe(folder / f"{name}.mp4") == probe(project / "results" / "hall" / "clips" / "orbit" / "rgb.mp4")
    provenance = json.loads((folder / "rain.json").read_text())
    assert provenance["model"]["commit"] == hub.commit(weights / "base")
    assert provenance["model"]["controlnet_commit"] == hub.commit(weights / "controlnet")
    assert provenance["fit"] == {
        **{"model_width": 320, "model_height": 256, "chunks": 2, "model_frames": 9},
        **{"padding": "last frame repeated", "undone": "cut to length, resized back"},
    }
    assert provenance["run"]["device"] == "cpu"
    assert not hub.asked_for("Guardrail"), "guardrails are off: nothing of them is asked for"
    log = project / "logs" / "hall" / "enrich" / "orbit.log"
    assert "0 of 3 prompts have an embedding already" in log.read_text()


def test_guardrails_that_are_wanted_and_absent_stop_the_job():
    with pytest.raises(UserError, match=r"enrich.disable_guardrails is false.*Install cosmos_guardrail"):
        engine.make_guardrails(disabled=False)


class Checker:
    """What the pipeline asks of a checker; it blocks a word and a bright clip."""

    def to(self, device):
        self.device = device

    def check_text_safety(self, prompt):
        return "weapon" not in prompt

    def check_video_safety(self, frames):
        return None if frames.mean() > 200 else frames


def test_guardrails_are_asked_about_prompts_and_clips():
    guardrails = engine.Guardrails(Checker())
    engine.refuse_unsafe(guardrails, [variant()], CPU)
    with pytest.raises(UserError, match=r"v: .*blocked the prompt"):
        engine.refuse_unsafe(guardrails, [variant(prompt="a weapon")], CPU)
    dark = np.zeros((2, 8, 8, 3), np.uint8)
    assert guardrails.check_video_safety(dark) is dark
    with pytest.raises(UserError, match="blocked the clip"):
        guardrails.check_video_safety(dark + 255)


def test_controls_are_at_the_models_size(tmp_path):
    folder = write_clip(tmp_path, frames=2)
    clip = Clip(*(folder / name for name in ("rgb.mp4", "depth.mp4", "depth.npz", "cameras.json")), None)
    depth = list(control_frames(clip, "depth", {"from_render": True}, 320, 256))
    assert [frame.shape for frame in depth] == [(256, 320, 3)] * 2
    small = np.stack([frame[2::4, 2::4][:64, :80] for frame in depth]).mean()
    assert small == pytest.approx(np.stack(list(read_video(clip.depth))).mean(), abs=3)
    weak, strong = (
        np.stack(list(control_frames(clip, "edge", {"preset_edge_threshold": name}, 320, 256)))
        for name in ("very_low", "very_high")
    )
    assert set(np.unique(weak)) == {0, 255}
    assert weak.mean() > strong.mean()
    own = list(control_frames(clip, "seg", {"control_path": str(Path(clip.rgb))}, 96, 64))
    assert np.array_equal(own[0], next(read_video(clip.rgb)))


@pytest.mark.gpu
def test_on_a_card_offload_changes_no_frame(weights, tmp_path):
    device = torch.device("cuda:0")
    made = []
    for offload in (False, True):
        pipe, embeddings = engine.load(
            *(weights / "base", weights / "controlnet", PROMPTS, tmp_path, "abc"),
            *(engine.Guardrails(None), device, torch.bfloat16),
        )
        assert embeddings[PROMPTS[0]].dtype == torch.bfloat16
        if offload:
            pipe.model_cpu_offload_seq = engine.OFFLOAD_SEQUENCE
            pipe.enable_model_cpu_offload(device=device)
        else:
            pipe.to(device)
        made.append(engine.generate(pipe, frames(7), variant(), 1.0, SETTINGS, embeddings))
        assert pipe.transformer.device.type == ("cpu" if offload else "cuda")
    assert np.array_equal(*made)
