"""What code a job depends on: the program that its rule runs, and all of `blueprint` that the program imports.

Sources are parsed and never imported: the answer is the same in every environment, and modules that a function imports
only when it runs count like all others. So does a module that is named by a text of its own, ``"blueprint.a.b"`` or
``"blueprint.a.b:function"``, as registries name what is loaded later. Imports for type checkers alone do not count.

A module that reads files which lie beside it, such as templates, declares them::

    DATA_FILES = ("templates",)  # files or folders, relative to the module
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from blueprint.errors import UserError

SCRIPTS = Path(__file__).resolve().parents[1]
DECLARATION = "DATA_FILES"
_MODULE_NAME = re.compile(r"(blueprint(?:\.\w+)+)(?::\w+)?")


def program_digest(program: str, loads: str = "", register: str = "", scripts: Path = SCRIPTS) -> str:
    """Digest of all that decides what a program computes: a rule's ``params`` hold it, so that changed code reruns.

    Names and bytes of the files count, modification times do not: a fresh clone has the digest of the old one.

    Args:
        program: name of the program, such as ``render``.
        loads, register: see `closure`.
        scripts: the folder of programs, with the package `blueprint` beside them.

    Raises:
        UserError: there is no such program.
    """
    digest = hashlib.sha256()
    for path in closure(program, loads, register, scripts):
        digest.update(path.relative_to(scripts).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def closure(program: str, loads: str = "", register: str = "", scripts: Path = SCRIPTS) -> list[Path]:
    """The files that a program is made of, sorted: itself, the modules it imports directly or not, their data files.

    Args:
        program: name of the program, such as ``render``; empty for what ``loads`` names alone.
        loads: a module that the program is told to load, such as ``blueprint.engines.photometric.make``.
        register: the package or module that lists this module among its alternatives, such as ``blueprint.engines``. It
            is left out: one more alternative changes nothing for the jobs that use another.
        scripts: the folder of programs, with the package `blueprint` beside them.

    Raises:
        UserError: there is no such program or module, or a declared data file is missing.
    """
    start = scripts / f"{program}.py"
    if program and not start.is_file():
        raise UserError(f"{start}: there is no such program.")
    todo, sources, data = {start} if program else set(), set(), set()
    if loads:
        todo |= set(_files_of((loads,), start, scripts))
        if scripts.joinpath(*loads.split(".")).with_suffix(".py") not in todo:
            raise UserError(f"{loads}: there is no such module.")
    listing = scripts.joinpath(*register.split("."))
    skipped = listing / "__init__.py" if listing.is_dir() else listing.with_suffix(".py")
    todo.discard(skipped)
    while todo:
        source = todo.pop()
        sources.add(source)
        files, declared = _references(source.read_text(encoding="utf-8"), source, scripts)
        data |= {file for name in declared for file in _data_files(source, name)}
        todo |= files - sources - {skipped}
    return sorted(sources | data)


@cache
def _references(text: str, source: Path, scripts: Path) -> tuple[frozenset[Path], tuple[str, ...]]:
    """The files that a source imports, and the names of the data files that it declares."""
    modules: list[str] = []
    data: tuple[str, ...] = ()
    for node in _nodes_that_run(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                modules += [alias.name for alias in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                modules += ["." * level + ".".join(filter(None, (module, alias.name))) for alias in names]
            case ast.Constant(value=str(value)) if name := _MODULE_NAME.fullmatch(value):
                modules.append(name[1])
            case ast.Assign(targets=[ast.Name(id=identifier)], value=value) if identifier == DECLARATION:
                data = tuple(ast.literal_eval(value))
    return frozenset(_files_of(modules, source, scripts)), data


def _nodes_that_run(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those below ``if TYPE_CHECKING:``."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        for_checkers = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        todo += node.orelse if for_checkers else ast.iter_child_nodes(node)


def _files_of(modules: Iterable[str], source: Path, scripts: Path) -> Iterator[Path]:
    """The files that an import of the modules runs: of each, the packages above it and itself. Others' are left out.

    Relative imports begin with dots.
    """
    for module in modules:
        level = len(module) - len(module.lstrip("."))
        folder = source.parents[level - 1] if level else scripts
        for part in module.lstrip(".").split("."):
            if (folder / part / "__init__.py").is_file():
                folder /= part
                yield folder / "__init__.py"
            else:
                if (folder / f"{part}.py").is_file():
                    yield folder / f"{part}.py"
                break


def _data_files(source: Path, name: str) -> list[Path]:
    path = source.parent / name
    files = [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    if path.is_file():
        files = [path]
    if not files:
        raise UserError(f"{source}: {DECLARATION}: found {name!r}, but there is no such file or folder beside it.")
    return files
