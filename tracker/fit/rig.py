"""The head reduced to its landmark points: where they are in the picture, and how they move with every parameter.

A point bound to the surface is a fixed combination of skinned vertices, so blendshapes, joints and skinning can be
summed once per point and the 4,700 vertices forgotten. With the neck at rest the skeleton has four frames (head, jaw,
left and right eye), and a point is

    x = Y_0 + Σ_g (G_g − I) Y_g,        Y = base + shape β + expression ψ + pose f(θ),

where Y_0 is the point before skinning, Y_g (g = jaw, left eye, right eye) its part that follows joint g, relative to
that joint and scaled by the skinning weight, G_g the joint's rotation and f the entries of G_g − I that drive pose
correctives. All of Y is linear in the codes, so every Jacobian is one small matrix product per frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.asset import HeadAsset, SurfacePoints

JOINT_GROUPS = (2, 3, 4)
"""Joints (jaw, left eye, right eye) that turn while the neck is at rest."""


@dataclass(frozen=True)
class Pose:
    """What varies from frame to frame, in the fit's own units.

    Attributes:
        face: expression (E), jaw axis-angle (3), left eye x, y, right eye x, y (4), radians.
        rotation: head to camera axes.
        camera: log of the scale, translation (px); positions are relative to `PointRig.origin`.
    """

    face: Float[Tensor, "N C"]
    rotation: Float[Tensor, "N 3 3"]
    camera: Float[Tensor, "N 3"]

    def __len__(self) -> int:
        return len(self.face)

    def at(self, index: Tensor | slice) -> Pose:
        """The rows of `index`."""
        return Pose(self.face[index], self.rotation[index], self.camera[index])

    def moved(self, step: Float[Tensor, "N D"]) -> Pose:
        """The pose after a step in (face, rotation on the left, camera)."""
        n = self.face.shape[1]
        rotation = roma.rotvec_to_rotmat(step[:, n : n + 3]) @ self.rotation
        return Pose(self.face + step[:, :n], rotation, self.camera + step[:, n + 3 :])


@dataclass(frozen=True)
class PointRig:
    """K points of a head as linear functions of its codes; see the module's text.

    The first axis is 1 where the points sit at the same place of the surface in all frames, or one per frame (moving
    contour). The axis of 12 is (Y_0, jaw, left eye, right eye) × (x, y, z).

    Attributes:
        base, shape, expression, pose: the linear maps, metres; `base` is relative to `origin`.
        features: which of the 27 entries of G_g − I (jaw, left eye, right eye) drive `pose`.
        normal: unit normals of the mean head at the points, for visibility.
        origin: a point amid the face (3,), metres.
        root, root_shape, root_expression: position of the root joint, about which the head turns, metres.
    """

    base: Float[Tensor, "B 12 K"]
    shape: Float[Tensor, "B 12 K S"]
    expression: Float[Tensor, "B 12 K E"]
    pose: Float[Tensor, "B 12 K P"]
    features: Int[Tensor, "P"]
    normal: Float[Tensor, "B K 3"]
    origin: Float[Tensor, "3"]
    root: Float[Tensor, "3"]
    root_shape: Float[Tensor, "3 S"]
    root_expression: Float[Tensor, "3 E"]

    @property
    def n_points(self) -> int:
        return self.base.shape[-1]

    @property
    def n_shape(self) -> int:
        return self.shape.shape[-1]

    @property
    def n_expression(self) -> int:
        return self.expression.shape[-1]

    @property
    def points_at_rest(self) -> Float[Tensor, "B K 3"]:
        """The points of the mean head, metres, relative to `origin`."""
        return self.base[:, :3].transpose(1, 2)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> PointRig:
        """The same rig elsewhere or in another floating type."""

        def move(x: Tensor) -> Tensor:
            return x.to(device=device, dtype=dtype if x.is_floating_point() else None)

        return PointRig(*(move(getattr(self, name)) for name in self.__dataclass_fields__))

    def at(self, index: Tensor | slice) -> PointRig:
        """The rig of these frames, where it differs between frames."""
        if len(self.base) == 1:
            return self
        return replace(
            self, base=self.base[index], shape=self.shape[index], expression=self.expression[index],
            pose=self.pose[index], normal=self.normal[index],
        )  # fmt: skip

    def gathered(self, index: Int[Tensor, "N K"]) -> PointRig:
        """A rig of other points in every row, chosen from this one's."""
        assert len(self.base) == 1
        pick = [x[0][:, index].movedim(1, 0) for x in (self.base, self.shape, self.expression, self.pose)]
        return replace(
            self, base=pick[0], shape=pick[1], expression=pick[2], pose=pick[3], normal=self.normal[0][index]
        )  # fmt: skip

    def neutral(self, identity: Float[Tensor, "*B S"]) -> Float[Tensor, "N 12 K"]:
        """The points of people at rest, one per row (or one for all rows), as `project` wants them."""
        identity = identity.reshape(-1, self.n_shape)
        moved = torch.matmul(self.shape.flatten(1, 2), identity.unsqueeze(-1)).squeeze(-1)
        return self.base + moved.unflatten(1, (12, self.n_points))

    def root_joint(self, identity: Float[Tensor, "N S"], expression: Float[Tensor, "N E"]) -> Float[Tensor, "N 3"]:
        """Position of the root joint, metres, in head space."""
        return self.root + identity @ self.root_shape.T + expression @ self.root_expression.T


