"""What the engines that run a pipeline of diffusers have in common: device, memory, weights, guardrails."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from httpx2 import HTTPError
from huggingface_hub import snapshot_download

from blueprint.engines.gpu import Gpu, check_vram, held_gpus
from blueprint.engines.task import Variant
from blueprint.errors import UserError

log = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line per file otherwise


class Guardrails:
    """What the pipeline asks about its output; without a checker everything passes, and nothing is downloaded."""

    def __init__(self, checker: Any | None) -> None:
        self.checker = checker

    def to(self, device: torch.device) -> None:
        """Move the checker's models."""
        if self.checker is not None:
            self.checker.to(device)

    def check_text_safety(self, prompt: str) -> bool:
        """Whether the prompt may be used."""
        return self.checker is None or self.checker.check_text_safety(prompt)

    def check_video_safety(self, frames: np.ndarray) -> np.ndarray:
        """The frames [F, H, W, 3] uint8, faces blurred by a checker.

        Raises:
            UserError: the clip is blocked; the pipeline itself would go on with black frames.
        """
        if self.checker is None:
            return frames
        checked = self.checker.check_video_safety(frames)
        if checked is None:
            raise UserError("Cosmos guardrails blocked the clip that was made. Change the prompt.")
        return checked


@contextmanager
def execution_device(gpus: int) -> Iterator[torch.device]:
    """The GPU that this job holds; the CPU only where the configuration gives the job no GPU (``gpus: 0``)."""
    if gpus == 0:
        yield torch.device("cpu")
        return
    with held_gpus(1) as (gpu,):
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu.device  # before CUDA starts: the card is then number 0
        if not torch.cuda.is_available():
            raise UserError(f"torch {torch.__version__} cannot use GPU {gpu.index} ({gpu.name}, driver {gpu.driver}).")
        yield torch.device("cuda:0")


def fetch(repository: str, revision: str) -> tuple[Path, str]:
    """Folder and commit of a repository at a revision: downloaded, or what `snakemake fetch_weights` fetched before.

    Raises:
        UserError: they are not here and cannot be downloaded.
    """
    try:
        folder = Path(snapshot_download(repository, revision=revision))
    except (OSError, ValueError, HTTPError) as error:
        raise UserError(
            f"{repository} at {revision} cannot be fetched: {error} Licence: https://huggingface.co/{repository}."
        ) from error
    return folder, folder.name


def make_guardrails(disabled: bool) -> Guardrails:
    """The real checker of the package `cosmos_guardrail`, or none.

    Raises:
        UserError: the guardrails are wanted and the package is absent.
    """
    if disabled:
        return Guardrails(None)
    try:
        from cosmos_guardrail import CosmosSafetyChecker
    except ImportError as error:
        raise UserError(
            f"enrich.disable_guardrails is false, and the guardrails cannot be loaded ({error}). Install "
            "cosmos_guardrail into this environment (docs/environments.md, one more package), or set it to true."
        ) from error
    return Guardrails(CosmosSafetyChecker())


def refuse_unsafe(guardrails: Guardrails, variants: Sequence[Variant], device: torch.device) -> None:
    """Ask the guardrails about each prompt (the pipeline does not when it is given embeddings).

    Raises:
        UserError: a prompt is blocked, naming the variant.
    """
    guardrails.to(device)
    for variant in variants:
        if not guardrails.check_text_safety(variant.prompt):
            raise UserError(f"{variant.name}: Cosmos guardrails blocked the prompt {variant.prompt!r}. Change it.")


def choose_offload(wish: str, together_gb: float, offloaded_gb: float, device: torch.device) -> bool:
    """Whether what is idle leaves the device.

    Args:
        wish: ``auto``, ``always`` or ``never``.
        together_gb: memory of a card that holds everything.
        offloaded_gb: memory of one that holds what is at work.
        device: where the models work.

    Raises:
        UserError: the card is too small either way.
    """
    if device.type != "cuda":
        return wish == "always"
    free, total = (size / 1e9 for size in torch.cuda.mem_get_info(device))
    card = Gpu(device.index, torch.cuda.get_device_name(device), "", total, total - free)
    offload = wish == "always" or (wish == "auto" and free < together_gb)
    check = check_vram(offloaded_gb if offload else together_gb, [card])
    if check.result == "fail":
        raise UserError(f"{check.evidence}. Take a larger card, or lower `enrich.resolution`.")
    log.info("%s; %.1f GB would hold all models: offload %s", check.evidence, together_gb, "on" if offload else "off")
    return offload


def facts_of(device: torch.device) -> dict[str, Any]:
    """What the record of a run says of the device."""
    if device.type != "cuda":
        return {"device": str(device)}
    peak_gb = round(torch.cuda.max_memory_reserved(device) / 1e9, 2)
    return {"device": str(device), "gpus": [torch.cuda.get_device_name(device)], "vram_peak_gb": peak_gb}


def resized(frames: Iterable[np.ndarray], width: int, height: int) -> Iterator[np.ndarray]:
    """Frames [H, W, 3] uint8 at another size in pixels."""
    for frame in frames:
        shrinks = width * height < frame.shape[0] * frame.shape[1]
        yield cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)
