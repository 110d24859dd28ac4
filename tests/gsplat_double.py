"""A stand-in for the package gsplat where there is no GPU: the functions that the CUDA backend calls, in plain PyTorch.

They take and give what those of gsplat 1.5.3 do (gsplat/cuda/_wrapper.py), so that all but the CUDA calls of the
backend runs anywhere.
"""

import torch

from blueprint.render import projection, reference


def spherical_harmonics(degrees_to_use, dirs, coeffs):
    basis = reference.spherical_harmonics(torch.nn.functional.normalize(dirs, dim=-1), degrees_to_use)
    return torch.einsum("nk,nkc->nc", basis, coeffs[:, : basis.shape[1]])


def fully_fused_projection(
    means,  # [N, 3]
    covars,
    quats,  # [N, 4]
    scales,  # [N, 3]
    viewmats,  # [C, 4, 4]
    Ks,  # [C, 3, 3]
    width,
    height,
    eps2d=0.3,
    near_plane=0.01,
    far_plane=1e10,
    calc_compensations=False,
    opacities=None,
):
    assert covars is None and eps2d == projection.EPS2D
    rows = []
    for viewmat, K in zip(viewmats, Ks, strict=True):
        found = projection.project(means, scales, quats, viewmat, K.numpy(), width, height, None)
        seen = opacities * found.compensations if calc_compensations else opacities
        drawn = found.drawn & (seen >= 1 / 255) & (found.depths >= near_plane) & (found.depths <= far_plane)
        extents = torch.sqrt(2 * torch.log(seen.clamp(min=1 / 255) * 255)).clamp(max=3.33)
        radii = torch.ceil(extents[:, None] * found.variances.sqrt()) * drawn[:, None]
        rows.append((radii.to(torch.int32), found.centres_px, found.depths, found.conics, found.compensations))
    *stacked, compensations = (torch.stack(parts) for parts in zip(*rows, strict=True))
    return (*stacked, compensations if calc_compensations else None)


def isect_tiles(means2d, radii, depths, tile_size, tile_width, tile_height, n_images=None):
    assert radii.dtype == torch.int32 and means2d.shape[:2] == radii.shape[:2] == depths.shape == (
        n_images,
        len(depths[0]),
    )
    keys, ids = [], []
    for image in range(n_images):
        order = torch.argsort(depths[image], stable=True)
        order = order[(radii[image, order] > 0).all(-1)]
        low, high = means2d[image, order] - radii[image, order], means2d[image, order] + radii[image, order]
        for tile in range(tile_width * tile_height):
            corner = torch.tensor([tile % tile_width, tile // tile_width]) * tile_size
            near = order[((high > corner) & (low < corner + tile_size)).all(-1)]
            keys.append(torch.full((len(near),), image * tile_width * tile_height + tile))
            ids.append(image * depths.shape[1] + near)
    return None, torch.cat(keys), torch.cat(ids).to(torch.int32)


def isect_offset_encode(isect_ids, n_images, tile_width, tile_height):
    starts = torch.searchsorted(isect_ids, torch.arange(n_images * tile_width * tile_height))
    return starts.reshape(n_images, tile_height, tile_width).to(torch.int32)


def rasterize_to_pixels(
    means2d,
    conics,
    colors,
    opacities,
    image_width,
    image_height,
    tile_size,
    isect_offsets,
    flatten_ids,
    backgrounds=None,
):
    images, tile_height, tile_width = isect_offsets.shape
    assert means2d.shape[0] == conics.shape[0] == colors.shape[0] == opacities.shape[0] == images == len(backgrounds)
    starts = [*isect_offsets.flatten().tolist(), len(flatten_ids)]
    picture = torch.zeros(images, tile_height * tile_size, tile_width * tile_size, colors.shape[-1] + 1)
    means2d, conics, colors, opacities = (t.flatten(0, 1) for t in (means2d, conics, colors, opacities))
    rows, columns = torch.meshgrid(torch.arange(tile_size), torch.arange(tile_size), indexing="ij")
    pixels = torch.stack([columns, rows], -1).reshape(-1, 2) + 0.5
    for tile in range(len(starts) - 1):
        image, place = divmod(tile, tile_height * tile_width)
        top, left = place // tile_width * tile_size, place % tile_width * tile_size
        ids = flatten_ids[starts[tile] : starts[tile + 1]].long()
        features = torch.cat([colors[ids], torch.ones(len(ids), 1)], -1)
        blended = reference.blend(
            pixels + torch.tensor([left, top]), means2d[ids], conics[ids], opacities[ids], features
        )
        picture[image, top : top + tile_size, left : left + tile_size] = blended[:, :-1].reshape(
            tile_size, tile_size, -1
        )
    picture = picture[:, :image_height, :image_width]
    alphas = picture[..., -1:]
    return picture[..., :-1] + (1 - alphas) * backgrounds[:, None, None], alphas
