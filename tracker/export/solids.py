"""The posed head of a frame as one solid of the scene: coarse, or dense with the detail that DECA gives this frame."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn.functional import normalize

from model.asset import HeadAsset
from model.deca import DECA
from model.dense import DenseSurface
from model.head import HeadModel
from model.mesh import vertex_normals
from model.uv import grid_coordinates, sample
from tracker.export.meshes import Solid
from tracker.export.scene import Scene
from tracker.track import Track

SUBDIVISION = 4
"""Pieces of an edge of the head in the dense mesh: 157,000 triangles of openhead's 9,800."""


class Sculptor:
    """Makes the solids of a track of one face.

    Args:
        colour: the head's texture, sRGB, where it has one.
        deca: for the dense, detailed surface of a track with detail codes; without it the coarse one.

    Raises:
        ValueError: the head has no texture coordinates, which detail needs.
    """

    def __init__(
        self,
        track: Track,
        asset: HeadAsset,
        scene: Scene,
        colour: UInt8[np.ndarray, "H W 3"] | None,
        deca: DECA | None = None,
    ) -> None:
        self._track, self._asset, self._deca = track, asset, deca
        self._head = HeadModel(asset)
        self._motion = scene.motion(track)
        self._texture = None if colour is None else torch.from_numpy(colour.astype(np.float32) / 255).movedim(-1, 0)
        self._dense = DenseSurface(asset, SUBDIVISION) if deca is not None else None

    @torch.no_grad()
    def solid(self, row: int) -> Solid:
        """The head of one row of the track."""
        mesh = self._head.mesh(self._track.params(row))
        asset = self._asset
        if self._dense is None or self._deca is None:
            points, normals, faces = mesh.vertices, vertex_normals(mesh), mesh.faces
            uv, uv_faces, colours = asset.uv, asset.uv_faces, self._coarse_colours()
        else:
            dense = self._dense(mesh, self._displacement(row), self._texture)
            points, normals, faces = dense.mesh.vertices, dense.normals, dense.mesh.faces
            uv, uv_faces, colours = self._dense.uv.numpy(), self._dense.uv_faces.numpy(), dense.colours
        placed = points.numpy().astype(np.float64) * self._motion.scale[row] + self._motion.translation[row]
        painted = None if colours is None else (colours.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        return Solid(placed, normalize(normals, dim=-1).numpy(), faces.numpy(), uv, uv_faces, painted)

    def _displacement(self, row: int) -> torch.Tensor:
        assert self._deca is not None and self._track.detail is not None
        params = self._track.params(slice(row, row + 1))
        code = torch.from_numpy(self._track.detail[row : row + 1].astype(np.float32))
        given = self._deca.detail_decoder(params.jaw, params.expression, code).float()
        return self._deca.surface(self._head.mesh(params), given).displacement[0]

    def _coarse_colours(self) -> torch.Tensor | None:
        """Of the vertices: the texture at one of their places on the map."""
        asset = self._asset
        if self._texture is None or asset.uv is None or asset.uv_faces is None:
            return None
        place = np.zeros(len(asset.template), np.int64)
        place[asset.faces.ravel()] = asset.uv_faces.ravel()
        grid = grid_coordinates(torch.from_numpy(asset.uv[place]).float())
        return sample(self._texture[None], grid[None, None])[0, :, 0].T
