"""Compiled kernels of the CPU rasterizer; `blueprint.render.cpu` tells how they work together.

N Gaussians, T tiles. Kernels run without the GIL on the share of the work that they are given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.cpython.unsafe.numbers import trailing_zeros
from numba.extending import intrinsic

from blueprint.lens import bending

TILE = 16  # pixels
BLOCK = 4  # pixels; what is blended at a time
LANES = BLOCK * BLOCK
BLOCKS = TILE // BLOCK  # of a tile, across and down
# A block's pixels, row by row: transmittances (negative once a pixel is finished); reds, greens, blues and depths,
# summed up with their weights; the depth at which half of the light is gone.
FIELDS = 6 * LANES
# A projected Gaussian: centre; u, v, w of the exponent; log2 of the opacity; half height of the visible ellipse; depth.
# Then, until it is coloured: half width of the ellipse, and how far below the centre its rightmost point lies.
X, Y, U, V, W, PEAK, HALF_HEIGHT, DEPTH, HALF_WIDTH, TILT = range(10)
PROJECTED_FIELDS = 10
# A coloured Gaussian has these from here on; at dx from its centre, it is densest at dy = ALONG_X dx, and vice versa.
RED, GREEN, BLUE, ALONG_X, ALONG_Y = range(8, 13)
COLOURED_FIELDS = 16  # a line of the cache

CHUNK = 32768  # Gaussians binned and blended at a time, at most
CHUNK_PAIRS = 1 << 22  # (Gaussian, tile) pairs of a chunk, at most, unless its first Gaussian alone has more
BATCH = 16  # pairs of a tile of which the blocks are found at a time
PARTS = 8  # into which the binning of a chunk is cut

EPS2D = 0.3  # pixels squared, added to the variance of each projected Gaussian
LOG2_255 = 7.994353436858858
HALF_LOG2_E = 0.7213475204444817
INVISIBLE = np.float32(-LOG2_255)
ALPHA_MAX = np.float32(0.999)
TRANSMITTANCE_MIN = np.float32(1e-4)
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
NEARLY_INVISIBLE = np.float32(-LOG2_255 - 0.01)  # so that rounding leaves out no block that shows
ALL_CLOSED = (1 << BLOCKS * BLOCKS) - 1

# `compiled_fast` may reorder sums and assume finite values: for colours and blending, which see checked values only.
# Counting tiles and visiting them must round in the same way.
compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "arcp"})
compiled_fast = njit(nogil=True, cache=True, error_model="numpy", fastmath=True)
# Numba tells cached kernels by this file alone: count up when `blueprint.lens.bending` changes. Version 1.
bend = compiled(bending(np.arctan))


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any, offset: Any) -> Any:
    """Start loading ``array[index]`` into the cache, from byte ``offset`` on; the order of reading is hard to foresee.

    Halves the time of binning, which is otherwise spent waiting for memory.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, offset = arguments
        data = context.make_array(signature.args[0])(context, builder, array)
        stride = cgutils.unpack_tuple(builder, data.strides)[0]
        start = builder.bitcast(data.data, cgutils.voidptr_t)
        address = builder.gep(start, [builder.add(builder.mul(index, stride), offset)])
        kind = cgutils.ir.FunctionType(cgutils.ir.VoidType(), [cgutils.voidptr_t, *[cgutils.int32_t] * 3])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [address, *map(cgutils.int32_t, (0, 3, 1))])  # to read, keep close, data
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


