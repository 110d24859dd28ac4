"""The scene description: a room, the surfaces in it, the solids that throw shadows and the lights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from blueprint.demo.materials import Material, plain
from blueprint.demo.surfaces import Shape, Surface, Vector, box, lathe, quad, tube
from blueprint.errors import UserError


@dataclass(frozen=True)
class Lamp:
    """A rectangle that emits light towards ``along_s x along_t``: a window or a lampshade."""

    corner: Vector
    along_s: Vector
    along_t: Vector
    radiance: Vector  # linear RGB


@dataclass(frozen=True)
class Front:
    """The front of a piece of furniture: ``origin`` at its lower left corner, ``right`` as seen by who looks at it."""

    origin: Vector
    right: Vector  # unit vector along the front; right x up points out of it

    def at(self, right_m: float, up_m: float, out_m: float = 0.0) -> np.ndarray:
        """World position [3] of a point of the front."""
        right = np.array(self.right, float)
        out = np.array([right[1], -right[0], 0.0])
        return np.array(self.origin, float) + right_m * right + out_m * out + np.array([0.0, 0.0, up_m])


@dataclass
class Room:
    """Collects a scene piece by piece. Axes: x east, y north, z up, floor at 0, metres."""

    low: Vector
    high: Vector
    offsets_m: Mapping[str, Vector] = field(default_factory=dict)  # how far named pieces are moved
    light_node_m: float = 0.1  # distance of the places where light is gathered
    surfaces: list[Surface] = field(default_factory=list)
    solids: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)  # lowest and highest corners
    lamps: list[Lamp] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    _offset: np.ndarray = field(default_factory=lambda: np.zeros(3))

    @contextmanager
    def piece(self, name: str) -> Iterator[None]:
        """What is added inside belongs to the piece and moves with it."""
        self.pieces.append(name)
        self._offset = np.array(self.offsets_m.get(name, (0, 0, 0)), float)
        try:
            yield
        finally:
            self._offset = np.zeros(3)

    def furnish(self, pieces: Mapping[str, Callable[[Room], None]]) -> None:
        """Add named pieces, in order."""
        for name, add in pieces.items():
            with self.piece(name):
                add(self)

    def refuse_unknown_pieces(self) -> None:
        """Check that every moved piece exists.

        Raises:
            UserError: it does not; names the pieces that do.
        """
        unknown = sorted(set(self.offsets_m) - set(self.pieces))
        if unknown:
            raise UserError(f"offsets_m: no piece {unknown[0]!r} in this scene. Pieces: {', '.join(self.pieces)}.")

    def add(self, *surfaces: Surface) -> None:
        """Add surfaces to the current piece."""
        for surface in surfaces:
            self.surfaces.append(replace(surface, shape=_moved(surface.shape, self._offset)))

    def solid(self, low: Vector, high: Vector) -> None:
        """Let a box throw shadows (a little smaller than it is, so that it does not shade its own skin)."""
        low, high = np.minimum(low, high), np.maximum(low, high)
        self.solids.append((low + 0.004 + self._offset, high - 0.004 + self._offset))

    def box(self, low: Vector, high: Vector, material: Material, faces: str = "nsewt") -> None:
        """Add a box that throws shadows."""
        low, high = np.minimum(low, high), np.maximum(low, high)
        self.add(*box(low, high, material, faces))
        if min(high - low) >= 0.015 and max(high - low) >= 0.08:
            self.solid(low, high)

    def quad(self, corner: Vector, along_s: Vector, along_t: Vector, material: Material) -> None:
        """Add a parallelogram."""
        self.add(quad(corner, along_s, along_t, material))

    def lathe(
        self, centre: Vector, profile: Sequence[tuple[float, float]], material: Material, axis: Vector = (0, 0, 1)
    ) -> None:
        """Add a body of revolution; its trunk throws shadows when its axis is vertical."""
        self.add(lathe(centre, profile, material, axis))
        radii, heights = np.array(profile).T
        half = 0.75 * float(radii.max())
        if axis == (0, 0, 1) and half > 0.03 and np.ptp(heights) > 0.03:
            x, y, z = centre
            self.solid((x - half, y - half, z + heights.min()), (x + half, y + half, z + heights.max()))

    def tube(self, path: Sequence[Vector], radius_m: float, material: Material, plane: Vector) -> None:
        """Add a round bar."""
        self.add(tube(path, radius_m, material, plane))

    def lamp(self, corner: Vector, along_s: Vector, along_t: Vector, radiance: Vector) -> None:
        """Add a light (it has no surface of its own)."""
        self.lamps.append(Lamp(tuple(np.array(corner, float) + self._offset), along_s, along_t, radiance))

    def on_front(self, front: Front, span_m: Vector, rise_m: Vector, material: Material, out_m: float = 0.0) -> None:
        """Add a flat panel on a front: ``span_m`` = (left, right), ``rise_m`` = (bottom, top)."""
        corner = front.at(span_m[0], rise_m[0], out_m)
        along_s = front.at(span_m[1], rise_m[0], out_m) - corner
        self.quad(corner, along_s, (0, 0, rise_m[1] - rise_m[0]), material)

    def bar(self, front: Front, start: Vector, stop: Vector, material: Material, radius_m: float = 0.007) -> None:
        """Add a handle on a front from ``start`` to ``stop``, each (right, up), standing off by 35 mm."""
        ends = [front.at(*start, 0.035), front.at(*stop, 0.035)]
        feet = [front.at(*start, 0.0), front.at(*stop, 0.0)]
        along = ends[1] - ends[0]
        out = ends[0] - feet[0]
        self.tube(
            [feet[0], *ends, feet[1]], radius_m, material, np.cross(along, out) / np.linalg.norm(np.cross(along, out))
        )


def _moved(shape: Shape, offset: np.ndarray) -> Shape:
    return lambda s, t: ((moved := shape(s, t))[0] + offset, *moved[1:])


def wall_with_hole(
    room: Room,
    corner: Vector,
    along_s: Vector,
    height_m: float,
    hole: tuple[float, float, float, float],
    wall: Material,
) -> None:
    """Four rectangles around a hole (left, right, bottom, top in metres from the wall's corner)."""
    start, along = np.array(corner, float), np.array(along_s, float)
    length = float(np.sqrt(along @ along))
    unit, up = along / length, np.array([0.0, 0.0, 1.0])
    left, right, bottom, top = hole
    parts = [(0, length, 0, bottom), (0, length, top, height_m), (0, left, bottom, top), (right, length, bottom, top)]
    for s0, s1, z0, z1 in parts:
        if z1 == z0:
            continue  # a door reaches the floor
        room.quad(start + s0 * unit + z0 * up, (s1 - s0) * unit, (z1 - z0) * up, wall)


def window(room: Room, front: Front, width_m: float, height_m: float, view: Material, radiance: Vector) -> None:
    """A window in a wall: reveal, frame with a cross, sill, the bright view outside and the light that it sheds."""
    frame = plain("#f4f2ee", cell_m=0.05, mottle=0.02, gloss=0.15)
    depth, bar = 0.12, 0.05
    at = front.at
    up = np.array([0.0, 0.0, 1.0])
    room.on_front(front, (-0.02, width_m + 0.02), (-0.02, height_m + 0.02), view, -depth)
    room.quad(at(0, 0), at(0, 0, -depth) - at(0, 0), height_m * up, frame)
    room.quad(at(width_m, 0, -depth), at(0, 0) - at(0, 0, -depth), height_m * up, frame)
    room.quad(at(0, 0), at(width_m, 0) - at(0, 0), at(0, 0, -depth) - at(0, 0), frame)
    room.quad(at(0, height_m, -depth), at(width_m, 0) - at(0, 0), at(0, 0) - at(0, 0, -depth), frame)
    for left in (0.0, width_m / 2 - bar / 2, width_m - bar):
        room.on_front(front, (left, left + bar), (0, height_m), frame, -0.06)
    for low in (0.0, height_m - bar, 0.62 * height_m):
        room.on_front(front, (0, width_m), (low, low + bar), frame, -0.058)
    room.box(at(-0.06, -0.035, 0.0), at(width_m + 0.06, 0.0, 0.1), frame, "nsewtb")
    room.lamp(at(0, 0, 0.01), at(width_m, 0) - at(0, 0), height_m * up, radiance)
