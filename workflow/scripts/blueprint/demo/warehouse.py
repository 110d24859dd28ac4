"""A warehouse aisle of 14 x 6 x 5.2 m: pallet racks on both sides, a loading door at the east end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from blueprint.demo.materials import Material, boards, cartons, concrete, corrugated, plain, rgb, sky, wood
from blueprint.demo.noise import hashed
from blueprint.demo.room import Front, Room, wall_with_hole
from blueprint.demo.surfaces import Vector, box

WEST, EAST, SOUTH, NORTH, CEILING = -7.0, 7.0, -3.0, 3.0, 5.2
BAYS, BAY_M, FIRST_BAY_M = 4, 2.8, -6.4
LEVELS_M = (0.0, 1.75, 3.4)
RACK_DEPTH_M = 1.1

BLUE = plain("#2456a0", cell_m=0.07, gloss=0.2)
ORANGE = plain("#e2701f", cell_m=0.08, gloss=0.2)
STEEL = plain("#9a9da1", cell_m=0.06, mottle=0.06, gloss=0.3)
DARK = plain("#26282b", cell_m=0.05, gloss=0.15)
YELLOW = plain("#e8b51e", cell_m=0.05, gloss=0.3)
RED = plain("#bb2a21", cell_m=0.03, gloss=0.3)
WHITE = plain("#f0eee8", cell_m=0.04)
PALLET = replace(wood("#b58f5e", grain_m=0.025, contrast=0.5, gloss=0.0), edge_m=0.02)
DECK = boards(PALLET, 0.142, 0.03).turned()
FILM = plain("#c7d3d8", cell_m=0.07, mottle=0.2, gloss=0.4)
CARDBOARD = ("#b98d5a", "#a97c4c", "#c59c6b", "#9d7850")


def warehouse(offsets_m: Mapping[str, Vector]) -> Room:
    """The whole aisle, with named pieces moved by ``offsets_m`` (metres)."""
    room = Room((WEST, SOUTH, 0.0), (EAST, NORTH, CEILING), offsets_m, light_node_m=0.25)
    pieces = {
        "shell": shell,
        "loading_door": loading_door,
        "ceiling_lamps": ceiling_lamps,
        "north_rack": lambda room: rack(room, Front((FIRST_BAY_M, 1.75, 0), (1, 0, 0)), 1),
        "south_rack": lambda room: rack(room, Front((-FIRST_BAY_M - 1.6, -1.75, 0), (-1, 0, 0)), 2),
        "forklift": forklift,
        "pallet_stack": pallet_stack,
        "pallet_truck": pallet_truck,
        "cones": cones,
        "west_end": west_end,
    }
    room.furnish(pieces)
    return room


def shell(room: Room) -> None:
    """Concrete floor with yellow lanes, sheet-metal walls, a roof on steel beams."""
    width, depth = EAST - WEST, NORTH - SOUTH
    wall = corrugated("#b9c3c8")
    room.quad((WEST, SOUTH, 0), (width, 0, 0), (0, depth, 0), concrete("#9c9a94", lines_m=(1.4, 4.5)))
    room.quad((WEST, NORTH, CEILING), (width, 0, 0), (0, -depth, 0), corrugated("#dfe2e2", pitch_m=0.4).turned())
    room.quad((WEST, NORTH, 0), (width, 0, 0), (0, 0, CEILING), wall)
    room.quad((EAST, SOUTH, 0), (-width, 0, 0), (0, 0, CEILING), wall)
    room.quad((WEST, SOUTH, 0), (0, depth, 0), (0, 0, CEILING), wall)
    wall_with_hole(room, (EAST, NORTH, 0), (0, -depth, 0), CEILING, (1.3, 4.7, 0.0, 3.4), wall)
    for x in np.arange(FIRST_BAY_M, EAST, BAY_M):
        room.box((x - 0.08, SOUTH, CEILING - 0.3), (x + 0.08, NORTH, CEILING - 0.02), STEEL, "ewb")


def loading_door(room: Room) -> None:
    """An open door in the east wall: the bright yard, its frame, the rolled-up shutter above."""
    y0, y1, top, depth = -1.7, 1.7, 3.4, 0.15
    room.quad((EAST + depth, y1, 0), (0, y0 - y1, 0), (0, 0, top), yard(top))
    room.quad((EAST, y0, 0), (depth, 0, 0), (0, y1 - y0, 0), concrete("#b5b2ab"))
    for y in (y0 - 0.12, y1):
        room.box((EAST - 0.1, y, 0), (EAST + 0.02, y + 0.12, top + 0.1), YELLOW, "nsw")
    room.box((EAST - 0.45, y0 - 0.1, top), (EAST, y1 + 0.1, top + 0.45), STEEL, "nswtb")
    room.lamp((EAST - 0.02, y1, 0.0), (0, y0 - y1, 0), (0, 0, top), (6.0, 6.2, 6.5))


def yard(height_m: float) -> Material:
    """What is outside: asphalt, a distant building, sky."""
    above = sky(height_m)

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        shown = above.colour(u, v, key)
        building = (v < 0.52 * height_m) & (u > 1.9)
        shown = np.where(building[:, None], rgb("#c3b6a6") - 0.12 * (np.mod(u, 0.35) < 0.2)[:, None], shown)
        return np.where((v < 0.3 * height_m)[:, None], rgb("#b9b8b4"), shown)

    return replace(above, colour=colour, cell_m=(0.06, 0.06))


def ceiling_lamps(room: Room) -> None:
    """A row of strip lights above the aisle."""
    tube = plain("#fdfdf6", cell_m=0.06, glow=1.15)
    for x in (-5.2, -2.4, 0.4, 3.2, 5.6):
        room.box((x - 0.7, -0.14, CEILING - 0.45), (x + 0.7, 0.14, CEILING - 0.38), STEEL, "nsew")
        room.quad((x - 0.7, 0.14, CEILING - 0.45), (1.4, 0, 0), (0, -0.28, 0), tube)
        for dx in (-0.5, 0.5):
            room.tube([(x + dx, 0, CEILING - 0.38), (x + dx, 0, CEILING)], 0.008, DARK, (0, 1, 0))
        room.lamp((x - 0.7, 0.14, CEILING - 0.47), (1.4, 0, 0), (0, -0.28, 0), (21.0, 21.0, 20.0))


def block(room: Room, front: Front, low: Vector, high: Vector, material: Material, faces: str = "nsewt") -> None:
    """A box in the coordinates of a rack's front: (right, up, depth behind the front)."""
    room.box(front.at(low[0], low[1], -low[2]), front.at(high[0], high[1], -high[2]), material, faces)


