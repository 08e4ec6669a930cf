"""The rasteriser to read: one triangle after the other, in NumPy. Slow; the others are tested against it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.raster.fragments import Fragments


def rasterise(
    vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, cull: bool = False
) -> Fragments:
    """Fragments of a mesh in image space; the rules are those of `model.raster.fragments`.

    Args:
        vertices: x, y in pixels and depth, larger is nearer.
        cull: leave out triangles seen from their back, those that are clockwise on the screen.
    """
    batch = vertices.shape[:-2]
    images = [
        _one(image, faces.cpu().numpy(), height, width, cull)
        for image in vertices.detach().cpu().double().reshape(-1, *vertices.shape[-2:]).numpy()
    ]
    face, barycentric, depth = (
        torch.from_numpy(np.array([image[k] for image in images]).reshape(*batch, height, width, *([3] * (k == 1))))
        for k in range(3)
    )
    return Fragments(face.to(vertices.device), barycentric.to(vertices), depth.to(vertices))


def _one(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], height: int, width: int, cull: bool
) -> tuple[Int[np.ndarray, "H W"], Float[np.ndarray, "H W 3"], Float[np.ndarray, "H W"]]:
    face = np.full((height, width), -1, np.int64)
    barycentric = np.zeros((height, width, 3))
    depth = np.full((height, width), -np.inf)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    for index, corners in enumerate(faces):
        a, b, c = vertices[corners]
        if not np.isfinite([a, b, c]).all():
            continue
        area = _edge(a, b, c[0], c[1])
        if area == 0 or (cull and area > 0):
            continue
        order = (0, 1, 2) if area > 0 else (0, 2, 1)  # clockwise on the screen
        p, q, r = vertices[corners[list(order)]]
        edges = [_edge(q, r, x, y), _edge(r, p, x, y), _edge(p, q, x, y)]
        total = edges[0] + edges[1] + edges[2]
        inside = total > 0
        for edge, start, end in zip(edges, (q, r, p), (r, p, q), strict=True):
            inside &= (edge > 0) | ((edge == 0) & _is_top_or_left(start, end))
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = np.stack([edges[k] / total for k in order], -1)
            z = weights[..., 0] * a[2] + weights[..., 1] * b[2] + weights[..., 2] * c[2]
        seen = inside & (z > depth)
        face[seen] = index
        depth[seen] = z[seen]
        barycentric[seen] = weights[seen]
    return face, barycentric, depth


def _edge(a: np.ndarray, b: np.ndarray, x: Any, y: Any) -> Any:
    """Twice the signed area of (a, b, point), positive where the point is to the right of a → b on the screen."""
    if (a[0], a[1]) > (b[0], b[1]):
        return -_edge(b, a, x, y)
    return (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])


def _is_top_or_left(start: np.ndarray, end: np.ndarray) -> bool | np.bool_:
    """Of a triangle that is clockwise on the screen: a left edge goes up, a top edge is level and goes right."""
    return end[1] < start[1] or (end[1] == start[1] and end[0] > start[0])
