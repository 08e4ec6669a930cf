"""How much of the light from every side reaches each place of the head, which shadows itself.

Precomputed radiance transfer (Sloan, Kautz and Snyder 2002) for second-order light: where nothing is hidden, the
transfer of a place equals `model.shading.sh_basis` of its normal. Eye sockets, the sides of the nose and the skin under
the chin get less. Without it these shadows would be learned as dark skin.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from model.mesh import Mesh, vertex_normals
from model.raster import rasterise
from model.shading import sh_basis

DIRECTIONS = 320
SIDE = 256
"""Of the picture from each direction, px."""
BIAS = 0.0025
"""Metres by which a place may lie behind what is seen."""

_COSINE_LOBE = (math.pi, *(2 * math.pi / 3,) * 3, *(math.pi / 4,) * 5)  # Funk–Hecke factors of the clamped cosine


def self_shadowed_transfer(mesh: Mesh, directions: int = DIRECTIONS) -> Float[Tensor, "V 9"]:
    """Transfer of every vertex, in the axes of the mesh: shading of white skin is ``transfer @ light``.

    Args:
        mesh: one closed head, metres.
        directions: from which light is let in; errors fall with their number.
    """
    normals = vertex_normals(mesh)
    centre = 0.5 * (mesh.vertices.amin(0) + mesh.vertices.amax(0))
    place = mesh.vertices - centre
    scale = 0.48 * SIDE / float(place.norm(dim=-1).max())
    total = torch.zeros(len(place), 9)
    ways = fibonacci_sphere(directions)
    weights = 4 * math.pi / directions * sh_basis(ways) / torch.tensor(_COSINE_LOBE)
    for way, weight in zip(ways, weights, strict=True):
        cosine = (normals @ way).clamp(min=0)
        total += (cosine * _sees(place, mesh, cosine, way, scale))[:, None] * weight
    return total


def _sees(place: Tensor, mesh: Mesh, cosine: Tensor, way: Tensor, scale: float) -> Float[Tensor, "V"]:
    """1 for vertices that nothing hides from a far light in this direction."""
    helper = torch.tensor([1.0, 0, 0]) if abs(float(way[0])) < 0.9 else torch.tensor([0, 1.0, 0])
    right = torch.nn.functional.normalize(torch.linalg.cross(helper, way), dim=0)
    turned = place @ torch.stack([right, torch.linalg.cross(way, right), way], dim=1)
    points = turned * scale * torch.tensor([1.0, -1.0, 1.0]) + torch.tensor([SIDE / 2, SIDE / 2, 0.0])
    depth = rasterise(points, mesh.faces, SIDE, SIDE).depth
    column, row = (points[:, k].long().clamp(0, SIDE - 1) for k in (0, 1))
    slope = (1 - cosine**2).clamp(min=0).sqrt() / cosine.clamp(min=0.15)
    return (depth[row, column] - points[:, 2] <= BIAS * scale + slope).float()


def fibonacci_sphere(count: int) -> Float[Tensor, "count 3"]:
    """Directions spread evenly over the sphere."""
    i = np.arange(count) + 0.5
    z, angle = 1 - 2 * i / count, math.pi * (1 + math.sqrt(5)) * i
    r = np.sqrt(1 - z**2)
    return torch.from_numpy(np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)).float()
