"""LPIPS and DISTS: piq's own numbers when weights are there, one clear message before any job when they are not."""

import functools
import hashlib
import http.server
import threading

import pytest
import torch

import synthetic_room
from blueprint.errors import UserError
from blueprint.metrics import weights
from blueprint.metrics.catalogue import VGG16
from blueprint.metrics.score import ClipFiles, score
from blueprint.video import read_video, write_video
from piq_reference import piq
from small_runs import small_config
from workflow_runs import snakemake, write_config

LEARNED = ["lpips", "dists"]
VGG_CHANNELS = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]


def write_random_weights(home):
    """Weights of the right names and shapes; the classifier, which no score uses, is one number repeated."""
    torch.manual_seed(0)
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    state, before, index = {}, 3, 0
    for channels in VGG_CHANNELS:
        if channels == "M":
            index += 1
            continue
        state[f"features.{index}.weight"] = torch.randn(channels, before, 3, 3) * (2 / (9 * before)) ** 0.5
        state[f"features.{index}.bias"] = torch.randn(channels) * 0.01
        before, index = channels, index + 2
    for layer, (outputs, inputs) in {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}.items():
        state[f"classifier.{layer}.weight"] = torch.zeros(1).expand(outputs, inputs)
        state[f"classifier.{layer}.bias"] = torch.zeros(1).expand(outputs)
    torch.save(state, folder / VGG16)
    torch.save([torch.rand(1, channels, 1, 1) for channels in (64, 128, 256, 512, 512)], folder / "lpips_weights.pt")
    shape = (1, 3 + 64 + 128 + 256 + 512 + 512, 1, 1)
    torch.save({name: torch.full(shape, 0.5 / shape[1]) for name in ("alpha", "beta")}, folder / "dists_weights.pt")


def test_learned_scores_are_those_of_piq(tmp_path, monkeypatch):
    write_random_weights(tmp_path / "torch")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    room = synthetic_room.room(2, width=96, height=64)
    paths = room.write(tmp_path)
    files = ClipFiles(paths["rgb.mp4"], paths["depth.npz"], paths["cameras.json"])
    variant = tmp_path / "variant.mp4"  # its first frame is the render's
    write_video(variant, [room.frames[0], room.frames[1] // 2], 12, crf=0)
    scores = score(files, variant, LEARNED, "cpu")["frames"]
    for name, model in (("lpips", piq.LPIPS()), ("dists", piq.DISTS())):
        expected = []
        for pair in zip(read_video(variant), read_video(files.rgb), strict=True):
            x, y = (torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255 for frame in pair)
            expected.append(model(x, y).item())
        assert scores[name] == pytest.approx(expected, abs=1e-4)
        assert scores[name][0] == pytest.approx(0, abs=1e-4)
        assert scores[name][1] > 0.01


def test_absent_weights_stop_a_run_before_any_job_but_not_a_dry_run(tmp_path):
    home = tmp_path / "torch"
    config = write_config(tmp_path, small_config(metrics={"names": ["psnr", "lpips"], "torch_home": str(home)}))
    finished = snakemake(tmp_path, config, check=False)
    assert finished.returncode != 0
    assert "asks for lpips, whose weights are absent" in finished.stdout
    assert str(home / "hub" / "checkpoints" / "lpips_weights.pt") in finished.stdout
    assert "fetch_metric_weights" in finished.stdout
    assert not (tmp_path / "results").exists()
    assert "lpips_weights" not in snakemake(tmp_path, config, "--dry-run").stdout


def test_the_remedy_that_the_message_names_runs(tmp_path):
    write_random_weights(tmp_path / "torch")  # which are there: nothing is downloaded
    config = write_config(tmp_path, small_config(metrics={"names": ["psnr"], "torch_home": str(tmp_path / "torch")}))
    snakemake(tmp_path, config, "fetch_metric_weights")
    log = (tmp_path / "logs" / "fetch_metric_weights.log").read_text()
    for name in weights.SOURCES:
        assert str(tmp_path / "torch" / "hub" / "checkpoints" / name) in log


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The places that weights come from, on loopback."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{served.server_port}"
        monkeypatch.setattr(weights, "SOURCES", {name: f"{address}/{name}" for name in weights.SOURCES})
        yield folder
        served.shutdown()


def test_weights_are_fetched_once(server, tmp_path):
    (server / "lpips_weights.pt").write_bytes(b"lpips")
    home = tmp_path / "torch"
    present = home / "hub" / "checkpoints" / VGG16
    present.parent.mkdir(parents=True)
    present.write_bytes(b"vgg")
    assert [path.read_bytes() for path in weights.fetch(["lpips"], home)] == [b"lpips", b"vgg"]
    (server / "lpips_weights.pt").unlink()
    weights.fetch(["lpips"], home)
    weights.require(["lpips"], home, "config.yaml")


def test_weights_that_do_not_match_their_name_are_refused(server, tmp_path):
    (server / "lpips_weights.pt").write_bytes(b"lpips")
    (server / VGG16).write_bytes(b"not VGG")
    assert not hashlib.sha256(b"not VGG").hexdigest().startswith("397923af")
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth: cannot be fetched"):
        weights.fetch(["lpips"], tmp_path / "torch")
    assert not (tmp_path / "torch" / "hub" / "checkpoints" / VGG16).exists()


def test_weights_that_are_nowhere_are_one_clear_message(server, tmp_path):
    with pytest.raises(UserError, match=r"cannot be fetched \(.*404.*put it at .*lpips_weights\.pt"):
        weights.fetch(["lpips"], tmp_path / "torch")


def test_the_torch_cache_is_where_torch_looks(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "a"))
    assert weights.torch_home("") == tmp_path / "a"
    assert weights.torch_home(str(tmp_path / "b")) == tmp_path / "b"
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert weights.torch_home("") == tmp_path / "c" / "torch"