def slats(room: Room, front: Front, low: Vector, high: Vector, material: Material, faces: str = "nsewt") -> None:
    """A `block` too slight to throw a shadow."""
    ends = front.at(low[0], low[1], -low[2]), front.at(high[0], high[1], -high[2])
    room.add(*box(np.minimum(*ends), np.maximum(*ends), material, faces))


def rack(room: Room, front: Front, number: int) -> None:
    """A pallet rack of several bays and three levels with its loads; ``number`` varies what is stored."""
    faces = "nsew"
    for bay in range(BAYS + 1):
        left = bay * BAY_M
        for depth in (0.0, RACK_DEPTH_M - 0.07):
            block(room, front, (left - 0.05, 0, depth), (left + 0.05, 4.4, depth + 0.07), BLUE, faces)
        block(room, front, (left - 0.09, 0, -0.03), (left + 0.09, 0.35, 0.0), YELLOW, "nsewt")
        points = [front.at(left, 0.3 + 0.7 * k, -(0.05 if k % 2 else RACK_DEPTH_M - 0.05)) for k in range(6)]
        room.tube(points, 0.016, BLUE, (1, 0, 0))
        room.on_front(front, (left - 0.045, left + 0.045), (1.35, 1.5), WHITE, 0.012)
        room.on_front(front, (left - 0.03, left + 0.03), (1.39, 1.45), DARK, 0.022)
    for bay in range(BAYS):
        left = bay * BAY_M + 0.05
        right = left + BAY_M - 0.1
        for level, height in enumerate(LEVELS_M):
            if level:
                for depth in (0.0, RACK_DEPTH_M - 0.05):
                    block(room, front, (left, height - 0.13, depth), (right, height, depth + 0.05), ORANGE, "nsewtb")
                block(
                    room, front, (left, height - 0.03, 0.05), (right, height - 0.01, RACK_DEPTH_M - 0.05), STEEL, "tb"
                )
            for place in (0, 1):
                lot = int(hashed(number, bay, level, place) * 1000)
                load(room, front, (left + 0.12 + 1.32 * place, height), lot)


