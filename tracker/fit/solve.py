"""Levenberg-Marquardt on the landmarks of many frames at once, with robust weights and limits.

Two problems: every frame on its own with the identity known (`solve_frames`), and frames together with the identities
they share (`solve_identity`), where the frames are eliminated by the Schur complement (Triggs et al. 2000, Bundle
adjustment: a modern synthesis, sec. 6.1). Image residuals are in metres on the head. A frame's result does not depend
on which others are solved beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tracker.fit.priors import FacePrior
from tracker.fit.rig import PointRig, Pose, project, project_with_jacobian
from tracker.fit.told import CodeMeasurement, ShapeMeasurement

DAMPING = 1e-3
CONVERGED = 1e-4
"""Relative fall of the cost under which a frame is done."""
SIZE_SIGMA = 0.02
"""How far (log) people's heads are from the mean head's size. Pictures do not show it: without this a head shrinks,
because on a smaller one the same motion takes less expression."""


@dataclass(frozen=True)
class Measurement:
    """What is seen of N frames.

    Attributes:
        points: image positions, in metres on the head (px over the scale of the camera), relative to the face.
        weight: confidence of every row: the K points, then the P pairs.
        precision: 1/σ of every row, 1/m.
        pairs: the points whose difference is a row.
        robust: σ multiple at which a row counts as an outlier (scale of Geman and McClure's function).
    """

    points: Float[Tensor, "N 2 K"]
    weight: Float[Tensor, "N R"]
    precision: Float[Tensor, "R"]
    pairs: Int[Tensor, "P 2"]
    robust: float

    def at(self, index: Tensor | slice) -> Measurement:
        """The rows of `index`."""
        return Measurement(self.points[index], self.weight[index], self.precision, self.pairs, self.robust)

    def residual(self, points: Float[Tensor, "N 2 K"]) -> Float[Tensor, "N 2 R"]:
        """Standardised residuals of points and pairs."""
        return self.rows(points - self.points) * self.precision

    def rows(self, x: Tensor) -> Tensor:
        """(N, 2, K) → (N, 2, R): the points and the differences of the pairs."""
        return torch.cat([x, x[:, :, self.pairs[:, 0]] - x[:, :, self.pairs[:, 1]]], 2)

    def cost(self, residual: Float[Tensor, "N 2 R"]) -> Float[Tensor, "N"]:
        """Robust cost: ½ Σ w r² / (1 + r²/c²) (Geman and McClure 1987), r the length of a row's residual."""
        square = residual.square().sum(1)
        return 0.5 * (self.weight * square / (1 + square / self.robust**2)).sum(1)

    def reweighted(self, residual: Float[Tensor, "N 2 R"]) -> Float[Tensor, "N R"]:
        """Weights of the rows in the next least-squares problem."""
        square = residual.square().sum(1)
        return self.weight / (1 + square / self.robust**2).square()


@dataclass(frozen=True)
class _Normal:
    """Normal equations of N frames: H d = −g over a frame's unknowns, then the identity's."""

    matrix: Float[Tensor, "N D D"]
    gradient: Float[Tensor, "N D"]
    cost: Float[Tensor, "N"]


def frame_cost(
    rig: PointRig, neutral: Tensor, seen: Measurement, prior: FacePrior, pose: Pose, told: CodeMeasurement | None
) -> Float[Tensor, "N"]:
    """What the solvers make small, for every frame."""
    cost = seen.cost(seen.residual(project(rig, neutral, pose))) + prior.cost(pose.face)
    return cost if told is None else cost + told.cost(pose)


def _normal_equations(
    rig: PointRig,
    neutral: Tensor,
    seen: Measurement,
    prior: FacePrior,
    pose: Pose,
    told: CodeMeasurement | None,
    with_shape: bool = False,
) -> _Normal:
    points, jacobian = project_with_jacobian(rig, neutral, pose, with_shape)
    residual = seen.residual(points)
    root = (seen.reweighted(residual).sqrt() * seen.precision)[:, None, :, None]
    rows = (seen.rows(jacobian) * root).flatten(1, 2)
    error = (residual / seen.precision * root.squeeze(-1)).flatten(1, 2)
    matrix = rows.transpose(1, 2) @ rows
    gradient = torch.bmm(rows.transpose(1, 2), error[..., None]).squeeze(-1)
    n = pose.face.shape[1]
    matrix[:, :n, :n] += prior.precision
    gradient[:, :n] += pose.face @ prior.precision + prior.slope
    cost = seen.cost(residual) + prior.cost(pose.face)
    if told is not None:
        told.add_to(matrix, gradient, pose)
        cost = cost + told.cost(pose)
    return _Normal(matrix, gradient, cost)


def _limits(prior: FacePrior, face: Float[Tensor, "N C"]) -> tuple[Tensor, Tensor]:
    """How far each unknown of a frame may step down and up."""
    free = face.new_full((len(face), 6), torch.inf)
    return torch.cat([prior.low - face, -free], 1), torch.cat([prior.high - face, free], 1)


def _masked_solve(matrix: Tensor, gradient: Tensor, fixed: Bool[Tensor, "N D"], step: Tensor) -> Tensor:
    """The minimiser over the unknowns that are not fixed; the fixed ones make `step`."""
    held = torch.where(fixed, step, 0.0)
    right = -(gradient + torch.bmm(matrix, held[..., None]).squeeze(-1))
    free = ~fixed
    masked = matrix * (free[:, :, None] & free[:, None, :])
    masked.diagonal(dim1=1, dim2=2).add_(fixed.to(matrix.dtype))
    right = torch.where(fixed, step, right)
    factor, _ = torch.linalg.cholesky_ex(masked)
    return torch.cholesky_solve(right[..., None], factor).squeeze(-1)


def _bounded_step(
    matrix: Float[Tensor, "N D D"],
    gradient: Float[Tensor, "N D"],
    low: Float[Tensor, "N D"],
    high: Float[Tensor, "N D"],
) -> Float[Tensor, "N D"]:
    """A step within limits by two rounds of an active set: unknowns that would leave are put on their limit."""
    fixed = ((low >= 0) & (gradient > 0)) | ((high <= 0) & (gradient < 0))
    step = torch.zeros_like(gradient)
    for _ in range(2):
        step = _masked_solve(matrix, gradient, fixed, step)
        step = step.clamp(low, high)
        fixed = fixed | (step <= low) | (step >= high)
    return _masked_solve(matrix, gradient, fixed, step).clamp(low, high)


def solve_frames(
    rig: PointRig,
    neutral: Float[Tensor, "M 12 K"],
    seen: Measurement,
    prior: FacePrior,
    start: Pose,
    steps: int,
    told: CodeMeasurement | None = None,
) -> Pose:
    """Fit every frame on its own, the identity given by `neutral` (one, or one per frame)."""
    face, rotation, camera = start.face.clone(), start.rotation.clone(), start.camera.clone()
    damping = torch.full_like(camera[:, 0], DAMPING)
    active = torch.arange(len(face), device=face.device)
    for _ in range(steps):
        pose = Pose(face[active], rotation[active], camera[active])
        part_rig, part_seen, part_told = rig.at(active), seen.at(active), told and told.at(active)
        part_neutral = neutral if len(neutral) == 1 else neutral[active]
        normal = _normal_equations(part_rig, part_neutral, part_seen, prior, pose, part_told)
        _damp(normal.matrix, damping[active])
        step = _bounded_step(normal.matrix, normal.gradient, *_limits(prior, pose.face))
        trial = pose.moved(step)
        cost = frame_cost(part_rig, part_neutral, part_seen, prior, trial, part_told)
        better = cost < normal.cost  # false for a step that is not finite
        chosen = active[better]
        face[chosen], rotation[chosen], camera[chosen] = (
            trial.face[better],
            trial.rotation[better],
            trial.camera[better],
        )
        damping[active] = torch.where(better, damping[active] * 0.2, damping[active] * 10).clamp(1e-7, 1e7)
        done = better & (normal.cost - cost < CONVERGED * normal.cost)
        active = active[~done]
        if not len(active):
            break
    return Pose(face, rotation, camera)


def _damp(matrix: Tensor, damping: Float[Tensor, "N"]) -> None:
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    diagonal.add_(diagonal * damping[:, None] + 1e-6)


def solve_identity(
    rig: PointRig,
    owner: Int[Tensor, "N"],
    seen: Measurement,
    prior: FacePrior,
    identity: Float[Tensor, "G S"],
    identity_weight: float,
    start: Pose,
    steps: int,
    told: CodeMeasurement | None = None,
    told_shape: ShapeMeasurement | None = None,
) -> tuple[Float[Tensor, "G S"], Pose]:
    """Fit frames together with the identities they show: frame n shows identity `owner[n]`.

    Args:
        identity: to start from.
        told_shape: weighed as the prior is, by `identity_weight`.
    """
    n_people, d = len(identity), start.face.shape[1] + 6
    face, rotation, camera = start.face.clone(), start.rotation.clone(), start.camera.clone()
    identity = identity.clone()
    damping = identity.new_full((n_people,), DAMPING)
    held = SIZE_SIGMA**-2 * (camera.new_ones(len(camera)) if told is None else told.landmarks)

    def per_person(x: Tensor) -> Tensor:
        return x.new_zeros(n_people, *x.shape[1:]).index_add_(0, owner, x)

    def shared_cost(identity: Tensor, camera: Tensor) -> Tensor:
        size = per_person(camera[:, 0].square() * held)
        cost = 0.5 * (identity_weight * identity.square().sum(1) + size)
        return cost if told_shape is None else cost + identity_weight * told_shape.cost(identity)

    for _ in range(steps):
        pose = Pose(face, rotation, camera)
        normal = _normal_equations(rig, rig.neutral(identity[owner]), seen, prior, pose, told, with_shape=True)
        normal.matrix[:, d - 3, d - 3] += held
        normal.gradient[:, d - 3] += camera[:, 0] * held
        before = per_person(normal.cost) + shared_cost(identity, camera)
        shared = per_person(normal.matrix[:, d:, d:])
        shared.diagonal(dim1=1, dim2=2).add_(identity_weight)
        shared_gradient = per_person(normal.gradient[:, d:]) + identity_weight * identity
        if told_shape is not None:
            shared.diagonal(dim1=1, dim2=2).add_(identity_weight * told_shape.precision)
            shared_gradient += identity_weight * told_shape.precision * (identity - told_shape.shape)
        _damp(shared, damping)
        own, cross, gradient = normal.matrix[:, :d, :d].clone(), normal.matrix[:, :d, d:], normal.gradient[:, :d]
        _damp(own, damping[owner])

        low, high = _limits(prior, face)
        fixed = ((low >= 0) & (gradient > 0)) | ((high <= 0) & (gradient < 0))
        free = (~fixed).to(own.dtype)
        own_free = own * free[:, :, None] * free[:, None, :] + torch.diag_embed(1 - free)
        factor, _ = torch.linalg.cholesky_ex(own_free)
        right = torch.cat([cross, gradient[..., None]], 2) * free[..., None]
        solved = torch.cholesky_solve(right, factor)
        schur = shared - per_person(cross.transpose(1, 2) @ solved[..., :-1])
        reduced = shared_gradient - per_person((cross.transpose(1, 2) @ solved[..., -1:]).squeeze(-1))
        step_identity = -torch.cholesky_solve(reduced[..., None], torch.linalg.cholesky_ex(schur)[0]).squeeze(-1)
        rest = gradient + torch.bmm(cross, step_identity[owner][..., None]).squeeze(-1)
        trial = pose.moved(_bounded_step(own, rest, low, high))

        trial_identity = identity + step_identity
        cost = per_person(frame_cost(rig, rig.neutral(trial_identity[owner]), seen, prior, trial, told))
        cost = cost + shared_cost(trial_identity, trial.camera)
        better = cost < before
        identity = torch.where(better[:, None], trial_identity, identity)
        mine = better[owner]
        face = torch.where(mine[:, None], trial.face, face)
        rotation = torch.where(mine[:, None, None], trial.rotation, rotation)
        camera = torch.where(mine[:, None], trial.camera, camera)
        damping = torch.where(better, damping * 0.2, damping * 10).clamp(1e-7, 1e7)
        if bool((better & (before - cost < CONVERGED * before)).all()):
            break
    return identity, Pose(face, rotation, camera)
