"""The register of camera paths: complete, of keys that are understood and no others, and light to import."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from blueprint.cameras import PATHS, camera_path
from blueprint.errors import UserError
from workflow_runs import SCRIPTS


@pytest.mark.parametrize("name", PATHS)
def test_a_path_says_all_that_is_needed(name):
    path = camera_path(name)
    placed = path.in_room is not None and path.around_object is not None
    assert placed != (path.given is not None)
    assert path.description and path.clearance_m > 0
    assert all(field.description for field in path.keys.model_fields.values())
    assert set(path.files) <= set(path.keys.model_fields)


def test_a_key_of_another_path_is_refused():
    with pytest.raises(ValidationError, match="radius_m"):
        PATHS["sweep"].keys(radius_m=1.0)
    with pytest.raises(ValidationError, match="length_m"):
        PATHS["orbit"].keys(length_m=1.0)
    with pytest.raises(ValidationError, match="seed"):
        PATHS["file"].keys(file="path.json", seed=1)
    assert PATHS["orbit"].keys(radius_m=1.0).radius_m == 1.0


def test_an_unknown_path_is_refused_by_name():
    with pytest.raises(UserError, match=r"'spiral': there is no such camera path\. Known paths: orbit, sweep"):
        camera_path("spiral")


def test_a_plan_imports_no_scene():
    """What is slow to import belongs to the job that places a path, not to the configuration that names it."""
    code = "import sys, blueprint.cameras; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(SCRIPTS)}, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    assert "pydantic" in loaded and not loaded & {"torch", "numba", "scipy", "cv2", "gsply"}, done
