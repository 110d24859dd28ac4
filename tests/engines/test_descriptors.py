"""What each engine says that it needs: repositories, memory, seconds."""

import shutil

import pytest
from pydantic import ValidationError

from blueprint import config as configuration
from blueprint.digest import SCRIPTS, program_digest
from blueprint.engines import ENGINES, engine
from blueprint.engines.base import PlannedClip
from blueprint.engines.cosmos_model import TRANSFER, fit
from blueprint.engines.diffusers.memory import peak_gb
from blueprint.engines.gpu import Gpu, check_vram
from blueprint.errors import UserError

GUARDRAIL = "nvidia/Cosmos-Guardrail1"
PREDICT = "nvidia/Cosmos-Predict2.5-2B"
REASON = "nvidia/Cosmos-Reason1-7B"
SIGLIP2 = "google/siglip2-so400m-patch16-naflex"


def needed(**enrich):
    config = configuration.complete(
        {"facilities": [{"name": "hall", "scene": "scan.ply"}], "enrich": enrich}, "my.yaml"
    )
    return engine(config["enrich"]["engine"]).repositories(config["enrich"])


def ids(**enrich):
    return {repository.id for repository in needed(**enrich)}


def test_photometric_needs_no_repository():
    assert needed() == []


def test_native_engine_needs_model_tokenizer_and_text_encoder():
    assert ids(engine="cosmos-transfer2.5") == {TRANSFER, PREDICT, REASON, SIGLIP2}
    assert {repository.id for repository in needed(engine="cosmos-transfer2.5") if not repository.gated} == {SIGLIP2}


def test_guardrails_are_needed_only_when_they_are_on():
    assert GUARDRAIL not in ids(engine="cosmos-transfer2.5")
    native = ids(engine="cosmos-transfer2.5", disable_guardrails=False)
    assert {GUARDRAIL, "Qwen/Qwen3Guard-Gen-0.6B", "google/siglip-so400m-patch14-384"} < native
    assert not any("Llama" in id for id in native), "it is built by nothing"
    assert not any("Guard" in id for id in ids(engine="diffusers"))
    assert "nvidia/Cosmos-1.0-Guardrail" in ids(engine="diffusers", disable_guardrails=False)


def test_models_that_estimate_controls_are_needed_only_for_that():
    finders = {"facebook/sam2-hiera-large", "IDEA-Research/grounding-dino-base"}
    native = {"engine": "cosmos-transfer2.5"}
    assert not finders & ids(**native, controls={"seg": {"control_path": "seg.mp4"}})
    assert finders < ids(**native, controls={"seg": {}})
    assert finders < ids(**native, controls={"edge": {"mask_prompt": "shelves"}})
    estimated = {"depth": {"from_render": False}}
    assert "depth-anything/Video-Depth-Anything-Small" in ids(**native, controls=estimated)
    assert "depth-anything/Video-Depth-Anything-Small" not in ids(**native)


def test_only_the_checkpoints_of_the_controls_are_fetched():
    def files(**enrich):
        found = needed(engine="cosmos-transfer2.5", **enrich)
        return [repository.files[0].split("/")[-2] for repository in found if repository.id == TRANSFER]

    assert files() == ["depth"]
    assert files(controls={"depth": {}, "edge": {}}) == ["edge", "blur", "depth", "seg"], "the multi-control model"
    assert files(controls={"edge": {}}, model="edge/distilled") == ["edge"]
    revisions = [repository.revision for repository in needed(engine="cosmos-transfer2.5") if repository.gated]
    assert all(len(revision) == 40 for revision in revisions), "commits, as NVIDIA's repository pins them"


def test_diffusers_takes_the_configured_revisions():
    found = needed(engine="diffusers", controls={"edge": {}}, diffusers_revision="abc")
    assert [repository.revision for repository in found] == ["abc", "diffusers/controlnet/general/edge"]


def test_pictures_are_encoded_by_the_single_control_checkpoints_only():
    native = {"engine": "cosmos-transfer2.5"}
    for control in ("depth", "edge", "vis"):
        assert SIGLIP2 in ids(**native, controls={control: {}})
    assert SIGLIP2 not in ids(**native, controls={"depth": {}, "edge": {}})
    assert SIGLIP2 not in ids(**native, controls={"edge": {}}, model="edge/distilled")


