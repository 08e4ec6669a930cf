"""What every rasteriser returns, and the differentiable steps that follow it.

All rasterisers take vertices in image pixels (x right, y down, origin at the corner of the top-left pixel) with a depth
that is larger nearer to the viewer, and decide in float64 by the same formulas:

* A pixel is covered where its centre is inside the triangle; on an edge, only if it is a top or a left edge.
* The edge function of a and b is evaluated in one order of the two whichever triangle asks, so that two triangles along
  a common edge see the same number with opposite signs: no gaps, no pixel twice.
* Of several triangles the one with the largest depth wins; at the same depth, the one that comes first.
* Triangles with a vertex that is not finite, or without area, cover nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Fragments:
    """What is seen at every pixel.

    Attributes:
        face: index of the triangle, −1 where there is none.
        barycentric: coordinates of the pixel's centre in it, ≥ 0, sum 1; zero where there is none.
        depth: interpolated depth, unit of the vertices' third coordinate; −inf where there is none.
    """

    face: Int[Tensor, "*batch H W"]
    barycentric: Float[Tensor, "*batch H W 3"]
    depth: Float[Tensor, "*batch H W"]


def interpolate(
    attributes: Float[Tensor, "*batch V C"],
    faces: Int[Tensor, "F 3"],
    fragments: Fragments,
    barycentric: Float[Tensor, "*batch H W 3"] | None = None,
) -> Float[Tensor, "*batch H W C"]:
    """Attributes at the pixels, zero where there is no triangle; differentiable in the attributes.

    Args:
        attributes: per vertex of `faces`, which may be texture vertices (parallel to the geometry's faces).
        barycentric: those of `barycentrics` where positions need a gradient; by default the fragments', constants.
    """
    weights = fragments.barycentric if barycentric is None else barycentric
    corners = faces[fragments.face.clamp(min=0)]  # H W 3; an uncovered pixel has weights zero
    batch, channels = attributes.shape[:-2], attributes.shape[-1]
    flat = attributes.reshape(-1, *attributes.shape[-2:])
    corners = corners.reshape(flat.shape[0], -1)
    values = flat.gather(1, corners[..., None].expand(-1, -1, channels))
    values = values.reshape(*batch, *fragments.face.shape[-2:], 3, channels)
    return (values * weights[..., None]).sum(-2)


def barycentrics(
    vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"], fragments: Fragments
) -> Float[Tensor, "*batch H W 3"]:
    """The fragments' barycentric coordinates once more, as differentiable functions of the vertices.

    Which triangle is seen is taken as constant: there is no gradient for silhouettes.
    """
    height, width = fragments.face.shape[-2:]
    zeros = torch.zeros((), dtype=vertices.dtype, device=vertices.device)
    x = torch.arange(width, dtype=vertices.dtype, device=vertices.device) + 0.5
    y = torch.arange(height, dtype=vertices.dtype, device=vertices.device)[:, None] + 0.5
    corners = faces[fragments.face.clamp(min=0)]
    flat = vertices.reshape(-1, *vertices.shape[-2:])
    index = corners.reshape(flat.shape[0], -1, 1).expand(-1, -1, 2)
    points = flat[..., :2].gather(1, index).reshape(*corners.shape, 2)
    px, py = x - points[..., 0].movedim(-1, 0), y - points[..., 1].movedim(-1, 0)  # from each corner to the pixel
    areas = torch.stack([px[2] * py[1] - px[1] * py[2], px[0] * py[2] - px[2] * py[0], px[1] * py[0] - px[0] * py[1]])
    total = areas.sum(0)
    covered = fragments.face >= 0
    # `where` on both sides: a division by zero in the unused branch would still put NaN into the gradient.
    weights = torch.where(covered, areas / torch.where(covered, total, torch.ones_like(total)), zeros)
    return weights.movedim(0, -1)


def check_faces(faces: Int[Tensor, "F 3"], count: int) -> None:
    """Raise ValueError unless every corner is one of `count` vertices."""
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < count:
        raise ValueError(f"faces name vertices {int(faces.min())} to {int(faces.max())}, the mesh has {count}")
