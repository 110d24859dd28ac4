"""Cloud settings: one clear message per mistake, secrets never shown, placeholders told from the real thing."""

from pathlib import Path

import pytest
import yaml

from blueprint.cloud import settings
from blueprint.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CANARIES = {
    "B2_APPLICATION_KEY_ID": "canary-id",
    "B2_APPLICATION_KEY": "canary-key",
    "VAST_API_KEY": "canary-vast",
    "HF_TOKEN": "canary-hf",
    "GIT_TOKEN": "canary-git",
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
    assert loaded.shutdown == "stop" and loaded.has_budget
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
    ],
)
def test_a_bad_value_names_file_key_and_manual(cloud_yaml, values, key):
    path = cloud_yaml(**values)
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(path) in str(caught.value) and key in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


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
    env_file.write_text("# comment\n\nexport VAST_API_KEY='from file'\nHF_TOKEN=t$HOME\nB2_APPLICATION_KEY=\n")
    loaded = load(cloud_yaml(), {"VAST_API_KEY": "from environment"}, env_file)
    assert loaded.vast_api_key == "from environment"
    assert loaded.hf_token == "t$HOME"
    assert loaded.application_key is None


def test_a_bad_line_of_runtime_env_is_named_but_not_shown(cloud_yaml, tmp_path):
    env_file = tmp_path / "runtime.env"
    env_file.write_text("HF_TOKEN=x\nhf_canary\n")
    with pytest.raises(UserError, match="line 2") as caught:
        load(cloud_yaml(), {}, env_file)
    assert "canary" not in str(caught.value)


def test_secrets_are_kept_out_of_repr(cloud_yaml):
    loaded = load(cloud_yaml(), CANARIES)
    assert loaded.secrets() == CANARIES
    assert "canary" not in repr(loaded) and "canary" not in str(loaded)


def test_the_committed_example_names_every_secret_and_holds_none(cloud_yaml):
    example = ROOT / settings.EXAMPLE_ENV
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


@pytest.mark.parametrize(
    "command",
    [
        "",
        " ",
        "\n",
        ":",
        "true",
        "/bin/true",
        "echo stop",
        "/usr/bin/echo stop",
        "printf x",
        'bash -c "echo x"',
        "/bin/sh -ec 'A=1 :'",
        "bash -c",
        "FOO=1 true",
        "A=1 B=2 echo x",
        "A=1",
        "env A=1 echo x",
        "sudo true",
        "exec :",
        "echo a && true || :",
        "echo x | cat",
        "echo stop > /dev/null",
        "sleep 5; exit 0",
        "# poweroff",
        "'unclosed",
    ],
)
def test_placeholders_are_refused(command):
    assert settings.placeholder_problem(command)


@pytest.mark.parametrize(
    "command",
    [
        "stop",
        "destroy",
        "poweroff",
        "sudo -n shutdown -h now",
        "vastai stop instance 3",
        "bash -c 'poweroff'",
        "echo bye; poweroff",
        "echo $(poweroff)",
        "A=1 /usr/sbin/poweroff",
        "true && ./end_machine.sh",
    ],
)
def test_real_commands_are_accepted(command):
    assert settings.placeholder_problem(command) is None


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
