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
from training.landmarks.schemes import MEDIAPIPE_IRIS, MEDIAPIPE_SLITS
from training.landmarks.surface import closest, frames, positions

_FACING = 0.2  # z of a surface's normal from which a residual on it counts
_ITERATIONS = 40
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
        shown: what a displacement within the template's surface (metres, two tangents) does in the picture.
        weight: 0 where the point is hidden or the photograph is not good, else up to 1.
        tangents: of the template at the points; columns.
    """

    offset: Float[np.ndarray, "N K 2"]
    shown: Float[np.ndarray, "N K 2 2"]
    weight: Float[np.ndarray, "N K"]
    tangents: Float[np.ndarray, "K 3 2"]


def residuals(anatomy: Anatomy, fitted: Fitted, points: SurfacePoints, seen: Float[np.ndarray, "N K 2"]) -> Residuals:
    """Residuals of surface points (K,) against seen points, px."""
    corner = fitted.vertices[:, anatomy.faces[points.face]].astype(float)
    places = np.einsum("kc,nkcd->nkd", points.barycentric, corner)
    offset = fitted.metres(seen - fitted.project(places))
    rest = anatomy.vertices[anatomy.faces[points.face]]
    tangents = frames(anatomy.vertices, anatomy.faces, points.face)[..., :2]
    edges = np.swapaxes(rest[:, 1:] - rest[:, :1], 1, 2)  # template edges as columns
    coordinates = np.linalg.pinv(edges) @ tangents
    posed = np.swapaxes(corner[:, :, 1:] - corner[:, :, :1], 2, 3)
    facing = np.einsum("kc,nkc->nk", points.barycentric, fitted.facing[:, anatomy.faces[points.face]])
    weight = np.clip((facing - _FACING) / (1 - _FACING), 0.0, 1.0) * fitted.good[:, None]
    return Residuals(offset, (posed @ coordinates)[..., :2, :], weight, tangents)


def common_displacement(res: Residuals) -> Float[np.ndarray, "K 3"]:
    """The displacement (template, metres) with the least weighted sum of distances to all residuals.

    Iteratively reweighted least squares; a little stiffness holds what no view shows.
    """
    u = np.zeros((res.offset.shape[1], 2))
    for _ in range(_ITERATIONS):
        left = res.offset - np.einsum("nkij,kj->nki", res.shown, u)
        distance = np.linalg.norm(left, axis=-1)
        w = res.weight / np.maximum(distance, 2e-4)
        A = np.einsum("nk,nkia,nkib->kab", w, res.shown, res.shown)
        b = np.einsum("nk,nkia,nki->ka", w, res.shown, res.offset)
        A += (_STIFFNESS * w.sum(axis=0) + 1e-9)[:, None, None] * np.eye(2)
        u = np.linalg.solve(A, b[..., None])[..., 0]
    return np.einsum("kdj,kj->kd", res.tangents, u)


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

    Points on rims slide along them (across a rim they have nowhere to go: there the lids and lips must meet); of the
    irises only the radius is changed.
    """
    step = common_displacement(residuals(anatomy, fitted, points, seen))
    step = 0.5 * (step + step[mirror] * np.array([-1.0, 1.0, 1.0]))
    places = positions(anatomy.vertices, anatomy.faces, points) + step
    x = {name: places[np.array(pair), 0] for name, pair in MEDIAPIPE_SLITS.items()}
    return place_rims(anatomy, _symmetric(anatomy, places, mirror), x, _iris_radius(anatomy, points, fitted, seen))


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


def _iris_radius(anatomy: Anatomy, points: SurfacePoints, fitted: Fitted, seen: Float[np.ndarray, "N 478 2"]) -> float:
    """Radius of the irises on the template, metres, from their widths in the photographs (lids hide top and bottom)."""
    places = positions(anatomy.vertices, anatomy.faces, points)
    factors, radii = [], []
    for index in MEDIAPIPE_IRIS.values():
        ends = [index[1], index[3]]
        corner = fitted.vertices[:, anatomy.faces[points.face[ends]]].astype(float)
        head = fitted.project(np.einsum("kc,nkcd->nkd", points.barycentric[ends], corner))
        width = np.linalg.norm(head[:, 0] - head[:, 1], axis=-1)
        factors.append((np.linalg.norm(seen[:, ends[0]] - seen[:, ends[1]], axis=-1) / width)[fitted.good])
        radii.append(0.5 * np.linalg.norm(places[ends[0]] - places[ends[1]]))
    return float(np.mean(radii) * np.median(np.concatenate(factors)))
