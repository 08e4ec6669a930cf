"""Calibration on photographs: what all people's residuals have in common is the embedding's fault, not theirs.

The head is fitted to photographs; the residual of every point is carried back to the template as the displacement
within the surface that explains it best over all people (least sum of distances, so a median); the point is moved; the
head is fitted again. Only what is common moves points: identity and expression of the single person are outvoted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

from model.asset import HeadAsset, Landmarks, SurfacePoints
from model.head import HeadModel
from model.mesh import vertex_normals
from model.params import FaceParams
from tracker.fit import FaceFit, FitConfig, fit_photos
from training.landmarks.anatomy import Anatomy
from training.landmarks.embed import place_rims
from training.landmarks.schemes import MEDIAPIPE_IRIS, MEDIAPIPE_SLITS, Slits
from training.landmarks.surface import closest, frames, positions

_FACING = 0.2  # z of a surface's normal from which a residual on it counts
_ITERATIONS = 40
_RIM_STEP = 0.8e-3  # metres: over which a rim's direction is taken
_STIFFNESS = 0.05  # of the data: holds displacements back that no view shows


@dataclass(frozen=True)
class Fitted:
    """Heads fitted to photographs.

    Attributes:
        vertices: metres, camera axes.
        facing: z of the vertices' normals.
        scale: px/m.
        shift: place of the head-space origin, px.
        yaw: of the face, radians, positive to the subject's left.
        good: whether the fit is near enough to be learned from.
    """

    vertices: Float[np.ndarray, "N V 3"]
    facing: Float[np.ndarray, "N V"]
    scale: Float[np.ndarray, " N"]
    shift: Float[np.ndarray, "N 2"]
    yaw: Float[np.ndarray, " N"]
    good: Bool[np.ndarray, " N"]

    def project(self, places: Float[np.ndarray, "N K 3"]) -> Float[np.ndarray, "N K 2"]:
        """Places in camera axes, metres, to px."""
        return self.scale[:, None, None] * places[..., :2] * np.array([1.0, -1.0]) + self.shift[:, None]

    def carry(self, anatomy: Anatomy, points: SurfacePoints) -> Float[np.ndarray, "N K 3"]:
        """Surface points (K,) on every head, metres, camera axes."""
        corner = self.vertices[:, anatomy.faces[points.face]].astype(float)
        return np.einsum("kc,nkcd->nkd", points.barycentric, corner)

    def metres(self, residual: Float[np.ndarray, "N K 2"]) -> Float[np.ndarray, "N K 2"]:
        """Differences in px to metres, y up."""
        return residual * np.array([1.0, -1.0]) / self.scale[:, None, None]

    def chosen(self, rows: Int[np.ndarray, " _"] | Bool[np.ndarray, " _"]) -> Fitted:
        """The same for some of the photographs."""
        return Fitted(
            self.vertices[rows], self.facing[rows], self.scale[rows], self.shift[rows], self.yaw[rows], self.good[rows]
        )


def fit_heads(
    asset: HeadAsset,
    landmarks: Landmarks,
    points: Float[np.ndarray, "N 478 2"],
    *,
    worst: float = 0.06,
    largest_yaw: float = np.radians(40.0),
) -> Fitted:
    """Fit the head with these landmarks to MediaPipe's points of photographs.

    Args:
        worst: mean residual, over the distance of the outer eye corners, up to which a fit is good.
        largest_yaw: radians, likewise.
    """
    head = HeadModel(replace(asset, landmarks=landmarks))
    fit = fit_photos(points.astype(np.float32), "mediapipe478", head, FitConfig())
    parts = [_pose(head, fit, rows) for rows in np.array_split(np.arange(len(points)), 1 + len(points) // 16)]
    vertices, facing = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    yaw = _yaw(fit.pose)
    good = (fit.error < worst) & (np.abs(yaw) < largest_yaw)
    return Fitted(vertices, facing, fit.camera[:, 0].astype(float), fit.camera[:, 1:].astype(float), yaw, good)


def _pose(
    head: HeadModel, fit: FaceFit, rows: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "n V 3"], Float[np.ndarray, "n V"]]:
    """Vertices (metres, camera axes) and the z of their normals."""
    names = ("shape", "expression", "pose", "neck", "jaw", "eyes")
    with torch.no_grad():
        mesh = head.mesh(FaceParams(**{name: torch.from_numpy(getattr(fit, name)[rows]) for name in names}))
        return mesh.vertices.numpy(), vertex_normals(mesh)[..., 2].numpy()


def _yaw(pose: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, " N"]:
    R = Rotation.from_rotvec(pose).as_matrix()
    return np.arctan2(-R[:, 2, 0], np.hypot(R[:, 0, 0], R[:, 1, 0]))


@dataclass(frozen=True)
class Residuals:
    """Residuals of surface points over photographs, and how displacements on the template show in them.

    Attributes:
        offset: seen minus head, metres, image axes with y up.
        shown: what a displacement on the template (metres along the tangents) does in the picture.
        weight: 0 where the point is hidden or the photograph is not good, else up to 1.
        tangents: directions in which the points may move on the template; columns.
    """

    offset: Float[np.ndarray, "N K 2"]
    shown: Float[np.ndarray, "N K 2 D"]
    weight: Float[np.ndarray, "N K"]
    tangents: Float[np.ndarray, "K 3 D"]


def residuals(anatomy: Anatomy, fitted: Fitted, points: SurfacePoints, seen: Float[np.ndarray, "N K 2"]) -> Residuals:
    """Residuals of surface points (K,) against seen points, px."""
    corner = fitted.vertices[:, anatomy.faces[points.face]].astype(float)
    offset = fitted.metres(seen - fitted.project(fitted.carry(anatomy, points)))
    rest = anatomy.vertices[anatomy.faces[points.face]]
    tangents = frames(anatomy.vertices, anatomy.faces, points.face)[..., :2]
    edges = np.swapaxes(rest[:, 1:] - rest[:, :1], 1, 2)  # template edges as columns
    coordinates = np.linalg.pinv(edges) @ tangents
    posed = np.swapaxes(corner[:, :, 1:] - corner[:, :, :1], 2, 3)
    facing = np.einsum("kc,nkc->nk", points.barycentric, fitted.facing[:, anatomy.faces[points.face]])
    weight = np.clip((facing - _FACING) / (1 - _FACING), 0.0, 1.0)
    # Where lips or lids fold inwards, the normal says nothing on what is seen: such points always count.
    fold = np.median(facing, axis=0) < _FACING
    weight = np.where(fold, 1.0, weight) * fitted.good[:, None]
    return Residuals(offset, (posed @ coordinates)[..., :2, :], weight, tangents)


def common_displacement(res: Residuals) -> Float[np.ndarray, "K 3"]:
    """The displacement (template, metres) with the least weighted sum of distances to all residuals.

    Iteratively reweighted least squares; a little stiffness holds what no view shows.
    """
    count = res.tangents.shape[-1]
    u = np.zeros((res.offset.shape[1], count))
    for _ in range(_ITERATIONS):
        left = res.offset - np.einsum("nkia,ka->nki", res.shown, u)
        distance = np.linalg.norm(left, axis=-1)
        w = res.weight / np.maximum(distance, 2e-4)
        A = np.einsum("nk,nkia,nkib->kab", w, res.shown, res.shown)
        b = np.einsum("nk,nkia,nki->ka", w, res.shown, res.offset)
        A += (_STIFFNESS * w.sum(axis=0) + 1e-9)[:, None, None] * np.eye(count)
        u = np.linalg.solve(A, b[..., None])[..., 0]
    return np.einsum("kda,ka->kd", res.tangents, u)


def slide_along_rims(
    anatomy: Anatomy,
    fitted: Fitted,
    slits: Slits,
    points: SurfacePoints,
    seen: Float[np.ndarray, "N K 2"],
) -> dict[str, Float[np.ndarray, "2 _"]]:
    """Template x (metres) of the rim points of every slit after moving along the rims by what is common.

    Across a rim they have nowhere to go: there lids and lips must meet.
    """
    places = positions(anatomy.vertices, anatomy.faces, points)
    moved = {}
    for name, sides in slits.items():
        moved[name] = np.stack([places[list(index), 0] for index in sides])
        for side, index in enumerate(sides):
            x = moved[name][side]
            before, after = (anatomy.on_slit(name, x + d, upper=side == 0) for d in (-_RIM_STEP, _RIM_STEP))
            run = np.maximum(
                positions(anatomy.vertices, anatomy.faces, after)[:, 0]
                - positions(anatomy.vertices, anatomy.faces, before)[:, 0],
                0.1 * _RIM_STEP,
            )
            chosen = SurfacePoints(points.face[list(index)], points.barycentric[list(index)])
            res = residuals(anatomy, fitted, chosen, seen[:, list(index)])
            shown = (fitted.carry(anatomy, after) - fitted.carry(anatomy, before))[..., :2] / run[:, None]
            along = Residuals(res.offset, shown[..., None], res.weight, np.tile([[1.0], [0.0], [0.0]], (len(x), 1, 1)))
            moved[name][side] = x + common_displacement(along)[:, 0]
    return moved


def common_bias(
    anatomy: Anatomy, fitted: Fitted, points: SurfacePoints, seen: Float[np.ndarray, "N K 2"]
) -> np.ndarray:
    """Per point (K,): norm of the median residual over the photographs, over the distance of the outer eye corners.

    Residuals are turned upright first, so that what is common to faces adds up.
    """
    res = residuals(anatomy, fitted, points, seen)
    eyes = fitted.vertices[:, [anatomy.slits["left_lids"].upper[-1], anatomy.slits["right_lids"].upper[0]]]
    across = (eyes[:, 0] - eyes[:, 1])[:, :2]
    width = np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=-1)
    x = across / np.linalg.norm(across, axis=-1, keepdims=True)
    upright = np.stack([x, np.stack([-x[:, 1], x[:, 0]], axis=-1)], axis=1)
    offset = np.einsum("nij,nkj->nki", upright, res.offset) / width[:, None, None]
    offset = np.where(res.weight[..., None] > 0, offset, np.nan)
    return np.linalg.norm(np.nanmedian(offset, axis=0), axis=-1)


def calibrate_mediapipe(
    anatomy: Anatomy,
    points: SurfacePoints,
    mirror: Int[np.ndarray, " 478"],
    fitted: Fitted,
    seen: Float[np.ndarray, "N 478 2"],
) -> SurfacePoints:
    """One round: move MediaPipe's points by what is common to their residuals, mirror symmetrically.

    Points on rims slide along them; of the irises only the size is changed.
    """
    step = common_displacement(residuals(anatomy, fitted, points, seen))
    step = 0.5 * (step + step[mirror] * np.array([-1.0, 1.0, 1.0]))
    places = positions(anatomy.vertices, anatomy.faces, points) + step
    x = slide_along_rims(anatomy, fitted, MEDIAPIPE_SLITS, points, seen)
    return place_rims(anatomy, _symmetric(anatomy, places, mirror), x, _iris_size(anatomy, points, fitted, seen))


def _symmetric(anatomy: Anatomy, places: Float[np.ndarray, "K 3"], mirror: Int[np.ndarray, " K"]) -> SurfacePoints:
    """Nearest points of the outer skin; each point and its mirror image are exact mirror images."""
    places = 0.5 * (places + places[mirror] * np.array([-1.0, 1.0, 1.0]))
    found = closest(anatomy.vertices, anatomy.faces, places, anatomy.skin)
    flipped = anatomy.mirrored(found)
    later = mirror < np.arange(len(mirror))
    return SurfacePoints(
        np.where(later, flipped.face[mirror], found.face),
        np.where(later[:, None], flipped.barycentric[mirror], found.barycentric),
    )


def _iris_size(
    anatomy: Anatomy, points: SurfacePoints, fitted: Fitted, seen: Float[np.ndarray, "N 478 2"]
) -> tuple[float, float]:
    """Half width and half height of the irises on the template, metres: as far apart as the detector sees the ends."""
    places = positions(anatomy.vertices, anatomy.faces, points)
    sizes = []
    for ends in ((1, 3), (2, 4)):
        factors, lengths = [], []
        for index in MEDIAPIPE_IRIS.values():
            a, b = (index[end] for end in ends)
            pair = SurfacePoints(points.face[[a, b]], points.barycentric[[a, b]])
            head = fitted.project(fitted.carry(anatomy, pair))
            length = np.linalg.norm(head[:, 0] - head[:, 1], axis=-1)
            factors.append((np.linalg.norm(seen[:, a] - seen[:, b], axis=-1) / length)[fitted.good])
            lengths.append(0.5 * np.linalg.norm((places[a] - places[b])[:2]))
        sizes.append(float(np.mean(lengths) * np.median(np.concatenate(factors))))
    return sizes[0], sizes[1]
