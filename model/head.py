"""From codes and pose to vertices: blendshapes, pose correctives and linear blend skinning (Li et al. 2017, FLAME)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from model.asset import HeadAsset, SurfacePoints
from model.mesh import Mesh
from model.params import FaceParams


@dataclass(frozen=True)
class PosedSkeleton:
    """A skeleton in its pose; a rest-pose point v that hangs on joint j alone comes to ``rotation_j v + offset_j``.

    Attributes:
        rest: joints before posing, metres, head space.
        local: rotation of each joint relative to its parent (the root's is the global rotation).
        rotation: rotation of each joint's frame, head space to camera axes.
        offset: metres; includes the way back from the joint, around which the rotation is.
    """

    rest: Float[Tensor, "*batch 5 3"]
    local: Float[Tensor, "*batch 5 3 3"]
    rotation: Float[Tensor, "*batch 5 3 3"]
    offset: Float[Tensor, "*batch 5 3"]

    @property
    def joints(self) -> Float[Tensor, "*batch 5 3"]:
        """Positions of the posed joints, metres, camera axes."""
        return (self.rotation @ self.rest[..., None])[..., 0] + self.offset

    @property
    def corrective(self) -> Float[Tensor, "*batch 36"]:
        """What drives the pose correctives: R_j − I of joints 1..4, row-major."""
        identity = torch.eye(3, dtype=self.local.dtype, device=self.local.device)
        return (self.local[..., 1:, :, :] - identity).flatten(-3)


class Skeleton(nn.Module):
    """The five joints, as linear functions of the codes.

    Regressing joints from blended vertices is linear, so it is done once for the template and for every direction.

    Attributes:
        parents: parent of each joint, −1 for the root.
        template: joints of the mean head, metres.
        shapedirs, exprdirs: metres per unit of the code.
    """

    template: Float[Tensor, "5 3"]
    shapedirs: Float[Tensor, "5 3 S"]
    exprdirs: Float[Tensor, "5 3 E"]

    def __init__(self, asset: HeadAsset) -> None:
        super().__init__()
        self.name = asset.name
        self.parents = tuple(int(parent) for parent in asset.parents)
        regressor = asset.joint_regressor.astype(np.float64)
        for key, values in (("template", asset.template), ("shapedirs", asset.shapedirs), ("exprdirs", asset.exprdirs)):
            _constant(self, key, np.tensordot(regressor, values.astype(np.float64), 1))

    def forward(self, params: FaceParams) -> PosedSkeleton:
        """Regress the joints after shape and expression and walk down the kinematic tree.

        Raises:
            ValueError: the codes have another length than the head's directions.
        """
        for what, codes, directions in (
            ("shape", params.shape, self.shapedirs),
            ("expression", params.expression, self.exprdirs),
        ):
            if codes.shape[-1] != directions.shape[-1]:
                raise ValueError(
                    f"{what} has {codes.shape[-1]} coefficients, head {self.name} has {directions.shape[-1]}; "
                    "use parameters that were made for this head"
                )
        rest = self.template + _blend(self.shapedirs, params.shape) + _blend(self.exprdirs, params.expression)
        axis_angle = torch.stack(
            [params.pose, params.neck, params.jaw, params.eyes[..., :3], params.eyes[..., 3:]], dim=-2
        )
        local = roma.rotvec_to_rotmat(axis_angle)
        rotations, offsets = [], []
        for joint, parent in enumerate(self.parents):
            # v -> R_parent (local (v - rest) + rest) + offset_parent
            own = rest[..., joint, :] - (local[..., joint, :, :] @ rest[..., joint, :, None])[..., 0]
            if parent < 0:
                rotations.append(local[..., joint, :, :])
                offsets.append(own)
            else:
                rotations.append(rotations[parent] @ local[..., joint, :, :])
                offsets.append((rotations[parent] @ own[..., None])[..., 0] + offsets[parent])
        return PosedSkeleton(rest, local, torch.stack(rotations, -3), torch.stack(offsets, -2))


class HeadModel(nn.Module):
    """A head of any topology: FaceParams → vertices. Any batch shape, float32 or float64, any device, differentiable.

    Move it with ``.to(device)`` or ``.double()``; it has buffers only, nothing to train, and adds nothing to a state
    dict.

    Attributes:
        asset: the arrays that it was made of.
        skeleton: the joints.
        template: metres.
        faces: counter-clockwise from outside.
        weights: skinning weights, rows sum to one.
    """

    template: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    weights: Float[Tensor, "V 5"]
    basis: Float[Tensor, "D W"]

    def __init__(self, asset: HeadAsset) -> None:
        super().__init__()
        self.asset = asset
        self.skeleton = Skeleton(asset)
        _constant(self, "template", asset.template)
        _constant(self, "weights", asset.weights)
        _constant(self, "basis", _flat_basis(asset.shapedirs, asset.exprdirs, asset.posedirs))
        self.register_buffer("faces", torch.from_numpy(asset.faces.astype(np.int64)), persistent=False)

    def neutral(self, *batch: int) -> FaceParams:
        """Zero codes and zero rotations, on the head's device and in its type."""

        def zeros(size: int) -> Tensor:
            return self.template.new_zeros(*batch, size)

        return FaceParams(
            shape=zeros(self.asset.shapedirs.shape[-1]),
            expression=zeros(self.asset.exprdirs.shape[-1]),
            pose=zeros(3),
            neck=zeros(3),
            jaw=zeros(3),
            eyes=zeros(6),
        )

    def forward(self, params: FaceParams) -> Float[Tensor, "*batch V 3"]:
        """Vertices, metres, camera axes.

        M = W(T + B_S(β) + B_E(ψ) + B_P(θ), J(β, ψ), θ), FLAME eq. 1.
        """
        skeleton: PosedSkeleton = self.skeleton(params)
        rest = _deform(self.template, self.basis, params, skeleton)
        rotation = torch.einsum("vj,...jrc->...vrc", self.weights, skeleton.rotation)
        return (rotation @ rest[..., None])[..., 0] + self.weights @ skeleton.offset

    def mesh(self, params: FaceParams) -> Mesh:
        """The posed mesh, metres, camera axes."""
        return Mesh(self(params), self.faces)

    def at(self, points: SurfacePoints) -> PointModel:
        """The same head at chosen surface points only; the points' shape is flattened."""
        return PointModel(self.asset, points).to(self.template)


class PointModel(nn.Module):
    """A head at N surface points: exactly the interpolated whole mesh, at the price of the points alone.

    A point is Σ_k b_k v_k over its triangle's corners and a posed corner is Σ_j w_kj (R_j v_k + o_j), so the point is
    Σ_j R_j (Σ_k b_k w_kj v_k) + (Σ_k b_k w_kj) o_j: one *term* for every joint that moves it. The inner sums are linear
    in the codes and precomputed. With the terms t of point p, o and R of `PosedSkeleton` and f its `corrective`::

        x_p = Σ_t  R_joint[t] (template[t] + shapedirs[t] β + exprdirs[t] ψ + posedirs[t] f) + weight[t] o_joint[t]

    Attributes:
        count: N.
        skeleton: the joints, which move with the codes too.
        point: the point of each term, ascending.
        joint: the joint of each term.
        weight: Σ_k b_k w_kj of each term.
        template: metres, times the weights.
        basis: all directions, (S + E + 36, 3 terms); `shapedirs`, `exprdirs` and `posedirs` are views of it.
    """

    point: Int[Tensor, " K"]
    joint: Int[Tensor, " K"]
    weight: Float[Tensor, " K"]
    template: Float[Tensor, "K 3"]
    basis: Float[Tensor, "D W"]

    def __init__(self, asset: HeadAsset, points: SurfacePoints) -> None:
        super().__init__()
        self.skeleton = Skeleton(asset)
        corners = asset.faces[points.face.reshape(-1)]
        barycentric = points.barycentric.reshape(-1, 3).astype(np.float64)
        self.count = len(corners)
        shares = barycentric[:, :, None] * asset.weights[corners].astype(np.float64)  # point, corner, joint
        point, joint = np.nonzero((shares != 0).any(1))
        shares, corners = shares[point, :, joint], corners[point]
        self.register_buffer("point", torch.from_numpy(point), persistent=False)
        self.register_buffer("joint", torch.from_numpy(joint), persistent=False)
        _constant(self, "weight", shares.sum(1))
        _constant(self, "template", np.einsum("tk,tkc->tc", shares, asset.template[corners].astype(np.float64)))
        directions = [
            np.einsum("tk,tkcd->tcd", shares, array[corners].astype(np.float64))
            for array in (asset.shapedirs, asset.exprdirs, asset.posedirs)
        ]
        _constant(self, "basis", _flat_basis(*directions))

    @property
    def shapedirs(self) -> Float[Tensor, "K 3 S"]:
        """Metres per standard deviation, times the weights."""
        return self._directions(0, self.skeleton.shapedirs.shape[-1])

    @property
    def exprdirs(self) -> Float[Tensor, "K 3 E"]:
        """Metres per unit, times the weights."""
        return self._directions(self.skeleton.shapedirs.shape[-1], self.skeleton.exprdirs.shape[-1])

    @property
    def posedirs(self) -> Float[Tensor, "K 3 36"]:
        """Metres per unit of `PosedSkeleton.corrective`, times the weights."""
        return self._directions(self.basis.shape[0] - 36, 36)

    def forward(self, params: FaceParams) -> Float[Tensor, "*batch N 3"]:
        """The points, metres, camera axes."""
        return self.posed(params, self.skeleton(params))

    def posed(self, params: FaceParams, skeleton: PosedSkeleton) -> Float[Tensor, "*batch N 3"]:
        """The points for a skeleton that is already posed, metres, camera axes."""
        rest = _deform(self.template, self.basis, params, skeleton)
        terms = (skeleton.rotation[..., self.joint, :, :] @ rest[..., None])[..., 0]
        terms = terms + self.weight[:, None] * skeleton.offset[..., self.joint, :]
        return terms.new_zeros(*terms.shape[:-2], self.count, 3).index_add(-2, self.point, terms)

    def _directions(self, start: int, size: int) -> Tensor:
        return self.basis[start : start + size].view(size, -1, 3).permute(1, 2, 0)


def _constant(module: nn.Module, name: str, values: np.ndarray) -> None:
    # `persistent=False`: a head comes from its own file, never from a network's checkpoint.
    module.register_buffer(name, torch.from_numpy(values.astype(np.float32)), persistent=False)


def _flat_basis(*directions: np.ndarray) -> np.ndarray:
    """Directions (N, 3, D_i) side by side as one matrix (ΣD_i, 3 N), so that blending is one product."""
    return np.concatenate([array.reshape(-1, array.shape[-1]).T for array in directions])


def _blend(directions: Tensor, codes: Tensor) -> Tensor:
    return torch.einsum("ncd,...d->...nc", directions, codes)


def _deform(template: Tensor, basis: Tensor, params: FaceParams, skeleton: PosedSkeleton) -> Tensor:
    """Blendshapes and pose correctives, metres, before skinning."""
    drivers = torch.cat([params.shape, params.expression, skeleton.corrective], dim=-1)
    return template + (drivers @ basis).unflatten(-1, (-1, 3))
