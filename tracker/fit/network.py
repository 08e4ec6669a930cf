"""The network's word in the fit: one more Gaussian observation of codes, pose and camera, as precise as measured.

What is told where:

- A frame whose landmarks the network's head misses grossly, or that the network sees turned elsewhere although the face
  looks ahead, is not believed. Of a face with mostly such frames nothing is.
- Of what is believed only the part that the network knows better than the average face is information: the fit has a
  prior of its own, and an estimate that falls back to the average must not count twice.
- Landmarks keep their precision in plain frontal views, where they show more than any network. Beyond `TURNED` they
  slide and the hidden half is made up, with errors that all points share, so that many points do not help: their weight
  falls. The same for faces of few pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from model.errors import NetworkErrors
from tracker.fit.config import FitConfig
from tracker.fit.problem import Problem, View
from tracker.fit.result import Appearance, FaceFit, spread_linearly
from tracker.fit.rig import Pose, project
from tracker.fit.spread import Spread, in_turn, parts_of
from tracker.fit.told import CodeMeasurement, ShapeMeasurement
from tracker.identity import quality, robust_mean
from tracker.observation import FaceCodes

TURNED, PROFILE = 30.0, 60.0
"""Yaw (degrees) up to which landmarks count in full, and from which `LEFT` of their weight is left."""
LEFT = 0.001
"""So little, because there are some 180 of them, whose errors are counted as if they were independent.
`python -m training.evaluate errors --fit` prints what it does to faces beyond 60°."""
FEW_PIXELS = 48.0
"""Mean side of the box of the 68 landmarks (px) under which landmarks weigh less, as its square."""
GROSS = (0.10, 0.20)
"""Mean distance of the inner points, over the mean side of the points' box, from which a frame's estimate is not
believed: up to `TURNED`, and beyond `PROFILE`, where the landmarks are wrong themselves."""
ELSEWHERE = 30.0
"""The same for the angle (degrees) to the pose by landmarks, of faces that look ahead."""
CLOSE = 0.05
"""The distance at which a frame counts half for the identity."""
MOSTLY = 0.5
"""Share of the frames that must be believed for the face to be."""
LEARNED = 0.97
"""Error over the population's spread from which a code is taken for not learned."""
_ROWS = 256


@dataclass(frozen=True)
class NetworkEstimate:
    """What a network sees of a face (or of photographs), and how wrong it usually is.

    Attributes:
        codes: one row per row of the observations (per photograph).
        errors: of this network.
        resolution: side of its pictures, px.
    """

    codes: FaceCodes
    errors: NetworkErrors
    resolution: int


