"""Fit a head to the landmarks of a face: over a video with one identity, or of independent photographs.

Stages: a rigid start for every frame; identity from well-spread keyframes, together with their expressions; every
frame on its own with that identity. One camera cannot tell the neck's rotation from the head's: the neck stays at rest
and the whole rotation goes to `pose`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation, Slerp
from torch import Tensor

from model.asset import SurfacePoints
from model.head import HeadModel
from tracker.fit.config import FitConfig
from tracker.fit.keyframes import choose_keyframes
from tracker.fit.points import IBUG, MEDIAPIPE, PointSet
from tracker.fit.priors import FacePrior, face_prior
from tracker.fit.rig import PointRig, Pose, build_rig, project
from tracker.fit.rigid import rigid_start
from tracker.fit.solve import Measurement, solve_frames, solve_identity
from tracker.observation import Observations

SAMPLED = 240
"""Frames among which the keyframes are chosen."""


@dataclass(frozen=True)
class FaceFit:
    """The fitted head, one row per frame (or photograph), in the units of `params.npz`.

    Attributes:
        shape: identity, standard deviations; the same on all rows of a video.
        expression: [0, 1] for openhead, standard deviations for FLAME.
        pose, neck, jaw: axis-angle, radians; the neck is zero.
        eyes: left, right eyeball, axis-angle, radians.
        camera: s (px/m), tx, ty (px) of the full frame.
        error_px: mean distance between the head's and the detector's inner points, px; NaN where not seen.
        error: the same over the distance of the outer eye corners on the head.
        confidence: [0, 1], the detector's, lowered where the head does not reach the points; 0 where not seen.
        seen: false where the row was interpolated.
    """

    shape: Float[np.ndarray, "T S"]
    expression: Float[np.ndarray, "T E"]
    pose: Float[np.ndarray, "T 3"]
    neck: Float[np.ndarray, "T 3"]
    jaw: Float[np.ndarray, "T 3"]
    eyes: Float[np.ndarray, "T 6"]
    camera: Float[np.ndarray, "T 3"]
    error_px: Float[np.ndarray, "T"]
    error: Float[np.ndarray, "T"]
    confidence: Float[np.ndarray, "T"]
    seen: Bool[np.ndarray, "T"]


def fit_face(observations: Observations, head: HeadModel, config: FitConfig | None = None) -> FaceFit:
    """Fit one face over its video. Frames that are not seen get values between those of their neighbours.

    Computes on the head's device, in float32.

    Raises:
        ValueError: no frame is seen, the landmark scheme is unknown or not embedded on this head.
    """
    config = config or FitConfig()
    rows = np.flatnonzero(observations.seen)
    if not len(rows):
        raise ValueError("cannot fit a face that is seen in no frame; give at least one detection")
    problem = _Problem.of(head, observations.scheme, config)
    confidence = observations.confidence.astype(np.float32)

    sampled = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SAMPLED)).round().astype(int))]
    view = problem.view(observations.points[sampled], confidence[sampled])
    keys = view.at(choose_keyframes(view.seen.points, view.start.rotation, view.rest, config.keyframes))
    owner = torch.zeros(len(keys), dtype=torch.long, device=problem.device)
    identity, _ = problem.solve_identity(keys, owner, 1)
    neutral_is_shared = len(problem.rig.base) == 1

    parts = []
    for chunk in _chunks(rows, config.chunk):
        view = problem.view(observations.points[chunk], confidence[chunk])
        neutral = view.rig.neutral(identity if neutral_is_shared else identity.expand(len(chunk), -1))
        pose = solve_frames(view.rig, neutral, view.seen, problem.prior, view.start, config.steps)
        parts.append(problem.record(view, neutral, identity.expand(len(chunk), -1), pose, confidence[chunk]))
    return _fill_gaps(_joined(parts), rows, len(observations.seen))


def fit_photos(
    points: Float[np.ndarray, "B N 2"],
    scheme: str,
    head: HeadModel,
    config: FitConfig | None = None,
    confidence: Float[np.ndarray, "B"] | None = None,
) -> FaceFit:
    """Fit independent photographs, each a person of its own.

    Args:
        points: landmarks, px.
        scheme: ``mediapipe478`` or ``ibug68``.
        confidence: [0, 1], of the detections; 1 if absent.

    Raises:
        ValueError: as `fit_face`.
    """
    config = config or FitConfig()
    problem = _Problem.of(head, scheme, config)
    trust = np.ones(len(points), np.float32) if confidence is None else confidence.astype(np.float32)
    if not len(points):
        raise ValueError("no photographs to fit; give at least one row of points")
    parts = []
    for chunk in _chunks(np.arange(len(points)), config.chunk):
        view = problem.view(points[chunk], trust[chunk])
        owner = torch.arange(len(chunk), device=problem.device)
        identity, pose = problem.solve_identity(view, owner, len(chunk))
        parts.append(problem.record(view, view.rig.neutral(identity), identity, pose, trust[chunk]))
    return _joined(parts)


def _chunks(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@dataclass(frozen=True)
class _View:
    """Frames ready to be solved: their rig, measurements on the scale of the head, and the rigid start.

    `scale` (px/m) and `centre` (px) undo the normalisation; `rest` are the points of the mean head, rigidly placed.
    """

    rig: PointRig
    seen: Measurement
    start: Pose
    rest: Float[Tensor, "N 2 K"]
    scale: Float[Tensor, "N"]
    centre: Float[Tensor, "N 2"]

    def __len__(self) -> int:
        return len(self.scale)

    def at(self, index: Tensor) -> _View:
        return _View(
            self.rig.at(index), self.seen.at(index), self.start.at(index), self.rest[index], self.scale[index],
            self.centre[index],
        )  # fmt: skip


@dataclass(frozen=True)
class _Problem:
    """What all frames of a fit share."""

    head: HeadModel
    config: FitConfig
    points: PointSet
    rig: PointRig
    prior: FacePrior
    precision: Float[Tensor, "R"]
    pairs: Int[Tensor, "P 2"]

    @property
    def device(self) -> torch.device:
        return self.rig.base.device

    @staticmethod
    def of(head: HeadModel, scheme: str, config: FitConfig) -> _Problem:
        device = head.template.device
        points, surface = _chosen(head, scheme)
        precision = 1 / (config.noise * np.concatenate([points.sigma, points.pair_sigma]))
        return _Problem(
            head=head,
            config=config,
            points=points,
            rig=build_rig(head.asset, surface).to(device),
            prior=face_prior(head.asset, config).to(device),
            precision=torch.from_numpy(precision).float().to(device),
            pairs=torch.from_numpy(points.pairs).to(device),
        )

    def view(self, points: Float[np.ndarray, "N M 2"], confidence: Float[np.ndarray, "N"]) -> _View:
        """Chosen points and a rigid start. Raises ValueError where the number of points is not the scheme's."""
        if points.shape[1] <= self.points.index.max():
            raise ValueError(f"got {points.shape[1]} landmarks, the scheme has at least {self.points.index.max() + 1}")
        image = torch.from_numpy(points[:, self.points.index].transpose(0, 2, 1).copy()).float().to(self.device)
        middle = image.mean(2)
        rig, k = self.rig, self.rig.n_points
        at_rest = rig.base[:, :3].transpose(1, 2)
        rotation, scale, shift = rigid_start(image - middle[..., None], at_rest, self.precision[:k].square())
        centre = middle + shift
        face = image.new_zeros(len(image), self.prior.low.shape[0])
        start = Pose(face, rotation, image.new_zeros(len(image), 3))
        facing = torch.einsum("nj,bkj->nk", rotation[:, 2], rig.normal)
        visible = ((facing + 0.35) / 0.7).clamp(0.05, 1.0)
        pair_visible = torch.minimum(visible[:, self.pairs[:, 0]], visible[:, self.pairs[:, 1]])
        trust = torch.from_numpy(confidence).to(visible)[:, None]
        weight = torch.cat([visible, pair_visible], 1) * trust
        normalised = (image - centre[..., None]) / scale[:, None, None]
        seen = Measurement(normalised, weight, self.precision, self.pairs, self.config.robust)
        return _View(rig, seen, start, project(rig, rig.base, start), scale, centre)

    def solve_identity(self, view: _View, owner: Int[Tensor, "N"], people: int) -> tuple[Tensor, Pose]:
        """Identities (people, S) and the poses of their frames."""
        mean = view.scale.new_zeros(people, self.rig.n_shape)
        weight, steps = self.config.identity_weight, self.config.identity_steps
        return solve_identity(view.rig, owner, view.seen, self.prior, mean, weight, view.start, steps)

    def record(
        self, view: _View, neutral: Tensor, identity: Tensor, pose: Pose, confidence: Float[np.ndarray, "N"]
    ) -> FaceFit:
        """Undo the normalisation: pixels of the full frame, rotation about the root joint."""
        rig, e = self.rig, self.rig.n_expression
        flip = torch.tensor([1.0, -1.0], device=self.device)
        scale = view.scale * pose.camera[:, 0].exp()
        at_origin = view.centre + view.scale[:, None] * pose.camera[:, 1:]
        root = rig.root_joint(identity, pose.face[:, :e])
        offset = torch.einsum("nij,nj->ni", pose.rotation, root - rig.origin) - root
        translation = at_origin + scale[:, None] * flip * offset[:, :2]

        fitted = project(view.rig, neutral, pose)
        distance = (fitted - view.seen.points).square().sum(1).sqrt()[:, self.points.inner].mean(1)
        corners = neutral[:, :3, list(self.points.outer_eyes)]
        error = distance / (corners[..., 0] - corners[..., 1]).square().sum(1).sqrt() * (view.scale / scale)
        eyes = pose.face[:, e + 3 :].unflatten(1, (2, 2))
        trust = torch.from_numpy(confidence).to(error) / (1 + (error / 0.05).square())

        def array(x: Tensor) -> np.ndarray:
            return x.detach().cpu().numpy().astype(np.float32)

        return FaceFit(
            shape=array(identity),
            expression=array(pose.face[:, :e]),
            pose=array(roma.rotmat_to_rotvec(pose.rotation)),
            neck=np.zeros((len(pose), 3), np.float32),
            jaw=array(pose.face[:, e : e + 3]),
            eyes=array(torch.nn.functional.pad(eyes, (0, 1)).flatten(1)),
            camera=array(torch.cat([scale[:, None], translation], 1)),
            error_px=array(distance * view.scale),
            error=array(error),
            confidence=array(trust),
            seen=np.ones(len(pose), bool),
        )


