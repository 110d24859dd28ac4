"""How a server of Cosmos 3 is started by the workflow (`enrich.server: managed`): program, command line, memory.

A server listens on 127.0.0.1, and no key changes that: it has no password and reads any file that it is told to.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from blueprint.checks import Check
from blueprint.errors import UserError
from blueprint.system import find_program, run, version_numbers

VARIABLE = "COSMOS3_VLLM"
VERSION = (0, 30)
"""Of vLLM; vLLM-Omni of the same number puts itself into its program, and its protocol is what the client speaks."""
PATIENCE_S = 180.0
"""For the program's own version: it imports torch."""


def program(given: str | None) -> str:
    """The path of the program that serves.

    Raises:
        UserError: there is none.
    """
    wanted = given or os.environ.get(VARIABLE) or "vllm"
    found = find_program(wanted) if os.sep not in wanted else wanted if os.access(wanted, os.X_OK) else None
    if found is None:
        raise UserError(
            f"`enrich.server: managed` needs vLLM-Omni, and there is no program {wanted}. Install vllm==0.30.0 and "
            f"vllm-omni==0.30.0 into a Python of their own and name its `bin/vllm` in `enrich.vllm` or {VARIABLE} "
            "(docs/enrichment.md)."
        )
    return found


def version_of(path: str) -> str:
    """The version of vLLM that a program says it is.

    Raises:
        UserError: it says none, or another than the client speaks to.
    """
    asked = run([path, "--version"], deadline_s=PATIENCE_S)
    found = re.search(r"\d+\.\d+\.\d+\S*", asked.stdout)
    if asked.returncode or not found:
        end = (asked.stderr or asked.stdout).strip()[-500:]
        raise UserError(f"{path} --version exits with {asked.returncode} and names no version: {end}")
    if version_numbers(found[0])[:2] != VERSION:
        raise UserError(f"{path} is vLLM {found[0]}; the engine cosmos3 speaks to 0.30. Install vllm-omni==0.30.0.")
    return found[0]


def check(enrich: Mapping[str, Any]) -> Check:
    """Whether this machine has the program.

    Raises:
        UserError: it does not, or not the right one.
    """
    path = program(enrich.get("vllm"))
    return Check("vLLM-Omni", "ok", f"{path}, vLLM {version_of(path)}")


def command(order: Mapping[str, Any], offload: bool) -> list[str]:
    """The command line of a server.

    Args:
        order: what a keeper is told (`blueprint.engines.cosmos3.managed`).
        offload: whether layers stay in the machine's memory.
    """
    return [
        *(order["program"], "serve", order["model"], "--omni", "--revision", order["revision"]),
        *("--host", "127.0.0.1", "--port", str(order["port"]), "--init-timeout", str(round(order["start_s"]))),
        *(["--no-guardrails"] if order["disable_guardrails"] else []),
        *(["--quantization", order["quantization"]] if order["quantization"] else []),
        *(["--enable-layerwise-offload"] if offload else []),
    ]
