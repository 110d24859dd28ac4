"""The engine `cosmos3` through the job of a clip, against servers that behave and misbehave as vLLM-Omni does."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest

from blueprint import config as configuration
from blueprint.digest import SCRIPTS
from blueprint.engines import engine
from blueprint.engines.base import PlannedClip
from blueprint.engines.cosmos import NEGATIVE_PROMPT
from blueprint.engines.cosmos3 import server as client
from blueprint.engines.cosmos3.sizes import SIZES, fit, model_size
from blueprint.engines.job import enrich
from blueprint.engines.variants import clip_spec
from blueprint.errors import UserError
from blueprint.video import probe, read_video
from loopback_video_server import Server, running
from rendered_clips import clip_in, write_clip

NAMES = ("rain", "snow", "fog")


@pytest.fixture(autouse=True)
def in_haste(monkeypatch):
    monkeypatch.setattr(client, "POLL_S", 0.02)
    monkeypatch.setattr(client, "LOST_S", 0.2)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_in(write_clip(tmp_path_factory.mktemp("clip"), frames=4))


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    return clip_in(write_clip(tmp_path_factory.mktemp("clip"), frames=24))


def planned(names=NAMES[:1], frames=4, **enrich):
    """Completed `enrich` of a configuration."""
    variants = [{"name": name, "prompt": f"a hall in {name}", "seed": seed} for seed, name in enumerate(names, 5)]
    given = {"engine": "cosmos3", "resolution": "256", "variants": variants, **enrich}
    facility = {"name": "hall", "scene": "scan.ply"}
    whole = configuration.complete({"facilities": [facility], "enrich": given}, "my.yaml")
    return whole["enrich"], PlannedClip("orbit", whole["facilities"][0], 96, 64, frames)


def run(clip, folder, servers, names=NAMES[:1], **given):
    """Do the job of a clip; the names of the variants that were made."""
    given = {"server_urls": [server if isinstance(server, str) else server.url for server in servers], **given}
    enrich_part, about = planned(names, clip.info.frames, **given)
    spec = clip_spec(enrich_part, about)
    machine = engine("cosmos3").machine(enrich_part)
    return enrich(clip, spec, "code", folder, folder / "scratch", machine=machine)


@pytest.fixture
def serve(tmp_path):
    with ExitStack() as stack:
        count = iter(range(100))
        yield lambda **how: stack.enter_context(running(Server(tmp_path / f"server{next(count)}", **how)))


def provenance(folder, name="rain"):
    return json.loads((folder / f"{name}.json").read_text())


def test_a_variant_comes_back_at_the_clips_size_and_what_was_done_is_recorded(clip, tmp_path, serve):
    server = serve()
    assert run(clip, tmp_path, [server], revision="a" * 40) == ["rain"]
    assert probe(tmp_path / "rain.mp4") == clip.info
    expected = 255.0 - np.stack(list(read_video(clip.depth)))
    assert np.abs(np.stack(list(read_video(tmp_path / "rain.mp4"))) - expected).mean() < 4, "the whole frame, uncropped"
    record = provenance(tmp_path)
    assert record["model"] == {"name": "nvidia/Cosmos3-Nano", "revision_as_configured": "a" * 40}
    assert record["fit"] == {
        **{"model_width": 320, "model_height": 192, "stretched": 1.1111, "chunks": 1, "model_frames": 93},
        **{"padding": "reflected", "undone": "cut to length, resized back"},
    }
    assert record["run"]["server"] == server.url
    assert (record["run"]["server_seconds"], record["run"]["server_vram_peak_mb"]) == (1.5, 61000.0)
    assert server.deleted == ["video_gen_0"], "nothing is left on the server"
    assert run(clip, tmp_path, [server], revision="a" * 40) == [], "a finished variant is kept"
    assert run(clip, tmp_path, ["http://127.0.0.1:9"], revision="a" * 40) == [], "without asking, wherever servers are"
    assert run(clip, tmp_path, [server], revision="b" * 40) == ["rain"]


def test_everything_that_decides_pixels_is_sent(clip, tmp_path, serve):
    server = serve()
    run(clip, tmp_path, [server], num_steps=20, control_guidance=2.0, disable_guardrails=False)
    (form,) = server.forms
    extra = form.pop("extra_params")
    assert list(form.pop("files")) == ["control_reference"]
    assert form == {
        **{"prompt": "a hall in rain", "negative_prompt": NEGATIVE_PROMPT, "model": "nvidia/Cosmos3-Nano"},
        **{"num_frames": "4", "fps": "12", "num_inference_steps": "20", "guidance_scale": "3.0"},
        **{"flow_shift": "10.0", "seed": "5", "control_type": "depth"},
    }
    assert extra["depth"] == {"control_weight": 1.0}
    assert (extra["control_guidance"], extra["guardrails"], extra["emphasize_control_in_prompt"]) == (2.0, True, True)
    assert (extra["num_video_frames_per_chunk"], extra["num_conditional_frames"]) == (93, 1)
    assert extra["negative_metadata_mode"] == "same", "as NVIDIA's own program has it for transfer"


def test_edges_and_blur_are_made_by_the_server_beside_one_uploaded_control(clip, tmp_path, serve):
    server = serve()
    controls = {"depth": {"control_weight": 0.5}, "edge": {"preset_edge_threshold": "low"}, "vis": {}}
    run(clip, tmp_path, [server], controls=controls)
    (form,) = server.forms
    assert set(form["files"]) == {"control_reference", "input_reference"}
    extra = form["extra_params"]
    assert extra["depth"] == {"control_weight": 0.5}
    assert extra["edge"] == {"control_weight": 1.0, "preset_edge_threshold": "low"}
    assert extra["blur"] == {"control_weight": 1.0, "preset_blur_strength": "medium"}


def test_a_server_on_this_machine_reads_several_control_videos_from_its_disk(clip, tmp_path, serve):
    server = serve()
    controls = {"depth": {}, "seg": {"control_path": str(clip.rgb)}}
    run(clip, tmp_path, [server], controls=controls)
    (form,) = server.forms
    assert not form["files"]
    assert "control_type" not in form
    assert all("control_path" in form["extra_params"][hint] for hint in ("depth", "seg"))


def test_variants_are_spread_over_the_servers(clip, tmp_path, serve):
    together = threading.Barrier(2)
    servers = [serve(together=together) for _ in range(2)]
    run(clip, tmp_path, servers, NAMES[:2])
    assert [len(server.forms) for server in servers] == [1, 1], "each was at work while the other was"


def test_a_server_that_is_loading_is_waited_for(clip, tmp_path, serve):
    server = serve(loading=3, busy=2, stored_late=2)
    assert run(clip, tmp_path, [server], NAMES[:2]) == ["rain", "snow"]
    assert server.requests.count("GET /health") >= 4


def test_a_server_that_is_never_ready_is_reported_with_its_last_answer(clip, tmp_path, serve):
    with pytest.raises(UserError, match=r"rain: no server is left.*not ready within .*start_min.*503"):
        run(clip, tmp_path, [serve(loading=10**6)], start_min=0.002)
    with pytest.raises(UserError, match=r"127.0.0.1:9: not ready.*no connection"):
        run(clip, tmp_path, ["http://127.0.0.1:9"], start_min=0.002)


def test_a_server_that_is_not_ready_keeps_no_variant_from_another(clip, tmp_path, serve):
    assert len(run(clip, tmp_path, [serve(loading=10**6), serve()], NAMES)) == 3


def test_something_else_at_the_address_is_named(clip, tmp_path, serve):
    server = serve()
    with pytest.raises(UserError, match=r"health answers 404.*enrich.server_urls"):
        run(clip, tmp_path, [f"{server.url}/proxy"])


@pytest.mark.parametrize("moment", ["submitted", "polled", "fetched", "restarted"])
def test_what_a_dying_server_leaves_is_made_by_another(clip, tmp_path, serve, moment):
    dying, other = serve(dies=moment), serve()
    assert sorted(run(clip, tmp_path, [dying, other], NAMES)) == sorted(NAMES)
    assert len(other.forms) == 3


def test_a_death_that_fails_the_job_first_is_a_death(clip, tmp_path, serve):
    dying, other = serve(fails=(500, "EngineCore died"), dies="failed"), serve()
    assert run(clip, tmp_path, [dying, other]) == ["rain"]
    assert (len(dying.forms), len(other.forms)) == (1, 1)


@pytest.mark.parametrize("moment", ["submitted", "polled", "fetched", "restarted"])
def test_the_death_of_the_last_server_is_reported_and_what_is_finished_is_kept(clip, tmp_path, serve, moment):
    good = serve()
    run(clip, tmp_path, [good])
    dying = serve(dies=moment)
    with pytest.raises(UserError, match=r"snow: no server is left\. http://127.0.0.1:\d+: .*snow"):
        run(clip, tmp_path, [dying], NAMES[:2])
    assert run(clip, tmp_path, [good], NAMES[:2]) == ["snow"]


@pytest.mark.parametrize("code", [400, 422, 500])
def test_the_message_of_a_failed_job_is_passed_on(clip, tmp_path, serve, code):
    servers = [serve(fails=(code, "CUDA out of memory in the VAE")), serve()]
    with pytest.raises(UserError, match=rf"rain: {servers[0].url} failed .*\({code}\): CUDA out of memory in the VAE"):
        run(clip, tmp_path, servers)
    assert not servers[1].forms, "another would fail too"


def test_a_refusal_is_passed_on(clip, tmp_path, serve):
    with pytest.raises(UserError, match=r"rain: .* refused it \(400\): Model mismatch: .*'nvidia/Cosmos3-Nano'"):
        run(clip, tmp_path, [serve(model="nvidia/Cosmos3-Super")])
    with pytest.raises(UserError, match=r"rain: .* has no video of it \(422\): Video generation failed"):
        run(clip, tmp_path, [serve(unfetchable=True)])


def test_a_job_that_does_not_end_is_cancelled_at_its_deadline(clip, tmp_path, serve):
    server = serve(stuck=True)
    with pytest.raises(UserError, match=r"rain: .* did not make it within 0.005 min \(`enrich.deadline_min`\)"):
        run(clip, tmp_path, [server], deadline_min=0.005)
    assert server.deleted == ["video_gen_0"]


def test_what_others_were_making_when_one_failed_is_kept(clip, tmp_path, serve):
    together = threading.Barrier(2)
    failing, good = serve(fails=(422, "blocked"), together=together), serve(together=together)
    with pytest.raises(UserError, match="blocked"):
        run(clip, tmp_path, [failing, good], NAMES[:2])
    assert len(list((tmp_path / ".kept").glob("*.mp4"))) == 1


def test_a_video_that_is_not_what_was_asked_for_is_refused(clip, tmp_path, serve):
    with pytest.raises(UserError, match=r"rain: .* made VideoInfo\(width=96, .* asked for was VideoInfo\(width=320"):
        run(clip, tmp_path, [serve(cropped=True)])


def test_lost_frames_are_found(long_clip, tmp_path, serve):
    with pytest.raises(UserError, match=r"rain: frames .* show what the render shows 3 frame\(s\) later"):
        run(long_clip, tmp_path / "lost", [serve(frames_lost=3)], controls={"vis": {}})
    assert run(long_clip, tmp_path / "kept", [serve()], controls={"vis": {}}) == ["rain"]


def test_a_control_of_another_length_is_refused_before_a_server_is_asked(clip, long_clip, tmp_path, serve):
    server = serve()
    with pytest.raises(UserError, match=r"rain: controls.edge.control_path: .* has 24 frames, the clip .* has 4"):
        run(clip, tmp_path, [server], controls={"edge": {"control_path": str(long_clip.rgb)}})
    assert not server.requests


def test_jobs_side_by_side_take_different_servers(clip, tmp_path, serve):
    """A server that another job of this machine holds is passed over."""
    held, other = serve(), serve()
    holder = client.VideoServer(held.url, 1, 1, threading.Event())
    assert holder.hold()
    assert len(run(clip, tmp_path, [held, other], NAMES[:2])) == 2
    assert not held.forms
    holder.release()
    assert len(run(clip, tmp_path, [held, other], NAMES)) == 1
    assert held.forms


def test_the_program_cancels_its_job_when_it_is_ended(clip, tmp_path, serve):
    server = serve(stuck=True)
    enrich_part, about = planned(server_urls=[server.url])
    machine = engine("cosmos3").machine(enrich_part)
    arguments = {
        **{"rgb": clip.rgb, "depth": clip.depth, "depth-m": clip.depth_m, "cameras": clip.cameras},
        **{"spec": json.dumps(clip_spec(enrich_part, about)), "machine": json.dumps(machine), "code": "code"},
        **{"folder": tmp_path / "out", "scratch": tmp_path / "scratch"},
    }
    command = [sys.executable, str(SCRIPTS / "enrich.py"), *(f"--{key}={value}" for key, value in arguments.items())]
    program = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(SCRIPTS)})
    until = time.monotonic() + 60
    while not server.forms and time.monotonic() < until:
        time.sleep(0.05)
    program.send_signal(signal.SIGTERM)
    assert program.wait(60) == 128 + signal.SIGTERM
    assert server.deleted == ["video_gen_0"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sigma_max": 80}, "`sigma_max`: Cosmos 3 has no such setting"),
        ({"controls": {"depth": {"from_render": False}}}, "`from_render`: Cosmos 3 estimates no depth"),
        ({"controls": {"seg": {"control_prompt": "floor"}}}, "`control_prompt`: Cosmos 3 makes no segmentation"),
        ({"controls": {"edge": {"mask_path": "a.mp4"}}}, "`mask_path`: Cosmos 3 has no masks"),
        ({"controls": {"edge": {"mask_prompt": "floor"}}}, "`mask_prompt`: Cosmos 3 has no masks"),
        ({"controls": {"wsm": {}}}, "unknown key 'wsm'. Known keys: depth, edge, seg, vis"),
        ({"controls": {"seg": {}}}, "give `controls.seg.control_path`"),
        ({"controls": {"depth": {"control_weight": 0}}}, "every control_weight is 0"),
        (
            {"controls": {"vis": {"control_path": "a.mp4"}, "depth": {}}, "server_urls": ["http://far:1"]},
            "http://far:1 is",
        ),
        ({"num_video_frames_per_chunk": 92}, "Take 89 or 93"),
        ({"num_video_frames_per_chunk": 5, "num_conditional_frames": 9}, "no chunk would add a frame"),
        ({"server_urls": ["localhost:8000"]}, "write http://<host>:<port>"),
        ({"server_urls": ["http://me:secret@far:1"]}, "a user or password"),
        ({"server_urls": ["http://a:1", "http://a:1/"]}, "names a server twice"),
        ({"server_urls": []}, "server_urls"),
        ({"backend": "native"}, "backend"),
        ({"model": "nvidia/Cosmos3-Edge"}, "nvidia/Cosmos3-Super"),
        ({"guidance_scale": 3}, "unknown key 'guidance_scale'"),
        ({"frames": 1}, "2 to 5000"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name_before_a_job_runs(wrong, said):
    with pytest.raises(UserError) as refusal:
        clip_spec(*planned(**wrong))
    assert said in str(refusal.value)


def test_a_server_elsewhere_takes_what_it_can_be_given():
    controls = {"depth": {}, "edge": {}, "vis": {}}
    assert clip_spec(*planned(server_urls=["http://far:1"], controls=controls))["variants"]
    assert clip_spec(*planned(server_urls=["http://far:1"], controls=controls))["files"] == []


def test_what_is_estimated_says_so():
    enrich_part, _ = planned(NAMES[:2], resolution="720", num_video_frames_per_chunk=121)
    about = PlannedClip("orbit", {}, 1280, 720, 121)
    cosmos3 = engine("cosmos3")
    seconds, source = cosmos3.seconds(enrich_part, about)
    assert seconds == pytest.approx(540)
    assert "estimate" in source and "H100" in source and "1 server(s)" in source
    two = {**enrich_part, "server_urls": ["http://a:1", "http://b:1", "http://c:1"]}
    assert cosmos3.seconds(two, about)[0] == pytest.approx(270), "two variants keep two servers at work"
    assert cosmos3.gpus(enrich_part) == 0 and cosmos3.vram_needed_gb(enrich_part, 1280, 720) == 0
    assert cosmos3.repositories(enrich_part) == [], "the servers have the weights"


def test_sizes_are_the_nearest_the_model_knows():
    assert [model_size(*size, "720") for size in ((1280, 720), (640, 480), (512, 512), (480, 640), (360, 640))] == [
        *SIZES["720"]
    ]
    assert fit(
        1280, 720, 186, {"resolution": "720", "num_video_frames_per_chunk": 93, "num_conditional_frames": 1}
    ) == {
        **{"model_width": 1280, "model_height": 720, "stretched": 1.0, "chunks": 3, "model_frames": 277},
        **{"padding": "reflected", "undone": "cut to length, resized back"},
    }
