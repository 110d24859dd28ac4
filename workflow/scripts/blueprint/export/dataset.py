"""A dataset as a whole: episodes laid out in a folder that appears complete, with manifest and card."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blueprint.errors import UserError
from blueprint.export.episodes import RENDER, Episode, Split, collect, split
from blueprint.export.layouts import LAYOUTS, Files
from blueprint.files import file_digest, read_json, write_json, write_text

MANIFEST = "manifest.json"
CARD = "README.md"
TIMESTAMP = ".snakemake_timestamp"
"""What Snakemake writes into a folder that is an output."""


def export(results: Path, spec: dict[str, Any], layout: str, target: Path) -> dict[str, Any]:
    """Write the clips that passed as one dataset; ``target`` appears whole or not at all.

    Args:
        results: the folder ``results``.
        spec: from `blueprint.plan`: what `collect` and `split` need, ``options`` of the layouts, and ``licences`` by
            engine.
        layout: one of `LAYOUTS`.
        target: the dataset's folder; what is there is replaced.

    Returns:
        The manifest.

    Raises:
        UserError: nothing to export, a damaged file, or clips that the layout cannot hold.
    """
    episodes = collect(results, spec)
    sides = split(episodes, spec["held_out_share"], spec["held_out_facilities"])
    assigned = [(episode, sides[episode.trajectory]) for episode in episodes]
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        part = scratch / target.name
        if layout == "lerobot":  # the package makes its own folders and refuses one that is there
            part.mkdir()
        else:
            for side in ("train", "test"):
                (part / side if layout != "webdataset" else part).mkdir(parents=True, exist_ok=True)
        files = LAYOUTS[layout].write(assigned, part, spec["options"])
        manifest = _manifest(part, layout, assigned, files, spec)
        write_text(part / CARD, card(manifest))
        write_json(part / MANIFEST, manifest)
        if target.exists():
            shutil.rmtree(target)
        part.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return manifest


def _manifest(
    folder: Path, layout: str, assigned: Sequence[tuple[Episode, Split]], files: Files, spec: dict[str, Any]
) -> dict[str, Any]:
    return {
        "layout": layout,
        "name": spec["options"]["name"],
        "licences": {engine: spec["licences"].get(engine, []) for engine in sorted({e.made_by for e, _ in assigned})},
        "episodes": [
            {
                "name": episode.name,
                "split": side,
                "files": files.get(episode.name, []),
                **{key: getattr(episode, key) for key in ("facility", "clip", "look", "trajectory", "verdict")},
                "caption": episode.caption,
                "made_by": episode.made_by,
                "provenance": episode.provenance,
            }
            for episode, side in assigned
        ],
        "files": {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_digest(path)}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }


def verify(folder: Path) -> None:
    """Check every file of a dataset against its manifest.

    Raises:
        UserError: a file is absent, differs, or is not in the manifest.
    """
    recorded = read_json(folder / MANIFEST)["files"]
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    found = {name for name in present if ".cache" not in name.split("/")} - {MANIFEST, CARD, TIMESTAMP}
    if odd := sorted(set(recorded) ^ found):
        raise UserError(f"{folder}: {odd[0]} is absent, or is not in {MANIFEST}. Export again.")
    for name, facts in recorded.items():
        if file_digest(folder / name) != facts["sha256"]:
            raise UserError(f"{folder / name}: it is not what {MANIFEST} records (sha256 differs). Export again.")


def card(manifest: dict[str, Any]) -> str:
    """The dataset card: front matter that the Hugging Face hub reads, and what a person must know before training."""
    episodes = manifest["episodes"]
    counts = Counter(episode["split"] for episode in episodes)
    trajectories = {side: {e["trajectory"] for e in episodes if e["split"] == side} for side in ("train", "test")}
    lines = [
        "---",
        "pretty_name: " + manifest["name"],
        "task_categories: [robotics]",
        "tags: [gaussian-splatting, video, blueprint-validation"
        + (", LeRobot]" if manifest["layout"] == "lerobot" else "]"),
        "---",
        f"# {manifest['name']}",
        "",
        f"Layout: {LAYOUTS[manifest['layout']].title}, read by {LAYOUTS[manifest['layout']].read_by}.",
        "",
        "Every video was rendered from a 3D Gaussian splat along a known camera path, or is an appearance variant of",
        "such a render that kept its geometry (its verdict says so). Nobody drove a robot here: there are no actions.",
        "",
        "| split | episodes | trajectories |",
        "|---|---|---|",
        *(f"| {side} | {counts[side]} | {len(trajectories[side])} |" for side in ("train", "test")),
        "",
        "No trajectory stands on both sides.",
        "",
        "| facility | clip | look | made by | verdict | split |",
        "|---|---|---|---|---|---|",
        *(
            f"| {e['facility']} | {e['clip']} | {e['look']} | {e['made_by']} | {e['verdict'] or '-'} | {e['split']} |"
            for e in episodes
        ),
        "",
        "## Licences",
        "",
        "The scan's own licence holds for every render. " + _licence_words(manifest["licences"]),
        "",
        f"`{MANIFEST}` holds the SHA-256 of every file and how each episode was made.",
    ]
    return "\n".join(lines) + "\n"


def _licence_words(licences: dict[str, list[str]]) -> str:
    named = [
        f"What {engine} made falls under the licences of its weights: {', '.join(pages)}."
        for engine, pages in licences.items()
        if engine != RENDER and pages
    ]
    return " ".join(named) or "The engine used here has no weights and adds no terms of its own."


def push(folder: Path, repository: str, token: str | None) -> str:
    """Upload a verified dataset to a dataset repository on the Hugging Face hub, which is made if it is absent.

    Returns:
        The commit's address.

    Raises:
        UserError: the folder is not what its manifest says, there is no token, or the hub refuses or is not reached.
    """
    from httpx2 import TransportError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    verify(folder)
    if not token:
        raise UserError("environment: HF_TOKEN: not set. Set it to a token that may write to the Hugging Face account.")
    api = HfApi(token=token)
    try:
        api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, repo_type="dataset", folder_path=folder, ignore_patterns=[TIMESTAMP]
        )
    except HFValidationError as error:
        raise UserError(f"--push: found {repository!r}: expected <account>/<name> ({error}).") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise UserError(
            f"--push: {api.endpoint} refused {repository} ({status}). Set HF_TOKEN to a token that may write there."
        ) from error
    except TransportError as error:
        raise UserError(f"--push: {api.endpoint} cannot be reached ({error}). Push again when it can.") from error
    return str(commit.commit_url)
