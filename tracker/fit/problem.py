"""A fit's data as the solver wants them: chosen points, precisions, and frames brought to the head's scale."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.asset import SurfacePoints
from model.head import HeadModel
from model.landmarks import CONTOUR_ROWS, contour_row
from tracker.fit.config import FitConfig
from tracker.fit.points import IBUG, MEDIAPIPE, PointSet
from tracker.fit.priors import FacePrior, face_prior
from tracker.fit.result import FaceFit
from tracker.fit.rig import PointRig, Pose, build_rig, project
from tracker.fit.rigid import rigid_start
from tracker.fit.slides import read_slides, slide
from tracker.fit.solve import Measurement, frame_cost, solve_identity
from tracker.fit.told import CodeMeasurement, ShapeMeasurement
from tracker.fit.unit_slides import read_unit_slides, with_slides

JAW_LINE = 17
CLOSED, OPEN = 1e-3, 3e-3
"""Distances of the lids (m) under which an iris says nothing (it is made up), and over which it counts in full."""
SLIT, SLIT_RANGE = 0.9e-3, 3e-3
"""How far apart (m) FaceMesh keeps the lids of a closed eye, and the aperture over which that fades.

Of the frames in which the independent judge sees a blink, it puts the lids 1.5 mm apart in the median, where the
embedded points of a closed head are 0.7 mm apart."""
SLIDE_ROUNDS = 2
"""How often the turn of the head, and with it the slide of its points, is estimated anew."""
REST = 8.0
"""How much stronger expressions are held at rest while the identity of a video is sought: what a face does in all
frames is how it looks, not what it does."""
INDEPENDENT_FRAMES = 4
"""Errors of landmarks are mostly common to all frames of a person: many frames say as much on identity as this many."""


@dataclass(frozen=True)
class View:
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

    def doubted(self, told: CodeMeasurement | None) -> View:
        """The points weigh as little as is left to them; the pairs the root of it: what is wrong with landmarks is
        partly common to those beside each other, but pairs show the turn of the head as well."""
        if told is None:
            return self
        points = self.seen.points.shape[2]
        left = told.landmarks[:, None]
        weight = torch.cat([self.seen.weight[:, :points] * left, self.seen.weight[:, points:] * left.sqrt()], 1)
        return replace(self, seen=replace(self.seen, weight=weight))

    def at(self, index: Tensor) -> View:
        return View(
            self.rig.at(index), self.seen.at(index), self.start.at(index), self.rest[index], self.scale[index],
            self.centre[index],
        )  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """What all frames of a fit share.

    Attributes:
        points: the chosen landmarks.
        rig: at these points, as the detector sees them move (`tracker.fit.unit_slides`); where the jaw line is
            `moving`, at the 79 × 17 points of its table, then the others.
        precision: 1/σ of points and pairs, 1/m.
        slides: of the points with the turn of the head (`tracker.fit.slides`); zero where they are not known.
    """

    head: HeadModel
    config: FitConfig
    points: PointSet
    rig: PointRig
    moving: bool
    prior: FacePrior
    precision: Float[Tensor, "R"]
    pairs: Int[Tensor, "P 2"]
    slides: Float[Tensor, "K 2 2"]

    @property
    def device(self) -> torch.device:
        return self.rig.base.device

    @staticmethod
    def of(head: HeadModel, scheme: str, config: FitConfig) -> Problem:
        device = head.template.device
        points, surface = chosen_points(head, scheme)
        moves = scheme == "mediapipe478"
        slides = read_slides()[points.index] if moves else np.zeros((len(points.index), 2, 2), np.float32)
        rig = build_rig(head.asset, surface)
        if moves:
            rig = with_slides(rig, read_unit_slides(), points.index, head.asset.expression_names)
        precision = 1 / (config.noise * np.concatenate([points.sigma, points.pair_sigma]))
        return Problem(
            head=head,
            config=config,
            points=points,
            rig=rig.to(device),
            moving=scheme == "ibug68",
            prior=face_prior(head.asset, config).to(device),
            precision=torch.from_numpy(precision).float().to(device),
            pairs=torch.from_numpy(points.pairs).to(device),
            slides=torch.from_numpy(slides).to(device),
        )

    def view(self, points: Float[np.ndarray, "N M 2"], confidence: Float[np.ndarray, "N"]) -> View:
        """Chosen points and a rigid start. Raises ValueError where the number of points is not the scheme's."""
        if points.shape[1] <= self.points.index.max():
            raise ValueError(f"got {points.shape[1]} landmarks, the scheme has at least {self.points.index.max() + 1}")
        image = torch.from_numpy(points[:, self.points.index].transpose(0, 2, 1).copy()).float().to(self.device)
        middle = image.mean(2)
        weight = self.precision[: image.shape[2]].square()
        rig = self.rig.gathered(self._seen_from(torch.eye(3)[None])) if self.moving else self.rig
        rotation, scale, shift = rigid_start(image - middle[..., None], rig.points_at_rest, weight)
        if self.moving:  # the jaw line is where the head's turn puts it
            rig = self.rig.gathered(self._seen_from(rotation))
            rotation, scale, shift = rigid_start(image - middle[..., None], rig.points_at_rest, weight)
        flip = torch.tensor([1.0, -1.0], device=self.device)[:, None]
        for _ in range(SLIDE_ROUNDS if self.slides.any() else 0):  # where the points are depends on the turn
            still = image - scale[:, None, None] * flip * slide(self.slides, rotation)
            rotation, scale, shift = rigid_start(still - middle[..., None], rig.points_at_rest, weight)
        if self.slides.any():
            image = still
        centre = middle + shift
        face = image.new_zeros(len(image), self.prior.low.shape[0])
        start = Pose(face, rotation, image.new_zeros(len(image), 3))
        facing = torch.einsum("nj,bkj->nk" if len(rig.normal) == 1 else "nj,nkj->nk", rotation[:, 2], rig.normal)
        visible = ((facing + 0.35) / 0.7).clamp(0.05, 1.0)
        normalised = (image - centre[..., None]) / scale[:, None, None]
        for iris, lids in zip(self.points.irises, self.points.lids, strict=True):
            gap = _aperture(normalised, lids)
            visible[:, iris] *= ((gap - CLOSED) / (OPEN - CLOSED)).clamp(0.02, 1.0)[:, None]
            normalised = _closing(normalised, lids, gap)
        pair_visible = torch.minimum(visible[:, self.pairs[:, 0]], visible[:, self.pairs[:, 1]])
        trust = torch.from_numpy(confidence).to(visible)[:, None]
        weight = torch.cat([visible, pair_visible], 1) * trust
        seen = Measurement(normalised, weight, self.precision, self.pairs, self.config.robust)
        return View(rig, seen, start, project(rig, rig.base, start), scale, centre)

    def _seen_from(self, rotation: Float[Tensor, "N 3 3"]) -> Int[Tensor, "N K"]:
        """Points of the rig that the 68 landmarks are on heads turned so."""
        line = contour_row(rotation)[:, None] * JAW_LINE + torch.arange(JAW_LINE, device=rotation.device)
        others = torch.arange(CONTOUR_ROWS * JAW_LINE, self.rig.n_points, device=rotation.device)
        return torch.cat([line, others.expand(len(line), -1)], 1).to(self.device)

    def better_start(self, view: View, neutral: Tensor, start: Pose, told: CodeMeasurement | None) -> Pose:
        """For every frame the given start, or what is told of it, whichever costs less."""
        if told is None:
            return start
        limited = replace(told.pose, face=told.pose.face.clamp(self.prior.low, self.prior.high))
        costs = [frame_cost(view.rig, neutral, view.seen, self.prior, pose, told) for pose in (start, limited)]
        known = (told.rotation > 0).any(1)  # else nobody told anything
        told_wins = known & (costs[1] < costs[0])
        return Pose(
            torch.where(told_wins[:, None], limited.face, start.face),
            torch.where(told_wins[:, None, None], limited.rotation, start.rotation),
            torch.where(told_wins[:, None], limited.camera, start.camera),
        )

    def solve_identity(
        self,
        view: View,
        owner: Int[Tensor, "N"],
        people: int,
        told: CodeMeasurement | None = None,
        told_shape: ShapeMeasurement | None = None,
    ) -> tuple[Tensor, Pose]:
        """Identities (people, S) and the poses of their frames."""
        first = view.scale.new_zeros(people, self.rig.n_shape)
        if told_shape is not None:
            first = torch.where(told_shape.precision > 0, told_shape.shape, first)
        start = self.better_start(view, view.rig.neutral(first[owner]), view.start, told)
        frames_each = len(view) / people
        weight = self.config.identity_weight * max(1.0, frames_each / INDEPENDENT_FRAMES)
        steps = self.config.identity_steps
        prior = replace(self.prior, slope=self.prior.slope * min(frames_each, REST))
        return solve_identity(
            view.rig, owner, view.seen, prior, first, weight, start, steps, told, told_shape
        )  # fmt: skip

    def record(
        self,
        view: View,
        neutral: Tensor,
        identity: Tensor,
        pose: Pose,
        confidence: Float[np.ndarray, "N"],
        told: CodeMeasurement | None = None,
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
        miss = (error / 0.05).square() * (1.0 if told is None else told.landmarks)
        trust = torch.from_numpy(confidence).to(error) / (1 + miss)

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


def _aperture(points: Float[Tensor, "N 2 K"], lids: Int[np.ndarray, "7 2"]) -> Float[Tensor, "N"]:
    """Mean distance of the lids over the middle of an eye."""
    middle = lids[2:5]
    return (points[:, :, middle[:, 0]] - points[:, :, middle[:, 1]]).square().sum(1).sqrt().mean(1)


def _closing(
    points: Float[Tensor, "N 2 K"], lids: Int[np.ndarray, "7 2"], gap: Float[Tensor, "N"]
) -> Float[Tensor, "N 2 K"]:
    """The points with the lids of nearly closed eyes closer together; see `SLIT`."""
    share = (SLIT * torch.exp(-((gap / SLIT_RANGE) ** 2)) / gap.clamp_min(1e-6)).clamp_max(1.0)[:, None, None]
    upper, lower = points[:, :, lids[:, 0]], points[:, :, lids[:, 1]]
    closed = points.clone()
    closed[:, :, lids[:, 0]] = upper + 0.5 * share * (lower - upper)
    closed[:, :, lids[:, 1]] = lower + 0.5 * share * (upper - lower)
    return closed


def chosen_points(head: HeadModel, scheme: str) -> tuple[PointSet, SurfacePoints]:
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
        assert np.array_equal(IBUG.index, np.arange(68))
        line, rest = marks.contour, marks.static51
        face = np.concatenate([line.face.reshape(-1), rest.face])
        return IBUG, SurfacePoints(face, np.concatenate([line.barycentric.reshape(-1, 3), rest.barycentric]))
    return points, SurfacePoints(surface.face[points.index], surface.barycentric[points.index])
