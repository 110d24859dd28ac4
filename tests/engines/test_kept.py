"""Finished variants survive, and only they; jobs side by side hold different GPUs."""

import json

import pytest

from blueprint.engines.gpu import PeakMemory, find_gpus, held_gpus, visible_gpus
from blueprint.errors import UserError
from blueprint.kept import Kept


def finished(folder, name, content=b"video"):
    video = folder / f"made {name}.mp4"
    video.write_bytes(content)
    return video


def test_finished_variant_is_restored_newer_than_its_inputs(tmp_path):
    kept = Kept(tmp_path / "out", {"dim": "a" * 64})
    assert not kept.restore("dim")
    kept.add("dim", finished(tmp_path, "dim"), {"engine": "x"})
    outputs = [tmp_path / "out" / name for name in ("dim.mp4", "dim.json")]
    before = [path.read_bytes() for path in outputs]
    for path in outputs:
        path.unlink()
    newer = tmp_path / "input"
    newer.touch()
    assert Kept(tmp_path / "out", {"dim": "a" * 64}).restore("dim")
    assert [path.read_bytes() for path in outputs] == before
    assert all(path.stat().st_mtime_ns >= newer.stat().st_mtime_ns for path in outputs)


def test_other_digest_is_another_variant_and_pruning_removes_the_old(tmp_path):
    Kept(tmp_path, {"dim": "a" * 64}).add("dim", finished(tmp_path, "dim"), {})
    changed = Kept(tmp_path, {"dim": "b" * 64})
    assert not changed.restore("dim")
    changed.prune()
    assert list(changed.store.iterdir()) == []
    assert (tmp_path / "dim.mp4").exists(), "the output itself is Snakemake's"


def test_variant_without_provenance_is_not_finished(tmp_path):
    kept = Kept(tmp_path, {"dim": "a" * 64})
    kept.add("dim", finished(tmp_path, "dim"), {})
    next(kept.store.glob("*.json")).unlink()
    assert not kept.restore("dim")


def test_damaged_video_is_made_again(tmp_path):
    kept = Kept(tmp_path, {"dim": "a" * 64})
    kept.add("dim", finished(tmp_path, "dim"), {})
    next(kept.store.glob("*.mp4")).write_bytes(b"vide0")
    assert not kept.restore("dim")
    assert json.loads((tmp_path / "dim.json").read_text())["sha256"]


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0, NVIDIA L40S, 570.1, 46068, 1000\\n1, NVIDIA L40S, 570.1, 46068, 30000\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_jobs_side_by_side_hold_different_gpus(two_gpus):
    with held_gpus(1) as first:
        assert [gpu.index for gpu in first] == [0], "the emptiest first"
        with held_gpus(1) as second:
            assert [gpu.index for gpu in second] == [1]
            with pytest.raises(UserError, match="1 NVIDIA GPU"), held_gpus(1):
                pass
    with held_gpus(2) as both:
        assert len(both) == 2


def test_only_visible_gpus_are_taken(two_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with held_gpus(1) as (gpu,):
        assert gpu.index == 1


CARDS = "0, NVIDIA A100, 570.1, 81920, 1000\\n1, NVIDIA A100, 570.1, 81920, 30000\\n"
UUIDS = "0, GPU-aaaa-1\\n1, GPU-bbbb-2\\n"
PARTS = """GPU 0: NVIDIA A100 (UUID: GPU-aaaa-1)
  MIG 3g.40gb     Device  0: (UUID: MIG-cccc-3)
  MIG 1g.10gb     Device  1: (UUID: MIG-dddd-4)
GPU 1: NVIDIA A100 (UUID: GPU-bbbb-2)
"""


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("1", [("1", 1, 85.9)]),
        ("GPU-bbbb-2", [("GPU-bbbb-2", 1, 85.9)]),
        ("GPU-aa,GPU-bb", [("GPU-aa", 0, 85.9), ("GPU-bb", 1, 85.9)]),
        ("MIG-dddd-4", [("MIG-dddd-4", 0, 10.0)]),
        ("MIG-nothing", []),
        ("", []),
    ],
)
def test_the_gpu_that_a_scheduler_assigned_is_used(tmp_path, monkeypatch, named, found):
    """By index, by UUID, by the start of one, or as a part of a card."""
    tool = tmp_path / "nvidia-smi"
    answers = f"*uuid*) printf '{UUIDS}';; *query*) printf '{CARDS}';; -L) cat {tmp_path}/parts;;"
    tool.write_text(f'#!/bin/sh\ncase "$*" in {answers} esac\n')
    tool.chmod(0o755)
    (tmp_path / "parts").write_text(PARTS)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    seen = [(gpu.device, gpu.index, round(gpu.total_gb, 1)) for gpu in visible_gpus()]
    assert seen == found


def test_memory_is_in_gigabytes_and_its_peak_is_seen(two_gpus):
    assert find_gpus()[0].total_gb == pytest.approx(48.3, abs=0.05), "46068 MiB"
    with PeakMemory(find_gpus()) as memory:
        pass
    assert memory.peak_gb == pytest.approx(31.5, abs=0.05)
