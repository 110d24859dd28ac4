"""Small real environments with torch and a compiled extension in them, made of hard links in a second."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
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
    if distributions:
        _link_packages(folder, *distributions)
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


def copy_of_this_environment(folder: Path) -> Path:
    """A virtual environment with hard links to all that the running Python has; returns its interpreter."""
    venv.create(folder, with_pip=False)
    _link_packages(folder)
    return folder / "bin" / "python"


def prefix_of_this_python(folder: Path, *distributions: str) -> Path:
    """A Python with a prefix of its own, as conda makes them, with hard links to packages of the running one.

    Args:
        distributions: which packages; all when none is named.
    """
    base = Path(sys.base_prefix)
    (folder / "bin").mkdir(parents=True)
    shutil.copy(Path(sys.executable).resolve(), folder / "bin" / "python")
    library = site_packages(folder).parent
    library.mkdir(parents=True)
    for item in Path(sysconfig.get_path("stdlib")).iterdir():
        if item.name != "site-packages":
            (library / item.name).symlink_to(item)
    for item in (base / "lib").glob("libpython*"):
        (folder / "lib" / item.name).symlink_to(item)
    site_packages(folder).mkdir()
    _link_packages(folder, *distributions)
    return folder / "bin" / "python"


def _link_packages(folder: Path, *distributions: str) -> None:
    for name in distributions:
        for file in importlib.metadata.distribution(name).files:
            if ".." not in file.parts:
                link_or_copy(Path(file.locate()), site_packages(folder) / file)
    if distributions:
        return
    source = Path(sysconfig.get_path("purelib"))
    subprocess.run(["cp", "-al", f"{source}/.", str(site_packages(folder))], check=True)


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> Path:
    """Write a wheel of the given files into ``folder``, for pip and uv to install for real."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    members = {
        **files,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{member},,\n" for member in members) + f"{stem}.dist-info/RECORD,,\n"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in (members | {f"{stem}.dist-info/RECORD": record}).items():
            archive.writestr(member, text)
    return path
