"""A target's head, aligned with its photograph, in any pose: where its vertices lie in the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import roma
import scipy.sparse as sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.camera import project_with_depth
from model.head import HeadModel
from model.mesh import Mesh, vertex_normals
from model.params import Camera, FaceParams
from reenact.align import neighbours, offsets
from reenact.lips import Lips
from reenact.target import Target

_FRONT = 0.008
"""Metres from the middle that count as front teeth."""
_UPPER, _LOWER = 0.0024, 0.0045
"""Metres below the line of the lips at which upper teeth end and lower ones begin."""
_RINGS, _ROUND = 3, 400.0
"""Rings of vertices about the lips that bend with them, and how stiffly they do."""
_WIDE = (0.004, 0.014)
"""Openings of the mouth, metres, from which on the lips are made round, and at which they are wholly."""
_BEHIND = 0.004
"""Metres by which the mouth's inside is drawn further back, so that it never comes through the chin."""
_LIDS = (("eyeBlinkLeft", "left"), ("eyeBlinkRight", "right"))
_MARGINS = {
    "left": ((387, 386, 385), (373, 374, 380)),
    "right": ((160, 159, 158), (144, 145, 153)),
}
"""MediaPipe's points on the middles of upper and lower lids, one above the other."""
_OVERLAP, _BEFORE, _LID = 0.0004, 0.0012, 0.005
"""Metres by which upper lids shut over lower ones, lie before them, and from their margin are moved for it."""


@dataclass(frozen=True)
class Posed:
    """Heads in the picture.

    Attributes:
        points: x, y, depth of the vertices, px, larger is nearer.
        mesh: metres, camera axes, without the alignment.
        normals: unit, camera axes.
    """

    points: Float[Tensor, "*batch V 3"]
    mesh: Mesh
    normals: Float[Tensor, "*batch V 3"]


def _teeth_shift(head: HeadModel, params: FaceParams) -> Float[Tensor, " V"]:
    """Metres by which teeth go up, so that they lie as behind most lips: the upper ones end a little below the line
    where the lips meet, and the lower ones begin a little further below it."""
    regions, jaw = head.asset.regions, head.asset.weights[:, 2]
    result = torch.zeros(len(jaw))
    if "teeth" not in regions:
        return result
    still = head.neutral()
    with torch.no_grad():
        rest = head(replace(still, shape=params.shape))
        line = Lips(head).line(replace(still, shape=params.shape))
    teeth = regions["teeth"] > 0.5
    front = teeth & (np.abs(head.asset.template[:, 0]) < _FRONT)
    for rows, edge, below in ((jaw <= 0.5, torch.amin, _UPPER), (jaw > 0.5, torch.amax, _LOWER)):
        some = torch.from_numpy(np.flatnonzero(front & rows))
        if len(some):
            result[torch.from_numpy(teeth & rows)] = line - below - edge(rest[some, 1], dim=0)
    return result


def _eye(head: HeadModel, side: str) -> Float[Tensor, " V"]:
    """One on the lids and the eyeball of a side."""
    regions = head.asset.regions
    lid = np.asarray(regions[f"{side}_eyelid"], np.float32)
    return torch.from_numpy(np.maximum(lid, np.asarray(regions.get(f"{side}_eye", 0 * lid), np.float32)))


def _closing(head: HeadModel, params: FaceParams, unit: int, side: str) -> Float[Tensor, "V 3"]:
    """What an upper lid lacks to shut, or shuts too far, when its unit is at its most; metres, head space."""
    asset = head.asset
    result = torch.zeros(len(asset.template), 3)
    if asset.landmarks is None or asset.landmarks.mediapipe478 is None:
        return result
    points = asset.landmarks.mediapipe478
    still = head.neutral()
    expression = params.expression.clone()
    expression[unit] = 1
    with torch.no_grad():
        vertices = head(replace(still, shape=params.shape, expression=expression)).numpy()

    def at(rows: tuple[int, ...]) -> np.ndarray:
        chosen = list(rows)
        return np.einsum("pk,pkc->pc", points.barycentric[chosen], vertices[asset.faces[points.face[chosen]]])

    upper, lower = (at(rows) for rows in _MARGINS[side])
    gap = float((upper - lower)[:, 1].mean()) + _OVERLAP
    far = np.linalg.norm(vertices[:, 1:] - upper.mean(0)[1:], axis=1)
    lid = np.asarray(asset.regions[f"{side}_eyelid"]) * (vertices[:, 1] > lower[:, 1].mean() + 0.3 * (gap - _OVERLAP))
    moved = torch.from_numpy(lid * np.exp(-((far / _LID) ** 2))).float()
    result[:, 1] = -gap * moved
    result[:, 2] = _BEFORE * moved  # the upper lid lies over the lower one
    return result


