"""What a PLY file says it holds: told apart from its header, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from blueprint.errors import UserError

Layout = Literal["3DGS PLY", "compressed PLY"]

MAX_HEADER_BYTES = 64 * 1024
REST_COUNTS = (0, 9, 24, 45)  # f_rest properties of SH degree 0, 1, 2, 3
GAUSSIAN_PROPERTIES = (
    "x y z f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3".split()  # noqa: SIM905
)
PACKED_PROPERTIES = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]
CHUNK_SIZE = 256
CHUNK_FLOATS = 18  # lowest and highest position, scale and colour of a chunk
WIDTH_BYTES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("int", "uint", "float", "int32", "uint32", "float32"), 4),
    **dict.fromkeys(("double", "float64"), 8),
}
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
    def size_bytes(self) -> int:
        """Bytes of all records; properties must be of fixed size."""
        return self.count * sum(WIDTH_BYTES[kind] for kind, _ in self.properties)


def check_layout(path: Path) -> Layout:
    """Tell which kind of Gaussian PLY a file is.

    Raises:
        UserError: a mesh, a point cloud, an unusual or damaged layout, or fewer bytes than the header announces.
    """
    encoding, elements, header_bytes = _read_header(path)
    by_name = {element.name: element for element in elements}
    vertex = by_name.get("vertex")
    if vertex is None:
        raise UserError(f"{path}: a PLY without vertices (it holds {_listed(elements)}). {EXPORT_AGAIN}")
    if encoding != "binary_little_endian":
        raise UserError(f"{path}: a PLY in {encoding} encoding; Gaussians are read from binary little-endian PLY only.")
    if "chunk" in by_name and vertex.names[:4] == PACKED_PROPERTIES:
        layout: Layout = "compressed PLY"
        _check_compressed(path, by_name)
    else:
        layout = "3DGS PLY"
        _check_plain(path, elements, vertex)
    expected = header_bytes + sum(element.size_bytes for element in elements)
    found = path.stat().st_size
    if found < expected:
        raise UserError(
            f"{path}: truncated: {vertex.count} Gaussians need {expected} bytes, the file has {found}. Copy it again."
        )
    if vertex.count == 0:
        raise UserError(f"{path}: holds no Gaussians (0 vertices).")
    return layout


def _read_header(path: Path) -> tuple[str, list[Element], int]:
    with path.open("rb") as stream:
        head = stream.read(MAX_HEADER_BYTES)
    marker = head.find(b"end_header")
    end = head.find(b"\n", marker)
    if marker < 0 or end < 0:
        raise UserError(f"{path}: a PLY file without the end of its header: it is truncated or damaged. Copy it again.")
    encoding = "unknown"
    elements: list[Element] = []
    try:
        for line in head[:marker].decode("ascii").splitlines()[1:]:
            match line.split():
                case ["format", encoding, *_]:
                    pass
                case ["element", name, count]:
                    elements.append(Element(name, int(count), ()))
                case ["property", *kind, name]:
                    last = elements[-1]
                    elements[-1] = Element(last.name, last.count, (*last.properties, (" ".join(kind), name)))
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: its PLY header is damaged ({error}). Copy it again.") from error
    return encoding, elements, end + 1


def _check_compressed(path: Path, by_name: dict[str, Element]) -> None:
    chunk, vertex = by_name["chunk"], by_name["vertex"]
    rest = by_name.get("sh", Element("sh", vertex.count, ()))
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


def _check_plain(path: Path, elements: list[Element], vertex: Element) -> None:
    missing = [name for name in GAUSSIAN_PROPERTIES if name not in vertex.names]
    if missing:
        _refuse_geometry(path, elements, vertex, missing)
    rest = sum(name.startswith("f_rest_") for name in vertex.names)
    if rest not in REST_COUNTS:
        raise UserError(f"{path}: {rest} f_rest properties; SH degree 0, 1, 2, 3 have 0, 9, 24, 45. {EXPORT_AGAIN}")
    # gsply reads float properties of a single element; anything else would shift every value after it.
    other = [f"{name} ({kind})" for kind, name in vertex.properties if kind != "float"]
    if other:
        raise UserError(f"{path}: Gaussians with properties that are not float: {', '.join(other)}. {EXPORT_AGAIN}")
    if [element.name for element in elements] != ["vertex"]:
        raise UserError(f"{path}: Gaussians beside other elements ({_listed(elements)}). {EXPORT_AGAIN}")


def _refuse_geometry(path: Path, elements: list[Element], vertex: Element, missing: list[str]) -> NoReturn:
    faces = next((element.count for element in elements if element.name == "face"), 0)
    if faces:
        kind = f"a mesh ({vertex.count} vertices, {faces} faces)"
    elif "f_dc_0" in missing and "scale_0" in missing:
        kind = f"a point cloud ({vertex.count} points)"
    else:
        raise UserError(f"{path}: {vertex.count} Gaussians without {', '.join(missing)}. {EXPORT_AGAIN}")
    raise UserError(f"{path}: {kind}, not a Gaussian splat. Train a 3D Gaussian splat of the place first.")


def _listed(elements: list[Element]) -> str:
    return ", ".join(f"{element.count} {element.name}" for element in elements) or "nothing"