def _chosen(head: HeadModel, scheme: str) -> tuple[PointSet, SurfacePoints]:
    """The points of a scheme and where they are on the head."""
    marks = head.asset.landmarks
    if scheme not in ("mediapipe478", "ibug68"):
        raise ValueError(f"unknown landmark scheme {scheme!r}; the fit knows mediapipe478 and ibug68")
    if marks is None or (scheme == "mediapipe478" and marks.mediapipe478 is None):
        raise ValueError(f"head {head.asset.name} has no {scheme} landmarks; use another detector or head")
    if scheme == "mediapipe478":
        assert marks.mediapipe478 is not None
        points, surface = MEDIAPIPE, marks.mediapipe478
    else:
        points, surface = IBUG, marks.full68
    return points, SurfacePoints(surface.face[points.index], surface.barycentric[points.index])


def _joined(parts: list[FaceFit]) -> FaceFit:
    return FaceFit(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(FaceFit)))


def _fill_gaps(fit: FaceFit, rows: Int[np.ndarray, "R"], total: int) -> FaceFit:
    """Spread the fitted rows over all frames: linear between seen frames, slerp for the pose, held at the ends."""
    if len(rows) == total:
        return fit
    every = np.arange(total)
    nearest = np.clip(every, rows[0], rows[-1])

    def linear(x: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(every, rows, column) for column in x.T], 1).astype(np.float32)

    pose = fit.pose[np.zeros(total, int)]
    if len(rows) > 1:
        pose = Slerp(rows, Rotation.from_rotvec(fit.pose))(nearest).as_rotvec().astype(np.float32)

    def spread(x: np.ndarray, value: float) -> np.ndarray:
        out = np.full(total, value, np.float32)
        out[rows] = x
        return out

    return FaceFit(
        shape=fit.shape[np.zeros(total, int)],
        expression=linear(fit.expression),
        pose=pose,
        neck=np.zeros((total, 3), np.float32),
        jaw=linear(fit.jaw),
        eyes=linear(fit.eyes),
        camera=linear(fit.camera),
        error_px=spread(fit.error_px, np.nan),
        error=spread(fit.error, np.nan),
        confidence=spread(fit.confidence, 0.0),
        seen=np.isin(every, rows),
    )
