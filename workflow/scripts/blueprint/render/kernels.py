"""Compiled kernels of the CPU rasterizer; `blueprint.render.cpu` tells what each is for.

Threads are the caller's: every kernel works on the part [begin, end) it is given, without the GIL.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TILE = 16  # pixels
PIXELS = TILE * TILE
STATE = 5 * PIXELS  # per tile: transmittance (negative once a pixel is finished), red, green, blue, depth
# A projected Gaussian: centre, the form's u, v, w, log2 of the opacity, half height of the visible ellipse, depth;
# then, until it is coloured, the half width and the height of the rightmost point above the centre.
X, Y, U, V, W, PEAK, HALF_HEIGHT, DEPTH, HALF_WIDTH, TILT = range(10)
RED, GREEN, BLUE = 8, 9, 10
PROJECTED_FIELDS, COLOURED_FIELDS = 10, 12

EPS2D = 0.3  # pixels squared, added to the variance of each projected Gaussian
LOG2_255 = 7.994353436858858
HALF_LOG2_E = 0.7213475204444817
CHUNK = 32768  # Gaussians binned and blended at a time
CHUNK_PAIRS = 1 << 22  # upper bound of the chunk's (Gaussian, tile) pairs, unless one Gaussian has more
BIN_PARTS = 8
BLEND_PARTS = 64

# No fast-math flag assumes finite values where a scene's numbers come in; the blending loop only sees checked ones.
compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
compiled_fast = njit(nogil=True, cache=True, error_model="numpy", fastmath=True)


@compiled
def world_covariances(
    begin: int, end: int, quats: np.ndarray, scales: np.ndarray, covariances: np.ndarray, spreads: np.ndarray
) -> None:
    """World covariances (xx, xy, xz, yy, yz, zz) and the largest standard deviation of each Gaussian."""
    for i in range(begin, end):
        w, x, y, z = np.float64(quats[i, 0]), np.float64(quats[i, 1]), np.float64(quats[i, 2]), np.float64(quats[i, 3])
        n = 2.0 / (w * w + x * x + y * y + z * z)
        r00, r01, r02 = 1 - n * (y * y + z * z), n * (x * y - w * z), n * (x * z + w * y)
        r10, r11, r12 = n * (x * y + w * z), 1 - n * (x * x + z * z), n * (y * z - w * x)
        r20, r21, r22 = n * (x * z - w * y), n * (y * z + w * x), 1 - n * (x * x + y * y)
        a, b, c = np.float64(scales[i, 0]) ** 2, np.float64(scales[i, 1]) ** 2, np.float64(scales[i, 2]) ** 2
        covariances[i, 0] = a * r00 * r00 + b * r01 * r01 + c * r02 * r02
        covariances[i, 1] = a * r00 * r10 + b * r01 * r11 + c * r02 * r12
        covariances[i, 2] = a * r00 * r20 + b * r01 * r21 + c * r02 * r22
        covariances[i, 3] = a * r10 * r10 + b * r11 * r11 + c * r12 * r12
        covariances[i, 4] = a * r10 * r20 + b * r11 * r21 + c * r12 * r22
        covariances[i, 5] = a * r20 * r20 + b * r21 * r21 + c * r22 * r22
        spreads[i] = np.sqrt(max(a, b, c))


@compiled
def tile_span(low: float, high: float, size: int) -> tuple[int, int]:
    """Tiles [first, last) of those along an axis of ``size`` pixels with a pixel centre in [low, high]."""
    first, last = max(np.int64(np.ceil(low - 0.5)), 0), min(np.int64(np.floor(high - 0.5)), size - 1)
    return (first // TILE, last // TILE + 1) if first <= last else (0, 0)


@compiled
def project(
    begin: int,
    end: int,
    means: np.ndarray,
    covariances: np.ndarray,
    spreads: np.ndarray,
    peaks: np.ndarray,
    camera: tuple[float, ...],
    width: int,
    height: int,
    near: float,
    far: float,
    splats: np.ndarray,
    keys: np.ndarray,
    ids: np.ndarray,
    areas: np.ndarray,
) -> int:
    """Project Gaussians [begin, end); write those in view from slot ``begin`` on and return how many they are.

    ``camera`` holds the rotation by rows, the camera's position, fx, fy, cx, cy.
    """
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = camera[:9]
    px, py, pz, fx, fy, cx, cy = camera[9:]
    low_x, high_x = -(cx + 0.15 * width) / fx, (1.15 * width - cx) / fx
    low_y, high_y = -(cy + 0.15 * height) / fy, (1.15 * height - cy) / fy
    # |J|, largest over the view, times depth; with it a bound of a Gaussian's extent costs no projection.
    stretch_x = fx * np.sqrt(1 + max(low_x * low_x, high_x * high_x))
    stretch_y = fy * np.sqrt(1 + max(low_y * low_y, high_y * high_y))
    slot = begin
    for i in range(begin, end):
        dx, dy, dz = means[i, 0] - px, means[i, 1] - py, means[i, 2] - pz
        z = r20 * dx + r21 * dy + r22 * dz
        limit = peaks[i] + LOG2_255
        if not (near <= z <= far and limit >= 0.0):
            continue
        inverse = 1.0 / z
        slope_x = (r00 * dx + r01 * dy + r02 * dz) * inverse
        slope_y = (r10 * dx + r11 * dy + r12 * dz) * inverse
        x, y = fx * slope_x + cx, fy * slope_y + cy
        reach = 3.34 * spreads[i] * inverse
        if (
            abs(x - 0.5 * width) > 0.5 * width + reach * stretch_x + 2.0
            or abs(y - 0.5 * height) > 0.5 * height + reach * stretch_y + 2.0
        ):
            continue
        slope_x, slope_y = min(max(slope_x, low_x), high_x), min(max(slope_y, low_y), high_y)
        gx, gy = fx * inverse, fy * inverse
        a0, a1, a2 = gx * (r00 - slope_x * r20), gx * (r01 - slope_x * r21), gx * (r02 - slope_x * r22)
        b0, b1, b2 = gy * (r10 - slope_y * r20), gy * (r11 - slope_y * r21), gy * (r12 - slope_y * r22)
        c00, c01, c02 = covariances[i, 0], covariances[i, 1], covariances[i, 2]
        c11, c12, c22 = covariances[i, 3], covariances[i, 4], covariances[i, 5]
        s0, s1, s2 = c00 * a0 + c01 * a1 + c02 * a2, c01 * a0 + c11 * a1 + c12 * a2, c02 * a0 + c12 * a1 + c22 * a2
        t0, t1, t2 = c00 * b0 + c01 * b1 + c02 * b2, c01 * b0 + c11 * b1 + c12 * b2, c02 * b0 + c12 * b1 + c22 * b2
        xx, xy, yy = a0 * s0 + a1 * s1 + a2 * s2 + EPS2D, b0 * s0 + b1 * s1 + b2 * s2, b0 * t0 + b1 * t1 + b2 * t2
        yy += EPS2D
        determinant = xx * yy - xy * xy
        if not 0.0 < determinant < np.inf:
            continue
        half_width = np.sqrt(limit * xx / HALF_LOG2_E)
        half_height = np.sqrt(limit * yy / HALF_LOG2_E)
        left, right = tile_span(x - half_width, x + half_width, width)
        top, bottom = tile_span(y - half_height, y + half_height, height)
        if left == right or top == bottom:
            continue
        u = np.sqrt(HALF_LOG2_E * yy / determinant)
        splats[slot, X] = x
        splats[slot, Y] = y
        splats[slot, U] = u
        splats[slot, V] = -u * xy / yy
        splats[slot, W] = np.sqrt(HALF_LOG2_E / yy)
        splats[slot, PEAK] = peaks[i]
        splats[slot, HALF_HEIGHT] = half_height
        splats[slot, DEPTH] = z
        splats[slot, HALF_WIDTH] = half_width
        splats[slot, TILT] = half_width * xy / xx
        keys[slot] = np.float32(z).view(np.uint32)
        ids[slot] = i
        areas[slot] = (right - left) * (bottom - top)
        slot += 1
    return slot - begin


@compiled
def sort_by_depth(
    keys: np.ndarray, counts: np.ndarray, block: int, order: np.ndarray, spare_keys: np.ndarray, spare_order: np.ndarray
) -> np.ndarray:
    """Slots in use, by ascending key, equal keys in order of slots; returned in one of the two order arrays.

    Block ``b`` of slots uses its first ``counts[b]``. Radix sort, 11 bits at a time, of the bits in which keys differ.
    """
    total = 0
    low, high = np.uint32(0xFFFFFFFF), np.uint32(0)
    for b in range(len(counts)):
        for slot in range(b * block, b * block + counts[b]):
            low, high = min(low, keys[slot]), max(high, keys[slot])
            order[total] = slot
            spare_keys[total] = keys[slot]
            total += 1
    span = high - low if total else np.uint32(0)
    keys, spare_keys = spare_keys, keys
    shift = 0
    while shift < 32 and (span >> np.uint32(shift)) > 0:
        starts = np.zeros(2049, np.int64)
        for i in range(total):
            starts[np.int64(((keys[i] - low) >> np.uint32(shift)) & np.uint32(2047)) + 1] += 1
        for digit in range(2048):
            starts[digit + 1] += starts[digit]
        for i in range(total):
            digit = np.int64(((keys[i] - low) >> np.uint32(shift)) & np.uint32(2047))
            place = starts[digit]
            starts[digit] = place + 1
            spare_keys[place] = keys[i]
            spare_order[place] = order[i]
        keys, spare_keys = spare_keys, keys
        order, spare_order = spare_order, order
        shift += 11
    return order[:total]


@compiled
def plan_chunk(order: np.ndarray, areas: np.ndarray, first: int, parts: np.ndarray, offsets: np.ndarray) -> int:
    """End of the chunk that begins at ``first``; ``parts``, ``offsets``: where each part and its pairs begin."""
    pairs, last = 0, first
    limit = min(len(order), first + CHUNK)
    size = (limit - first + BIN_PARTS - 1) // BIN_PARTS
    parts[:] = first
    for p in range(BIN_PARTS):
        parts[p], offsets[p] = last, pairs
        while last < min(first + (p + 1) * size, limit):
            area = areas[order[last]]
            if pairs + area > CHUNK_PAIRS and last > first:
                limit = last
                break
            pairs += area
            last += 1
    parts[BIN_PARTS] = last
    return last


@compiled
def harmonic_colour(sh: np.ndarray, degree: int, x: float, y: float, z: float, channel: int) -> float:
    """Colour channel of coefficients [K, 3] seen along the unit direction (x, y, z), before the offset of 0.5."""
    colour = 0.28209479177387814 * sh[0, channel]
    if degree >= 1:
        colour += 0.4886025119029199 * (z * sh[2, channel] - y * sh[1, channel] - x * sh[3, channel])
    if degree >= 2:
        colour += 1.0925484305920792 * (x * y * sh[4, channel] - y * z * sh[5, channel] - x * z * sh[7, channel])
        colour += 0.31539156525252005 * (3 * z * z - 1) * sh[6, channel]
        colour += 0.5462742152960396 * (x * x - y * y) * sh[8, channel]
    if degree >= 3:
        colour -= 0.5900435899266435 * y * (3 * x * x - y * y) * sh[9, channel]
        colour += 2.890611442640554 * x * y * z * sh[10, channel]
        colour -= 0.4570457994644658 * (5 * z * z - 1) * (y * sh[11, channel] + x * sh[13, channel])
        colour += 0.3731763325901154 * z * (5 * z * z - 3) * sh[12, channel]
        colour += 1.445305721320277 * z * (x * x - y * y) * sh[14, channel]
        colour -= 0.5900435899266435 * x * (x * x - 3 * y * y) * sh[15, channel]
    return colour


@compiled
def bin_chunk(
    part: int,
    parts: np.ndarray,
    offsets: np.ndarray,
    order: np.ndarray,
    ids: np.ndarray,
    splats: np.ndarray,
    means: np.ndarray,
    sh: np.ndarray,
    degree: int,
    eye: np.ndarray,
    width: int,
    height: int,
    finished: np.ndarray,
    chunk: np.ndarray,
    tiles: np.ndarray,
    members: np.ndarray,
    counts: np.ndarray,
) -> int:
    """Colour a part of the chunk and list its (tile, member) pairs from ``offsets[part]`` on, nearest first.

    ``counts[part]`` [tiles] receives how many pairs each tile has.
    """
    across = (width + TILE - 1) // TILE
    counts[part] = 0
    pair = offsets[part]
    for k in range(parts[part], parts[part + 1]):
        slot, member = order[k], k - parts[0]
        x, y, u, v, w = splats[slot, X], splats[slot, Y], splats[slot, U], splats[slot, V], splats[slot, W]
        half_width, half_height, tilt = splats[slot, HALF_WIDTH], splats[slot, HALF_HEIGHT], splats[slot, TILT]
        reach2 = splats[slot, PEAK] + np.float32(LOG2_255)
        left, right = tile_span(x - half_width, x + half_width, width)
        top, bottom = tile_span(y - half_height, y + half_height, height)
        first_pair = pair
        for row in range(top, bottom):
            if right - left > 1:
                # Where the ellipse reaches to the left and right between this row's first and last pixel centres.
                low = max(row * TILE + 0.5 - y, -half_height)
                high = min(row * TILE + TILE - 0.5 - y, half_height)
                at_left, at_right = min(max(-tilt, low), high), min(max(tilt, low), high)
                start = x - (np.sqrt(max(reach2 - (w * at_left) ** 2, 0.0)) + v * at_left) / u
                stop = x + (np.sqrt(max(reach2 - (w * at_right) ** 2, 0.0)) - v * at_right) / u
                left_here, right_here = tile_span(start, stop, width)
            else:
                left_here, right_here = left, right
            for tile in range(row * across + left_here, row * across + right_here):
                if not finished[tile]:
                    tiles[pair] = tile
                    members[pair] = member
                    counts[part, tile] += 1
                    pair += 1
        if pair > first_pair:
            i = ids[slot]
            dx, dy, dz = means[i, 0] - eye[0], means[i, 1] - eye[1], means[i, 2] - eye[2]
            inverse = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz)
            dx, dy, dz = dx * inverse, dy * inverse, dz * inverse
            chunk[member, :HALF_WIDTH] = splats[slot, :HALF_WIDTH]
            chunk[member, RED] = max(harmonic_colour(sh[i], degree, dx, dy, dz, 0) + 0.5, 0.0)
            chunk[member, GREEN] = max(harmonic_colour(sh[i], degree, dx, dy, dz, 1) + 0.5, 0.0)
            chunk[member, BLUE] = max(harmonic_colour(sh[i], degree, dx, dy, dz, 2) + 0.5, 0.0)
    return pair - offsets[part]


@compiled
def starts_from_counts(counts: np.ndarray, starts: np.ndarray) -> None:
    """Turn counts [parts, tiles] into the place of each part's first pair of each tile; ``starts`` [tiles + 1]."""
    total = 0
    for tile in range(counts.shape[1]):
        starts[tile] = total
        for part in range(counts.shape[0]):
            count = counts[part, tile]
            counts[part, tile] = total
            total += count
    starts[-1] = total


