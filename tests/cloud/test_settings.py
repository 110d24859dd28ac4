"""Cloud settings: one clear message per mistake, secrets never shown, placeholders told from the real thing."""

import shutil
from pathlib import Path

import pytest
import yaml

from blueprint.cloud import settings
from blueprint.cloud.shutdown import absence_problem, placeholder_problem
from blueprint.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CANARIES = {
    "B2_APPLICATION_KEY_ID": "canary-id",
    "B2_APPLICATION_KEY": "canary-key",
    "VAST_API_KEY": "canary-vast",
    "HF_TOKEN": "canary-hf",
    "GIT_TOKEN": "canary-git",
    "NOTIFY_URLS": "canary-notify",
}


@pytest.fixture
def cloud_yaml(tmp_path):
    def write(**values):
        path = tmp_path / "cloud.yaml"
        path.write_text(yaml.safe_dump({"bucket": "some-bucket", **values}))
        return path

    return write


def load(path, environ=None, runtime_env=Path("absent.env")):
    return settings.load(path, environ or {}, runtime_env)


def test_committed_settings_are_valid_and_hold_no_secret():
    loaded = load(ROOT / "profiles" / "vast" / "cloud.yaml")
    assert loaded.shutdown == "destroy" and loaded.has_budget
    assert loaded.secrets() == {}


def test_absent_keys_take_the_schema_s_defaults(cloud_yaml):
    loaded = load(cloud_yaml())
    assert (loaded.prefix, loaded.interval_s, loaded.max_cost_usd, loaded.rate_usd_per_h) == ("blueprint", 60, 0, None)
    assert loaded.machine["min_vram_gb"] == 70


@pytest.mark.parametrize("amount, limited", [(0, False), (0.0, False), (-1, False), (-0.01, False), (0.01, True)])
def test_budget_of_zero_or_less_is_off(cloud_yaml, amount, limited):
    assert load(cloud_yaml(max_cost_usd=amount)).has_budget is limited


@pytest.mark.parametrize(
    "values, key",
    [
        ({"bucket": "a b"}, "bucket"),
        ({"prefix": "/absolute"}, "prefix"),
        ({"prefix": ""}, "prefix"),
        ({"endpoint": "localhost:1"}, "endpoint"),
        ({"run_id": "../up"}, "run_id"),
        ({"interval_s": 0}, "interval_s"),
        ({"grace_s": -1}, "grace_s"),
        ({"max_cost_usd": "20"}, "max_cost_usd"),
        ({"max_cost_usd": float("nan")}, "max_cost_usd"),
        ({"max_cost_usd": float("inf")}, "max_cost_usd"),
        ({"rate_usd_per_h": 0}, "rate_usd_per_h"),
        ({"shutdown": None}, "shutdown"),
        ({"vast": {"min_reliability": 98}}, "min_reliability"),
        ({"budget": 3}, "budget"),
        ({"prefix": ".."}, "prefix"),
        ({"prefix": "a/../b"}, "prefix"),
        ({"prefix": "a\n"}, "prefix"),
        ({"endpoint": "http://storage.example.com"}, "endpoint"),
        ({"endpoint": "https://"}, "endpoint"),
        ({"run_id": "main\n"}, "run_id"),
        ({"vast": {"min_vram_gb": float("nan")}}, "min_vram_gb"),
        ({"vast": {"gpu_names": ["L40S", "L40S"]}}, "gpu_names"),
    ],
)
def test_a_bad_value_names_file_key_and_manual(cloud_yaml, values, key):
    path = cloud_yaml(**values)
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(path) in str(caught.value) and key in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_budget_given_twice_is_refused_with_its_line(tmp_path):
    path = tmp_path / "cloud.yaml"
    path.write_text("bucket: some-bucket\nmax_cost_usd: 20\nmax_cost_usd: 2000\n")
    with pytest.raises(UserError, match=r"cloud\.yaml:3: the key 'max_cost_usd' stands twice, first in line 2"):
        load(path)


@pytest.mark.parametrize("endpoint", ["https://storage.example.com", "http://127.0.0.1:9000", None])
def test_an_endpoint_is_private_or_this_machine(cloud_yaml, endpoint):
    assert load(cloud_yaml(endpoint=endpoint)).endpoint == endpoint


def test_every_mistake_has_its_own_line(cloud_yaml):
    with pytest.raises(UserError) as caught:
        load(cloud_yaml(interval_s=0, grace_s=-1))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["- a\n", "{", "word"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "cloud.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"cloud\.yaml"):
        load(path)


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "none.yaml")


def test_environment_wins_over_runtime_env(cloud_yaml, tmp_path):
    env_file = tmp_path / "runtime.env"
    env_file.touch(0o600)
    env_file.write_text("# comment\n\nexport VAST_API_KEY='from file'\nHF_TOKEN=t$HOME\nB2_APPLICATION_KEY=\n")
    loaded = load(cloud_yaml(), {"VAST_API_KEY": "from environment"}, env_file)
    assert loaded.vast_api_key == "from environment"
    assert loaded.hf_token == "t$HOME"
    assert loaded.application_key is None


def test_a_bad_line_of_runtime_env_is_named_but_not_shown(cloud_yaml, tmp_path):
    env_file = tmp_path / "runtime.env"
    env_file.touch(0o600)
    env_file.write_text("HF_TOKEN=x\nhf_canary\n")
    with pytest.raises(UserError, match="line 2") as caught:
        load(cloud_yaml(), {}, env_file)
    assert "canary" not in str(caught.value)


def test_secrets_are_kept_out_of_repr(cloud_yaml):
    loaded = load(cloud_yaml(), CANARIES)
    assert loaded.secrets() == CANARIES
    assert "canary" not in repr(loaded) and "canary" not in str(loaded)


