"""What the page says of the scans themselves, before it comes to the variants."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blueprint import files
from blueprint.fidelity.keys import SCAN_PICTURES

MOST_FIGURES = 3
VERDICTS = {"ok": "pass"}
"""Results of preflight in the words of the page; the others are the same."""


def scans(results: Path, facilities: Iterable[str]) -> list[dict[str, Any]]:
    """Per facility the verdict on its scan: a sentence, figures, clips that leave it, checks of its file, pictures.

    Raises:
        UserError: a result cannot be read.
    """
    return [_scan(results / facility, facility) for facility in facilities]


def _scan(folder: Path, facility: str) -> dict[str, Any]:
    found = files.read_json(folder / "fidelity.json")
    figures = [figure for figure in found["scan"]["figures"] if figure["value"] is not None]
    marker = files.read_json(folder / "preflight.json")
    return {
        "facility": facility,
        "verdict": found["scan"]["verdict"],
        "sentence": found["scan"]["sentence"],
        "figures": figures[:MOST_FIGURES],
        "leaving": [
            {"clip": clip, "verdict": entry["verdict"], "share": f"{entry['untrusted']:.0%}"}
            for clip, entry in found["clips"].items()
            if clip in found["leaving"]
        ],
        "checks": [{**check, "verdict": VERDICTS.get(check["result"], check["result"])} for check in marker["checks"]],
        **{name: _embedded(folder / "fidelity" / f"{name}.png") for name in SCAN_PICTURES},
    }


def _embedded(picture: Path) -> str:
    return base64.b64encode(picture.read_bytes()).decode()