@compiled
def fill_lists(
    part: int, begin: int, end: int, tiles: np.ndarray, members: np.ndarray, places: np.ndarray, lists: np.ndarray
) -> None:
    """Move the pairs [begin, end) of a part into the lists of their tiles."""
    for pair in range(begin, end):
        tile = tiles[pair]
        lists[places[part, tile]] = members[pair]
        places[part, tile] += 1


@compiled_fast
def blend_tiles(
    begin: int,
    end: int,
    across: int,
    starts: np.ndarray,
    lists: np.ndarray,
    chunk: np.ndarray,
    states: np.ndarray,
    finished: np.ndarray,
) -> None:
    """Blend the lists of tiles [begin, end) into their states [tiles, STATE], nearest first."""
    for tile in range(begin, end):
        state = states[tile]
        left, top = np.float32(tile % across * TILE + 0.5), np.float32(tile // across * TILE + 0.5)
        for pair in range(starts[tile], starts[tile + 1]):
            member = lists[pair]
            u, v, w = chunk[member, U], chunk[member, V], chunk[member, W]
            peak, depth = chunk[member, PEAK], chunk[member, DEPTH]
            red, green, blue = chunk[member, RED], chunk[member, GREEN], chunk[member, BLUE]
            x, y, half_height = left - chunk[member, X], top - chunk[member, Y], chunk[member, HALF_HEIGHT]
            first = max(np.int64(np.ceil(-half_height - y)), 0)
            last = min(np.int64(np.floor(half_height - y)), TILE - 1)
            for row in range(first, last + 1):
                dy = y + np.float32(row)
                exponent = peak - (w * dy) ** 2
                edge = u * x + v * dy
                for column in range(TILE):
                    pixel = row * TILE + column
                    s = edge + u * np.float32(column)
                    q = max(exponent - s * s, np.float32(-8))
                    p = np.float32(2.8649543182268644e-08)
                    p = p * q + np.float32(2.24331347453699e-06)
                    p = p * q + np.float32(0.0001079682115232572)
                    p = p * q + np.float32(0.0037526905070990324)
                    p = p * q + np.float32(0.0866427794098854)
                    p = p * q + np.float32(0.9999999403953552)
                    p = p * p
                    p = p * p
                    p = p * p
                    alpha = min(p, np.float32(0.999)) if q >= np.float32(-LOG2_255) else np.float32(0)
                    before = state[pixel]
                    after = before - before * alpha
                    live = after > np.float32(1e-4)
                    weight = before * alpha if live else np.float32(0)
                    state[pixel] = after if live else -abs(before)
                    state[pixel + PIXELS] += weight * red
                    state[pixel + 2 * PIXELS] += weight * green
                    state[pixel + 3 * PIXELS] += weight * blue
                    state[pixel + 4 * PIXELS] += weight * depth
            if pair % 16 == 0 and all_finished(state):
                break
        finished[tile] = all_finished(state)


@compiled_fast
def all_finished(state: np.ndarray) -> bool:
    largest = np.float32(-1)
    for pixel in range(PIXELS):
        largest = max(largest, state[pixel])
    return largest <= 0


@compiled
def clear_tiles(
    begin: int, end: int, across: int, width: int, height: int, states: np.ndarray, finished: np.ndarray
) -> None:
    """Empty the tiles [begin, end); pixels beyond the image's edge are finished from the start."""
    for tile in range(begin, end):
        finished[tile] = False
        states[tile] = 0
        for row in range(TILE):
            for column in range(TILE):
                inside = tile // across * TILE + row < height and tile % across * TILE + column < width
                states[tile, row * TILE + column] = 1 if inside else -1


@compiled
def resolve_rows(
    begin: int,
    end: int,
    states: np.ndarray,
    background: np.ndarray,
    rgb: np.ndarray,
    depth: np.ndarray,
    alpha: np.ndarray,
) -> None:
    """Turn the states into rows [begin, end) of the image."""
    width = alpha.shape[1]
    across = (width + TILE - 1) // TILE
    for y in range(begin, end):
        for x in range(width):
            state = states[y // TILE * across + x // TILE]
            pixel = y % TILE * TILE + x % TILE
            left = abs(state[pixel])
            covered = np.float32(1) - left
            alpha[y, x] = covered
            depth[y, x] = state[4 * PIXELS + pixel] / covered if covered > 0 else np.float32(0)
            for channel in range(3):
                value = state[(channel + 1) * PIXELS + pixel] + left * background[channel]
                rgb[y, x, channel] = min(max(value, np.float32(0)), np.float32(1))