@pytest.mark.parametrize("name", ["cosmos-transfer2.5", "diffusers"])
@pytest.mark.parametrize(
    ("frames", "length", "accepted"),
    [(93, 93, True), (186, 97, True), (186, 100, False), (120, 60, False), (186, 96, False), (9, 4, False)],
)
def test_chunks_that_would_shift_frames_are_refused(name, frames, length, accepted):
    """The VAE decodes 4*((n - 1)//4) + 1 of n frames."""
    if accepted:
        assert ENGINES[name].keys(num_video_frames_per_chunk=length).num_video_frames_per_chunk == length
    else:
        with pytest.raises(ValidationError, match="num_video_frames_per_chunk"):
            ENGINES[name].keys(num_video_frames_per_chunk=length)


def test_diffusers_knows_128_positions_in_time():
    assert ENGINES["diffusers"].keys(num_video_frames_per_chunk=125)
    with pytest.raises(ValidationError, match="128"):
        ENGINES["diffusers"].keys(num_video_frames_per_chunk=129)
    assert ENGINES["cosmos-transfer2.5"].keys(num_video_frames_per_chunk=129)


def test_sigma_max_is_no_key():
    """NVIDIA's program parses it and uses it nowhere (at the pinned commit)."""
    for descriptor in ENGINES.values():
        assert "sigma_max" not in descriptor.keys.model_fields
        assert "sigma_max" not in descriptor.settings(descriptor.keys().model_dump())


@pytest.mark.parametrize(
    ("frames", "length", "chunks"), [(93, 93, 1), (94, 93, 2), (186, 93, 3), (279, 93, 4), (93, 25, 4)]
)
@pytest.mark.parametrize("name", ["cosmos-transfer2.5", "diffusers"])
def test_seconds_are_estimated_by_the_chunks_that_are_made(name, frames, length, chunks):
    enrich = {"num_video_frames_per_chunk": length, "num_conditional_frames": 1, "model": "base"}
    seconds, source = engine(name).seconds(enrich, PlannedClip("orbit", {}, 1280, 720, frames))
    assert seconds == pytest.approx(chunks * 502.6 * length / 93)
    made = fit(1280, 720, frames, {**enrich, "resolution": "720"})
    assert made["chunks"] == chunks, "as the engine counts them"
    assert "H100" in source


@pytest.mark.parametrize("name", ENGINES)
def test_a_finished_variant_is_made_again_only_for_what_decides_its_pixels(name, tmp_path):
    """Minutes of a GPU each: a better estimate, record or check of the job makes the job run and keep them."""
    scripts = shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    package = engine(name).module.rpartition(".")[0].replace(".", "/")

    def digest():
        return program_digest("", engine(name).module, "blueprint.engines", scripts)

    def changed(module):
        before, path = digest(), scripts / module
        path.write_text(path.read_text() + "# changed\n")
        return digest() != before

    assert changed(f"{package}/run.py")
    for module in ("descriptor.py", "../job.py", "../base.py", "../alignment.py", "../../kept.py", "../../section.py"):
        assert not changed(f"{package}/{module}"), module
    for other in {found.module for found in ENGINES.values()} - {engine(name).module}:
        assert not changed(f"{other.replace('.', '/')}.py"), other


def test_memory_is_compared_before_the_model_loads():
    def needed_gb(name, offload="auto"):
        return engine(name).vram_needed_gb({"offload": offload, "resolution": "720", "gpus": 1}, 1280, 704)

    assert needed_gb("photometric") == 0
    assert needed_gb("cosmos-transfer2.5") == 65.4
    assert needed_gb("diffusers") <= needed_gb("diffusers", "never")
    assert peak_gb(1280 * 704, offload=False) < 48, "an L40S is enough"
    h100, l40s = Gpu(0, "H100", "570", 85.5, 0.5), Gpu(1, "L40S", "570", 48.3, 0.5)
    assert check_vram(65.4, [h100]).result == "ok"
    assert check_vram(65.4, [h100, l40s]).result == "fail"
    assert check_vram(65.4, []).result == "fail"
    assert check_vram(0, []).result == "ok"


def test_unknown_engine_is_an_error_everywhere():
    with pytest.raises(UserError, match=r"enrich.engine: found 'cosmos4'; there are photometric, cosmos-transfer2.5"):
        engine("cosmos4")
    for name, descriptor in ENGINES.items():
        assert descriptor.name == name
