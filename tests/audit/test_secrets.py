"""The secret scan finds what is planted, wherever it is planted, and leaves the runtime secrets file alone.

Tokens are made at random here, so that this file holds none.
"""

import json
import random
import string
import subprocess

import pytest

from blueprint.audit import secrets
from blueprint.errors import UserError
from workflow_runs import REPOSITORY, git

LETTERS = string.ascii_letters + string.digits


def random_text(alphabet, length, seed):
    return "".join(random.Random(seed).choices(alphabet, k=length))


TOKENS = {
    "huggingface": "hf" + "_" + random_text(LETTERS, 34, 1),
    "backblaze": "K00" + "5" + random_text(LETTERS + "+/", 27, 2),
    "vast": random_text("0123456789abcdef", 64, 3),
    "google": "AI" + "za" + random_text(LETTERS + "_-", 34, 4) + "x",
    "google oauth": "GOC" + "SPX-" + random_text(LETTERS, 28, 5),
    "aws": "AK" + "IA" + random_text(string.ascii_uppercase + string.digits, 16, 6),
    "entropy": random_text(LETTERS + "+/", 48, 7),
}
PLACES = {
    "code": ("tool.py", lambda token: f'client = connect("{token}")  # vast\n'),
    "yaml": ("settings.yaml", lambda token: f'vast:\n  vast_api_key: "{token}"\n'),
    "bare yaml": ("bare.yaml", lambda token: f"vast_api_key: {token}\n"),
    "notebook": (
        "note.ipynb",
        lambda token: json.dumps(
            {"cells": [{"cell_type": "code", "source": [f"vast_api_key = '{token}'\n"]}]}, indent=1
        ),
    ),
    "shell": ("run.sh", lambda token: f"export VAST_API_KEY={token}\n"),
}


@pytest.fixture
def checkout(tmp_path):
    """A small clean checkout with this project's .gitignore and one commit."""
    git(tmp_path, "init", "-b", "main")
    (tmp_path / ".gitignore").write_text((REPOSITORY / ".gitignore").read_text())
    (tmp_path / "config").mkdir()
    (tmp_path / "README.md").write_text("Nothing to see here.\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def runtime_env():
    return (
        f"HF_TOKEN={TOKENS['huggingface']}\nB2_APPLICATION_KEY={TOKENS['backblaze']}\nVAST_API_KEY={TOKENS['vast']}\n"
    )


def test_clean_checkout_has_no_finding(checkout):
    assert secrets.scan(checkout) == []


# Without quotes and without a known shape nothing sets random text apart.
PLANTED = [
    (service, place)
    for service in TOKENS
    for place in PLACES
    if service != "entropy" or place in ("code", "yaml", "bare yaml")
]


@pytest.mark.parametrize(("service", "place"), PLANTED)
@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
def test_planted_token_is_found(checkout, service, place, tracked):
    name, content = PLACES[place]
    (checkout / name).write_text(content(TOKENS[service]))
    if tracked:
        git(checkout, "add", name)
    found = secrets.scan(checkout)
    assert [finding.path for finding in found if finding.path == name], f"{service} in {name}: {found}"
    assert TOKENS[service] not in repr(found), "a finding does not repeat the secret"


@pytest.mark.parametrize("service", TOKENS)
def test_token_in_an_old_commit_is_found_with_its_commit(checkout, service):
    (checkout / "tool.py").write_text(PLACES["code"][1](TOKENS[service]))
    git(checkout, "add", "-A")
    git(checkout, "commit", "-m", "oops")
    oops = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=checkout, capture_output=True, text=True
    ).stdout.strip()
    (checkout / "tool.py").write_text("client = connect()\n")
    git(checkout, "commit", "-am", "remove it")
    found = secrets.scan(checkout)
    assert {(finding.path, finding.commit) for finding in found} == {("tool.py", oops)}


def test_token_in_a_deleted_file_and_in_the_first_commit_is_found(tmp_path):
    git(tmp_path, "init", "-b", "main")
    (tmp_path / "a b.txt").write_text(f"token {TOKENS['huggingface']}\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "first")
    git(tmp_path, "rm", "a b.txt")
    git(tmp_path, "commit", "-m", "second")
    assert [finding.path for finding in secrets.scan(tmp_path)] == ["a b.txt"]


def test_runtime_secrets_file_is_left_alone(checkout):
    (checkout / "config" / "runtime.env").write_text(runtime_env())
    assert secrets.scan(checkout) == []


@pytest.mark.parametrize("copy", ["config/runtime.env.bak", "config/runtime.env2", "runtime.env", "config/old.env"])
def test_a_copy_of_the_runtime_secrets_file_is_found(checkout, copy):
    (checkout / copy).write_text(runtime_env())
    assert {finding.kind for finding in secrets.scan(checkout)} >= {
        "Hugging Face Token",
        "Backblaze Application Key",
        "Vast.ai API Key",
    }


def test_an_ignored_copy_is_found(checkout):
    with (checkout / ".gitignore").open("a") as ignore:
        ignore.write("*.env\n")
    (checkout / "config" / "mine.env").write_text(runtime_env())
    assert {finding.path for finding in secrets.scan(checkout)} == {"config/mine.env"}


def test_a_committed_runtime_secrets_file_is_found(checkout):
    (checkout / "config" / "runtime.env").write_text(runtime_env())
    git(checkout, "add", "-f", "config/runtime.env")
    assert {finding.path for finding in secrets.scan(checkout)} == {"config/runtime.env"}
    git(checkout, "commit", "-m", "oops")
    git(checkout, "rm", "--cached", "config/runtime.env")
    git(checkout, "commit", "-m", "untrack")
    assert {finding.path for finding in secrets.scan(checkout)} == {"config/runtime.env"}, "the history still has it"


def test_the_baseline_silences_only_what_a_person_has_judged(checkout):
    (checkout / "digest.py").write_text(f'CHECKSUM = "{TOKENS["vast"]}"\n')
    assert secrets.write_baseline(checkout) == 1
    assert [finding.path for finding in secrets.scan(checkout)] == ["digest.py"], "not judged yet"
    baseline = json.loads((checkout / secrets.BASELINE).read_text())
    baseline["results"]["digest.py"][0]["is_secret"] = False
    (checkout / secrets.BASELINE).write_text(json.dumps(baseline))
    assert secrets.scan(checkout) == []
    (checkout / "other.py").write_text(f'CHECKSUM = "{TOKENS["vast"]}"\n')
    assert [finding.path for finding in secrets.scan(checkout)] == ["other.py"], "judged in one file, not everywhere"


def test_a_secret_hidden_in_the_baseline_is_found(checkout):
    (checkout / secrets.BASELINE).write_text(json.dumps({"results": {}, "note": TOKENS["huggingface"]}))
    assert [finding.path for finding in secrets.scan(checkout)] == [secrets.BASELINE]


def test_a_broken_baseline_is_refused(checkout):
    (checkout / secrets.BASELINE).write_text("[]")
    with pytest.raises(UserError, match="not a detect-secrets baseline"):
        secrets.scan(checkout)


def test_outside_a_checkout_it_says_so(tmp_path):
    with pytest.raises(UserError, match="git ls-files failed"):
        secrets.scan(tmp_path)


def test_this_repository_has_no_finding():
    assert [str(finding) for finding in secrets.scan(REPOSITORY)] == []