@dataclass(frozen=True)
class Judged:
    """A network's estimate beside the landmarks; R rows, those in which the face is seen.

    Attributes:
        believed: which rows count.
        distance: of the network's head from the landmarks, as in `GROSS`.
        yaw: of the network's head, degrees from the front.
        weight: of the row for the identity.
        share: of the rows, those believed before the face was judged as a whole.
    """

    codes: FaceCodes
    errors: NetworkErrors
    config: FitConfig
    believed: Bool[np.ndarray, "R"]
    distance: Float[np.ndarray, "R"]
    yaw: Float[np.ndarray, "R"]
    weight: Float[np.ndarray, "R"]
    share: float

    def at(self, rows: Int[np.ndarray, "N"]) -> Judged:
        """Some rows."""
        parts = {name: getattr(self, name)[rows] for name in ("believed", "distance", "yaw", "weight")}
        return replace(self, codes=self.codes.at(rows), **parts)

    def measured(self, problem: Problem, view: View) -> CodeMeasurement:
        """What is told of the frames of a view (the same rows)."""
        noise, believed = self.config.network_noise, self.believed.astype(np.float64)[:, None]
        errors, codes = self.errors, self.codes

        def by_yaw(values: Float[np.ndarray, "B C"]) -> Float[np.ndarray, "N C"]:
            return np.stack([np.interp(self.yaw, errors.yaw, column) for column in values.T], 1)

        told = placed(problem, view, codes)
        face, precision = informed(told.face.cpu().numpy(), noise * by_yaw(errors.face), *_population(errors))
        low, high = (x.cpu().numpy() for x in (problem.prior.low, problem.prior.high))
        left = np.where(self.believed, landmarks_left(self.yaw, codes.size), 1.0)

        def tensor(x: np.ndarray) -> Tensor:
            return torch.from_numpy(x).to(view.scale)

        return CodeMeasurement(
            pose=replace(told, face=tensor(np.where(precision > 0, face.clip(low, high), told.face.cpu().numpy()))),
            face=tensor(believed * precision),
            rotation=tensor(believed * by_yaw(errors.pose) ** -2),
            camera=tensor(believed * (noise * by_yaw(errors.camera)) ** -2),
            landmarks=tensor(left),
        )

    def identity(self) -> Float[np.ndarray, "1 S"] | None:
        """The identity of one face over all rows, as the network sees it; None where no row counts."""
        weight = np.where(self.believed, self.weight, 0.0)
        return robust_mean(self.codes.shape, weight)[None] if weight.any() else None

    def person(self, problem: Problem) -> ShapeMeasurement | None:
        """What is told of it."""
        shape = self.identity()
        return None if shape is None else self._shapes(problem, shape, np.ones(1, bool))

    def people(self, problem: Problem) -> ShapeMeasurement:
        """What is told of every row's own identity."""
        return self._shapes(problem, self.codes.shape, self.believed)

    def _shapes(
        self, problem: Problem, shape: Float[np.ndarray, "G S"], believed: Bool[np.ndarray, "G"]
    ) -> ShapeMeasurement:
        errors = self.errors
        told, precision = informed(
            shape, self.config.network_noise * errors.shape[None], errors.shape_mean, errors.shape_spread
        )
        parts = (torch.from_numpy(x).float().to(problem.device) for x in (told, precision * believed[:, None]))
        return ShapeMeasurement(*parts)

    def appearance(self, rows: Int[np.ndarray, "R"], total: int) -> Appearance | None:
        """One albedo and detail code for the face, the light of every frame; None where no row counts.

        Args:
            rows: those judged, of `total` rows of the face.
        """
        weight = np.where(self.believed, self.weight, 0.0)
        if not weight.any():
            return None
        codes, lit = self.codes, np.flatnonzero(weight > 0)
        albedo = robust_mean(codes.albedo, weight)
        detailed = weight * codes.detailed
        detail = robust_mean(codes.detail, detailed) if detailed.any() else np.zeros(codes.detail.shape[1], np.float32)
        light = spread_linearly(codes.light[lit].reshape(len(lit), -1), rows[lit], total)
        every = np.zeros(total, int)
        return Appearance(albedo[None][every], light.reshape(total, 9, 3), detail[None][every])


def judge(
    problem: Problem,
    points: Callable[[np.ndarray], np.ndarray],
    confidence: Float[np.ndarray, "R"],
    estimate: NetworkEstimate,
    whole: bool,
    spread: Spread = in_turn,
) -> Judged:
    """Compare the network's heads with the landmarks, row by row.

    Args:
        spread: does the work on parts of the rows.
        points: gives the landmarks (N, M, 2) of some of the R rows, px.
        estimate: its rows are the same.
        whole: the rows are one face, which is believed or not as a whole, too.
    """
    codes = estimate.codes

    def compared(rows: np.ndarray) -> np.ndarray:
        return np.stack(_compared(problem, points(rows), confidence[rows], codes.at(rows)))

    distance, angle, yaw_by_points = np.concatenate(spread(compared, parts_of(len(codes), _ROWS)), axis=1, dtype=float)
    yaw = yaw_of(roma.rotvec_to_rotmat(torch.from_numpy(codes.pose))).numpy()
    gross = np.interp(np.maximum(yaw, yaw_by_points), (TURNED, PROFILE), GROSS)
    elsewhere = (angle > ELSEWHERE) & (yaw_by_points <= TURNED)
    believed = codes.encoded & (distance <= gross) & ~elsewhere
    share = float(believed.sum() / max(codes.encoded.sum(), 1))
    if not problem.config.landmarks:
        believed = codes.encoded  # there is nothing else to go by
    elif whole and share < MOSTLY:
        believed = np.zeros_like(believed)
    weight = quality(codes, confidence, estimate.resolution) / (1 + (distance / CLOSE) ** 2)
    return Judged(codes, estimate.errors, problem.config, believed, distance, yaw, weight, share)


