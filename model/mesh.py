"""Triangle meshes: vertices that follow the parameters, triangles that do not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize


@dataclass(frozen=True)
class Mesh:
    """Triangles over vertices of any batch shape.

    Attributes:
        vertices: metres, head space or camera axes.
        faces: vertex indices, counter-clockwise seen from outside.
    """

    vertices: Float[Tensor, "*batch V 3"]
    faces: Int[Tensor, "F 3"]


def face_normals(mesh: Mesh) -> Float[Tensor, "*batch F 3"]:
    """Outward normals with the length of twice the triangle's area, m²."""
    a, b, c = (mesh.vertices[..., mesh.faces[:, k], :] for k in range(3))
    return torch.linalg.cross(b - a, c - a)


def vertex_normals(mesh: Mesh) -> Float[Tensor, "*batch V 3"]:
    """Outward unit normals: the mean of the adjacent triangles' normals, weighted by their areas.

    A vertex without triangles, or whose triangles cancel, has the normal zero.
    """
    normals = face_normals(mesh)
    total = torch.zeros_like(mesh.vertices)
    for k in range(3):
        total = total.index_add(-2, mesh.faces[:, k], normals)
    # Triangles of a head are some 1e-6 m²: the usual eps of 1e-12 would be safe, a larger one would shorten normals.
    return normalize(total, dim=-1, eps=1e-20)


def edges(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "N 2"]:
    """Every edge once, its smaller vertex first, in ascending order."""
    pairs = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return torch.unique(pairs.sort(dim=1).values, dim=0)