def _inside(head: HeadModel) -> Float[Tensor, " V"]:
    """One on what lies in the mouth."""
    regions, zero = head.asset.regions, np.zeros(len(head.asset.template))
    return torch.from_numpy(np.max([regions.get(n, zero) for n in ("inner_mouth", "teeth", "tongue")], axis=0)).float()


def _rounding(head: HeadModel) -> tuple[Int[Tensor, " L"], Float[Tensor, "L L"]] | None:
    """Vertices about the lips, and the matrix that makes how they move smooth: a thin plate over the surface.

    Blendshapes added up at a wide open mouth make a hexagon of it; lips bend round.
    """
    asset = head.asset
    count = len(asset.template)
    if "lips" not in asset.regions:
        return None
    mean = neighbours(asset.faces, count)
    near = (np.asarray(asset.regions["lips"]) > 0.5).astype(float)
    for _ in range(_RINGS):
        near = np.maximum(near, mean @ near > 0)
    rows = np.flatnonzero(near)
    bend = sparse.csr_matrix(sparse.identity(count) - mean)[rows][:, rows].toarray()
    # The outermost rows stay: what lies beyond them moves as it did.
    inner = (mean @ near)[rows] > 1 - 1e-6
    bend[~inner] = 0
    free = np.linalg.inv(np.eye(len(rows)) + _ROUND * bend.T @ bend)
    free[~inner] = np.eye(len(rows))[~inner]
    return torch.from_numpy(rows), torch.from_numpy(free).float()


class Rig:
    """Poses a target's head so that in the photograph's own pose its features lie on the photograph's.

    Attributes:
        photo: the head as the photograph shows it.
        root: the joint about which the head's pose turns it, metres: x is at R (x₀ − root) + root.
    """

    def __init__(self, target: Target, head: HeadModel) -> None:
        self.head, self.target = head, target
        shift = torch.from_numpy(offsets(target, head)) / target.camera.s
        flat = torch.stack([shift[:, 0], -shift[:, 1], torch.zeros(len(shift))], 1)
        self._shift = flat @ roma.rotvec_to_rotmat(target.params.pose)  # head space
        self._shift[:, 1] += _teeth_shift(head, target.params)
        names, regions = head.asset.expression_names, head.asset.regions
        self._lids = [
            (names.index(unit), _eye(head, side), _closing(head, target.params, names.index(unit), side))
            for unit, side in _LIDS
            if unit in names and f"{side}_eyelid" in regions
        ]
        self.root = head.skeleton(target.params).rest[..., 0, :]
        self._still = self._unposed(head.mesh(target.params).vertices, target.params)
        self._round, self._lips = _rounding(head), Lips(head)
        self._behind = _BEHIND * _inside(head)
        self.photo = self.posed(target.params, target.camera)

    def _unposed(self, vertices: Float[Tensor, "*batch V 3"], params: FaceParams) -> Float[Tensor, "*batch V 3"]:
        return (vertices - self.root) @ roma.rotvec_to_rotmat(params.pose)

    @torch.no_grad()
    def posed(self, params: FaceParams, camera: Camera, extra: Float[Tensor, "*batch V 3"] | None = None) -> Posed:
        """Any batch of heads; `extra` moves vertices besides, metres, head space."""
        mesh = self.head.mesh(params)
        shift = self._shift.expand(mesh.vertices.shape)
        shift = shift if extra is None else shift + extra
        for unit, lid, closing in self._lids:
            # Lids that are shut must meet, however far the photograph's open ones were from the fitted ones.
            own = self.target.params.expression[unit]
            shut = ((params.expression[..., unit] - own) / (1 - own).clamp(min=0.2)).clamp(0, 1)
            shift = shift * (1 - shut[..., None, None] * lid[:, None]) + shut[..., None, None] * closing
        if self._round is not None and extra is None:  # landmarks say themselves how round the lips are
            rows, rounded = self._round
            moved = self._unposed(mesh.vertices, params)[..., rows, :] - self._still[rows]
            shift = shift.clone()
            wide = ((self._lips.gap(params) - _WIDE[0]) / (_WIDE[1] - _WIDE[0])).clamp(0, 1)[..., None, None]
            shift[..., rows, :] += wide * (rounded @ moved - moved)
        turned = shift @ roma.rotvec_to_rotmat(params.pose).mT
        points = project_with_depth(camera, mesh.vertices + turned)
        points[..., 2] -= camera.s[..., None] * self._behind
        return Posed(points, mesh, vertex_normals(mesh))
