"""PLY files of Gaussians: told apart from their headers before anything is decoded, and read in every dialect.

Exporters differ in the names of number types, in precision and byte order, in properties and elements beside those of
the Gaussians, and some write text. What is read is found by name; the rest is passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np

from blueprint.errors import UserError

Layout = Literal["3DGS PLY", "compressed PLY"]

MAX_HEADER_BYTES = 64 * 1024
REST_COUNTS = (0, 9, 24, 45)  # f_rest properties of SH degree 0, 1, 2, 3
PLACE = ("x", "y", "z")
COLOUR = ("f_dc_0", "f_dc_1", "f_dc_2")
SHAPE = ("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3")
GAUSSIAN_PROPERTIES = (*PLACE, *COLOUR, *SHAPE)
PACKED_PROPERTIES = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]
CHUNK_SIZE = 256
CHUNK_FLOATS = 18  # lowest and highest position, scale and colour of a chunk
TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
EXPORT_AGAIN = "Open it in a splat editor (SuperSplat, for example) and export a 3DGS or compressed PLY."


@dataclass(frozen=True)
class Element:
    """One element of a PLY header."""

    name: str
    count: int
    properties: tuple[tuple[str, str], ...]  # (type, name); the type of a list starts with "list"

    @property
    def names(self) -> list[str]:
        """Names of the properties, in order."""
        return [name for _, name in self.properties]

    @property
    def kinds(self) -> set[str]:
        """numpy's codes of the properties' types; "list" for lists."""
        return {TYPES.get(kind, "list") for kind, _ in self.properties}

    def record(self, order: str) -> np.dtype:
        """One record as numpy sees it in a byte order; properties must be of fixed size."""
        return np.dtype([(f"{number} {name}", order + TYPES[kind]) for number, (kind, name) in self._numbered()])

    def _numbered(self) -> list[tuple[int, tuple[str, str]]]:
        return list(enumerate(self.properties))


@dataclass(frozen=True)
class Header:
    """What the header of a PLY file says."""

    encoding: str
    elements: tuple[Element, ...]
    size_bytes: int

    def element(self, name: str) -> Element | None:
        """The element of a name, if there is one."""
        return next((element for element in self.elements if element.name == name), None)

    def start_bytes(self, name: str) -> int:
        """Where the records of an element begin in a binary file; those before must be of fixed size."""
        at = self.size_bytes
        for element in self.elements:
            if element.name == name:
                return at
            if element.count:
                at += element.count * element.record("<").itemsize
        raise KeyError(name)


def check_layout(path: Path) -> Layout:
    """Tell which kind of Gaussian PLY a file is.

    Raises:
        UserError: a mesh, a point cloud, an unusual or damaged layout, or fewer bytes than the header announces.
    """
    header = read_header(path)
    vertex = header.element("vertex")
    if vertex is None:
        raise UserError(f"{path}: a PLY without vertices (it holds {_listed(header.elements)}). {EXPORT_AGAIN}")
    if header.encoding not in ORDERS:
        raise UserError(f"{path}: a PLY in {header.encoding} encoding, which there is none of. {EXPORT_AGAIN}")
    if header.element("chunk") is not None and vertex.names[:4] == PACKED_PROPERTIES:
        layout: Layout = "compressed PLY"
        _check_compressed(path, header, vertex)
    else:
        layout = "3DGS PLY"
        _check_plain(path, header, vertex)
    _refuse_truncated(path, header, vertex)
    if vertex.count == 0:
        raise UserError(f"{path}: holds no Gaussians (0 vertices).")
    return layout


def read_header(path: Path) -> Header:
    """Read the header of a PLY file.

    Raises:
        UserError: it is damaged, or ends nowhere.
    """
    with path.open("rb") as stream:
        head = stream.read(MAX_HEADER_BYTES)
    marker = head.find(b"end_header")
    end = head.find(b"\n", marker)
    if marker < 0 or end < 0:
        raise UserError(f"{path}: a PLY file without the end of its header: it is truncated or damaged. Copy it again.")
    encoding = "unknown"
    elements: list[Element] = []
    try:
        for line in head[:marker].decode("utf-8", "replace").splitlines()[1:]:
            match line.split():
                case ["format", encoding, *_]:
                    pass
                case ["element", name, count]:
                    elements.append(Element(name, int(count), ()))
                    if elements[-1].count < 0:
                        raise ValueError(line)
                case ["property", *kind, name]:
                    last = elements[-1]
                    if kind[:1] != ["list"] and (len(kind) != 1 or kind[0] not in TYPES):
                        raise ValueError(f"the type of {line!r}")
                    elements[-1] = Element(last.name, last.count, (*last.properties, (" ".join(kind), name)))
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: its PLY header is damaged ({error}). Copy it again.") from error
    return Header(encoding, tuple(elements), end + 1)


def read_columns(path: Path, header: Header, name: str, wanted: Sequence[str]) -> np.ndarray:
    """Columns [N, len(wanted)] float32 of an element, found by name.

    Raises:
        UserError: fewer records, or other values, than the header announces.
    """
    element = header.element(name)
    assert element is not None
    index = [element.names.index(column) for column in wanted]
    table = np.empty((element.count, len(wanted)), dtype=np.float32)
    if header.encoding == "ascii":
        table[:] = _read_text(path, header, element)[:, index]
        return table
    record = element.record(ORDERS[header.encoding])
    records = np.fromfile(path, record, element.count, offset=header.start_bytes(name))
    assert record.names is not None
    for column, number in enumerate(index):
        table[:, column] = records[record.names[number]]
    return table


def _read_text(path: Path, header: Header, element: Element) -> np.ndarray:
    before = 0
    for other in header.elements:
        if other is element:
            break
        before += other.count
    with path.open("rb") as stream:
        stream.seek(header.size_bytes)
        try:
            rows = np.loadtxt(stream, np.float64, comments=None, skiprows=before, max_rows=element.count, ndmin=2)
        except ValueError as error:
            raise UserError(f"{path}: its values cannot be read ({error}). Copy it again.") from error
    if rows.shape != (element.count, len(element.properties)):
        raise UserError(
            f"{path}: truncated: {element.count} rows of {len(element.properties)} values are announced, "
            f"{rows.shape[0]} of {rows.shape[1]} found. Copy it again."
        )
    return rows


def _refuse_truncated(path: Path, header: Header, vertex: Element) -> None:
    """Compare with what the header announces: up to and with the Gaussians, and with all of it where that is told."""
    found = path.stat().st_size
    if header.encoding == "ascii":
        least = (
            header.size_bytes + 2 * vertex.count * len(vertex.properties) - 1
        )  # a digit and what parts it from others
    else:
        least = header.size_bytes
        for element in header.elements:
            if element.count and "list" in element.kinds:
                break
            least += element.count * element.record("<").itemsize if element.count else 0
    if found < least:
        raise UserError(
            f"{path}: truncated: {vertex.count} Gaussians need {least} bytes, the file has {found}. Copy it again."
        )


def _check_compressed(path: Path, header: Header, vertex: Element) -> None:
    chunk, rest = header.element("chunk"), header.element("sh") or Element("sh", vertex.count, ())
    assert chunk is not None
    if len(chunk.properties) != CHUNK_FLOATS:
        raise UserError(
            f"{path}: a compressed PLY of an older kind ({len(chunk.properties)} values per chunk, not {CHUNK_FLOATS}: "
            f"colour ranges are missing). {EXPORT_AGAIN}"
        )
    chunks = -(-vertex.count // CHUNK_SIZE)
    if chunk.count != chunks or rest.count != vertex.count or len(rest.properties) not in REST_COUNTS:
        raise UserError(
            f"{path}: a compressed PLY that contradicts itself: {vertex.count} Gaussians need {chunks} chunks, it has "
            f"{chunk.count}, and {len(rest.properties)} SH values for {rest.count} Gaussians. {EXPORT_AGAIN}"
        )
    # gsply decodes this layout, and it alone.
    expected = (("chunk", chunk, "float"), ("vertex", vertex, "uint"), ("sh", rest, "uchar"))
    other = [
        f"{kind} {name} of {element}" for element, found, expect in expected for kind, name in found.properties
        if kind != expect
    ]  # fmt: skip
    names = [element.name for element in header.elements]
    if (
        other
        or header.encoding != "binary_little_endian"
        or names not in (["chunk", "vertex"], ["chunk", "vertex", "sh"])
    ):
        said = ", ".join(other) or f"{header.encoding}, {_listed(header.elements)}"
        raise UserError(f"{path}: a compressed PLY in an unknown layout ({said}). {EXPORT_AGAIN}")


def _check_plain(path: Path, header: Header, vertex: Element) -> None:
    missing = [name for name in GAUSSIAN_PROPERTIES if name not in vertex.names]
    if missing:
        _refuse_geometry(path, header.elements, vertex, missing)
    rest = sum(name.startswith("f_rest_") for name in vertex.names)
    if rest not in REST_COUNTS or any(f"f_rest_{number}" not in vertex.names for number in range(rest)):
        raise UserError(f"{path}: {rest} f_rest properties; SH degree 0, 1, 2, 3 have 0, 9, 24, 45. {EXPORT_AGAIN}")
    for element in header.elements:
        if "list" in element.kinds and element.count and (element is vertex or header.encoding != "ascii"):
            raise UserError(
                f"{path}: lists of values in the element {element.name}, before those of the Gaussians. {EXPORT_AGAIN}"
            )
        if element is vertex:
            break


def _refuse_geometry(path: Path, elements: Sequence[Element], vertex: Element, missing: list[str]) -> NoReturn:
    faces = next((element.count for element in elements if element.name == "face"), 0)
    if faces:
        kind = f"a mesh ({vertex.count} vertices, {faces} faces)"
    elif "f_dc_0" in missing and "scale_0" in missing:
        kind = f"a point cloud ({vertex.count} points)"
    else:
        raise UserError(f"{path}: {vertex.count} Gaussians without {', '.join(missing)}. {EXPORT_AGAIN}")
    raise UserError(f"{path}: {kind}, not a Gaussian splat. Train a 3D Gaussian splat of the place first.")


def _listed(elements: Sequence[Element]) -> str:
    return ", ".join(f"{element.count} {element.name}" for element in elements) or "nothing"