def load(room: Room, front: Front, corner: Vector, lot: int) -> None:
    """A pallet (1.2 x 0.9 m) with cartons, drums or a wrapped stack; ``lot`` (0-999) chooses; some places are empty."""
    right, up = corner
    if lot % 11 == 0:
        return
    pallet(room, front, right, up, 0.08)
    base, depth = up + 0.145, 0.1
    if lot % 7 == 1:
        drum = plain("#2f6d8c" if lot % 2 else "#a83a2c", cell_m=0.05, gloss=0.3)
        for x, d in ((0.3, 0.3), (0.88, 0.3), (0.3, 0.8), (0.88, 0.8)):
            foot = front.at(right + x, base, -d)
            ribs = [(0.27, 0), (0.27, 0.28), (0.28, 0.29), (0.27, 0.3), (0.27, 0.58), (0.28, 0.59), (0.27, 0.6)]
            room.lathe(foot, [*ribs, (0.27, 0.86), (0.25, 0.86), (0.0, 0.85)], drum)
        return
    columns, rows = 2 + lot % 2, 2 + lot % 3
    width, height = 1.04 + 0.08 * (lot % 3) / 2, min(0.3 * rows + 0.1 * (lot % 4), 1.25)
    low, high = (right + 0.02, base, depth), (right + 0.02 + width, base + height, depth + 0.8)
    if lot % 5 == 2:
        block(room, front, low, high, FILM)
        return
    code = CARDBOARD[lot % len(CARDBOARD)]
    sides = cartons(code, columns, rows, width, height)
    room.solid(front.at(low[0], low[1], -low[2]), front.at(high[0], high[1], -high[2]))
    room.on_front(front, (low[0], high[0]), (low[1], high[1]), sides, -depth)
    for at, turn in ((low[0], -1), (high[0], 1)):
        right_hand = np.array(front.right, float)
        out = np.array([right_hand[1], -right_hand[0], 0.0])
        start = front.at(at, low[1], -depth if turn > 0 else -depth - 0.8)
        room.quad(start, -0.8 * turn * out, (0, 0, height), cartons(code, 2, rows, 0.8, height))
    top = front.at(low[0], high[1], -depth)
    room.quad(top, front.at(high[0], high[1], -depth) - top, front.at(low[0], high[1], -depth - 0.8) - top, plain(code))


def pallet(room: Room, front: Front, right: float, up: float, depth: float) -> None:
    """A wooden pallet, 1.2 x 0.85 x 0.144 m."""
    for x in (0.0, 0.54, 1.08):
        slats(room, front, (right + x, up, depth), (right + x + 0.12, up + 0.11, depth + 0.85), PALLET, "nsew")
    block(room, front, (right, up + 0.11, depth), (right + 1.2, up + 0.144, depth + 0.85), DECK, "nsewtb")
    slats(room, front, (right, up, depth), (right + 1.2, up + 0.02, depth + 0.09), PALLET.turned(), "nsewt")


def pallet_stack(room: Room) -> None:
    """Empty pallets piled at the south side of the aisle, two cartons on top."""
    front = Front((1.3, -1.45, 0), (-1, 0, 0))
    for k in range(4):
        pallet(room, front, 0.0, 0.15 * k, -0.75)
    carton = replace(cartons("#b98d5a", 1, 1, 0.5, 0.35), cell_m=(0.025, 0.025), edge_m=0.007)
    low, high = front.at(0.3, 0.6, 0.1), front.at(0.8, 0.95, 0.55)
    room.box(low, high, carton)


def pallet_truck(room: Room) -> None:
    """A red hand pallet truck before the north rack."""
    x, y = -3.0, 1.2
    for dy in (-0.27, 0.11):
        room.box((x, y + dy, 0.07), (x + 1.15, y + dy + 0.16, 0.13), RED, "nsewt")
    room.box((x - 0.2, y - 0.2, 0.06), (x, y + 0.2, 0.45), RED, "nsewt")
    room.lathe((x - 0.12, y - 0.1, 0.09), [(0.09, 0.0), (0.09, 0.2), (0.0, 0.2)], DARK, (0, 1, 0))
    room.tube([(x - 0.1, y, 0.45), (x - 0.42, y, 1.1)], 0.018, DARK, (0, 1, 0))
    room.tube([(x - 0.42, y - 0.17, 1.1), (x - 0.42, y + 0.17, 1.1)], 0.018, DARK, (1, 0, 0))