def _compared(
    problem: Problem, points: Float[np.ndarray, "N M 2"], confidence: Float[np.ndarray, "N"], codes: FaceCodes
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance of the heads' inner points, angle between the poses, yaw by the landmarks; degrees."""
    view = problem.view(points, confidence.astype(np.float32))
    told = placed(problem, view, codes)
    neutral = view.rig.neutral(torch.from_numpy(codes.shape).to(view.scale))
    there = view.seen.points
    apart = (project(view.rig, neutral, told) - there).square().sum(1).sqrt()[:, problem.points.inner].mean(1)
    side = (there.amax(2) - there.amin(2)).mean(1)
    angle = roma.rotmat_geodesic_distance(told.rotation, view.start.rotation)
    return (apart / side).cpu().numpy(), np.rad2deg(angle.cpu().numpy()), yaw_of(view.start.rotation).cpu().numpy()


def placed(problem: Problem, view: View, codes: FaceCodes) -> Pose:
    """The network's heads in a view's normalised frame; the inverse of `Problem.record`. A row that is not encoded
    gets the head at rest amid its landmarks."""
    rig, like = problem.rig, view.scale
    shape, expression, pose, jaw, eyes, camera = (
        torch.from_numpy(x).to(like)
        for x in (codes.shape, codes.expression, codes.pose, codes.jaw, codes.eyes, codes.camera)
    )
    rotation = roma.rotvec_to_rotmat(pose)
    root = rig.root_joint(shape, expression)
    offset = torch.einsum("nij,nj->ni", rotation, root - rig.origin) - root
    flip = like.new_tensor([1.0, -1.0])
    at_origin = camera[:, 1:] - camera[:, :1] * flip * offset[:, :2]
    scale = torch.where(camera[:, 0] > 0, camera[:, 0] / view.scale, torch.ones_like(like)).log()
    place = (at_origin - view.centre) / view.scale[:, None]
    known = torch.from_numpy(codes.encoded).to(like.device)[:, None]
    face = torch.cat([expression, jaw, eyes.unflatten(1, (2, 3))[..., :2].flatten(1)], 1)
    return Pose(
        face, rotation, torch.where(known, torch.cat([scale[:, None], place], 1), torch.zeros_like(face[:, :3]))
    )


def informed(
    told: Float[np.ndarray, "N C"],
    error: Float[np.ndarray, "M C"],
    mean: Float[np.ndarray, "C"],
    spread: Float[np.ndarray, "C"],
) -> tuple[Float[np.ndarray, "N C"], Float[np.ndarray, "N C"]]:
    """Values and precisions (1/σ²) of what an estimate adds to knowing the population.

    The estimate is the posterior of somebody who knew the population, N(mean, spread²), as the one who asks does: the
    prior, taken off again in the information form, leaves the precision 1/error² − 1/spread². Codes that were not
    learned, or do not vary in the population, get the precision 0.
    """
    learned = (error < LEARNED * spread) & (spread > 1e-4)
    safe_error, safe_spread = np.where(learned, error, 0.5), np.where(learned, spread, 1.0)
    precision = np.where(learned, safe_error**-2 - safe_spread**-2, 0.0)
    value = (told / safe_error**2 - mean / safe_spread**2) / np.where(learned, precision, 1.0)
    return np.where(learned, value, told), np.broadcast_to(precision, told.shape)


def landmarks_left(yaw: Float[np.ndarray, "N"], size: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """Weight that landmarks keep beside a network, by yaw (degrees) and the size of the face (px)."""
    turned = np.clip((np.abs(yaw) - TURNED) / (PROFILE - TURNED), 0.0, 1.0)
    return LEFT**turned * np.minimum(size / FEW_PIXELS, 1.0) ** 2


def yaw_of(rotation: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N"]:
    """How far a head looks to either side, degrees."""
    return torch.rad2deg(torch.atan2(rotation[:, 0, 2], rotation[:, 2, 2]).abs())


def alone(problem: Problem, view: View, identity: Tensor, judged: Judged, confidence: np.ndarray) -> FaceFit:
    """The network's heads as they are, with the given identities (N, S)."""
    told = judged.measured(problem, view)
    pose = placed(problem, view, judged.codes)
    return problem.record(view, view.rig.neutral(identity), identity, pose, confidence, told)


def _population(errors: NetworkErrors) -> tuple[np.ndarray, np.ndarray]:
    return errors.face_mean, errors.face_spread
