"""Landmarks of a head: iBUG-68 with a moving jaw line, iBUG-68 fixed on the surface, MediaPipe's 478."""

from __future__ import annotations

import math

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from model.asset import Landmarks, SurfacePoints
from model.head import HeadModel, PosedSkeleton
from model.params import FaceParams

CONTOUR_ROWS = 79
_LAST_YAW = 39  # degrees; beyond it the jaw line is held


def contour_row(rotation: Float[Tensor, "*batch 3 3"]) -> Int[Tensor, "*batch"]:
    """The row of the contour table for a head that is turned by R_global · R_neck, 0..78.

    One row per whole degree of yaw, positive towards the subject's left: rows 0..39 for 0..39°, 40..78 for −1..−39°;
    larger turns use the last row of their side. Piecewise constant, so without a gradient.
    """
    with torch.no_grad():
        cosine = torch.hypot(rotation[..., 0, 0], rotation[..., 1, 0])
        yaw = torch.rad2deg(torch.atan2(-rotation[..., 2, 0], cosine))
        degrees = yaw.clamp(-_LAST_YAW, _LAST_YAW).round().long()
        return torch.where(degrees >= 0, degrees, _LAST_YAW - degrees)


def yaw_of_row(row: int) -> float:
    """The yaw, radians, that a row of the contour table stands for; the inverse of `contour_row`.

    Raises:
        ValueError: no such row.
    """
    if not 0 <= row < CONTOUR_ROWS:
        raise ValueError(f"contour row is {row}, expected 0 to {CONTOUR_ROWS - 1}")
    return math.radians(row if row <= _LAST_YAW else _LAST_YAW - row)


def on_mesh(
    vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"], points: SurfacePoints
) -> Float[Tensor, "*batch N 3"]:
    """Surface points of a mesh whose vertices are known, in the vertices' unit; the points' shape is flattened."""
    corners = faces[torch.from_numpy(points.face.reshape(-1)).to(faces.device)]
    barycentric = torch.from_numpy(points.barycentric.reshape(-1, 3)).to(vertices)
    return (vertices[..., corners, :] * barycentric[..., None]).sum(-2)


class HeadLandmarks(nn.Module):
    """The landmarks of a head for FaceParams, without the whole mesh; metres, camera axes.

    Project them with `model.camera.project`.

    Raises:
        ValueError: the head has no landmarks.
    """

    def __init__(self, head: HeadModel) -> None:
        super().__init__()
        points = head.asset.landmarks
        if points is None:
            raise ValueError(f"head {head.asset.name} has no landmarks; use one with landmark embeddings")
        self.static51 = head.at(points.static51)
        self.contour = head.at(points.contour)
        self.full68 = head.at(points.full68)
        self.mediapipe478 = None if points.mediapipe478 is None else head.at(points.mediapipe478)
        self.name = head.asset.name

    def ibug68(self, params: FaceParams) -> Float[Tensor, "*batch 68 3"]:
        """The "2D" landmarks: 17 points of the jaw line as it is seen under this yaw, then the 51 static ones."""
        skeleton: PosedSkeleton = self.static51.skeleton(params)
        rows = contour_row(skeleton.local[..., 0, :, :] @ skeleton.local[..., 1, :, :])
        table = self.contour.posed(params, skeleton).unflatten(-2, (CONTOUR_ROWS, 17))
        index = rows[..., None, None, None].expand(*rows.shape, 1, 17, 3)
        contour = table.gather(-3, index).squeeze(-3)
        return torch.cat([contour, self.static51.posed(params, skeleton)], dim=-2)

    def ibug68_fixed(self, params: FaceParams) -> Float[Tensor, "*batch 68 3"]:
        """The "3D" landmarks: 68 points that stay where they are on the surface."""
        return self.full68(params)

    def mediapipe(self, params: FaceParams) -> Float[Tensor, "*batch 478 3"]:
        """MediaPipe FaceMesh with irises.

        Raises:
            ValueError: the head has no embedding of them (FLAME).
        """
        if self.mediapipe478 is None:
            raise ValueError(f"head {self.name} has no mediapipe478 landmarks; use ibug68")
        return self.mediapipe478(params)


def ibug68_points(landmarks: Landmarks, row: int) -> SurfacePoints:
    """The 68 points under one row of the contour table, e.g. for `HeadModel.at` when the yaw is known."""
    contour, static = landmarks.contour, landmarks.static51
    return SurfacePoints(
        np.concatenate([contour.face[row], static.face]),
        np.concatenate([contour.barycentric[row], static.barycentric]),
    )


def head_rotation(params: FaceParams) -> Float[Tensor, "*batch 3 3"]:
    """R_global · R_neck: how the face is turned in camera axes, what `contour_row` asks for."""
    return roma.rotvec_to_rotmat(params.pose) @ roma.rotvec_to_rotmat(params.neck)