def test_the_committed_example_names_every_secret_and_holds_none(tmp_path):
    example = tmp_path / "runtime.env"
    example.touch(0o600)
    example.write_text((ROOT / settings.EXAMPLE_ENV).read_text())
    assert settings.read_runtime_env(example) == {}
    names = {line.partition("=")[0] for line in example.read_text().splitlines() if line and line[0] != "#"}
    assert names == set(CANARIES)


@pytest.mark.parametrize(
    "environ, number",
    [
        ({}, None),
        ({"VAST_INSTANCE_ID": "12"}, 12),
        ({"CONTAINER_ID": "13"}, 13),
        ({"VAST_CONTAINERLABEL": "C.14"}, 14),
    ],
)
def test_instance_id_comes_from_the_container(cloud_yaml, environ, number):
    assert load(cloud_yaml(), environ).instance_id == number


def test_an_instance_id_that_is_no_number_is_refused(cloud_yaml):
    with pytest.raises(UserError, match="VAST_INSTANCE_ID"):
        load(cloud_yaml(), {"VAST_INSTANCE_ID": "mine"})


def test_the_container_s_own_key_is_the_fallback(cloud_yaml):
    assert load(cloud_yaml(), {"CONTAINER_API_KEY": "own"}).vast_api_key == "own"
    assert load(cloud_yaml(), {"CONTAINER_API_KEY": "own", "VAST_API_KEY": "mine"}).vast_api_key == "mine"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o606])
def test_secrets_that_others_can_read_are_refused(cloud_yaml, tmp_path, mode):
    env_file = tmp_path / "runtime.env"
    env_file.write_text("HF_TOKEN=canary\n")
    env_file.chmod(mode)
    with pytest.raises(UserError, match="chmod 600") as caught:
        load(cloud_yaml(), {}, env_file)
    assert f"{mode:04o}" in str(caught.value) and "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        *("", " ", "\n", "null", "Destroy", "stop ", " destroy", "STOP", "poweroff", "ls", "true", ":", "# poweroff"),
        *(
            "echo stop",
            "/usr/bin/echo stop",
            "/bin/true",
            "/bin/ls",
            "/usr/bin/sleep 5",
            "/usr/bin/env A=1 /x",
            "'unclosed",
        ),
        *("timeout 5 true", "/usr/bin/timeout 5 /sbin/poweroff", "/usr/bin/nohup /sbin/poweroff", "python3 -c pass"),
        *("/usr/bin/python3 -c pass", "/bin/bash -c /sbin/poweroff", "/bin/sh -ec :", "A=1 /sbin/poweroff"),
        *(
            "sudo poweroff",
            "/usr/bin/sudo poweroff",
            "/usr/bin/sudo -n /bin/true",
            "vastai stop instance 3",
            "./end.sh",
        ),
    ],
)
def test_placeholders_are_refused(command):
    assert placeholder_problem(command)


@pytest.mark.parametrize(
    "command",
    [
        *("stop", "destroy", "/sbin/poweroff", "/usr/bin/sudo -n /sbin/shutdown -h now", "/root/end_machine.sh"),
        *("/usr/local/bin/vastai stop instance 3", "/usr/bin/python3 /root/end.py", "/bin/systemctl poweroff"),
    ],
)
def test_real_commands_are_accepted(command):
    assert placeholder_problem(command) is None


def test_a_command_must_be_found_on_the_machine(tmp_path):
    program = tmp_path / "end"
    assert "no program" in absence_problem(str(program))
    program.write_text("#!/bin/sh\n")
    assert "no program" in absence_problem(str(program))  # nobody may execute it
    program.chmod(0o755)
    assert absence_problem(str(program)) is None
    (tmp_path / "alias").symlink_to(shutil.which("true"))
    assert "by another name" in absence_problem(str(tmp_path / "alias"))


@pytest.mark.parametrize(
    "arguments, environ",
    [
        (["--profile", "cloudy"], {}),
        (["-n", "--profile=cloudy"], {}),
        (["--profile", "cloudy/config.yaml", "--config", "a=b"], {}),
        ([], {"SNAKEMAKE_PROFILE": "other,cloudy"}),
        (["--workflow-profile", "cloudy"], {}),
    ],
)
def test_a_cloud_profile_is_recognised(tmp_path, monkeypatch, arguments, environ):
    monkeypatch.chdir(tmp_path)
    Path("other").mkdir()
    Path("cloudy").mkdir()
    Path("cloudy/config.yaml").touch()
    Path("cloudy/cloud.yaml").touch()
    assert settings.path_of_profile(arguments, environ) == tmp_path / "cloudy" / "cloud.yaml"


@pytest.mark.parametrize("arguments", [["--profile", "cloudy"], ["--prof", "cloudy"]])
def test_a_profile_beside_another_working_directory_is_found(tmp_path, monkeypatch, arguments):
    (tmp_path / "cloudy").mkdir()
    (tmp_path / "cloudy" / "cloud.yaml").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert settings.path_of_profile(arguments, {"PWD": str(tmp_path)}) == tmp_path / "cloudy" / "cloud.yaml"


def test_a_profile_that_cannot_be_found_is_not_taken_for_a_local_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="absolute path"):
        settings.path_of_profile(["--profile", "absent"], {})


@pytest.mark.parametrize("arguments", [[], ["--profile", "plain"], ["--profile", "none"], ["--cores", "1", "all"]])
def test_other_profiles_are_local(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    Path("plain").mkdir()
    Path("plain/config.yaml").touch()
    assert settings.path_of_profile(arguments, {}) is None
