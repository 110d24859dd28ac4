"""Import modules and say in JSON lines what happened; run as a script by whichever Python is to be examined.

Standard library only, and Python 3.10: that Python has nothing of ours.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import runpy
import sys
from pathlib import Path
from typing import Any, TextIO

UNDEFINED_SYMBOL = re.compile(r"(?P<library>/\S+\.so\S*): undefined symbol: (?P<symbol>\w+)")
TORCHVISION_OPS = Path(__file__).resolve().parents[1] / "torchvision_ops.py"
"""The workflow's own way to import torchvision beside a CPU build of torch."""
SIDECAR = ".torch"
"""An extension compiled by this workflow has a file of this added suffix, which names the torch it was built for."""


def main() -> None:
    """Describe torch, then import each module named on the command line (``package.module`` or ``package.attribute``).

    The first argument is the folder of the stage's own program, which Python searches first; empty: none.
    One JSON line announces a module and one gives the result, so that the reader knows where a crash happened.
    """
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what imports print goes to standard error
    folder, modules = sys.argv[1], sys.argv[2:]
    sys.path[:1] = [folder] if folder else []  # instead of this folder, whose modules must not hide installed ones
    build = torch_build()
    report(channel, torch=build)
    if build and not build["cuda"] and {"torchvision", "piq"} & set(modules):
        runpy.run_path(str(TORCHVISION_OPS))["make_importable"]()
    for name in modules:
        report(channel, module=name)
        try:
            load(name)
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
            report(channel, module=name, error=text, missing=getattr(error, "name", None), owner=owner_of_library(text))
        else:
            report(channel, module=name, error=None)


def report(channel: TextIO, **values: Any) -> None:
    """Write one line of JSON at once."""
    print(json.dumps(values), file=channel, flush=True)


def load(name: str) -> None:
    """Import a module, or the module that has an attribute of that name.

    Raises:
        Whatever the import raises; AttributeError when it is neither a module nor an attribute.
    """
    parent, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name or not parent:
            raise
        getattr(importlib.import_module(parent), attribute)


def torch_build() -> dict[str, str | None] | None:
    """Version, CUDA version and commit of the installed torch, read without importing it; None without torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    version = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    return {"version": str(version["__version__"]), "cuda": version["cuda"], "commit": version.get("git_version")}


def owner_of_library(text: str) -> dict[str, Any] | None:
    """Which distribution brought the library that an undefined-symbol message names, and the torch it was built for."""
    match = UNDEFINED_SYMBOL.search(text)
    if not match:
        return None
    library = Path(match["library"])
    sidecar = Path(f"{library}{SIDECAR}")
    built_for = sidecar.read_text().strip() if sidecar.exists() else None
    for distribution in importlib.metadata.distributions():
        if any(file.name == library.name and Path(file.locate()) == library for file in distribution.files or []):
            return {
                "name": distribution.metadata["Name"],
                "version": distribution.version,
                "requires": distribution.requires or [],
                "built_for": built_for,
            }
    return {"name": None, "version": None, "requires": [], "built_for": built_for}


if __name__ == "__main__":
    main()
