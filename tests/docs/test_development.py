"""What docs/development.md shows is made from its text in a copy of the project, and the whole chain knows it."""

import json
import re
import subprocess
import sys

import cv2
import pytest

from small_runs import small_config
from workflow_runs import REPOSITORY, copy_checkout, planned_jobs, snakemake, write_config

PAGE = (REPOSITORY / "docs" / "development.md").read_text()
BLOCK = re.compile(r"^`([^`\n]+)`[^\n]*:\n\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections():
    return {text.split("\n")[0]: BLOCK.findall(text) for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}


@pytest.mark.parametrize("name", ["Add an engine", "Add a score", "Add a camera path"])
def test_an_extension_takes_less_than_30_lines_and_one_registration(name):
    blocks = sections()[name]
    changed = [line for _, kind, text in blocks for line in text.splitlines() if kind == "python" or line[:1] == "+"]
    assert 0 < len([line for line in changed if line.strip()]) < 30
    assert [kind for _, kind, _ in blocks].count("diff") == 1, "one place that exists already is changed"


def apply(path, diff):
    """Change a file as a diff without positions says: what is removed or stands beside an addition occurs once."""
    text = path.read_text()
    lines = diff.splitlines()
    while lines:
        sign, line = lines[0][:1], lines.pop(0)[1:]
        added = []
        if sign == "+":
            added.append(line)
        while lines and lines[0][:1] == "+":
            added.append(lines.pop(0)[1:])
        if sign == "-":
            old, new = line, "\n".join(added)
        elif sign == "+":
            old = lines.pop(0)[1:]
            new = "\n".join([*added, old])
        else:
            old, new = line, "\n".join([line, *added])
        assert text.count(old) == 1, f"{path}: {old!r}"
        text = text.replace(old, new)
    path.write_text(text)


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the project with all that the page adds."""
    clone = copy_checkout(tmp_path_factory.mktemp("extended") / "clone")
    for blocks in sections().values():
        for name, kind, text in blocks:
            path = clone / (f"workflow/scripts/{name}" if name.startswith("blueprint/") else name)
            if kind == "diff":
                apply(path, text)
            else:
                path.parent.mkdir(exist_ok=True)
                assert not path.exists()
                path.write_text(text)
    return clone


def config():
    enrich = {"engine": "negative", "variants": [{"name": "inverted"}]}
    metrics = {"names": ["psnr", "colour_change"]}
    return small_config(clips=[{"name": "spin", "path": "turn"}], enrich=enrich, metrics=metrics)


def in_copy(extended, code):
    """Run Python in the copy; what it prints as JSON."""
    scripts = extended / "workflow" / "scripts"
    done = subprocess.run([sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_schema_and_tables_follow(extended):
    program = extended / "workflow" / "scripts" / "config_docs.py"
    subprocess.run([sys.executable, str(program)], check=True)
    schema = (extended / "workflow" / "schemas" / "config.schema.json").read_text()
    page = (extended / "config" / "README.md").read_text()
    for name in ("negative", "colour_change", "turn"):
        assert f'"{name}"' in schema, name
        assert f"`{name}`" in page, name
    table = in_copy(
        extended, "import json; from blueprint.metrics import catalogue as c; print(json.dumps(c.as_markdown()))"
    )
    assert "| `colour_change` | lower | 0 to 255 |" in table


def test_estimate_and_host_checks_ask_the_new_engine(extended):
    code = f"""
import json
from pathlib import Path
from blueprint.audit.estimate import estimate
from blueprint.cloud.host_checks import rented_disk_needed_gb
from blueprint.config import complete
from blueprint.engines import ENVIRONMENTS, ENGINES
config = complete({config()!r}, "mine.yaml")
stages = {{stage.stage: str(stage) for stage in estimate(config, Path("nowhere"))}}
other = {{**config, "enrich": {{**config["enrich"], "engine": "photometric"}}}}
disk_gb = rented_disk_needed_gb(config) - rented_disk_needed_gb(other)
print(json.dumps([stages, disk_gb, ENGINES["negative"].environment in ENVIRONMENTS]))
"""
    stages, disk_gb, has_environment = in_copy(extended, code)
    assert "guessed" in stages["enrich"]
    assert disk_gb == pytest.approx(0.5)
    assert has_environment


def test_an_unknown_key_of_the_new_kinds_is_refused_by_name(extended, tmp_path):
    wrong = config()
    wrong["clips"][0]["radius_m"] = 1
    refused = snakemake(tmp_path, write_config(tmp_path, wrong), "--dry-run", check=False, repository=extended)
    assert refused.returncode and "clips[0]" in refused.stdout and "radius_m" in refused.stdout


def test_the_whole_chain_runs_with_them(extended, tmp_path):
    path = write_config(tmp_path, config())
    planned = planned_jobs(snakemake(tmp_path, path, "--dry-run", repository=extended))
    assert planned["environment"] == 2 and planned["sheet"] == planned["metrics"] == planned["enrich"] == 1
    snakemake(tmp_path, path, repository=extended)
    kitchen = tmp_path / "results" / "kitchen"
    assert json.loads((kitchen / "enriched/spin/inverted.json").read_text())["engine"] == "negative"
    summary = json.loads((kitchen / "summary.json").read_text())
    assert summary["clips"]["spin"]["inverted"]["scores"]["colour_change"]["mean"] > 10
    page = (tmp_path / "results" / "report.html").read_text()
    assert "Colour change" in page and "negative" in page
    assert cv2.imread(str(kitchen / "sheets" / "spin.png")).shape == (176, 2 * 192, 3)
    assert "Nothing to be done" in snakemake(tmp_path, path, repository=extended).stdout