@intrinsic
def met_blocks(
    typing_context: Any, x: Any, y: Any, u: Any, v: Any, w: Any, reach2: Any, along_x: Any, along_y: Any
) -> Any:
    """One bit for each block of a tile with pixel centres that a visible ellipse may enclose.

    The tile's first pixel centre lies at (x, y) from the ellipse's. In a rectangle, the exponent is least on one of the
    two sides that face the centre; on a side it is least where it is on the whole line, or at the end next to that.
    Written as vector code, without branches, of which hardly any would be foreseen: left to itself, LLVM takes block
    after block, which costs more than blending them.
    """
    vector = ir.VectorType(ir.FloatType(), BLOCKS * BLOCKS)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def constant(values: Any) -> Any:
            return ir.Constant(vector, [float(value) for value in values])

        def all_alike(value: Any) -> Any:
            lanes = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
            return builder.shuffle_vector(lanes, lanes, ir.Constant(ir.VectorType(ir.IntType(32), len(blocks)), None))

        def add(one: Any, other: Any) -> Any:
            return builder.fadd(one, other, flags=("fast",))

        def times(one: Any, other: Any) -> Any:
            return builder.fmul(one, other, flags=("fast",))

        def chosen(relation: str, one: Any, other: Any) -> Any:
            return builder.select(builder.fcmp_ordered(relation, one, other, flags=("fast",)), one, other)

        def clamped(value: Any, low: Any, high: Any) -> Any:
            return chosen("<", chosen(">", value, low), high)

        def exponent(dx: Any, dy: Any) -> Any:
            across, down = add(times(u, dx), times(v, dy)), times(w, dy)
            return add(times(across, across), times(down, down))

        blocks = range(BLOCKS * BLOCKS)
        x, y, u, v, w, reach2, along_x, along_y = map(all_alike, arguments)
        zero, size = constant(0 for _ in blocks), constant(BLOCK - 1 for _ in blocks)
        left, top = (
            add(x, constant(block % BLOCKS * BLOCK for block in blocks)),
            add(y, constant(block // BLOCKS * BLOCK for block in blocks)),
        )
        right, bottom = add(left, size), add(top, size)
        dx, dy = clamped(zero, left, right), clamped(zero, top, bottom)
        least = chosen(
            "<",
            exponent(dx, clamped(times(along_x, dx), top, bottom)),
            exponent(clamped(times(along_y, dy), left, right), dy),
        )
        met = builder.fcmp_ordered("<=", least, reach2, flags=("fast",))
        return builder.zext(builder.bitcast(met, ir.IntType(len(blocks))), ir.IntType(64))

    return types.int64(*[types.float32] * 8), generate


@intrinsic
def fixed(typing_context: Any, array: Any, row: Any, column: Any) -> Any:
    """``array[row, column]`` of an array that nobody writes to meanwhile.

    LLVM has to be told, or it would write a block's state to memory and read it again for every Gaussian.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row, column = arguments
        data = context.make_array(signature.args[0])(context, builder, array)
        stride = cgutils.unpack_tuple(builder, data.strides)[0]
        start = builder.gep(builder.bitcast(data.data, cgutils.voidptr_t), [builder.mul(row, stride)])
        value = builder.load(builder.gep(builder.bitcast(start, data.data.type), [column]))
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
        return value

    return array.dtype(array, types.intp, types.intp), generate


@intrinsic
def members_of(typing_context: Any, met: Any, block: Any) -> Any:
    """One bit for each of BATCH numbers that has bit ``block`` set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        met, block = arguments
        data = context.make_array(signature.args[0])(context, builder, met)
        vector = ir.VectorType(ir.IntType(16), BATCH)
        values = builder.load(builder.bitcast(data.data, vector.as_pointer()), align=2)
        bit = builder.shl(ir.IntType(16)(1), builder.trunc(block, ir.IntType(16)))
        lanes = builder.insert_element(ir.Constant(vector, ir.Undefined), bit, ir.IntType(32)(0))
        bits = builder.shuffle_vector(lanes, lanes, ir.Constant(ir.VectorType(ir.IntType(32), BATCH), None))
        found = builder.icmp_unsigned("!=", builder.and_(values, bits), ir.Constant(vector, None))
        return builder.zext(builder.bitcast(found, ir.IntType(BATCH)), ir.IntType(64))

    return types.int64(met, types.int64), generate


@intrinsic
def wide_vectors(typing_context: Any) -> Any:
    """Let the calling kernel use registers of 64 bytes where the CPU has them.

    LLVM keeps to 32 bytes on many CPUs, for code that has few vector instructions; blending has hardly any others.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


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
    # Clamped before the conversion, since the result of converting a huge number is undefined.
    first = np.int64(min(max(np.ceil(low - HALF), ZERO), np.float32(size)))
    last = np.int64(min(max(np.floor(high - HALF), -ONE), np.float32(size - 1)))
    return (first // TILE, last // TILE + 1) if first <= last else (0, 0)


@compiled
def project(
    begin: int,
    end: int,
    camera: tuple[float, ...],
    bounds: tuple[float, ...],
    lens: tuple[float, ...],
    antialiased: bool,
    width: int,
    height: int,
    near_m: float,
    far_m: float,
    means: np.ndarray,  # [N, 3]
    covariances: np.ndarray,  # [N, 6]
    spreads: np.ndarray,  # [N]
    peaks: np.ndarray,  # [N], log2 of the opacities
    projected: np.ndarray,  # [N, PROJECTED_FIELDS]
    keys: np.ndarray,  # [N], bits of the depths
    ids: np.ndarray,  # [N]
    areas: np.ndarray,  # [N], tiles of the bounding boxes
) -> int:
    """Project Gaussians [begin, end); write those in view from slot ``begin`` on and return how many they are.

    ``camera`` holds the rotation by rows, the camera's position, fx, fy, cx, cy; ``bounds`` the slopes from left to
    right and from top to bottom within which the Jacobian is taken, and bounds of its two rows times depth, which bound
    a Gaussian's extent without projecting it. ``lens`` holds 8 coefficients, the square of its reach, and 1 for OPENCV,
    2 for OPENCV_FISHEYE, 0 for a pinhole.
    """
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = camera[:9]
    px, py, pz, fx, fy, cx, cy = camera[9:]
    low_x, high_x, low_y, high_y, stretch_x, stretch_y = bounds
    bent, fisheye = lens[9] > 0, lens[9] == 2
    slot = begin
    for i in range(begin, end):
        dx, dy, dz = means[i, 0] - px, means[i, 1] - py, means[i, 2] - pz
        z = r20 * dx + r21 * dy + r22 * dz
        limit = peaks[i] + LOG2_255
        if not (near_m <= z <= far_m and limit >= 0.0):
            continue
        inverse = 1.0 / z
        slope_x = (r00 * dx + r01 * dy + r02 * dz) * inverse
        slope_y = (r10 * dx + r11 * dy + r12 * dz) * inverse
        x, y = fx * slope_x + cx, fy * slope_y + cy
        if bent:
            if slope_x * slope_x + slope_y * slope_y > lens[8]:
                continue
            x, y, _, _, _ = bend(fisheye, lens, slope_x, slope_y)
            x, y = fx * x + cx, fy * y + cy
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
        if bent:
            _, _, j00, j01, j11 = bend(fisheye, lens, slope_x, slope_y)
            h0, h1, h2 = a0 / gx, a1 / gx, a2 / gx
            k0, k1, k2 = b0 / gy, b1 / gy, b2 / gy
            a0, a1, a2 = gx * (j00 * h0 + j01 * k0), gx * (j00 * h1 + j01 * k1), gx * (j00 * h2 + j01 * k2)
            b0, b1, b2 = gy * (j01 * h0 + j11 * k0), gy * (j01 * h1 + j11 * k1), gy * (j01 * h2 + j11 * k2)
        c00, c01, c02 = covariances[i, 0], covariances[i, 1], covariances[i, 2]
        c11, c12, c22 = covariances[i, 3], covariances[i, 4], covariances[i, 5]
        s0, s1, s2 = c00 * a0 + c01 * a1 + c02 * a2, c01 * a0 + c11 * a1 + c12 * a2, c02 * a0 + c12 * a1 + c22 * a2
        t0, t1, t2 = c00 * b0 + c01 * b1 + c02 * b2, c01 * b0 + c11 * b1 + c12 * b2, c02 * b0 + c12 * b1 + c22 * b2
        xx, xy, yy = a0 * s0 + a1 * s1 + a2 * s2, b0 * s0 + b1 * s1 + b2 * s2, b0 * t0 + b1 * t1 + b2 * t2
        sharp = xx * yy - xy * xy
        xx += EPS2D
        yy += EPS2D
        determinant = xx * yy - xy * xy
        if not 0.0 < determinant < np.inf:
            continue
        peak = peaks[i]
        if antialiased:
            # What the blur spreads over a larger area becomes as much fainter.
            peak += np.float32(0.5 * np.log2(max(sharp, 0.0) / determinant))
            limit = peak + LOG2_255
            if not limit >= 0.0:
                continue
        half_width = np.sqrt(limit * xx / HALF_LOG2_E)
        half_height = np.sqrt(limit * yy / HALF_LOG2_E)
        row = projected[slot]
        row[X], row[Y], row[DEPTH], row[PEAK] = x, y, z, peak
        row[HALF_WIDTH], row[HALF_HEIGHT], row[TILT] = half_width, half_height, half_width * xy / xx
        row[U] = np.sqrt(HALF_LOG2_E * yy / determinant)
        row[V] = -np.sqrt(HALF_LOG2_E / determinant / yy) * xy
        row[W] = np.sqrt(HALF_LOG2_E / yy)
        left, right = tile_span(row[X] - row[HALF_WIDTH], row[X] + row[HALF_WIDTH], width)
        top, bottom = tile_span(row[Y] - row[HALF_HEIGHT], row[Y] + row[HALF_HEIGHT], height)
        if left < right and top < bottom:
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
def plan_chunk(order: np.ndarray, areas: np.ndarray, first: int, bounds: np.ndarray, offsets: np.ndarray) -> int:
    """End of the chunk of ``order`` that begins at ``first``.

    ``bounds`` [PARTS + 1] receives where its parts begin and end, ``offsets`` [PARTS] where each has room for pairs.
    """
    pairs, last, limit = 0, first, min(len(order), first + CHUNK)
    size = (limit - first + PARTS - 1) // PARTS
    for part in range(PARTS):
        bounds[part], offsets[part] = last, pairs
        while last < min(first + (part + 1) * size, limit):
            pairs += areas[order[last]]
            if pairs > CHUNK_PAIRS and last > first:
                limit = last
                break
            last += 1
    bounds[PARTS] = last
    return last


@compiled_fast
def colour(
    basis: np.ndarray,  # [16], overwritten
    coefficients: np.ndarray,  # [K, 3]
    degree: int,
    x: float,
    y: float,
    z: float,
) -> tuple[float, float, float]:
    """Red, green and blue seen along (x, y, z), which need not be of unit length."""
    inverse = ONE / np.sqrt(x * x + y * y + z * z)
    x, y, z = x * inverse, y * inverse, z * inverse
    xx, yy, zz, xy = x * x, y * y, z * z, x * y
    five = np.float32(5) * zz - ONE
    basis[0] = np.float32(0.28209479177387814)
    basis[1] = np.float32(-0.4886025119029199) * y
    basis[2] = np.float32(0.4886025119029199) * z
    basis[3] = np.float32(-0.4886025119029199) * x
    basis[4] = np.float32(1.0925484305920792) * xy
    basis[5] = np.float32(-1.0925484305920792) * y * z
    basis[6] = np.float32(0.9461746957575601) * zz - np.float32(0.31539156525252005)
    basis[7] = np.float32(-1.0925484305920792) * x * z
    basis[8] = np.float32(0.5462742152960396) * (xx - yy)
    basis[9] = np.float32(-0.5900435899266435) * y * (np.float32(3) * xx - yy)
    basis[10] = np.float32(2.890611442640554) * xy * z
    basis[11] = np.float32(-0.4570457994644658) * y * five
    basis[12] = np.float32(0.3731763325901154) * z * (five - np.float32(2))
    basis[13] = np.float32(-0.4570457994644658) * x * five
    basis[14] = np.float32(1.445305721320277) * z * (xx - yy)
    basis[15] = np.float32(-0.5900435899266435) * x * (xx - np.float32(3) * yy)
    red, green, blue = HALF, HALF, HALF
    for term in range((degree + 1) ** 2):
        red += basis[term] * coefficients[term, 0]
        green += basis[term] * coefficients[term, 1]
        blue += basis[term] * coefficients[term, 2]
    return max(red, ZERO), max(green, ZERO), max(blue, ZERO)


@compiled
def bin_chunk(
    part: int,
    bounds: np.ndarray,  # [PARTS + 1]
    offsets: np.ndarray,  # [PARTS]
    order: np.ndarray,
    ids: np.ndarray,  # [N]
    projected: np.ndarray,  # [N, PROJECTED_FIELDS]
    width: int,
    height: int,
    finished: np.ndarray,  # [T]
    means: np.ndarray,  # [N, 3]
    sh: np.ndarray,  # [N, K, 3]
    degree: int,
    eye: np.ndarray,  # [3]
    coloured: np.ndarray,  # [CHUNK, COLOURED_FIELDS]
    pair_tiles: np.ndarray,
    pair_members: np.ndarray,
    counts: np.ndarray,  # [PARTS, T]
) -> int:
    """List a part's pairs of tile and member of the chunk, nearest first; colour the members that have any.

    Pairs are written from ``offsets[part]`` on, how many each tile has to ``counts[part]``; returns how many in all.
    """
    across = (width + TILE - 1) // TILE
    counts[part] = 0
    pair = offsets[part]
    basis = np.empty(16, np.float32)
    end = bounds[part + 1]
    for k in range(bounds[part], end):
        if k + 16 < end:
            prefetch(projected, order[k + 16], 0)
            prefetch(ids, order[k + 16], 0)
        if k + 8 < end:
            later = ids[order[k + 8]]
            prefetch(means, later, 0)
            for offset in range(0, sh.strides[0], 64):
                prefetch(sh, later, offset)
        slot, member = order[k], k - bounds[0]
        row = projected[slot]
        x, y, u, v, w = row[X], row[Y], row[U], row[V], row[W]
        half_width, half_height, tilt = row[HALF_WIDTH], row[HALF_HEIGHT], row[TILT]
        reach2 = row[PEAK] - INVISIBLE
        left, right = tile_span(x - half_width, x + half_width, width)
        top, bottom = tile_span(y - half_height, y + half_height, height)
        first_pair = pair
        for tile_row in range(top, bottom):
            start, stop = left, right
            if right - left > 1:
                # Where the ellipse reaches to the left and right between this row's first and last pixel centres.
                low = max(np.float32(tile_row * TILE) + HALF - y, -half_height)
                high = min(np.float32(tile_row * TILE + TILE) - HALF - y, half_height)
                at_left, at_right = min(max(-tilt, low), high), min(max(tilt, low), high)
                leftmost = x - (np.sqrt(max(reach2 - (w * at_left) ** 2, ZERO)) + v * at_left) / u
                rightmost = x + (np.sqrt(max(reach2 - (w * at_right) ** 2, ZERO)) - v * at_right) / u
                start, stop = tile_span(leftmost, rightmost, width)
                start, stop = max(start, left), min(stop, right)
            for tile in range(tile_row * across + start, tile_row * across + stop):
                if not finished[tile]:
                    pair_tiles[pair] = tile
                    pair_members[pair] = member
                    counts[part, tile] += 1
                    pair += 1
        if pair > first_pair:
            i = ids[slot]
            dx, dy, dz = means[i, 0] - eye[0], means[i, 1] - eye[1], means[i, 2] - eye[2]
            red, green, blue = colour(basis, sh[i], degree, dx, dy, dz)
            for field in range(HALF_WIDTH):
                coloured[member, field] = row[field]
            coloured[member, RED] = red
            coloured[member, GREEN] = green
            coloured[member, BLUE] = blue
            coloured[member, ALONG_X] = tilt / half_width
            coloured[member, ALONG_Y] = -v / u
    return pair - offsets[part]


@compiled
def starts_from_counts(counts: np.ndarray, starts: np.ndarray) -> None:
    """Turn counts [PARTS, T] into the place of each part's first pair of each tile in the lists, ``starts`` [T + 1]."""
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
    part: int,
    offsets: np.ndarray,  # [PARTS]
    found: np.ndarray,  # [PARTS]
    pair_tiles: np.ndarray,
    pair_members: np.ndarray,
    places: np.ndarray,  # [PARTS, T]
    lists: np.ndarray,
) -> None:
    """Move the members of a part's pairs into the lists of their tiles."""
    for pair in range(offsets[part], offsets[part] + found[part]):
        tile = pair_tiles[pair]
        lists[places[part, tile]] = pair_members[pair]
        places[part, tile] += 1


@compiled_fast
def blend_tiles(
    begin: int,
    end: int,
    across: int,
    starts: np.ndarray,  # [T + 1]
    lists: np.ndarray,
    coloured: np.ndarray,  # [CHUNK, COLOURED_FIELDS]
    states: np.ndarray,  # [T, BLOCKS * BLOCKS, FIELDS]
    finished: np.ndarray,  # [T]
) -> None:
    """Blend the lists of tiles [begin, end) into their states, nearest first."""
    wide_vectors()
    met = np.zeros(BATCH, np.int16)
    for tile in range(begin, end):
        state = states[tile]
        left, top = np.float32(tile % across * TILE + 0.5), np.float32(tile // across * TILE + 0.5)
        closed, first = closed_blocks(state), starts[tile]
        while first < starts[tile + 1] and closed != ALL_CLOSED:
            count = min(BATCH, starts[tile + 1] - first)
            for member in range(count):
                if first + BATCH + member < starts[tile + 1]:
                    prefetch(coloured, lists[first + BATCH + member], 0)
                splat = coloured[lists[first + member]]
                reach2 = splat[PEAK] - NEARLY_INVISIBLE
                shape = splat[U], splat[V], splat[W], reach2, splat[ALONG_X], splat[ALONG_Y]
                met[member] = met_blocks(left - splat[X], top - splat[Y], *shape)
            met[count:] = 0
            for block in range(BLOCKS * BLOCKS):
                members = members_of(met, block)
                if members == 0 or (closed >> block) & 1:
                    continue
                lanes = state[block]
                x0, y0 = left + np.float32(block % BLOCKS * BLOCK), top + np.float32(block // BLOCKS * BLOCK)
                while members:
                    member = lists[first + trailing_zeros(members)]
                    members &= members - 1
                    x, y = x0 - fixed(coloured, member, X), y0 - fixed(coloured, member, Y)
                    u, v, w = fixed(coloured, member, U), fixed(coloured, member, V), fixed(coloured, member, W)
                    peak, depth = fixed(coloured, member, PEAK), fixed(coloured, member, DEPTH)
                    red, green = fixed(coloured, member, RED), fixed(coloured, member, GREEN)
                    blue = fixed(coloured, member, BLUE)
                    edge, drop = u * x + v * y, w * y
                    # Becomes straight vector code, since the count is a constant, one array with constant offsets
                    # leaves no doubt about aliasing, and choices need no branch.
                    for i in range(LANES):
                        s = edge + (u * np.float32(i % BLOCK) + v * np.float32(i // BLOCK))
                        t = drop + w * np.float32(i // BLOCK)
                        q = peak - t * t - s * s
                        alpha = min(exp2(q), ALPHA_MAX) if q >= INVISIBLE else ZERO
                        before = lanes[i]
                        after = before - before * alpha
                        live = after > TRANSMITTANCE_MIN
                        weight = before * alpha if live else ZERO
                        lanes[i] = after if live else -abs(before)
                        lanes[i + LANES] += weight * red
                        lanes[i + 2 * LANES] += weight * green
                        lanes[i + 3 * LANES] += weight * blue
                        lanes[i + 4 * LANES] += weight * depth
                        middle = lanes[i + 5 * LANES]
                        lanes[i + 5 * LANES] = depth if (before > HALF) & (after <= HALF) else middle
            closed = closed_blocks(state)
            first += count
        finished[tile] = closed == ALL_CLOSED


@compiled_fast
def exp2(q: float) -> float:
    """2^q for q in [-8, 0], with a relative error below 3e-6."""
    p = np.float32(2.8649543182268644e-08)
    p = p * q + np.float32(2.24331347453699e-06)
    p = p * q + np.float32(0.0001079682115232572)
    p = p * q + np.float32(0.0037526905070990324)
    p = p * q + np.float32(0.0866427794098854)
    p = p * q + np.float32(0.9999999403953552)
    p = p * p
    p = p * p
    return p * p


@compiled_fast
def closed_blocks(state: np.ndarray) -> int:
    """One bit for each block of a tile, set if none of its pixels takes more light."""
    closed = 0
    for block in range(BLOCKS * BLOCKS):
        largest = np.float32(-1)
        for i in range(LANES):
            largest = max(largest, state[block, i])
        closed |= (1 << block) if largest <= 0 else 0
    return closed


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
                block, lane = row // BLOCK * BLOCKS + column // BLOCK, row % BLOCK * BLOCK + column % BLOCK
                states[tile, block, lane] = 1 if inside else -1


@compiled
def resolve_rows(
    begin: int,
    end: int,
    states: np.ndarray,  # [T, BLOCKS * BLOCKS, FIELDS]
    background: np.ndarray,  # [3]
    rgb: np.ndarray,  # [H, W, 3]
    depth_m: np.ndarray,  # [H, W]
    median_m: np.ndarray,  # [H, W]
    alpha: np.ndarray,  # [H, W]
) -> None:
    """Turn the states into rows [begin, end) of the image."""
    width = alpha.shape[1]
    across = (width + TILE - 1) // TILE
    for y in range(begin, end):
        for x in range(width):
            tile, block = y // TILE * across + x // TILE, y % TILE // BLOCK * BLOCKS + x % TILE // BLOCK
            lanes, lane = states[tile, block], y % BLOCK * BLOCK + x % BLOCK
            through = abs(lanes[lane])
            covered = ONE - through
            alpha[y, x] = covered
            depth_m[y, x] = lanes[lane + 4 * LANES] / covered if covered > ZERO else ZERO
            median_m[y, x] = lanes[lane + 5 * LANES]
            for channel in range(3):
                value = lanes[lane + (channel + 1) * LANES] + through * background[channel]
                rgb[y, x, channel] = min(max(value, ZERO), ONE)
