"""The configuration: checked once, completed with defaults. `blueprint.plan` expands it into clips and variants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blueprint.cameras import camera_path
from blueprint.cameras.dataset import dataset_files
from blueprint.config.messages import checked
from blueprint.config.models import configuration
from blueprint.errors import UserError
from blueprint.ply import check_layout
from blueprint.yaml_file import Document, read_yaml

MANUAL = "config/README.md"
DEMO_FOLDER = "resources/demo"
DEMO_SCENES = ("kitchen", "warehouse")


def complete(config: dict[str, Any], source: str, document: Document | None = None) -> dict[str, Any]:
    """Validate a user's configuration and fill in the defaults.

    Args:
        config: as read from YAML; not changed.
        source: the file that messages name.
        document: the same file or files with their lines, if messages are to name them.

    Raises:
        UserError: every violation, one per line, each with file, key, value found and what is accepted.
    """
    return checked(configuration(), config, source, MANUAL, document).model_dump(exclude_none=True)


def read_config(*paths: Path, folder: Path = Path()) -> dict[str, Any]:
    """The completed configuration of a file; top-level keys of later files replace those of earlier ones.

    Args:
        paths: the files, as messages name them.
        folder: what they are relative to.

    Raises:
        UserError: a file that cannot be read, or a configuration that is not valid.
    """
    document = read_yaml(*paths, folder=folder)
    config = complete(document.values, document.source, document)
    return {**config, "output": own_folder(config, paths)}


def own_folder(config: dict[str, Any], paths: Sequence[str | Path]) -> str:
    """The value of `output`: as given, or else the name of the last file; `.` for a config.yaml and for no file.

    Args:
        config: a completed configuration.
        paths: the files that it was read from.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(paths[-1]).stem).lstrip("._-") if paths else ""
    return config.get("output") or ("." if stem in ("", "config") else stem)


def folders(config: dict[str, Any]) -> dict[str, str]:
    """Where results, logs and benchmarks of a configuration go, relative to the working directory.

    Each configuration has folders of its own, so that none overwrites another's files.
    """
    below = "" if config.get("output", ".") == "." else f"/{config['output']}"
    return {"results": f"results{below}", "logs": f"logs{below}", "benchmarks": f"benchmarks/results{below}"}


def is_demo_scene(scene: str) -> bool:
    """Whether a scene path is one that the demo rule makes."""
    return Path(scene).parent.as_posix() == DEMO_FOLDER and Path(scene).stem in DEMO_SCENES


def refuse_unusable_files(config: dict[str, Any], source: str) -> None:
    """Check that the files which the configuration names are there and look like scenes, before any job is planned.

    Raises:
        UserError: the first scene, dataset of photos or camera path that is absent or of another kind, with its key.
    """
    for index, facility in enumerate(config["facilities"]):
        scene = facility["scene"]
        if not is_demo_scene(scene) and not Path(scene).is_file():
            made = ", ".join(f"{DEMO_FOLDER}/{name}.ply" for name in DEMO_SCENES)
            raise UserError(
                f"{source}: facilities[{index}].scene: found {scene!r}: there is no such file in {Path.cwd()}. "
                f"Correct the path, or name a demo scene ({made})."
            )
        if Path(scene).suffix == ".ply" and Path(scene).is_file():
            try:
                check_layout(Path(scene))
            except UserError as error:
                raise UserError(f"{source}: facilities[{index}].scene: {error}") from error
        if "photos" in facility:
            try:
                dataset_files(Path(facility["photos"]["path"]))
            except UserError as error:
                raise UserError(f"{source}: facilities[{index}].photos.path: {error}") from error
        for key, clips in (("clips", config["clips"]), (f"facilities[{index}].clips", facility.get("clips", []))):
            for number, clip in enumerate(clips):
                for name in camera_path(clip["path"]).files:
                    if name in clip and not Path(clip[name]).is_file():
                        raise UserError(
                            f"{source}: {key}[{number}].{name}: found {clip[name]!r}: there is no such file in "
                            f"{Path.cwd()}. Correct the path."
                        )
