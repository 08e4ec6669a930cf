"""A dense mesh of the detailed surface: any head's triangles split evenly, displaced by a UV map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from model.asset import HeadAsset
from model.mesh import Mesh, vertex_normals
from model.uv import grid_coordinates, sample


@dataclass(frozen=True)
class DenseMesh:
    """A detailed head.

    Attributes:
        mesh: metres, camera axes.
        normals: unit, outwards: the head's smooth ones and what the displacement changes of them.
        colours: RGB in the texture's range, where there was a texture.
    """

    mesh: Mesh
    normals: Float[Tensor, "*batch W 3"]
    colours: Float[Tensor, "*batch W 3"] | None


class DenseSurface(nn.Module):
    """Splits every edge of the head into `subdivision` pieces and every triangle into their square.

    Watertight wherever the head is, across UV seams too: a point on an edge is one vertex however many places of the
    map show it, and takes the mean of what they say. The triangles are rounded by Phong tessellation (Boubekeur and
    Alexa 2008) before they are displaced. Nothing is precomputed outside of this constructor. Buffers only.

    Attributes:
        faces: triangles of the dense mesh, counter-clockwise from outside.
        corner, weight: the coarse vertices and barycentric coordinates of every dense vertex.
        uv, uv_faces: texture vertices, [0, 1], and the triangles over them, parallel to `faces`.

    Raises:
        ValueError: the head has no texture coordinates, or `subdivision` is less than 1.
    """

    faces: Int[Tensor, "G 3"]
    corner: Int[Tensor, "W 3"]
    weight: Float[Tensor, "W 3"]
    uv: Float[Tensor, "N 2"]
    uv_faces: Int[Tensor, "G 3"]
    _owner: Int[Tensor, "N"]
    _share: Float[Tensor, "N"]
    _grid: Float[Tensor, "N 2"]

    def __init__(self, asset: HeadAsset, subdivision: int = 4) -> None:
        super().__init__()
        if asset.uv is None or asset.uv_faces is None:
            raise ValueError(f"head {asset.name} has no texture coordinates; detail needs them")
        if subdivision < 1:
            raise ValueError(f"subdivision is {subdivision}, expected 1 or more")
        local, small = _split_triangle(subdivision)
        vertex = _shared_vertices(asset.faces, local, subdivision)  # F points
        first = np.unique(vertex, return_index=True)[1]  # one appearance of each dense vertex
        face, point = np.divmod(first, len(local))
        weights = local / subdivision
        self.register_buffer("faces", torch.from_numpy(vertex[:, small].reshape(-1, 3)), persistent=False)
        self.register_buffer("corner", torch.from_numpy(asset.faces[face]).long(), persistent=False)
        self.register_buffer("weight", torch.from_numpy(weights[point]).float(), persistent=False)

        # Every appearance of a vertex at another place of the map, once.
        uv = np.einsum("pk,fkc->fpc", weights, asset.uv[asset.uv_faces].astype(np.float64)).reshape(-1, 2)
        keys = np.concatenate([vertex.reshape(-1, 1), np.round(uv * 2**20).astype(np.int64)], axis=1)
        _, chosen, appearance = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        uv_faces = appearance.reshape(vertex.shape)[:, small].reshape(-1, 3)
        self.register_buffer("uv", torch.from_numpy(uv[chosen]).float(), persistent=False)
        self.register_buffer("uv_faces", torch.from_numpy(uv_faces), persistent=False)
        owner = torch.from_numpy(vertex.reshape(-1)[chosen])
        share = 1 / torch.bincount(owner)[owner].float()
        self.register_buffer("_owner", owner, persistent=False)
        self.register_buffer("_share", share, persistent=False)
        self.register_buffer("_grid", grid_coordinates(self.uv), persistent=False)

    def forward(
        self,
        mesh: Mesh,
        displacement: Float[Tensor, "*batch h w"] | None = None,
        texture: Float[Tensor, "*batch 3 H W"] | None = None,
    ) -> DenseMesh:
        """The dense mesh of a coarse one.

        Args:
            mesh: of this head, posed.
            displacement: metres along the normals over the UV map, as in `model.detail.DetailMaps`.
            texture: RGB over the UV map.
        """
        normals = vertex_normals(mesh)
        corners, directions = mesh.vertices[..., self.corner, :], normals[..., self.corner, :]
        weight = self.weight[..., None]
        flat = (weight * corners).sum(-2)
        distance = (directions * (corners - flat[..., None, :])).sum(-1, keepdim=True)
        points = flat + 0.75 * (weight * distance * directions).sum(-2)
        smooth = (weight * directions).sum(-2)
        dense, shading = Mesh(points, self.faces), smooth
        if displacement is not None:
            rounded = vertex_normals(dense)
            dense = Mesh(points + self._from_map(displacement[..., None, :, :]) * smooth, self.faces)
            # The rounded triangles meet at small angles, which would show.
            shading = smooth + vertex_normals(dense) - rounded
        colours = None if texture is None else self._from_map(texture)
        return DenseMesh(dense, normalize(shading, dim=-1), colours)

    def _from_map(self, maps: Tensor) -> Tensor:
        """Maps ``... C h w`` at the dense vertices, ``... W C``."""
        batch = maps.shape[:-3]
        values = sample(maps, self._grid.expand(*batch, 1, -1, -1))[..., 0, :].movedim(-1, -2) * self._share[:, None]
        out = values.new_zeros(*batch, len(self.corner), values.shape[-1])
        return out.index_add(-2, self._owner, values)


def subdivision_for(asset: HeadAsset, texels: int, share: float = 0.95) -> int:
    """How finely to split so that a share of the edges is no longer than a texel of a map of that size.

    Raises:
        ValueError: the head has no texture coordinates.
    """
    if asset.uv is None or asset.uv_faces is None:
        raise ValueError(f"head {asset.name} has no texture coordinates; detail needs them")
    corners = asset.uv[asset.uv_faces]
    lengths = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1)
    return max(1, int(np.ceil(np.quantile(lengths, share) * texels)))


def _split_triangle(n: int) -> tuple[Int[np.ndarray, "P 3"], Int[np.ndarray, "N 3"]]:
    """Points i + j + k = n of a triangle and the n² small triangles between them, wound as the large one."""
    points = np.array([(n - j - k, j, k) for j in range(n + 1) for k in range(n + 1 - j)])
    index = {(int(j), int(k)): at for at, (_, j, k) in enumerate(points)}
    small = []
    for j in range(n):
        for k in range(n - j):
            small.append((index[j, k], index[j + 1, k], index[j, k + 1]))
            if j + k < n - 1:
                small.append((index[j + 1, k], index[j + 1, k + 1], index[j, k + 1]))
    return points, np.array(small)


def _shared_vertices(faces: Int[np.ndarray, "F 3"], local: Int[np.ndarray, "P 3"], n: int) -> Int[np.ndarray, "F P"]:
    """The dense vertex at every point of every triangle; the same on both sides of an edge."""
    corners = np.where(local > 0, faces[:, None], -1)  # F P 3; which corners a point depends on
    order = np.argsort(corners, axis=-1, kind="stable")
    key = np.concatenate(
        [
            np.take_along_axis(corners, order, -1),
            np.take_along_axis(np.broadcast_to(local, corners.shape), order, -1),
            # Inside of a triangle a point is its own: two triangles may have the same three corners.
            np.where((local > 0).all(-1), np.arange(1, len(faces) + 1)[:, None], 0)[..., None],
        ],
        axis=-1,
    )
    _, vertex = np.unique(key.reshape(-1, 7), axis=0, return_inverse=True)
    return vertex.reshape(len(faces), len(local))