def forklift(room: Room) -> None:
    """A yellow forklift parked by the loading door, forks towards the aisle."""
    x, y, half = 5.0, 0.95, 0.45
    room.box((x, y - half, 0.22), (x + 1.25, y + half, 0.75), YELLOW, "nsewt")
    room.box((x + 0.85, y - half, 0.75), (x + 1.3, y + half, 1.1), YELLOW, "nsewt")
    room.box((x + 0.45, y - 0.24, 0.75), (x + 0.8, y + 0.24, 0.88), DARK, "nsewt")
    room.box((x + 0.74, y - 0.24, 0.88), (x + 0.84, y + 0.24, 1.3), DARK, "nsewt")
    room.tube([(x + 0.15, y, 0.75), (x + 0.32, y, 1.05)], 0.02, DARK, (0, 1, 0))
    room.lathe((x + 0.32, y, 1.06), [(0.15, 0.0), (0.16, 0.015), (0.14, 0.02)], DARK)
    for dy in (-half + 0.03, half - 0.03):
        legs = [(x + 0.1, y + dy, 0.75), (x + 0.2, y + dy, 2.05), (x + 1.05, y + dy, 2.05), (x + 1.2, y + dy, 1.1)]
        room.tube(legs, 0.03, DARK, (0, 1, 0))
        for wheel, radius in ((0.2, 0.24), (1.05, 0.2)):
            side = 1 if dy > 0 else -1
            hub = (x + wheel, y + dy - 0.09 * side, radius)
            room.lathe(hub, [(radius, 0.0), (radius, 0.16), (0.55 * radius, 0.165)], DARK, (0, side, 0))
            room.lathe(hub, [(0.55 * radius, 0.16), (0.0, 0.17)], STEEL, (0, side, 0))
    room.box((x + 0.2, y - half, 2.04), (x + 1.05, y + half, 2.08), DARK, "nsewtb")
    for dy in (-0.28, 0.2):
        room.box((x - 0.16, y + dy, 0.06), (x - 0.06, y + dy + 0.08, 2.15), DARK, "nsewt")
        room.box((x - 1.1, y + dy, 0.06), (x - 0.1, y + dy + 0.11, 0.1), STEEL, "nsewt")
    for z in (0.35, 1.2, 2.1):
        room.box((x - 0.15, y - 0.28, z), (x - 0.09, y + 0.28, z + 0.1), DARK, "nsewtb")
    room.lathe((x + 0.6, y, 2.08), [(0.05, 0), (0.05, 0.1), (0.0, 0.12)], plain("#f08a1c", cell_m=0.02, glow=1.0))


def cones(room: Room) -> None:
    """Two traffic cones."""
    rubber, band = plain("#e4571b", cell_m=0.03, gloss=0.15), plain("#f3f1ea", cell_m=0.03, gloss=0.2)
    for x, y in ((3.4, 0.85), (3.3, 1.4)):
        room.box((x - 0.16, y - 0.16, 0), (x + 0.16, y + 0.16, 0.03), rubber, "nsewt")
        room.lathe((x, y, 0.03), [(0.12, 0.0), (0.085, 0.17)], rubber)
        room.lathe((x, y, 0.03), [(0.085, 0.17), (0.06, 0.3)], band)
        room.lathe((x, y, 0.03), [(0.06, 0.3), (0.025, 0.47), (0.0, 0.47)], rubber)


def west_end(room: Room) -> None:
    """The closed end: a door, an exit sign, a fire extinguisher, a desk with a crate."""
    front = Front((WEST, -0.5, 0), (0, 1, 0))
    leaf = plain("#3f6f86", cell_m=0.07, gloss=0.2)
    room.on_front(front, (0, 1.0), (0, 2.1), leaf, 0.03)
    room.on_front(front, (0.3, 0.7), (1.2, 1.8), plain("#d7ebf2", cell_m=0.04, glow=0.9), 0.045)
    for span, rise in (((-0.1, 0), (0, 2.2)), ((1.0, 1.1), (0, 2.2)), ((0, 1.0), (2.1, 2.2))):
        room.on_front(front, span, rise, DARK, 0.04)
    room.bar(Front((WEST + 0.03, -0.5, 0), (0, 1, 0)), (0.86, 1.05), (0.72, 1.05), STEEL, 0.012)
    room.on_front(front, (0.25, 0.75), (2.35, 2.6), plain("#12884a", cell_m=0.03, glow=0.9), 0.06)
    room.on_front(front, (0.42, 0.58), (2.42, 2.53), plain("#eef7ee", cell_m=0.03, glow=1.0), 0.075)
    room.lathe((WEST + 0.12, 1.0, 0.85), [(0.075, 0), (0.075, 0.4), (0.03, 0.47), (0.03, 0.52), (0, 0.52)], RED)
    room.on_front(front, (1.38, 1.62), (1.6, 1.84), RED, 0.03)
    room.on_front(front, (1.46, 1.54), (1.65, 1.79), WHITE, 0.045)
    room.box((WEST + 0.1, -1.65, 0.72), (WEST + 0.75, -0.75, 0.76), wood("#9a7a52").turned(), "nsewtb")
    for x, y in ((0.14, -1.62), (0.68, -1.62), (0.14, -0.81), (0.68, -0.81)):
        room.box((WEST + x, y, 0), (WEST + x + 0.04, y + 0.04, 0.72), DARK, "nsew")
    room.box((WEST + 0.2, -1.45, 0.76), (WEST + 0.6, -1.0, 1.02), plain("#2f6d8c", cell_m=0.04, gloss=0.2), "nsewt")
