"""Compile gsplat's CUDA extension while its environment is made, so that no job ever does.

The package index carries gsplat as sources that compile themselves at the first import. `import gsplat` prefers a
module `gsplat.csrc` when there is one: this puts it there, built by the pinned compiler against the pinned torch.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from blueprint.environments.probe import SIDECAR
from blueprint.errors import UserError


def build(architectures: str, system_compiler: bool = False) -> Path:
    """Compile `gsplat/csrc.so` and put it into the installed package, unless it is there.

    Args:
        architectures: CUDA compute capabilities in torch's form, such as ``8.9;9.0``.
        system_compiler: take the nvcc on PATH, instead of the one that the environment's lock names.

    Returns:
        The compiled extension.

    Raises:
        UserError: gsplat or the CUDA compiler is not installed in this environment.
    """
    package = package_folder("gsplat")
    target = package / "csrc.so"
    if target.exists():
        return target
    toolkit = _toolkit(system_compiler)
    os.environ |= {"CUDA_HOME": str(toolkit), "TORCH_CUDA_ARCH_LIST": architectures}
    import torch
    from torch.utils.cpp_extension import load  # reads CUDA_HOME when it is imported

    cuda = package / "cuda"
    sources = [*sorted(cuda.glob("csrc/*.cu")), *sorted(cuda.glob("csrc/*.cpp")), cuda / "ext.cpp"]
    with tempfile.TemporaryDirectory() as folder:
        if not system_compiler:  # the wheel has libcudart.so.13 but not the name that the linker looks for
            (Path(folder) / "libcudart.so").symlink_to(toolkit / "lib" / "libcudart.so.13")
        load(
            name="csrc",
            sources=[str(path) for path in sources],
            extra_include_paths=[str(cuda / "include"), str(cuda / "csrc" / "third_party" / "glm")],
            extra_cflags=["-O3"],
            extra_cuda_cflags=["-O3", "-use_fast_math", "--expt-relaxed-constexpr", "-diag-suppress=20012,186"],
            extra_ldflags=[f"-L{folder}"],
            build_directory=folder,
        )
        shutil.copy(Path(folder) / "csrc.so", target.with_suffix(".part"))
    target.with_name(target.name + SIDECAR).write_text(torch.__version__, encoding="utf-8")
    target.with_suffix(".part").replace(target)
    return target


def _toolkit(system_compiler: bool) -> Path:
    """The folder of the CUDA toolkit to compile with."""
    if system_compiler:
        nvcc = shutil.which("nvcc")
        if not nvcc:
            raise UserError("There is no nvcc on PATH to compile gsplat with.")
        return Path(nvcc).resolve().parents[1]
    toolkit = package_folder("nvidia") / "cu13"
    if not (toolkit / "bin" / "nvcc").exists():
        raise UserError(f"{toolkit}: there is no nvcc. Recreate this environment from envs/render.yaml.")
    return toolkit


def package_folder(name: str) -> Path:
    """Where a package is installed, found without importing it.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{name} is not installed in this environment. Recreate it from envs/render.yaml.")
    return Path(next(iter(spec.submodule_search_locations)))