def build_rig(asset: HeadAsset, points: SurfacePoints) -> PointRig:
    """Sum a head's shapes, skinning and joints at points of its surface (float32, CPU)."""
    vertices = asset.faces[points.face.reshape(-1)]  # K 3
    bary = points.barycentric.reshape(-1, 3).astype(np.float64)
    joints = asset.joint_regressor.astype(np.float64)

    def stack(values: np.ndarray, at_joints: np.ndarray) -> np.ndarray:
        """(V, 3, …) directions → (12, K, …); `at_joints` (5, 3, …): what they do to the joints."""
        corner = values[vertices].astype(np.float64)  # K 3 3 …
        parts = [np.einsum("kc,kc...->k...", bary, corner)]
        for j in JOINT_GROUPS:
            share = bary * asset.weights[vertices, j]
            part = np.einsum("kc,kc...->k...", share, corner)
            parts.append(part - np.multiply.outer(share.sum(1), at_joints[j]))
        moved = np.moveaxis(np.stack(parts), 2, 1)  # 4 3 K …
        return moved.reshape(12, len(vertices), *values.shape[2:])

    def regressed(values: np.ndarray) -> np.ndarray:
        return np.tensordot(joints, values.astype(np.float64), axes=1)

    expression_at_joints = regressed(asset.exprdirs)
    shape_at_joints = regressed(asset.shapedirs)
    joint = regressed(asset.template)
    pose = np.asarray(asset.posedirs)[..., 9:]  # the neck's nine entries stay zero
    features = np.flatnonzero(np.abs(pose[np.unique(vertices)]).max((0, 1)) > 0)
    base = stack(asset.template, joint)
    origin = base[:3].mean(1)
    base[:3] -= origin[:, None]

    triangle = asset.template[vertices].astype(np.float64)
    normal = np.cross(triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)

    def tensor(x: np.ndarray, batch: bool = False) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))[None if batch else ...]

    return PointRig(
        base=tensor(base, True),
        shape=tensor(stack(asset.shapedirs, shape_at_joints), True),
        expression=tensor(stack(asset.exprdirs, expression_at_joints), True),
        pose=tensor(stack(pose[..., features], np.zeros((5, 3, len(features)))), True),
        features=torch.from_numpy(features),
        normal=tensor(normal, True),
        origin=tensor(origin),
        root=tensor(joint[0]),
        root_shape=tensor(shape_at_joints[0]),
        root_expression=tensor(expression_at_joints[0]),
    )


def _skew(v: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))


