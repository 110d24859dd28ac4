"""The machine's NVIDIA GPUs: which there are, how full they are, and which ones a job may use."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from blueprint.checks import Check
from blueprint.errors import UserError
from blueprint.system import ask_nvidia_smi, list_mig_devices

FIELDS = ("index", "name", "driver_version", "memory.total", "memory.used")


@dataclass(frozen=True)
class Gpu:
    """One card as nvidia-smi reports it (gigabytes are 10^9 bytes, as vendors and NVIDIA's tables count)."""

    index: int
    name: str
    driver: str
    total_gb: float
    used_gb: float
    device: str = ""
    """What `CUDA_VISIBLE_DEVICES` calls it: its index, or the name that a scheduler gave (``GPU-...``, ``MIG-...``)."""

    @property
    def free_gb(self) -> float:
        """Memory that nothing uses."""
        return self.total_gb - self.used_gb


def find_gpus() -> list[Gpu]:
    """All GPUs of this machine; none where there is no driver."""
    return [
        Gpu(int(index), name, driver, float(total_mib) * 2**20 / 1e9, float(used_mib) * 2**20 / 1e9, index)
        for index, name, driver, total_mib, used_mib in ask_nvidia_smi(*FIELDS)
    ]


def visible_gpus() -> list[Gpu]:
    """The GPUs that this process may use: those that `CUDA_VISIBLE_DEVICES` names, by index, UUID or the start of one.

    A scheduler names a part of a card ``MIG-<uuid>``; its memory is that of its profile (``3g.40gb``: 40 GB).
    """
    gpus, named = find_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return gpus
    names = [name.strip() for name in named.split(",") if name.strip()]
    if all(name.isdigit() for name in names):
        return [gpu for gpu in gpus if gpu.device in names]
    cards = {gpu.index: gpu for gpu in gpus}
    known = [(uuid, cards[int(index)]) for index, uuid in ask_nvidia_smi("index", "uuid") if int(index) in cards]
    for index, profile, uuid in list_mig_devices():
        size = re.search(r"\.(\d+)gb", profile)
        if index in cards and size:
            part = replace(cards[index], name=f"{cards[index].name} {profile}", total_gb=float(size[1]), used_gb=0.0)
            known.append((uuid, part))
    return [replace(gpu, device=name) for name in names for uuid, gpu in known if uuid.startswith(name)]


def check_vram(needed_gb: float, gpus: Sequence[Gpu]) -> Check:
    """Compare what is needed with the free memory of the fullest of some cards."""
    name = "GPU memory"
    if needed_gb == 0:
        return Check(name, "ok", "the engine needs no GPU")
    if not gpus:
        return Check(name, "fail", f"{needed_gb} GB needed, no NVIDIA GPU found", "Run on a machine with a GPU.")
    least = min(gpus, key=lambda gpu: gpu.free_gb)
    found = f"{least.free_gb:.1f} of {least.total_gb:.1f} GB free on GPU {least.index} ({least.name})"
    evidence = f"{needed_gb} GB needed, {found}"
    if least.free_gb >= needed_gb:
        return Check(name, "ok", evidence)
    return Check(
        name,
        "fail",
        evidence,
        "End what else uses the card, take a larger one, or choose an engine that needs less (docs/enrichment.md).",
    )


@contextmanager
def held_gpus(count: int, vram_gb: float = 0.0) -> Iterator[list[Gpu]]:
    """Hold ``count`` GPUs for this job: Snakemake counts GPUs but does not say which, so jobs side by side lock them.

    Only GPUs that `CUDA_VISIBLE_DEVICES` names are considered when it is set, as Slurm sets it.

    Args:
        count: how many.
        vram_gb: GB (10^9) of memory that must be free on each.

    Raises:
        UserError: there are fewer GPUs that no other job holds, or one has too little memory.
    """
    gpus, held = visible_gpus(), []
    with ExitStack() as stack:
        for gpu in sorted(gpus, key=lambda gpu: -gpu.free_gb):
            path = Path(tempfile.gettempdir()) / f"blueprint-gpu-{os.getuid()}-{gpu.device}.lock"
            lock = stack.enter_context(path.open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            held.append(gpu)
            if len(held) == count:
                check = check_vram(vram_gb, held)
                if check.result == "fail":
                    raise UserError(f"{check.evidence}. {check.remedy}")
                yield held
                return
        raise UserError(
            f"{count} NVIDIA GPU(s) wanted, {len(held)} of {len(gpus)} found are free. Lower `enrich.gpus` or "
            "`train.gpus`, run fewer jobs at once (`--resources gpu=N`), or choose another engine; there is no "
            "fallback to the CPU."
        )


class PeakMemory:
    """Samples the memory in use on some GPUs while a block runs; ``peak_gb`` is the largest on one of them."""

    def __init__(self, gpus: list[Gpu], interval_s: float = 1.0) -> None:
        self.indices = {gpu.index for gpu in gpus}
        self.interval_s = interval_s
        self.peak_gb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            used = [gpu.used_gb for gpu in find_gpus() if gpu.index in self.indices]
            self.peak_gb = max(self.peak_gb, *used, 0.0)
            if self._done.wait(self.interval_s):
                return
