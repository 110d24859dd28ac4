"""A YAML file as values and the lines they stand on; what YAML would pass over in silence is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from blueprint.errors import UserError

Location = tuple[str | int, ...]
"""Keys and list indices that lead to a value."""

MOST_VALUES = 1_000_000


@dataclass(frozen=True)
class Document:
    """What one or more YAML files say, the later ones replacing top-level keys of the earlier."""

    source: str
    """The files, for messages."""
    values: dict[str, Any]
    places: dict[Location, str] = field(default_factory=dict, repr=False)
    """``file:line`` of every key and list item."""

    def place(self, location: Location, found: Any) -> str:
        """``file:line`` of a value, or the file alone where the value found is another than the file's."""
        value: Any = self.values
        for step in location:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return self.source
        same = value is found or (type(value) is type(found) and value == found)
        return self.places.get(location, self.source) if same else self.source


def read_yaml(*paths: Path, folder: Path = Path()) -> Document:
    """Read YAML files whose top level holds keys; an empty file holds none.

    Args:
        paths: the files, as messages name them.
        folder: what they are relative to.

    Raises:
        UserError: a file that cannot be read, is not YAML, holds a key twice or no keys at all.
    """
    values: dict[str, Any] = {}
    places: dict[Location, str] = {}
    for path in paths:
        found, lines = _read(path, folder / path)
        values |= found
        places = {where: place for where, place in places.items() if where[0] not in found}
        places |= {where: f"{path}:{line}" for where, line in lines.items()}
    return Document(", ".join(map(str, paths)), values, places)


def _read(path: Path, file: Path) -> tuple[dict[str, Any], dict[Location, int]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}). Correct the name, or restore the file.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error}). Save it as UTF-8.") from error
    loader = yaml.SafeLoader("")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        _refuse_explosion(path, node)
        _refuse_twins(path, node)
        values = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        said = "; ".join(text for text in (error.context, error.problem) if text)
        raise UserError(f"{path}{line}: not valid YAML ({said}). Correct this line or the one before.") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:  # also a date such as 2026-13-45, or a key that is a list
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())}). Correct it.") from error
    except RecursionError as error:
        raise UserError(f"{path}: lists or keys inside each other hundreds deep. Correct it.") from error
    finally:
        loader.dispose()
    if not isinstance(values, dict):
        found = repr(values) if len(repr(values)) < 120 else repr(values)[:117] + "..."
        raise UserError(f"{path}: found {found} where keys with values are expected (`key: value` lines).")
    return values, dict(_lines(node, ()))


def _children(node: yaml.Node) -> Sequence[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _refuse_explosion(path: Path, root: yaml.Node) -> None:
    """Aliases (`*name`) can make a short file stand for more values than any memory holds, or for itself."""
    counts: dict[int, int | None] = {}

    def count(node: yaml.Node) -> int:
        if id(node) not in counts:
            counts[id(node)] = None
            counts[id(node)] = 1 + sum(map(count, _children(node)))
        known = counts[id(node)]
        if known is None or known > MOST_VALUES:
            what = "stands for itself" if known is None else f"stands for more than {MOST_VALUES:,} values"
            line = node.start_mark.line + 1
            raise UserError(f"{path}:{line}: what stands here {what}, by its aliases (`*name`). Write it out.")
        return known

    count(root)


def _refuse_twins(path: Path, root: yaml.Node) -> None:
    problems, seen, waiting = [], set(), [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        waiting += _children(node)
        first: dict[tuple[str, str], int] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key_node, yaml.ScalarNode):
                line, name = key_node.start_mark.line + 1, (key_node.tag, key_node.value)
                if name in first:
                    problems.append((line, f"the key {key_node.value!r} stands twice, first in line {first[name]}"))
                first.setdefault(name, line)
    if problems:
        said = [f"{path}:{line}: {problem}. Remove one of the two." for line, problem in sorted(problems)]
        raise UserError("\n".join(said))


def _lines(node: yaml.Node, where: Location) -> Iterator[tuple[Location, int]]:
    if isinstance(node, yaml.MappingNode):
        for key_node, child in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                yield (*where, key_node.value), key_node.start_mark.line + 1
                yield from _lines(child, (*where, key_node.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield (*where, index), child.start_mark.line + 1
            yield from _lines(child, (*where, index))
