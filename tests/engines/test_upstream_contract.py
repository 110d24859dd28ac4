"""Every specification and command line of the native engine, read by NVIDIA's own classes: `pytest -m upstream`.

    COSMOS_TRANSFER_ROOT=<checkout at 2ff49d0717af02057ae79bc75c00fbff9da1b4e7> pytest -m upstream -rA

The checkout's Python (``.venv``) needs what its `cosmos_transfer2.config` imports: pydantic, tyro, loguru, a torch.
"""

import itertools
import json
import os
import subprocess
from pathlib import Path

import pytest

from blueprint import config as configuration
from blueprint.engines import engine
from blueprint.engines.cosmos_model import MODEL_SIZES, TRANSFER, chunk_starts
from blueprint.engines.cosmos_transfer import run
from blueprint.engines.cosmos_transfer.descriptor import CHECKPOINTS
from blueprint.engines.cosmos_transfer.limits import DISTILLED
from blueprint.engines.task import Variant
from blueprint.engines.variants import clip_spec
from blueprint.plan import planned_clips
from rendered_clips import clip_in, write_clip

ROOT = os.environ.get("COSMOS_TRANSFER_ROOT", "")
pytestmark = [
    pytest.mark.upstream,
    pytest.mark.skipif(
        not ROOT, reason="COSMOS_TRANSFER_ROOT names no checkout of NVIDIA's cosmos-transfer2.5: not compared with it"
    ),
]
STRENGTHS = ("very_low", "low", "medium", "high", "very_high")
CHUNKS = list(itertools.product((2, 5, 93, 94, 186, 279), (5, 29, 93), (0, 1, 2)))


def every_choice(video: str) -> list[dict]:
    """Variants that say each thing that can be said of a control, alone and together."""
    masks = [{}, {"mask_path": video}, {"mask_prompt": "shelves and walls"}]
    controls = [{"depth": {"from_render": render, **mask}} for render in (True, False) for mask in masks]
    controls += [{"edge": {"preset_edge_threshold": strength}} for strength in STRENGTHS]
    controls += [{"vis": {"preset_blur_strength": strength}} for strength in STRENGTHS]
    controls += [{"seg": {}}, {"seg": {"control_prompt": "floor"}}, {"seg": {"control_path": video, **masks[1]}}]
    controls += [{name: {"control_path": video, "control_weight": 0.5}} for name in ("depth", "edge", "vis")]
    controls += [{"edge": {"control_weight": 0}, "depth": {}}, {"depth": {}, "edge": {}, "vis": {}, "seg": {}}]
    variants = [{"controls": control} for control in controls]
    variants += [{"guided_generation": {"mask_path": video, "step_threshold": 5}}]
    variants += [
        {"image_context": {"image_path": str(Path(video).parent / "style.png")}, "controls": {name: {}}}
        for name in ("depth", "edge", "seg")
    ]
    variants += [{"negative_prompt": "people"}, {"seed": 2**31}, {"prompt": "quotes \"' and ünïcödé\n"}]
    return [{"name": f"v{number}", "prompt": "a hall", **variant} for number, variant in enumerate(variants)]


