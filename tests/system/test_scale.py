"""What must hold of a simulated run, whatever the market is like."""

import importlib.util
import math
import sys
from statistics import fmean

import pytest

from workflow_runs import REPOSITORY

SPEC = importlib.util.spec_from_file_location("scale", REPOSITORY / "benchmarks" / "scale.py")
scale = sys.modules["scale"] = importlib.util.module_from_spec(SPEC)  # dataclasses look their module up
SPEC.loader.exec_module(scale)
CALM = scale.Market(lost_per_h=0, slow_share=0)
ROUGH = scale.Market(lost_per_h=0.3, slow_share=0.3, slow_factor=3)


@pytest.mark.parametrize("way", scale.WAYS)
@pytest.mark.parametrize(("clips", "machines"), [(1, 1), (3, 8), (100, 7), (500, 64)])
def test_no_clip_is_lost_or_made_twice_and_nothing_is_cheaper_than_the_work(way, clips, machines):
    run = scale.simulate(clips, machines, way, ROUGH, seed=clips)
    assert sorted(run.made) == list(range(clips))
    assert run.wasted_h > 0 and run.cost_usd(ROUGH) > clips * scale.CLIP_S / 3600 * ROUGH.usd_per_h
    assert run.makespan_s > math.ceil(clips / machines) * scale.CLIP_S
    assert run.machines >= min(clips, machines) and run.bucket_calls(way) >= clips * scale.FILES


@pytest.mark.parametrize(("clips", "machines"), [(5, 8), (100, 7), (128, 64)])
def test_equal_machines_that_are_never_lost_take_what_arithmetic_says(clips, machines):
    rounds, places = math.ceil(clips / machines), min(clips, machines)
    for way in ("static", "take-over"):
        run = scale.simulate(clips, machines, way, CALM)
        assert run.makespan_s == pytest.approx(CALM.boot_s + rounds * scale.CLIP_S)
        assert run.billed_s == pytest.approx(places * CALM.boot_s + clips * scale.CLIP_S)
        assert run.machines == places
    run = scale.simulate(clips, machines, "per job", CALM)
    assert run.makespan_s == pytest.approx(rounds * (CALM.boot_s + scale.CLIP_S))
    assert run.billed_s == pytest.approx(clips * (CALM.boot_s + scale.CLIP_S))
    assert run.machines == clips


@pytest.mark.parametrize("market", [scale.Market(), ROUGH], ids=["as assumed", "rough"])
def test_taking_over_is_on_average_no_slower_than_static_shards(market):
    mean = {
        way: fmean(scale.simulate(200, 16, way, market, seed).makespan_s for seed in range(20)) for way in scale.WAYS
    }
    assert mean["take-over"] < mean["static"]


def test_a_run_is_the_same_whenever_it_is_simulated():
    first, second = (scale.simulate(100, 8, "take-over", ROUGH, seed=3) for _ in range(2))
    assert first == second
    assert first != scale.simulate(100, 8, "take-over", ROUGH, seed=4)
