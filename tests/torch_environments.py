"""Small real environments with torch and a compiled extension in them, made of hard links in a second."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

TORCH_AND_NEEDS = (
    *("torch", "filelock", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "MarkupSafe", "fsspec"),
    *("numpy", "setuptools"),
)
EXTENSION = """
#include <Python.h>
#include <c10/core/Device.h>

static PyObject *device(PyObject *, PyObject *) {
    return PyUnicode_FromString(c10::Device(std::string("cuda:1")).str().c_str());
}
static PyMethodDef methods[] = {{"device", device, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "transformer_engine_torch", nullptr, -1, methods};
PyMODINIT_FUNC PyInit_transformer_engine_torch() { return PyModule_Create(&module); }
"""


def make_environment(folder: Path, *distributions: str) -> Path:
    """A virtual environment with hard links to installed packages; returns its interpreter. pip may do as it likes."""
    venv.create(folder, with_pip=False)
    for name in distributions:
        for file in importlib.metadata.distribution(name).files:
            if ".." not in file.parts:
                link_or_copy(Path(file.locate()), site_packages(folder) / file)
    return folder / "bin" / "python"


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link where the file system allows one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:  # listed, but Python did not leave the compiled file
        pass
    except OSError:
        shutil.copy(source, target)


def site_packages(folder: Path) -> Path:
    """Where packages are in a virtual environment."""
    return folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def compile_extension(target: Path, *flags: str) -> Path:
    """Compile the stand-in of transformer_engine's extension against the torch of the running Python."""
    torch = Path(importlib.metadata.distribution("torch").locate_file("torch"))
    source = target.with_suffix(".cpp")
    source.write_text(EXTENSION)
    include = [f"-I{torch / 'include'}", f"-I{sysconfig.get_path('include')}"]
    libraries = [f"-L{torch / 'lib'}", "-lc10", "-Wl,-rpath,$ORIGIN/torch/lib"]
    command = ["g++", "-shared", "-fPIC", "-std=c++20", "-O0", *flags, str(source), *include, "-o", str(target)]
    subprocess.run([*command, *libraries], check=True)
    return target


def install_transformer_engine(folder: Path, extension: Path, version: str) -> None:
    """Put a package `transformer_engine` with the compiled extension into a virtual environment, metadata and all."""
    site = site_packages(folder)
    files = {
        "transformer_engine/__init__.py": "",
        "transformer_engine/pytorch.py": "import torch\nimport transformer_engine_torch\n",
        f"transformer_engine-{version}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: transformer-engine\nVersion: {version}\nRequires-Dist: torch\n"
        ),
        f"transformer_engine-{version}.dist-info/INSTALLER": "test\n",
    }
    record = [*files, "transformer_engine_torch.so", f"transformer_engine-{version}.dist-info/RECORD"]
    files[record[-1]] = "".join(f"{name},,\n" for name in record)
    for name, text in files.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(text)
    shutil.copy(extension, site / "transformer_engine_torch.so")