SETTINGS = [
    {},
    *({"guidance": guidance, "num_steps": guidance + 1} for guidance in (0, 1, 7)),
    *({"resolution": resolution, "disable_guardrails": False} for resolution in ("480", "256")),
    *({"num_conditional_frames": frames, "num_video_frames_per_chunk": 29} for frames in (0, 2)),
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a clip")
    (folder / "style.png").write_bytes(b"")
    return clip_in(write_clip(folder, frames=5))


def prepared(clip, folder, variants, settings):
    """The arguments of the repository's program for some variants, with their specifications written; and these."""
    enrich = {"engine": "cosmos-transfer2.5", "variants": variants, **settings}
    config = {"facilities": [{"name": "hall", "scene": "scan.ply"}], "enrich": enrich, "render": {"frames": 5}}
    completed = configuration.complete(config, "my.yaml")
    spec = clip_spec(completed["enrich"], planned_clips(completed)[0])
    folder.mkdir()
    samples = []
    for entry in spec["variants"]:
        samples.append(run.sample(clip, Variant(**entry), spec["settings"]))
        (folder / f"{entry['name']}.json").write_text(json.dumps(samples[-1]))
    files = [folder / f"{sample['name']}.json" for sample in samples]
    line = run.command(Path(ROOT), files, folder / "out", spec["settings"], 1)
    return line[line.index("examples/inference.py") + 1 :], samples


def ask(commands, experimental=False):
    """What the repository says."""
    environment = os.environ | ({"COSMOS_EXPERIMENTAL_CHECKPOINTS": "1"} if experimental else {})
    finished = subprocess.run(
        [f"{ROOT}/.venv/bin/python", str(Path(__file__).with_name("upstream_contract.py"))],
        input=json.dumps({"commands": commands, "chunks": CHUNKS}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


@pytest.fixture(scope="module")
def base(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    written = [
        prepared(clip, folder / f"s{number}", every_choice(str(clip.rgb)), settings)
        for number, settings in enumerate(SETTINGS)
    ]
    return written, ask([arguments for arguments, _ in written])


@pytest.fixture(scope="module")
def distilled(clip, tmp_path_factory):
    variants = [{"name": "rain", "prompt": "rain"}]
    settings = {"model": DISTILLED, "controls": {"edge": {}}}
    written = prepared(clip, tmp_path_factory.mktemp("distilled") / "s", variants, settings)
    return written, ask([written[0]], experimental=True)


def check(samples, answer):
    assert "error" not in answer, answer.get("error")
    for sent, understood in zip(samples, answer["samples"], strict=True):
        for key, value in sent.items():
            part = {name: understood[key][name] for name in value} if isinstance(value, dict) else understood[key]
            assert part == value, f"{sent['name']}: {key}"


def test_every_specification_is_understood_as_it_was_meant(base):
    written, answer = base
    for (_, samples), understood in zip(written, answer["parsed"], strict=True):
        check(samples, understood)
    assert sum(len(samples) for _, samples in written) == len(SETTINGS) * len(every_choice(""))


def test_command_lines_are_understood_as_they_were_meant(base, distilled):
    for settings, (_, samples), understood in zip(SETTINGS, base[0], base[1]["parsed"], strict=True):
        assert understood["guardrails"] is not settings.get("disable_guardrails", True)
        assert understood["setup"]["keep_going"] is False
        assert understood["setup"]["model"] == "edge", "which it takes for: whatever the samples' controls say"
        assert understood["setup"]["offload_guardrail_models"] is understood["guardrails"]
        assert len(understood["samples"]) == len(samples)
    ((_, samples), answer) = distilled
    check(samples, answer["parsed"][0])
    assert answer["parsed"][0]["setup"]["model"] == DISTILLED


def test_a_key_that_it_does_not_know_is_refused(clip, tmp_path):
    """So the tests above would notice one. Within a control it would be ignored."""
    arguments, samples = prepared(clip, tmp_path / "s", [{"name": "v", "prompt": "x"}], {})
    (tmp_path / "s" / "v.json").write_text(json.dumps({**samples[0], "unheard_of": 1}))
    (answer,) = ask([arguments])["parsed"]
    assert "unheard_of" in answer["error"]


def test_checkpoints_are_those_that_it_loads(base, distilled):
    for name, (revision, file) in CHECKPOINTS.items():
        answer = distilled[1] if name == DISTILLED else base[1]
        assert answer["checkpoints"][name] == [TRANSFER, revision, file]


def test_other_weights_are_those_that_it_names(base):
    enrich = {"model": "base", "disable_guardrails": False, "controls": {"depth": {}}, "variants": [{"name": "v"}]}
    revisions = {found.id: found.revision for found in engine("cosmos-transfer2.5").repositories(enrich)}
    loaded = base[1]["loaded"]
    assert "google/siglip2-so400m-patch16-naflex" in set(loaded["pictures"]) & set(revisions)
    assert "Qwen/Qwen3Guard-Gen-0.6B" in set(loaded["prompts"]) & set(revisions)
    assert "google/siglip-so400m-patch14-384" in set(loaded["videos"]) & set(revisions)
    assert {"Qwen3Guard", "VideoContentSafetyFilter"} <= set(loaded["guards"])
    assert "LlamaGuard3" not in loaded["guards"]
    assert {"nvidia/Cosmos-Guardrail1", revisions["nvidia/Cosmos-Guardrail1"]} <= set(loaded["guardrail"])
    for name in ("nvidia/Cosmos-Predict2.5-2B", "nvidia/Cosmos-Reason1-7B"):
        assert {name, revisions[name]} <= set(loaded["models"])


def test_chunks_are_counted_as_it_counts_them(base):
    assert base[1]["chunks"] == [len(chunk_starts(*case)) for case in CHUNKS]


def test_sizes_are_its_own(base):
    sizes = {
        resolution: {tuple(map(int, aspect.split(","))): tuple(size) for aspect, size in table.items()}
        for resolution, table in base[1]["sizes"].items()
    }
    for resolution, table in MODEL_SIZES.items():
        assert {width / height: size for (width, height), size in sizes[resolution].items()} == table