def _left_jacobian(rotvec: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """d exp(θ) = [J_l dθ]× exp(θ); Solà et al. 2018, A micro Lie theory for state estimation, eq. 145."""
    angle2 = rotvec.square().sum(-1)[..., None, None]
    angle = angle2.clamp_min(1e-12).sqrt()
    small = angle2 < 1e-4
    a = torch.where(small, 0.5 - angle2 / 24, (1 - angle.cos()) / angle2.clamp_min(1e-12))
    b = torch.where(small, 1 / 6 - angle2 / 120, (angle - angle.sin()) / (angle2.clamp_min(1e-12) * angle))
    k = _skew(rotvec)
    return torch.eye(3, dtype=rotvec.dtype, device=rotvec.device) + a * k + b * (k @ k)


def _joint_vectors(face: Float[Tensor, "N C"]) -> Float[Tensor, "N 3 3"]:
    """Axis-angles of jaw, left and right eye; the eyes do not roll."""
    jaw, eyes = face[:, -7:-4], face[:, -4:].unflatten(1, (2, 2))
    return torch.cat([jaw[:, None], torch.nn.functional.pad(eyes, (0, 1))], 1)


@dataclass(frozen=True)
class _Posed:
    """Intermediate results that the points and their Jacobian share."""

    linear: Float[Tensor, "N 12 K"]
    turn: Float[Tensor, "N 3 3 3"]
    to_camera: Float[Tensor, "N 3 12"]
    seen: Float[Tensor, "N 3 K"]


def _pose_points(rig: PointRig, neutral: Float[Tensor, "M 12 K"], pose: Pose) -> _Posed:
    n, k = len(pose), rig.n_points
    expression = pose.face[:, : rig.n_expression]
    turn = roma.rotvec_to_rotmat(_joint_vectors(pose.face))
    delta = turn - torch.eye(3, dtype=turn.dtype, device=turn.device)
    feature = delta.reshape(n, 27)[:, rig.features]
    if len(rig.base) == 1:
        moved = expression @ rig.expression.reshape(12 * k, -1).T + feature @ rig.pose.reshape(12 * k, -1).T
    else:
        moved = torch.bmm(rig.expression.flatten(1, 2), expression[..., None])
        moved = (moved + torch.bmm(rig.pose.flatten(1, 2), feature[..., None])).squeeze(-1)
    linear = neutral + moved.unflatten(1, (12, k))
    blocks = torch.cat([torch.eye(3, dtype=turn.dtype, device=turn.device).expand(n, 1, 3, 3), delta], 1)
    to_camera = torch.einsum("nij,ngjk->nigk", pose.rotation, blocks).reshape(n, 3, 12)
    return _Posed(linear, turn, to_camera, to_camera @ linear)


def _to_image(seen: Float[Tensor, "N 3 K"], pose: Pose) -> Float[Tensor, "N 2 K"]:
    flip = torch.tensor([1.0, -1.0], dtype=seen.dtype, device=seen.device)[:, None]
    return pose.camera[:, 0].exp()[:, None, None] * flip * seen[:, :2] + pose.camera[:, 1:, None]


def project(rig: PointRig, neutral: Float[Tensor, "M 12 K"], pose: Pose) -> Float[Tensor, "N 2 K"]:
    """Image positions (px) of the points of heads at rest as given by `PointRig.neutral`, posed."""
    return _to_image(_pose_points(rig, neutral, pose).seen, pose)


def project_with_jacobian(
    rig: PointRig, neutral: Float[Tensor, "M 12 K"], pose: Pose, with_shape: bool = False
) -> tuple[Float[Tensor, "N 2 K"], Float[Tensor, "N 2 K D"]]:
    """`project`, and the derivative by (face, rotation on the left, camera, and the identity `with_shape`)."""
    n, k, e = len(pose), rig.n_points, rig.n_expression
    posed = _pose_points(rig, neutral, pose)
    scale = pose.camera[:, 0].exp()[:, None, None]
    flip = torch.tensor([1.0, -1.0], dtype=scale.dtype, device=scale.device)[:, None]
    seen = posed.seen * scale  # px, y up
    view = posed.to_camera[:, :2] * (scale * flip)  # N 2 12

    n_pose = e + 13
    jacobian = view.new_empty(n, 2, k, n_pose + (rig.n_shape if with_shape else 0))
    jacobian[..., :e] = torch.matmul(view, rig.expression.flatten(2)).unflatten(2, (k, e))
    if with_shape:
        jacobian[..., n_pose:] = torch.matmul(view, rig.shape.flatten(2)).unflatten(2, (k, -1))

    # Joints: the axes about which dθ turns the points (columns of the left Jacobian), the skinned part, correctives.
    axes = _left_jacobian(_joint_vectors(pose.face)).transpose(-1, -2)  # N joint axis 3
    spin = _skew(axes) @ posed.turn[:, :, None]  # dG_g / dθ_i: N joint i 3 3
    lever = torch.einsum("nij,ngajk->ngaik", pose.rotation[:, :2] * (scale * flip), spin)  # N joint i 2 3
    parts = posed.linear[:, 3:].unflatten(1, (3, 3))  # N joint 3 K
    by_joint = torch.einsum("ngaij,ngjk->nikga", lever, parts)  # N 2 K joint i
    if len(rig.features):
        drive = spin.new_zeros(n, 3, 3, 3, 9)  # feature (joint, entry) by (joint, i)
        for g in range(3):
            drive[:, g, :, g] = spin[:, g].flatten(2)
        drive = drive.reshape(n, 9, 27)[:, :, rig.features]  # N (joint, i) P
        corrective = torch.matmul(view, rig.pose.flatten(2)).unflatten(2, (k, -1))  # N 2 K P
        by_joint = by_joint + torch.einsum("nikp,nap->nika", corrective, drive).unflatten(3, (3, 3))
    jacobian[..., e : e + 3] = by_joint[..., 0, :]
    jacobian[..., e + 3 : e + 7] = by_joint[..., 1:, :2].flatten(3)

    x, y, z = seen.unbind(1)
    o = torch.zeros_like(x)
    jacobian[:, 0, :, e + 7 : e + 10] = torch.stack([o, z, -y], -1)
    jacobian[:, 1, :, e + 7 : e + 10] = torch.stack([z, o, -x], -1)
    jacobian[..., e + 10] = seen[:, :2] * flip
    jacobian[:, 0, :, e + 11], jacobian[:, 0, :, e + 12] = 1.0, 0.0
    jacobian[:, 1, :, e + 11], jacobian[:, 1, :, e + 12] = 0.0, 1.0
    return _to_image(posed.seen, pose), jacobian
