"""The catalogue, the configuration's schema and the documentation agree."""

import pytest

from blueprint.config import load_schema
from blueprint.errors import UserError
from blueprint.metrics.catalogue import METRICS, as_markdown, check_names
from workflow_runs import REPOSITORY


def test_the_schema_knows_exactly_these_scores():
    properties = load_schema()["properties"]["metrics"]["properties"]
    assert properties["names"]["items"]["enum"] == list(METRICS)
    assert list(properties["thresholds"]["properties"]) == list(METRICS)


def test_thresholds_are_in_order_and_only_on_what_is_meant_to_stay():
    thresholds = load_schema()["properties"]["metrics"]["properties"]["thresholds"]["properties"]
    for name, entry in thresholds.items():
        limits = entry.get("default")
        assert (limits is None) == (METRICS[name].family == "appearance"), name
        if limits:
            assert limits["fail"] < limits["warn"] < METRICS[name].ideal


def test_the_documentation_holds_the_catalogue():
    page = (REPOSITORY / "docs" / "metrics.md").read_text()
    assert as_markdown() in page, "paste what blueprint.metrics.catalogue.as_markdown() returns"


def test_a_clip_too_small_for_a_score_is_refused_before_any_job():
    clips = {"hall/orbit": {"width": 320, "height": 240}, "hall/tiny": {"width": 320, "height": 160}}
    with pytest.raises(UserError, match=r"c\.yaml: metrics\.names: ms_ssim needs .* clip hall/tiny has 320 x 160"):
        check_names(["psnr", "ms_ssim"], clips, "c.yaml")
    check_names(["psnr", "ssim"], clips, "c.yaml")
