"""What an enrichment will need: repositories, access to them, memory on the card."""

import pytest

from blueprint import config as configuration
from blueprint.enrich.gpu import Gpu
from blueprint.enrich.requirements import (
    GUARDRAIL,
    PREDICT,
    REASON,
    TRANSFER,
    Repository,
    check_access,
    check_vram,
    diffusers_gb,
    repositories_needed,
    vram_needed_gb,
)
from loopback_hub import Hub, running

TOKEN = "hf_of-the-test"


def needed(**enrich):
    config = {"facilities": [{"name": "hall", "scene": "scan.ply"}], "enrich": enrich}
    return repositories_needed(configuration.complete(config, "my.yaml"))


def ids(**enrich):
    return {repository.id for repository in needed(**enrich)}


def test_photometric_needs_no_repository():
    assert needed() == []


def test_native_engine_needs_model_tokenizer_and_text_encoder():
    assert ids(engine="cosmos-transfer2.5") == {TRANSFER, PREDICT, REASON}
    assert all(repository.gated for repository in needed(engine="cosmos-transfer2.5"))


def test_guardrails_are_needed_only_when_they_are_on():
    assert GUARDRAIL not in ids(engine="cosmos-transfer2.5")
    assert {GUARDRAIL, "meta-llama/Llama-Guard-3-8B"} < ids(engine="cosmos-transfer2.5", disable_guardrails=False)
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
    revisions = [repository.revision for repository in needed(engine="cosmos-transfer2.5")]
    assert all(len(revision) == 40 for revision in revisions), "commits, as NVIDIA's repository pins them"


def test_diffusers_takes_the_configured_revisions():
    found = needed(engine="diffusers", controls={"edge": {}}, diffusers_revision="abc")
    assert [repository.revision for repository in found] == ["abc", "diffusers/controlnet/general/edge"]


def check(refusal=None, timeout_s=5.0, token=TOKEN):
    page = f"https://huggingface.co/{TRANSFER}"
    refusals = {} if refusal is None else {TRANSFER: refusal}
    with running(Hub({TRANSFER: {}}, refusals)) as hub:
        (result,) = check_access([Repository(TRANSFER, "main", page, True)], token, hub.endpoint, timeout_s)
    assert hub.requests == [f"/api/models/{TRANSFER}/auth-check"], "huggingface_hub's own call"
    assert TOKEN not in repr(result), "the token is never shown"
    if refusal is not None:
        assert page in result.remedy
    return result, hub


def test_access_that_is_granted():
    result, hub = check()
    assert result.result == "ok"
    assert hub.tokens == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize(
    ("refusal", "evidence", "remedy"),
    [
        ("gated", "has not accepted its licence (403)", "Accept the licence at"),
        ("bad token", "no valid token (401)", "Set HF_TOKEN"),
        ("unknown", "no such repository for this account (404)", "private repository"),
        ("broken", "the hub refused (500)", "Try again later"),
        ("silent", "no answer", "network"),
    ],
)
def test_each_refusal_has_its_own_message(refusal, evidence, remedy):
    result, _ = check(refusal, timeout_s=0.5)
    assert result.result == "fail"
    assert evidence in result.evidence
    assert remedy in result.remedy


def test_hub_that_is_not_there():
    repository = Repository(TRANSFER, "main", "https://huggingface.co/x", True)
    (result,) = check_access([repository], TOKEN, "http://127.0.0.1:9", 2.0)
    assert "cannot be reached" in result.evidence


def test_each_repository_is_asked_for_once_and_guardrails_not_when_off():
    repositories = needed(engine="cosmos-transfer2.5", controls={"depth": {}, "edge": {}})
    with running(Hub({TRANSFER: {}, PREDICT: {}, REASON: {}, GUARDRAIL: {}})) as hub:
        results = check_access(repositories, TOKEN, hub.endpoint)
    assert [result.result for result in results] == ["ok"] * 3
    assert len(hub.requests) == 3
    assert not hub.asked_for(GUARDRAIL)


def test_memory_is_compared_before_the_model_loads():
    def enrich(engine, offload="auto"):
        return {"engine": engine, "offload": offload, "resolution": "720"}

    assert vram_needed_gb(enrich("photometric"), 1280, 704) == 0
    assert vram_needed_gb(enrich("cosmos-transfer2.5"), 1280, 704) == 65.4
    assert vram_needed_gb(enrich("diffusers"), 1280, 704) <= vram_needed_gb(enrich("diffusers", "never"), 1280, 704)
    assert diffusers_gb(1280 * 704, offload=False) < 48, "an L40S is enough"
    h100, l40s = Gpu(0, "H100", "570", 85.5, 0.5), Gpu(1, "L40S", "570", 48.3, 0.5)
    assert check_vram(65.4, [h100]).result == "ok"
    assert check_vram(65.4, [h100, l40s]).result == "fail"
    assert check_vram(65.4, []).result == "fail"
    assert check_vram(0, []).result == "ok"
