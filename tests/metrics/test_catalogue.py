"""The catalogue, the configuration and the documentation agree."""

import pytest

from blueprint import config as configuration
from blueprint.errors import UserError
from blueprint.metrics.catalogue import METRICS, as_markdown, check_names
from workflow_runs import REPOSITORY


def test_the_configuration_takes_exactly_these_scores_with_their_thresholds():
    config = {"facilities": [{"name": "a", "scene": "b.ply"}], "metrics": {"names": list(METRICS)}}
    metrics = configuration.complete(config, "c.yaml")["metrics"]
    assert metrics["thresholds"] == {name: metric.thresholds for name, metric in METRICS.items() if metric.thresholds}
    with pytest.raises(UserError, match=", ".join(f"'{name}'" for name in list(METRICS)[:-1])):
        configuration.complete({**config, "metrics": {"names": ["beauty"]}}, "c.yaml")


def test_thresholds_are_in_order_and_only_on_what_is_meant_to_stay():
    for name, metric in METRICS.items():
        assert not (metric.thresholds and metric.family == "appearance"), name
        worse = [*(metric.thresholds[key] for key in ("fail", "warn") if key in metric.thresholds), metric.ideal]
        assert worse == sorted(worse, key=lambda value: metric.sign * value), name


def test_the_documentation_holds_the_catalogue():
    page = (REPOSITORY / "docs" / "metrics.md").read_text()
    assert as_markdown() in page, "paste what blueprint.metrics.catalogue.as_markdown() returns"


def test_a_clip_too_small_for_a_score_is_refused_before_any_job():
    clips = {"hall/orbit": {"width": 320, "height": 240}, "hall/tiny": {"width": 320, "height": 160}}
    with pytest.raises(UserError, match=r"c\.yaml: metrics\.names: ms_ssim needs .* clip hall/tiny has 320 x 160"):
        check_names(["psnr", "ms_ssim"], clips, "c.yaml")
    check_names(["psnr", "ssim"], clips, "c.yaml")
