"""Planning of servers that the workflow starts (`enrich.server: managed`): keys, weights, memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import model_validator

from blueprint.engines.base import Repository
from blueprint.engines.cosmos3.memory import FIGURES, GB_PER_GIB
from blueprint.engines.cosmos3.serving import VARIABLE
from blueprint.engines.diffusers.descriptor import GUARDRAILS
from blueprint.section import Section, key

DEFAULT_URLS = ["http://127.0.0.1:8000"]


class ServingKeys(Section):
    """Keys of `enrich` for servers that the workflow starts."""

    server: Literal["external", "managed"] = key(
        "Who runs the servers: `external`, you (`server_urls`); `managed`, the workflow, on the machine that the jobs "
        "run on, from the first job that needs them to the end of the run.",
        "external",
    )
    gpus: int = key(
        "With `server: managed`: how many servers are started, one for each GPU; the variants are spread over them.",
        1,
        ge=1,
    )
    quantization: Literal["fp8"] | None = key(
        "With `server: managed`: `fp8` takes less of the card; it changes pixels.", None
    )
    offload: Literal["auto", "always", "never"] = key(
        "With `server: managed`: keep layers in the machine's memory; `auto` does so when the card is too small for "
        "the model, and the server's log says so.",
        "auto",
    )
    vllm: str | None = key(
        f"With `server: managed`: the program `vllm` of an installation of vLLM-Omni 0.30 (default `${VARIABLE}`, or "
        "`vllm` on PATH).",
        None,
        min_length=1,
    )

    @model_validator(mode="after")
    def _agree_on_the_server(self) -> ServingKeys:
        if self.server == "managed":
            if getattr(self, "server_urls", DEFAULT_URLS) != DEFAULT_URLS:
                raise ValueError("server_urls: `server: managed` starts servers of its own. Keep one of the two")
            if getattr(self, "revision", None) is None:
                raise ValueError(
                    "revision: `server: managed` needs the commit of the weights, of which it fetches and serves "
                    "exactly that. Take one from the model's page, under Files, History"
                )
        elif given := [name for name in MANAGED_ALONE if getattr(self, name) != type(self).model_fields[name].default]:
            raise ValueError(f"{given[0]}: only a server that the workflow starts obeys. Set `server: managed`")
        return self


MANAGED_ALONE = ("gpus", "quantization", "offload", "vllm")


def is_managed(enrich: Mapping[str, Any]) -> bool:
    """Whether the workflow starts the servers."""
    return enrich["server"] == "managed"


def repositories(enrich: Mapping[str, Any]) -> list[Repository]:
    """The weights at their commit, and the guardrails, which nobody pins."""
    return [
        Repository(enrich["model"], enrich["revision"], True),
        *(() if enrich["disable_guardrails"] else GUARDRAILS),
    ]


def ram_gb(enrich: Mapping[str, Any]) -> float:
    """GB of the machine's memory that the servers fill together; those that may offload count as if they did."""
    figures = FIGURES[enrich["model"]]
    each = figures["weights_gb"] if enrich["offload"] == "never" else figures["machine"] * GB_PER_GIB
    return enrich["gpus"] * each
