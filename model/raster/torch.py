"""The rasteriser for any device: every pixel of every triangle's bounding box at once, in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.raster.fragments import Fragments, check_faces

CHUNK = 1 << 22
"""Candidates (a pixel in a triangle's bounding box) that are in memory together, some 150 bytes each."""


def rasterise(
    vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, cull: bool = False
) -> Fragments:
    """Fragments of a mesh in image space; the rules are those of `model.raster.fragments`.

    Args:
        vertices: x, y in pixels and depth, larger is nearer.
        cull: leave out triangles seen from their back, those that are clockwise on the screen.

    Raises:
        ValueError: a face names a vertex that is not there.
    """
    check_faces(faces, vertices.shape[-2])
    batch = vertices.shape[:-2]
    flat = vertices.detach().double().reshape(-1, *vertices.shape[-2:])
    images, count = len(flat), len(faces)
    triangles = flat[:, faces].reshape(-1, 3, 3)  # image and face, corner, xyz

    finite = triangles.isfinite().all(-1).all(-1)
    clean = torch.where(finite[:, None, None], triangles, 0.0)
    a, b, c = clean.unbind(1)
    area = _edge(a, b, c[:, 0], c[:, 1])
    limits = clean.new_tensor([width, height])
    low = (clean[..., :2].amin(1) - 0.5).ceil().clamp(min=torch.zeros_like(limits), max=limits)
    high = (clean[..., :2].amax(1) + 0.5).floor().clamp(min=torch.zeros_like(limits), max=limits)
    spans = (high - low).clamp(min=0).long()
    kept = finite & ((area < 0) if cull else (area != 0))
    sizes = torch.where(kept, spans.prod(-1), 0)

    depth = flat.new_full((images * height * width,), -torch.inf)
    face = torch.full((images * height * width,), -1, dtype=torch.long, device=flat.device)
    for start, end in _chunks(sizes, CHUNK):
        # Candidate n belongs to triangle owner[n] and is the pixel with number `within` of its bounding box.
        owner = torch.repeat_interleave(torch.arange(start, end, device=flat.device), sizes[start:end])
        first = sizes[start:end].cumsum(0) - sizes[start:end]
        within = torch.arange(len(owner), device=flat.device) - first[owner - start]
        x = low[owner, 0].long() + within % spans[owner, 0]
        y = low[owner, 1].long() + within // spans[owner, 0]
        inside, weights = _inside(clean[owner], area[owner] < 0, x + 0.5, y + 0.5)
        owner, weights = owner[inside], weights[inside]
        pixel = ((owner // count) * height + y[inside]) * width + x[inside]
        z = _depth(weights, clean[owner, :, 2])
        nearest = depth.scatter_reduce(0, pixel, z, "amax")
        # The first of the triangles at the nearest depth; one of an earlier chunk keeps the pixel at equal depth.
        at_front = (z == nearest[pixel]) & (z > depth[pixel])
        winner = torch.full_like(face, images * count)
        winner.scatter_reduce_(0, pixel[at_front], owner[at_front], "amin")
        face = torch.where(winner < images * count, winner, face)
        depth = nearest

    covered = face >= 0
    pixel = covered.nonzero()[:, 0]
    owner = face[pixel]
    _, weights = _inside(
        clean[owner],
        area[owner] < 0,
        pixel % width + 0.5,
        torch.div(pixel, width, rounding_mode="floor") % height + 0.5,
    )
    barycentric = flat.new_zeros(images * height * width, 3)
    barycentric[pixel] = weights
    face = torch.where(covered, face % max(count, 1), -1)
    return Fragments(
        face.reshape(*batch, height, width),
        barycentric.to(vertices.dtype).reshape(*batch, height, width, 3),
        depth.to(vertices.dtype).reshape(*batch, height, width),
    )


def _chunks(sizes: Tensor, limit: int) -> list[tuple[int, int]]:
    """Ranges of triangles whose candidates number at most `limit` together (or that are a single triangle)."""
    ends = sizes.cumsum(0).cpu()
    ranges, start = [], 0
    while start < len(ends) and int(ends[-1]) > 0:
        done = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(torch.searchsorted(ends, done + limit, right=True)))
        ranges.append((start, end))
        start = end
    return ranges


def _edge(a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """As in `model.raster.reference`: the two ends are ordered, so that both triangles at an edge see one number."""
    swap = (a[:, 0] > b[:, 0]) | ((a[:, 0] == b[:, 0]) & (a[:, 1] > b[:, 1]))
    ax, ay = torch.where(swap, b[:, 0], a[:, 0]), torch.where(swap, b[:, 1], a[:, 1])
    bx, by = torch.where(swap, a[:, 0], b[:, 0]), torch.where(swap, a[:, 1], b[:, 1])
    value = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
    return torch.where(swap, -value, value)


def _inside(triangles: Tensor, front: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each triangle covers its pixel, and the barycentric coordinates there."""
    a = triangles[:, 0]
    b = torch.where(front[:, None], triangles[:, 2], triangles[:, 1])
    c = torch.where(front[:, None], triangles[:, 1], triangles[:, 2])
    ends = ((b, c), (c, a), (a, b))
    edges = [_edge(start, end, x, y) for start, end in ends]
    total = edges[0] + edges[1] + edges[2]
    inside = total > 0
    for edge, (start, end) in zip(edges, ends, strict=True):
        top_or_left = (end[:, 1] < start[:, 1]) | ((end[:, 1] == start[:, 1]) & (end[:, 0] > start[:, 0]))
        inside &= (edge > 0) | ((edge == 0) & top_or_left)
    wa, wb, wc = (edge / total for edge in edges)
    return inside, torch.stack([wa, torch.where(front, wc, wb), torch.where(front, wb, wc)], dim=-1)


def _depth(weights: Tensor, z: Tensor) -> Tensor:
    return weights[:, 0] * z[:, 0] + weights[:, 1] * z[:, 1] + weights[:, 2] * z[:, 2]
