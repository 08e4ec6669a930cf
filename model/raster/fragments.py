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
    batch, channels = attributes.shape[:-2], attributes.shape[-1]
    seen, corners = _covered(faces, fragments, attributes.shape[-2])
    table, share = attributes.reshape(-1, channels), weights.reshape(-1, 3).index_select(0, seen)
    a, b, c = (table.index_select(0, corners[:, k]) * share[:, k, None] for k in range(3))
    values = a + b + c
    pixels = values.new_zeros(fragments.face.numel(), channels).index_copy(0, seen, values)
    return pixels.reshape(*batch, *fragments.face.shape[-2:], channels)


def barycentrics(
    vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"], fragments: Fragments
) -> Float[Tensor, "*batch H W 3"]:
    """The fragments' barycentric coordinates once more, as differentiable functions of the vertices.

    Which triangle is seen is taken as constant: there is no gradient for silhouettes.
    """
    height, width = fragments.face.shape[-2:]
    seen, corners = _covered(faces, fragments, vertices.shape[-2])
    x = (seen % width).to(vertices.dtype) + 0.5
    y = (torch.div(seen, width, rounding_mode="floor") % height).to(vertices.dtype) + 0.5
    table = vertices[..., :2].reshape(-1, 2)
    points = [table.index_select(0, corners[:, k]) for k in range(3)]
    px, py = [x - point[:, 0] for point in points], [y - point[:, 1] for point in points]  # from a corner to the pixel
    areas = torch.stack(
        [px[2] * py[1] - px[1] * py[2], px[0] * py[2] - px[2] * py[0], px[1] * py[0] - px[0] * py[1]], dim=-1
    )
    weights = areas / areas.sum(-1, keepdim=True)
    pixels = weights.new_zeros(fragments.face.numel(), 3).index_copy(0, seen, weights)
    return pixels.reshape(*fragments.face.shape, 3)


def _covered(faces: Int[Tensor, "F 3"], fragments: Fragments, count: int) -> tuple[Tensor, Tensor]:
    """The pixels that see a triangle (N, counted through the batch), and the triangle's corners (N, 3) as rows of the
    vertices of all meshes, `count` of each. Much of a picture is background: it costs nothing."""
    flat = fragments.face.flatten()
    seen = (flat >= 0).nonzero()[:, 0]
    size = fragments.face.shape[-2] * fragments.face.shape[-1]
    mesh = torch.div(seen, max(size, 1), rounding_mode="floor")
    return seen, faces.index_select(0, flat.index_select(0, seen)) + count * mesh[:, None]


def check_faces(faces: Int[Tensor, "F 3"], count: int) -> None:
    """Raise ValueError unless every corner is one of `count` vertices."""
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < count:
        raise ValueError(f"faces name vertices {int(faces.min())} to {int(faces.max())}, the mesh has {count}")
