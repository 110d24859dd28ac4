"""A kitchen of 5 x 4 x 2.7 m: an L of wooden cabinets along the north and east walls, an island in the middle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from blueprint.demo.materials import Material, plain, rgb, sky, stone, tiles, wood
from blueprint.demo.noise import clouds
from blueprint.demo.room import Front, Room, wall_with_hole, window
from blueprint.demo.surfaces import Vector

WEST, EAST, SOUTH, NORTH, CEILING = -2.5, 2.5, -2.0, 2.0, 2.7
WORKTOP_M = 0.9
DOOR_M = 0.018  # how far doors stand before their cabinet

WALL = plain("#efe4cf", cell_m=0.08, mottle=0.04)
WHITE = plain("#f1efea", cell_m=0.05, mottle=0.02, gloss=0.1)
OAK = wood("#c1905a")
DARK_OAK = wood("#7d5433")
GRANITE = stone("#4a4b4f", gloss=0.5)
STEEL = plain("#aeb1b5", cell_m=0.04, mottle=0.06, gloss=0.3)
STEEL_FINE = replace(STEEL, cell_m=(0.016, 0.016))
CHROME = plain("#b4b8bd", cell_m=0.03, mottle=0.02, gloss=0.35)
BLACK = plain("#1b1c1f", cell_m=0.04, gloss=0.45)
SHADOW = plain("#2c2722", cell_m=0.06)
FLOOR = tiles("#d8d0c0", (0.4, 0.4), second="#b3a48e", cell_m=0.07, gloss=0.22)
METRO = tiles("#eef0ea", (0.15, 0.075), joint="#8f908a", joint_m=0.005, bond=True, cell_m=0.05, gloss=0.35)


def kitchen(offsets_m: Mapping[str, Vector]) -> Room:
    """The whole kitchen, with named pieces moved by ``offsets_m`` (metres)."""
    room = Room((WEST, SOUTH, 0.0), (EAST, NORTH, CEILING), offsets_m)
    pieces = {
        "shell": shell,
        "fridge": fridge,
        "north_run": north_run,
        "sink": sink,
        "stove": stove,
        "wall_cabinets": wall_cabinets,
        "east_run": east_run,
        "shelves": shelves,
        "island": island,
        "stools": stools,
        "pendants": pendants,
        "door": door,
        "sideboard": sideboard,
        "radiator": radiator,
        "plant": plant,
    }
    room.furnish(pieces)
    return room


def shell(room: Room) -> None:
    """Floor, ceiling, four walls with two windows, skirting."""
    width, depth = EAST - WEST, NORTH - SOUTH
    room.quad((WEST, SOUTH, 0), (width, 0, 0), (0, depth, 0), FLOOR)
    room.quad((WEST, NORTH, CEILING), (width, 0, 0), (0, -depth, 0), replace(WHITE, cell_m=(0.11, 0.11), gloss=0.0))
    room.quad((EAST, SOUTH, 0), (0, 0, CEILING), (0, depth, 0), WALL)
    room.quad((EAST, SOUTH, 0), (-width, 0, 0), (0, 0, CEILING), WALL)
    wall_with_hole(room, (WEST, NORTH, 0), (width, 0, 0), CEILING, (1.2, 2.45, 1.12, 2.2), WALL)
    wall_with_hole(room, (WEST, SOUTH, 0), (0, depth, 0), CEILING, (1.1, 2.9, 0.92, 2.25), WALL)
    window(room, Front((-1.3, NORTH, 1.12), (1, 0, 0)), 1.25, 1.08, sky(1.08), (5.0, 5.4, 6.0))
    window(room, Front((WEST, -0.9, 0.92), (0, 1, 0)), 1.8, 1.33, sky(1.33), (7.0, 7.2, 7.4))
    for low, high in (
        ((WEST, SOUTH, 0), (WEST + 0.015, 1.35, 0.09)),
        ((EAST - 0.015, SOUTH, 0), (EAST, -0.62, 0.09)),
        ((-0.95, SOUTH, 0), (EAST, SOUTH + 0.015, 0.09)),
    ):
        room.box(low, high, WHITE)


def panelled(material: Material, width_m: float, height_m: float, *, frame_m: float = 0.075) -> Material:
    """A cabinet door: frame around a sunken panel, a dark gap around the door. Drawn, not modelled."""
    gap, bevel = 0.004, 0.008

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        base = np.broadcast_to(material.colour(u, v, key), (len(u), 3))
        border = np.minimum(np.minimum(u, width_m - u), np.minimum(v, height_m - v))
        factor = np.where(border < gap, 0.25, 1.0)
        factor = np.where(border > frame_m, 0.93, factor)
        edge = (border > frame_m) & (border < frame_m + bevel)
        upper = (v > height_m / 2) & (np.abs(v - (height_m - frame_m)) < 1.5 * bevel)
        factor = np.where(edge, np.where(upper, 0.5, 0.68), factor)
        return base * factor[:, None]

    def cuts(length_u_m: float, length_v_m: float) -> tuple[list[float], list[float]]:
        stops = [
            [gap, frame_m, frame_m + bevel, size - frame_m - bevel, size - frame_m, size - gap]
            for size in (width_m, height_m)
        ]
        return stops[0], stops[1]

    return replace(material, colour=colour, cuts_m=cuts, edge_m=0.02)


def door_panel(room: Room, front: Front, span_m: Vector, rise_m: Vector, material: Material, handle: str) -> None:
    """One cabinet door or drawer with its handle: ``handle`` is left, right, top, low (upright ones near that side)."""
    left, right = span_m
    bottom, top = rise_m
    narrow = min(0.075, (top - bottom) / 4)
    room.on_front(front, span_m, rise_m, panelled(material, right - left, top - bottom, frame_m=narrow), DOOR_M)
    out = Front(tuple(front.at(0, 0, DOOR_M)), front.right)
    middle = (left + right) / 2
    if handle == "top":
        height = (bottom + top) / 2 if top - bottom < 0.25 else top - 0.06
        room.bar(out, (middle - 0.08, height), (middle + 0.08, height), CHROME)
    else:
        side = left + 0.04 if handle.startswith("left") else right - 0.04
        start = bottom + 0.08 if handle.endswith("low") else top - 0.22
        room.bar(out, (side, start), (side, start + 0.14), CHROME)


def base_cabinet(room: Room, front: Front, width_m: float, layout: str, *, depth_m: float = 0.58) -> None:
    """A base cabinet below the worktop: ``layout`` is door, doors or drawers."""
    top = WORKTOP_M - 0.04
    room.on_front(front, (0, width_m), (0, 0.1), SHADOW, -0.05)
    # The doors of the sink: its bowl hangs behind them.
    room.solid(front.at(0, 0.0, -depth_m), front.at(width_m, 0.7 if layout == "doors" else top, 0.0))
    if layout == "drawers":
        for low, high in ((0.1, 0.4), (0.4, 0.66), (0.66, top)):
            door_panel(room, front, (0, width_m), (low, high), OAK, "top")
    elif layout == "doors":
        door_panel(room, front, (0, width_m / 2), (0.1, top), OAK, "right")
        door_panel(room, front, (width_m / 2, width_m), (0.1, top), OAK, "left")
    else:
        door_panel(room, front, (0, width_m), (0.1, 0.68), OAK, "right")
        door_panel(room, front, (0, width_m), (0.68, top), OAK, "top")


def worktop(room: Room, low: Vector, high: Vector, faces: str) -> None:
    """A slab of stone, 40 mm thick."""
    room.box((*low, WORKTOP_M - 0.04), (*high, WORKTOP_M), GRANITE, faces)


def fridge(room: Room) -> None:
    """A tall steel fridge with a freezer below and a cabinet above."""
    x0, x1, y0 = -2.46, -1.76, 1.34
    front = Front((x0, y0, 0), (1, 0, 0))
    steel = plain("#a9adb2", cell_m=0.07, mottle=0.05, gloss=0.22)
    room.box((x0, y0 + 0.03, 0.03), (x1, NORTH - 0.02, 1.88), steel, "et")
    room.on_front(front, (0, 0.7), (0, 0.06), BLACK, -0.04)
    for low, high in ((0.06, 0.66), (0.67, 1.88)):
        room.box((x0, y0, low), (x1, y0 + 0.04, high), steel, "sewtb")
    for low, high in ((0.4, 0.6), (0.75, 1.25)):
        room.bar(front, (0.62, low), (0.62, high), CHROME, 0.011)
    room.on_front(front, (0.06, 0.2), (1.72, 1.76), plain("#5b6066", cell_m=0.02), 0.012)
    cabinet = Front((x0, 1.42, 1.93), (1, 0, 0))
    room.box((x0, 1.42 - DOOR_M, 1.93), (x1, NORTH, 2.35), OAK, "et")
    door_panel(room, cabinet, (0, 0.35), (0, 0.42), OAK, "right low")
    door_panel(room, cabinet, (0.35, 0.7), (0, 0.42), OAK, "left low")


def north_run(room: Room) -> None:
    """Base cabinets, worktop and metro tiles along the north wall, with things standing on it."""
    front = Front((-1.72, 1.42, 0), (1, 0, 0))
    start = 0.0
    for width, layout in (
        (0.6, "door"),
        (0.9, "doors"),
        (0.6, "drawers"),
        (0.6, None),
        (0.6, "drawers"),
        (0.34, "door"),
    ):
        if layout:
            base_cabinet(room, Front(tuple(front.at(start, 0)), front.right), width, layout)
        start += width
    room.quad((-1.72, NORTH, 0), (0, 1.42 - DOOR_M - NORTH, 0), (0, 0, 0.86), OAK)
    room.quad((-1.74, 1.385, WORKTOP_M - 0.04), (0, 0, 0.04), (0, 0.615, 0), GRANITE)
    # The worktop leaves a hole for the sink (x -0.97 to -0.37, y 1.5 to 1.88).
    for low, high in (
        ((-1.74, 1.385), (-0.97, NORTH)),
        ((-0.97, 1.385), (-0.37, 1.5)),
        ((-0.97, 1.88), (-0.37, NORTH)),
        ((-0.37, 1.385), (EAST, NORTH)),
    ):
        worktop(room, low, high, "st" if low[1] < 1.4 else "t")
    wall = NORTH - 0.008
    for x0, x1, z0, z1 in ((-1.74, EAST, 0.9, 1.085), (-1.74, -1.36, 1.085, 1.5), (0.02, EAST, 1.085, 1.5)):
        room.quad((x0, wall, z0), (x1 - x0, 0, 0), (0, 0, z1 - z0), METRO)
    for x, code, height in ((-1.55, "#3f5f3a", 0.27), (-1.44, "#6b2e22", 0.24), (-1.5, "#c9a33c", 0.2)):
        bottle(room, (x, 1.82 if height > 0.22 else 1.68, WORKTOP_M), height, code)
    jar(room, (0.12, 1.84, WORKTOP_M), 0.06, 0.15, "#d9c9a8")
    jar(room, (0.26, 1.85, WORKTOP_M), 0.05, 0.12, "#a85b3a")
    utensils(room, (1.12, 1.82, WORKTOP_M))
    knife_block(room, (1.38, 1.78, WORKTOP_M))


def sink(room: Room) -> None:
    """A steel bowl in the worktop and a bent tap."""
    x0, x1, y0, y1, low = -0.97, -0.37, 1.5, 1.88, WORKTOP_M - 0.17
    dx, dy, dz = x1 - x0, y1 - y0, WORKTOP_M - low
    bowl = replace(STEEL, gloss=0.35)
    room.quad((x0, y0, low), (dx, 0, 0), (0, dy, 0), bowl)
    room.quad((x0, y1, low), (dx, 0, 0), (0, 0, dz), bowl)
    room.quad((x1, y0, low), (-dx, 0, 0), (0, 0, dz), bowl)
    room.quad((x0, y0, low), (0, dy, 0), (0, 0, dz), bowl)
    room.quad((x1, y1, low), (0, -dy, 0), (0, 0, dz), bowl)
    rim = 0.025
    for low_corner, high_corner in (
        ((x0 - rim, y0 - rim), (x1 + rim, y0)),
        ((x0 - rim, y1), (x1 + rim, y1 + rim)),
        ((x0 - rim, y0), (x0, y1)),
        ((x1, y0), (x1 + rim, y1)),
    ):
        room.box((*low_corner, WORKTOP_M), (*high_corner, WORKTOP_M + 0.01), STEEL, "nsewt")
    room.lathe(((x0 + x1) / 2, (y0 + y1) / 2, low + 0.003), [(0.04, 0.0), (0.0, 0.0)], BLACK)
    foot = ((x0 + x1) / 2, 1.94, WORKTOP_M)
    room.lathe(foot, [(0.028, 0.0), (0.028, 0.05), (0.014, 0.06)], CHROME)
    x, y, z = foot
    bend = [(x, y + 0.1 * (np.cos(a) - 1), z + 0.27 + 0.1 * np.sin(a)) for a in np.linspace(0, np.pi, 9)]
    room.tube([(x, y, z + 0.05), *bend, (x, y - 0.2, z + 0.21)], 0.013, CHROME, (1, 0, 0))
    room.tube([(x + 0.02, y, z + 0.045), (x + 0.09, y, z + 0.075)], 0.008, CHROME, (0, 1, 0))


def stove(room: Room) -> None:
    """An oven with a glass door, a hob with four rings, a pot and a pan on it, and a hood above."""
    x0, x1 = 0.38, 0.98
    front = Front((x0, 1.4, 0), (1, 0, 0))
    room.solid((x0, 1.42, 0), (x1, NORTH, 0.86))
    room.on_front(front, (0, 0.6), (0, 0.1), SHADOW, -0.05)
    room.on_front(front, (0, 0.6), (0.1, 0.22), STEEL)
    room.on_front(front, (0, 0.6), (0.22, 0.72), BLACK, 0.004)
    room.on_front(front, (0.07, 0.53), (0.3, 0.6), plain("#3b3330", cell_m=0.03, gloss=0.6), 0.014)
    room.on_front(front, (0, 0.6), (0.72, 0.86), STEEL)
    room.bar(front, (0.06, 0.67), (0.54, 0.67), CHROME, 0.01)
    for right in (0.07, 0.16, 0.44, 0.53):
        room.lathe(front.at(right, 0.79), [(0.02, 0.0), (0.018, 0.025), (0.0, 0.025)], BLACK, (0, -1, 0))
    room.on_front(front, (0.24, 0.36), (0.765, 0.815), plain("#12303a", cell_m=0.015, glow=1.0), 0.012)
    room.box((x0 + 0.02, 1.44, WORKTOP_M), (x1 - 0.02, 1.93, WORKTOP_M + 0.012), BLACK, "nsewt")
    ring = plain("#9b9c9e", cell_m=0.012)
    glowing = plain("#d8502a", cell_m=0.012, glow=0.9)
    for x, y, radius in ((0.54, 1.56, 0.085), (0.83, 1.56, 0.07), (0.54, 1.81, 0.07), (0.83, 1.81, 0.085)):
        for scale in (1.0, 0.6):
            r = radius * scale
            shown = glowing if (x, y) == (0.83, 1.56) else ring
            room.lathe((x, y, WORKTOP_M + 0.02), [(r, 0.0), (r - 0.007, 0.0)], shown)
    pot(room, (0.83, 1.81, WORKTOP_M + 0.022))
    pan(room, (0.54, 1.56, WORKTOP_M + 0.022))
    room.box((x0 - 0.02, 1.52, 1.6), (x1 + 0.02, NORTH, 1.67), STEEL, "sewtb")
    room.box((0.53, 1.68, 1.67), (0.83, NORTH, CEILING), replace(STEEL, cell_m=(0.06, 0.06)), "sew")
    for x in (0.52, 0.84):
        room.lathe((x, 1.7, 1.597), [(0.0, 0.0), (0.035, 0.0)], plain("#fff3d6", cell_m=0.02, glow=1.1))
    room.lamp((0.63, 1.6, 1.59), (0.1, 0, 0), (0, -0.1, 0), (14.0, 12.5, 10.0))


def wall_cabinets(room: Room) -> None:
    """Wall cabinets beside window and hood."""
    for x0, widths in ((0.06, (0.28,)), (1.02, (0.5, 0.5, 0.46))):
        x1 = x0 + sum(widths)
        front = Front((x0, 1.65, 1.48), (1, 0, 0))
        room.box((x0, 1.65 - DOOR_M, 1.48), (x1, NORTH, 2.25), OAK, "ewtb")
        left = 0.0
        for number, width in enumerate(widths):
            side = "right low" if number % 2 == 0 else "left low"
            door_panel(room, front, (left, left + width), (0, 0.77), OAK, side)
            left += width


def east_run(room: Room) -> None:
    """Base cabinets along the east wall with microwave, kettle, toaster and bread."""
    front = Front((1.92, 1.4, 0), (0, -1, 0))
    for start, layout in ((0.2, "door"), (0.8, "drawers"), (1.4, "door")):
        base_cabinet(room, Front(tuple(front.at(start, 0)), front.right), 0.6, layout)
    room.on_front(front, (0, 0.2), (0.1, 0.86), OAK, 0.01)
    room.quad((1.92 - DOOR_M, -0.6, 0), (0.58 + DOOR_M, 0, 0), (0, 0, 0.86), OAK)
    worktop(room, (1.885, -0.62), (EAST, 1.385), "swt")
    wall = EAST - 0.008
    room.quad((wall, NORTH, 0.9), (0, -2.62, 0), (0, 0, 0.6), METRO)
    microwave(room, (2.1, 0.62), 0.5)
    kettle(room, (2.2, 0.35, WORKTOP_M))
    toaster(room, (2.14, -0.08))
    room.box((2.42, -0.5, WORKTOP_M), (2.445, -0.22, WORKTOP_M + 0.36), wood("#a9713f"), "swnt")


def shelves(room: Room) -> None:
    """Two open shelves on the east wall with plates, mugs, bottles and jars."""
    y0, y1, x0 = -0.55, 1.55, 2.27
    for height in (1.55, 1.93):
        room.box((x0, y0, height), (EAST, y1, height + 0.03), OAK.turned(), "nswtb")
        for y in (y0 + 0.2, y1 - 0.2):
            room.box((2.32, y - 0.01, height - 0.12), (EAST, y + 0.01, height), BLACK, "nsw")
    low, high = 1.58, 1.96
    for index in range(6):
        plate(room, (2.36, 0.05 + 0.035 * index, low + 0.125), 0.12, "#f3efe6" if index % 2 else "#7fa3b8")
    for y, code in ((-0.42, "#c9573f"), (-0.3, "#e6b23c"), (-0.18, "#4f8a83")):
        mug(room, (2.38, y, low), code)
    for y, code, radius in ((0.45, "#d8c39a", 0.055), (0.6, "#8a4b2f", 0.055), (0.75, "#e8e0cc", 0.055)):
        jar(room, (2.38, y, low), radius, 0.17, code)
    for y, code, height in ((1.0, "#35553a", 0.3), (1.12, "#57301f", 0.28), (1.24, "#35553a", 0.3)):
        bottle(room, (2.39, y, low), height, code)
    bowl(room, (2.38, 0.0, high), 0.11, 0.08, "#5a7f93")
    bowl(room, (2.38, 0.3, high), 0.09, 0.07, "#e9e3d4")
    jar(room, (2.38, 0.62, high), 0.07, 0.2, "#b7813f")
    jar(room, (2.38, 0.82, high), 0.06, 0.16, "#7d8f5a")
    pot(room, (2.38, 1.2, high))
    leaves(room, (2.38, -0.35, high), 0.07, 0.1)


def island(room: Room) -> None:
    """The island: wooden body, stone top, fruit bowl, chopping board, bottle and mug."""
    x0, x1, y0, y1 = -0.72, 0.72, -0.32, 0.38
    room.solid((x0, y0, 0), (x1, y1, 0.86))
    room.box((x0 + 0.04, y0 + 0.04, 0), (x1 - 0.04, y1 - 0.04, 0.1), SHADOW, "nsew")
    body = panelled(OAK, 0.48, 0.76)
    for k in range(3):
        room.quad((x0 + 0.48 * k, y0, 0.1), (0.48, 0, 0), (0, 0, 0.76), body)
    depth = y1 + DOOR_M - y0
    end = panelled(OAK, depth, 0.76)
    room.quad((x1, y0, 0.1), (0, depth, 0), (0, 0, 0.76), end)
    room.quad((x0, y1 + DOOR_M, 0.1), (0, -depth, 0), (0, 0, 0.76), end)
    front = Front((x1, y1, 0), (-1, 0, 0))
    for k in range(3):
        door_panel(room, front, (0.48 * k, 0.48 * (k + 1)), (0.1, 0.62), OAK, "right" if k % 2 else "left")
        door_panel(room, front, (0.48 * k, 0.48 * (k + 1)), (0.62, 0.86), OAK, "top")
    worktop(room, (-0.8, -0.58), (0.8, 0.44), "nsewtb")
    fruit_bowl(room, (0.12, 0.02, WORKTOP_M))
    board = wood("#cf9d62", contrast=0.5)
    room.box((-0.62, -0.3, WORKTOP_M), (-0.2, -0.02, WORKTOP_M + 0.022), board.turned(), "nsewt")
    loaf(room, (-0.47, -0.15, WORKTOP_M + 0.022))
    room.box((-0.36, -0.28, WORKTOP_M + 0.022), (-0.34, -0.12, WORKTOP_M + 0.026), CHROME, "nsewt")
    room.box((-0.362, -0.12, WORKTOP_M + 0.022), (-0.338, -0.03, WORKTOP_M + 0.036), BLACK, "nsewt")
    bottle(room, (-0.42, 0.24, WORKTOP_M), 0.3, "#3f6b3a")
    mug(room, (0.56, -0.28, WORKTOP_M), "#c9573f")
    plate_flat(room, (0.5, -0.08, WORKTOP_M), 0.12)


def stools(room: Room) -> None:
    """Three bar stools at the south side of the island."""
    for x in (-0.5, 0.0, 0.5):
        seat = 0.66
        room.lathe(
            (x, -0.72, seat), [(0.0, -0.035), (0.16, -0.03), (0.17, 0.0), (0.165, 0.012), (0.0, 0.008)], DARK_OAK
        )
        for dx, dy in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
            top = (x + 0.1 * dx, -0.72 + 0.1 * dy, seat - 0.03)
            foot = (x + 0.17 * dx, -0.72 + 0.17 * dy, 0.0)
            room.tube([foot, top], 0.012, BLACK, (dx * 0.70710678, -dy * 0.70710678, 0))
        for dy in (-1, 1):
            room.tube(
                [(x - 0.145, -0.72 + 0.145 * dy, 0.22), (x + 0.145, -0.72 + 0.145 * dy, 0.22)], 0.009, BLACK, (0, 0, 1)
            )


def pendants(room: Room) -> None:
    """Three enamel lamps above the island, out of the way of a camera at eye height."""
    enamel = plain("#2f4a52", cell_m=0.03, gloss=0.4)
    for x in (-0.5, 0.0, 0.5):
        room.tube([(x, 0, 2.25), (x, 0, CEILING)], 0.004, BLACK, (0, 1, 0))
        room.lathe((x, 0, 2.05), [(0.15, 0.0), (0.13, 0.06), (0.05, 0.14), (0.03, 0.2), (0.0, 0.2)], enamel)
        inside = plain("#fff0d0", cell_m=0.03, glow=0.95)
        room.lathe((x, 0, 2.05), [(0.0, 0.12), (0.06, 0.1), (0.145, 0.002)], inside)
        room.lathe(
            (x, 0, 2.06),
            [(0.0, -0.005), (0.03, 0.0), (0.035, 0.03), (0.0, 0.06)],
            plain("#fff8e8", glow=1.2, cell_m=0.02),
        )
        room.lamp((x - 0.08, 0.08, 2.04), (0.16, 0, 0), (0, -0.16, 0), (16.0, 13.5, 9.5))


def door(room: Room) -> None:
    """A white panel door in the south wall with its frame and handle."""
    front = Front((-1.1, SOUTH, 0), (-1, 0, 0))
    for low, high, rise in ((-0.08, 0.0, (0, 2.13)), (0.85, 0.93, (0, 2.13)), (0.0, 0.85, (2.05, 2.13))):
        room.on_front(front, (low, high), rise, WHITE, 0.02)
    leaf = plain("#e9e6df", cell_m=0.07, mottle=0.02, gloss=0.12)
    for span in ((0.0, 0.425), (0.425, 0.85)):
        for rise in ((0.0, 0.8), (0.8, 2.05)):
            room.on_front(front, span, rise, panelled(leaf, 0.425, rise[1] - rise[0], frame_m=0.09), 0.01)
    room.bar(front, (0.78, 1.02), (0.67, 1.02), CHROME, 0.01)


def sideboard(room: Room) -> None:
    """A low dark sideboard at the south wall with pictures and a clock above."""
    x0, x1, y1 = -0.5, 0.9, -1.63
    room.box((x0, SOUTH, 0.1), (x1, y1 - 0.02, 0.8), DARK_OAK, "ew")
    room.box((x0 - 0.02, SOUTH, 0.8), (x1 + 0.02, y1 + 0.01, 0.83), DARK_OAK.turned(), "newtb")
    room.box((x0 + 0.05, SOUTH, 0.0), (x1 - 0.05, y1 - 0.06, 0.1), SHADOW, "new")
    front = Front((x1, y1 - 0.02, 0), (-1, 0, 0))
    for k in range(3):
        width = (x1 - x0) / 3
        door_panel(room, front, (k * width, (k + 1) * width), (0.1, 0.8), DARK_OAK, "right" if k % 2 else "left")
    leaves(room, (-0.25, -1.8, 0.83), 0.08, 0.14)
    bowl(room, (0.55, -1.8, 0.83), 0.13, 0.09, "#d7dfe0")
    jar(room, (0.2, -1.82, 0.83), 0.06, 0.2, "#b9553d")
    for x, z, width, height, code in ((-0.3, 1.3, 0.34, 0.44, "#d98e5f"), (0.2, 1.36, 0.44, 0.32, "#6f94a8")):
        picture(room, Front((x + width, SOUTH, z), (-1, 0, 0)), width, height, code)
    clock(room, (1.35, SOUTH, 1.85))


def radiator(room: Room) -> None:
    """A ribbed white radiator under the west window, herbs on the sill."""
    room.solid((WEST + 0.03, -0.6, 0.12), (WEST + 0.11, 0.6, 0.72))
    for k in range(16):
        y = -0.6 + 0.075 * k
        room.box((WEST + 0.03, y, 0.12), (WEST + 0.11, y + 0.055, 0.72), WHITE, "nset")
    for y, size in ((-0.55, 0.06), (-0.1, 0.07), (0.5, 0.06)):
        leaves(room, (WEST - 0.02, y, 0.92), size, 0.1)


def plant(room: Room) -> None:
    """A tall plant in a pot in the south-east corner."""
    leaves(room, (2.12, -1.62, 0.0), 0.2, 0.36)


def bottle(room: Room, foot: Vector, height_m: float, code: str) -> None:
    """A bottle with a neck."""
    r = 0.13 * height_m
    profile = [(r, 0), (r, 0.6 * height_m), (0.35 * r, 0.78 * height_m), (0.35 * r, height_m), (0, height_m)]
    room.lathe(foot, profile, plain(code, cell_m=0.018, gloss=0.5))
    label = [(r + 0.002, 0.15 * height_m), (r + 0.002, 0.45 * height_m)]
    room.lathe(foot, label, plain("#ece4cf", cell_m=0.018))


def jar(room: Room, foot: Vector, radius_m: float, height_m: float, code: str) -> None:
    """A storage jar with a wooden lid."""
    r, h = radius_m, height_m
    room.lathe(foot, [(r, 0), (r, 0.82 * h), (0.9 * r, 0.86 * h)], plain(code, cell_m=0.02, gloss=0.4))
    room.lathe(foot, [(0.95 * r, 0.86 * h), (0.95 * r, h), (0, h)], plain("#a9794a", cell_m=0.02))


def mug(room: Room, foot: Vector, code: str) -> None:
    """A mug with a handle."""
    glaze = plain(code, cell_m=0.014, gloss=0.4)
    room.lathe(foot, [(0.038, 0), (0.04, 0.09), (0.035, 0.09), (0.034, 0.02), (0, 0.02)], glaze)
    x, y, z = foot
    room.tube(
        [(x, y - 0.038, z + 0.07), (x, y - 0.065, z + 0.06), (x, y - 0.065, z + 0.03), (x, y - 0.038, z + 0.02)],
        0.006,
        glaze,
        (1, 0, 0),
    )


def bowl(room: Room, foot: Vector, radius_m: float, height_m: float, code: str) -> None:
    """An open bowl, outside and inside."""
    r, h = radius_m, height_m
    outside = [(0.4 * r, 0), (0.75 * r, 0.3 * h), (r, h)]
    inside = [(r, h), (0.7 * r, 0.35 * h), (0.0, 0.12 * h)]
    room.lathe(foot, outside + inside, plain(code, cell_m=0.02, gloss=0.35))


def ball(room: Room, centre: Vector, radius_m: float, material: Material) -> None:
    """A sphere."""
    room.lathe(centre, [(radius_m * np.sin(a), -radius_m * np.cos(a)) for a in np.linspace(0, np.pi, 9)], material)


def fruit_bowl(room: Room, foot: Vector) -> None:
    """A bowl of apples, oranges and lemons."""
    bowl(room, foot, 0.17, 0.1, "#f2ece0")
    x, y, z = foot
    apple, orange, lemon, pear = "#c93a2b", "#e98a24", "#f0cf3a", "#b8c63a"
    fruits = (
        (-0.07, -0.04, 0.09, 0.045, apple),
        (0.03, -0.08, 0.09, 0.045, orange),
        (0.08, 0.02, 0.09, 0.045, pear),
        (0.0, 0.07, 0.09, 0.045, orange),
        (-0.07, 0.05, 0.09, 0.04, lemon),
        (0.0, -0.01, 0.135, 0.045, apple),
    )
    for dx, dy, dz, radius, code in fruits:
        ball(room, (x + dx, y + dy, z + dz), radius, plain(code, cell_m=0.014, mottle=0.25, gloss=0.25))


def loaf(room: Room, centre: Vector) -> None:
    """A loaf of bread."""
    profile = [(0.0, -0.12), (0.045, -0.115), (0.062, -0.05), (0.062, 0.05), (0.045, 0.115), (0.0, 0.12)]
    x, y, z = centre

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        crust = rgb("#b57a3e") * (0.9 + 0.2 * clouds(u * 30, v * 30, key))[:, None]
        return np.where((np.abs(np.mod(v, 0.06) - 0.03) < 0.006)[:, None], rgb("#e5c48f"), crust)

    room.lathe((x, y, z + 0.055), profile, Material(colour, (0.016, 0.011)), (1, 0, 0))


def pot(room: Room, foot: Vector) -> None:
    """A steel pot with lid and two handles."""
    x, y, z = foot
    room.lathe(foot, [(0.1, 0), (0.1, 0.13), (0.105, 0.135), (0.06, 0.155), (0.0, 0.16)], STEEL_FINE)
    ball(room, (x, y, z + 0.172), 0.016, BLACK)
    for side in (-1, 1):
        path = [
            (x + side * 0.1, y - 0.03, z + 0.1),
            (x + side * 0.13, y - 0.03, z + 0.1),
            (x + side * 0.13, y + 0.03, z + 0.1),
            (x + side * 0.1, y + 0.03, z + 0.1),
        ]
        room.tube(path, 0.007, BLACK, (0, 0, 1))


def pan(room: Room, foot: Vector) -> None:
    """A black frying pan."""
    x, y, z = foot
    room.lathe(
        foot,
        [(0.09, 0), (0.115, 0.04), (0.11, 0.04), (0.088, 0.006), (0, 0.006)],
        plain("#26272a", cell_m=0.02, gloss=0.3),
    )
    room.tube(
        [(x - 0.04, y - 0.1, z + 0.035), (x - 0.1, y - 0.26, z + 0.05)], 0.011, BLACK, (0.92847669, -0.37139068, 0)
    )


def kettle(room: Room, foot: Vector) -> None:
    """A steel kettle with a black handle and a spout."""
    x, y, z = foot
    room.lathe(foot, [(0.085, 0), (0.09, 0.03), (0.062, 0.19), (0.04, 0.205), (0, 0.21)], STEEL_FINE)
    ball(room, (x, y, z + 0.22), 0.014, BLACK)
    handle = [(x, y - 0.06, z + 0.18), (x, y - 0.13, z + 0.17), (x, y - 0.135, z + 0.07), (x, y - 0.08, z + 0.05)]
    room.tube(handle, 0.011, BLACK, (1, 0, 0))
    room.tube([(x, y + 0.06, z + 0.13), (x, y + 0.12, z + 0.19)], 0.014, STEEL_FINE, (1, 0, 0))


def toaster(room: Room, centre: Vector) -> None:
    """A red toaster with two slots."""
    x, y = centre
    room.box(
        (x, y - 0.14, WORKTOP_M + 0.01),
        (x + 0.17, y + 0.14, WORKTOP_M + 0.2),
        plain("#a82c22", cell_m=0.03, gloss=0.2),
        "nsewt",
    )
    for dx in (0.045, 0.1):
        room.box((x + dx, y - 0.1, WORKTOP_M + 0.2), (x + dx + 0.03, y + 0.1, WORKTOP_M + 0.203), BLACK, "t")


def microwave(room: Room, corner: Vector, width_m: float) -> None:
    """A microwave oven facing west."""
    x, y = corner
    low, high = WORKTOP_M + 0.01, WORKTOP_M + 0.3
    room.box((x, y, low), (x + 0.36, y + width_m, high), STEEL, "nswt")
    front = Front((x, y + width_m, low), (0, -1, 0))
    room.on_front(front, (0.02, 0.36), (0.03, 0.26), BLACK, 0.012)
    room.on_front(front, (0.38, 0.48), (0.2, 0.25), plain("#3fae8c", cell_m=0.015, glow=0.8), 0.012)
    for up in (0.05, 0.09, 0.13):
        for right in (0.39, 0.425, 0.46):
            room.on_front(front, (right, right + 0.02), (up, up + 0.02), plain("#6d7175", cell_m=0.02), 0.012)


def utensils(room: Room, foot: Vector) -> None:
    """A crock of wooden spoons."""
    x, y, z = foot
    room.lathe(foot, [(0.05, 0), (0.06, 0.14), (0.052, 0.14), (0.045, 0.05)], plain("#dfe3e0", cell_m=0.018, gloss=0.4))
    for dx, dy, length in ((0.05, 0.01, 0.3), (-0.045, 0.0, 0.28), (0.01, 0.02, 0.33)):
        top = np.array([x + dx, y + dy, z + length])
        plane = np.cross([dx, dy, length - 0.05], [0.0, 1.0, 0.0])
        room.tube([(x, y, z + 0.05), top], 0.007, plain("#b98a55", cell_m=0.02), plane / np.sqrt(plane @ plane))
        ball(room, top, 0.022, plain("#b98a55", cell_m=0.015))


def knife_block(room: Room, foot: Vector) -> None:
    """A wooden block with the handles of five knives."""
    x, y, z = foot
    room.box((x, y, z), (x + 0.12, y + 0.16, z + 0.2), DARK_OAK, "nsewt")
    for k in range(5):
        left = x + 0.012 + 0.022 * k
        room.box((left, y + 0.05, z + 0.2), (left + 0.012, y + 0.09, z + 0.28), BLACK, "nsewt")


def plate(room: Room, centre: Vector, radius_m: float, code: str) -> None:
    """A plate standing upright, facing south-north."""
    r = radius_m
    room.lathe(centre, [(r, 0.0), (0.65 * r, 0.012), (0.0, 0.012)], plain(code, cell_m=0.02, gloss=0.3), (0, -1, 0))
    room.lathe(centre, [(0.0, -0.004), (r, -0.002)], plain(code, cell_m=0.03), (0, -1, 0))


def plate_flat(room: Room, foot: Vector, radius_m: float) -> None:
    """A plate lying on the table."""
    r = radius_m
    glaze = plain("#f3efe6", cell_m=0.02, gloss=0.35)
    room.lathe(foot, [(0.6 * r, 0.004), (r, 0.022), (0.65 * r, 0.014), (0.0, 0.013)], glaze)


def picture(room: Room, front: Front, width_m: float, height_m: float, code: str) -> None:
    """A framed picture: hills under a sky."""
    rim = 0.02
    for span, rise in (
        ((0, width_m), (0, rim)),
        ((0, width_m), (height_m - rim, height_m)),
        ((0, rim), (rim, height_m - rim)),
        ((width_m - rim, width_m), (rim, height_m - rim)),
    ):
        room.on_front(front, span, rise, BLACK, 0.02)

    def colour(u: np.ndarray, v: np.ndarray, key: int) -> np.ndarray:
        near = 0.3 * height_m + 0.05 * np.sin(16 * u)
        far = 0.5 * height_m + 0.06 * np.sin(11 * u + 2)
        shown = np.where((v < far)[:, None], rgb(code), rgb("#f4e9d2"))
        shown = np.where((v < near)[:, None], rgb(code) * 0.6, shown)
        sun = (u - 0.62 * width_m) ** 2 + (v - 0.75 * height_m) ** 2 < 0.035**2
        return np.where(sun[:, None], rgb("#e2a233"), shown)

    span, rise = (rim, width_m - rim), (rim, height_m - rim)
    room.on_front(front, span, rise, Material(colour, (0.014, 0.014)), 0.018)


def clock(room: Room, centre: Vector) -> None:
    """A wall clock on the south wall."""
    face, rim = plain("#faf8f2", cell_m=0.03), plain("#22262a", cell_m=0.02)
    room.lathe(centre, [(0.16, 0.0), (0.16, 0.03), (0.145, 0.03)], rim, (0, 1, 0))
    room.lathe(centre, [(0.145, 0.02), (0.0, 0.02)], face, (0, 1, 0))
    x, y, z = centre
    for dx, dz in ((0.06, 0.05), (-0.03, 0.11)):
        room.tube([(x, y + 0.026, z), (x + dx, y + 0.026, z + dz)], 0.005, rim, (0, 1, 0))
    for k in range(12):
        angle = 2 * np.pi * k / 12
        mark = (x + 0.122 * np.sin(angle) + 0.006, y + 0.026, z + 0.122 * np.cos(angle) - 0.006)
        room.quad(mark, (-0.012, 0, 0), (0, 0, 0.012), rim)


def leaves(room: Room, foot: Vector, radius_m: float, pot_height_m: float) -> None:
    """A plant in a clay pot: a bush of bent leaves."""
    x, y, z = foot
    r, h = 0.75 * radius_m, pot_height_m
    room.lathe(
        foot, [(0.75 * r, 0), (r, h), (0.9 * r, h), (0.85 * r, 0.9 * h), (0, 0.9 * h)], plain("#b5653c", cell_m=0.03)
    )
    blades = max(14, int(160 * radius_m))
    for k in range(blades):
        angle, lift = 2.399963229728653 * k, 0.25 + 0.75 * (k + 0.5) / blades
        out = np.array([np.cos(angle), np.sin(angle), 0.0])
        base = np.array([x, y, z + 0.9 * h]) + 0.25 * r * out
        reach = radius_m * (1.5 - 0.6 * lift)
        tip = base + reach * out + [0, 0, 2.6 * radius_m * lift]
        across = np.array([-out[1], out[0], 0.0]) * 0.32 * radius_m
        green = plain("#4f8a3c" if k % 3 else "#76a84e", cell_m=0.03, mottle=0.3, gloss=0.1)
        room.quad(base + 0.3 * (tip - base) - across / 2, across, 0.7 * (tip - base), green)
