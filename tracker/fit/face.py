"""Fit a head to the landmarks of a face: over a video with one identity, or of independent photographs.

Stages: a rigid start for every frame; identity from well-spread keyframes, together with their expressions; every
frame on its own with that identity. One camera cannot tell the neck's rotation from the head's: the neck stays at rest
and the whole rotation goes to `pose`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int

from model.head import HeadModel
from tracker.fit.config import FitConfig
from tracker.fit.keyframes import choose_keyframes
from tracker.fit.network import Judged, NetworkEstimate, alone, judge
from tracker.fit.problem import Problem
from tracker.fit.result import Appearance, FaceFit, fill_gaps, joined
from tracker.fit.rig import Pose
from tracker.fit.solve import solve_frames
from tracker.fit.spread import Spread, parts_of, side_by_side
from tracker.observation import Observations
from tracker.threads import single_threaded

SAMPLED = 160
"""Frames among which the keyframes are chosen."""


def fit_face(
    observations: Observations,
    head: HeadModel,
    config: FitConfig | None = None,
    network: NetworkEstimate | None = None,
    *,
    spread: Spread | None = None,
) -> FaceFit:
    """Fit one face over its video. Frames that are not seen get values between those of their neighbours.

    Computes on the head's device, in float32.

    Args:
        network: what a network sees in the same rows; see `tracker.fit.network`. With `FitConfig.landmarks` off it is
            the answer, with the identity of all rows.
        spread: does the work on the parts; by default torch's number of threads.

    Raises:
        ValueError: no frame is seen, the landmark scheme is unknown or not embedded on this head; neither landmarks
            nor a network.
    """
    config = config or FitConfig()
    rows = np.flatnonzero(observations.seen)
    if not len(rows):
        raise ValueError("cannot fit a face that is seen in no frame; give at least one detection")
    _check(config, network)
    with single_threaded() as threads:  # beside one another go whole chunks
        return _fit_face(observations, head, config, network, rows, spread or side_by_side(threads))


def _fit_face(
    observations: Observations,
    head: HeadModel,
    config: FitConfig,
    network: NetworkEstimate | None,
    rows: Int[np.ndarray, "R"],
    spread: Spread,
) -> FaceFit:
    problem = Problem.of(head, observations.scheme, config)
    confidence = observations.confidence.astype(np.float32)
    total = len(observations.seen)
    judged = _judged(problem, observations, rows, network, spread)
    if judged is not None and not config.landmarks:
        person = judged.identity()
        assert person is not None, "the network looked at no row"
        identity = torch.from_numpy(person).to(problem.device)

        def said(chunk: np.ndarray) -> FaceFit:
            view = problem.view(observations.of_scheme(rows[chunk]), confidence[rows[chunk]])
            return alone(problem, view, identity.expand(len(chunk), -1), judged.at(chunk), confidence[rows[chunk]])

        parts = spread(said, parts_of(len(rows), config.chunk))
        return _with_network(fill_gaps(joined(parts), rows, total), judged, rows)

    sampled = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SAMPLED)).round().astype(int))
    view = problem.view(observations.of_scheme(rows[sampled]), confidence[rows[sampled]])
    chosen = choose_keyframes(view.seen.points, view.start.rotation, view.rest, config.keyframes)
    keys = view.at(chosen)
    told = judged and judged.at(sampled[chosen.cpu().numpy()]).measured(problem, keys)
    owner = torch.zeros(len(keys), dtype=torch.long, device=problem.device)
    identity, solved = problem.solve_identity(keys.doubted(told), owner, 1, told, judged and judged.person(problem))

    def fitted(chunk: np.ndarray) -> FaceFit:
        trust = confidence[rows[chunk]]
        view = problem.view(observations.of_scheme(rows[chunk]), trust)
        told = judged and judged.at(chunk).measured(problem, view)
        view = view.doubted(told)
        # A frame starts from the face of the keyframe that looks most like it, which saves steps.
        alike = torch.cdist(view.seen.points.flatten(1), keys.seen.points.flatten(1)).argmin(1)
        start = Pose(solved.face[alike], view.start.rotation, view.start.camera)
        mine = identity.expand(len(chunk), -1)
        neutral = view.rig.neutral(mine if problem.moving else identity)
        start = problem.better_start(view, neutral, start, told)
        pose = solve_frames(view.rig, neutral, view.seen, problem.prior, start, config.steps, told)
        return problem.record(view, neutral, mine, pose, trust, told)

    parts = spread(fitted, parts_of(len(rows), config.chunk))
    return _with_network(fill_gaps(joined(parts), rows, total), judged, rows)


def fit_photos(
    points: Float[np.ndarray, "B N 2"],
    scheme: str,
    head: HeadModel,
    config: FitConfig | None = None,
    confidence: Float[np.ndarray, "B"] | None = None,
    network: NetworkEstimate | None = None,
) -> FaceFit:
    """Fit independent photographs, each a person of its own.

    Args:
        points: landmarks, px.
        scheme: ``mediapipe478`` or ``ibug68``.
        confidence: [0, 1], of the detections; 1 if absent.
        network: what a network sees in the photographs, as in `fit_face`.

    Raises:
        ValueError: as `fit_face`.
    """
    config = config or FitConfig()
    problem = Problem.of(head, scheme, config)
    trust = np.ones(len(points), np.float32) if confidence is None else confidence.astype(np.float32)
    if not len(points):
        raise ValueError("no photographs to fit; give at least one row of points")
    _check(config, network)
    with single_threaded():
        judged = network and judge(problem, points.__getitem__, trust, network, whole=False)

    def fitted(chunk: np.ndarray) -> FaceFit:
        view = problem.view(points[chunk], trust[chunk])
        mine = judged and judged.at(chunk)
        if mine is not None and not config.landmarks:
            return alone(problem, view, torch.from_numpy(mine.codes.shape).to(view.scale), mine, trust[chunk])
        told = mine and mine.measured(problem, view)
        owner = torch.arange(len(chunk), device=problem.device)
        identity, pose = problem.solve_identity(
            view.doubted(told), owner, len(chunk), told, mine and mine.people(problem)
        )
        return problem.record(view, view.rig.neutral(identity), identity, pose, trust[chunk], told)

    with single_threaded() as threads:
        fit = joined(side_by_side(threads)(fitted, parts_of(len(points), config.chunk)))
    if judged is None:
        return fit
    codes = judged.codes
    return replace(fit, appearance=Appearance(codes.albedo, codes.light, codes.detail), believed=judged.share)


def _check(config: FitConfig, network: NetworkEstimate | None) -> None:
    if network is None and not config.landmarks:
        raise ValueError("without the landmark fit only a network can tell what a face is like; give weights")


def _judged(
    problem: Problem, observations: Observations, rows: np.ndarray, network: NetworkEstimate | None, spread: Spread
) -> Judged | None:
    if network is None:
        return None
    mine = replace(network, codes=network.codes.at(rows))
    confidence = observations.confidence[rows].astype(np.float32)
    return judge(problem, lambda some: observations.of_scheme(rows[some]), confidence, mine, whole=True, spread=spread)


def _with_network(fit: FaceFit, judged: Judged | None, rows: np.ndarray) -> FaceFit:
    if judged is None:
        return fit
    return replace(fit, appearance=judged.appearance(rows, len(fit.seen)), believed=judged.share)
