"""Access to repositories on the hub: each refusal is told apart, the token is never shown."""

import pytest

from blueprint.engines.base import Repository
from blueprint.engines.cosmos_model import TRANSFER
from blueprint.engines.hub import check_access
from loopback_hub import Hub, running

TOKEN = "hf_of-the-test"


def check(refusal=None, timeout_s=5.0, token=TOKEN):
    page = f"https://huggingface.co/{TRANSFER}"
    refusals = {} if refusal is None else {TRANSFER: refusal}
    with running(Hub({TRANSFER: {}}, refusals)) as hub:
        (result,) = check_access([Repository(TRANSFER, "main", True)], token, hub.endpoint, timeout_s)
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
    repository = Repository(TRANSFER, "main", True)
    (result,) = check_access([repository], TOKEN, "http://127.0.0.1:9", 2.0)
    assert "cannot be reached" in result.evidence


def test_each_repository_is_asked_for_once():
    repositories = [Repository(id, revision, True) for id, revision in (("a/a", "x"), ("a/a", "y"), ("a/b", "x"))]
    with running(Hub({"a/a": {}, "a/b": {}})) as hub:
        results = check_access(repositories, TOKEN, hub.endpoint)
    assert [result.result for result in results] == ["ok"] * 2
    assert len(hub.requests) == 2
