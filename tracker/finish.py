"""What was seen of a whole video to its `Track`: fit and network, smoothing, landmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from model.asset import JOINTS
from model.camera import project
from model.head import HeadModel
from model.landmarks import HeadLandmarks
from model.params import Camera, FaceParams
from tracker.config import TrackConfig
from tracker.fit import FaceFit, NetworkEstimate, Spread, fit_face, in_turn, parts_of, side_by_side
from tracker.merge import Gathered
from tracker.network import NetworkFacts, overall
from tracker.observation import Observations
from tracker.smooth import smooth_track
from tracker.threads import single_threaded
from tracker.track import Track
from tracker.video import Video

Report = Callable[[str, int, int], None]
"""Told how far the work is: what is being done, how much of it is done, how much there is (frames)."""

Note = Callable[[str], None]
"""Told one line for the user."""

Raw = Callable[[Track], None]
"""Told the track before it is smoothed."""

_ROWS = 256  # posed at once for their landmarks; bounds the memory


def no_report(stage: str, done: int, total: int) -> None:
    """No report."""


@dataclass(frozen=True)
class Source:
    """What a track says of its video: the file's name, average rate (Hz), width and height as displayed (px)."""

    name: str
    fps: float
    size: tuple[int, int]

    @staticmethod
    def of(video: Video) -> Source:
        """Of an open video."""
        return Source(video.path.name, video.fps, video.size)


def finish_track(
    source: Source,
    seen: Gathered,
    head: HeadModel,
    config: TrackConfig,
    network: NetworkFacts | None,
    *,
    report: Report = no_report,
    note: Note = lambda text: None,
    spread: Spread | None = None,
    raw: Raw | None = None,
) -> Track:
    """Fit and smooth the faces of a video.

    Args:
        network: that gave the codes; None without.
        report, note, raw: as in `tracker.pipeline.track_video`.
        spread: as in `tracker.fit.fit_face`.
    """
    if seen.damage:
        note(f"warning: {seen.damage}")
    fits = []
    for number, face in enumerate(seen.faces):
        report("fit", number, len(seen.faces))
        estimate = None
        if network is not None and seen.codes is not None and face.found is not None:
            estimate = NetworkEstimate(seen.codes.at(face.found), network.errors, network.resolution)
        fits.append(fit_face(face, head, config.fit, estimate, spread=spread))
        del estimate  # a copy of all that the network said
        if config.fit.landmarks and fits[-1].appearance is None and network is not None:
            share = f"{100 * (1 - fits[-1].believed):.0f} %"
            note(f"face {number}: the network disagrees with the landmarks in {share} of the frames; fitted without it")
    report("smooth", 0, 1)
    with single_threaded() as threads:
        return _smoothed(source, seen.faces, fits, head, config, raw, spread or side_by_side(threads))


def _smoothed(
    source: Source,
    faces: list[Observations],
    fits: list[FaceFit],
    head: HeadModel,
    config: TrackConfig,
    raw: Raw | None,
    spread: Spread,
) -> Track:
    track = _assembled(source, head, faces, fits)
    if raw is not None:
        raw(with_landmarks(track, head, spread))
    looks = overall([fit.appearance for fit in fits], [len(face.frame) for face in faces])
    if looks is not None:
        track = replace(track, light=looks.light)
    anchor = face_centre(head)
    track = smooth_track(track, config.smooth, pivot=head.skeleton.template[0].cpu().double().numpy(), anchor=anchor)
    if looks is not None:  # constant: nothing to smooth
        track = replace(track, albedo=looks.albedo, detail=looks.detail)
    return with_landmarks(track, head, spread)


def _assembled(source: Source, head: HeadModel, faces: list[Observations], fits: list[FaceFit]) -> Track:
    """The rows of all faces; landmarks and boxes are still empty."""

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(fit, name) for fit in fits])

    rows = sum(len(face.frame) for face in faces)
    return Track(
        head=head_id(head),
        video=source.name,
        fps=source.fps,
        size=source.size,
        face=np.repeat(np.arange(len(faces)), [len(face.frame) for face in faces]),
        frame=np.concatenate([face.frame for face in faces]),
        time=np.concatenate([face.time for face in faces]),
        shot=np.concatenate([face.shot for face in faces]),
        valid=joined("seen"),
        confidence=joined("confidence"),
        shape=joined("shape"),
        expression=joined("expression"),
        pose=joined("pose"),
        neck=joined("neck"),
        jaw=joined("jaw"),
        eyes=joined("eyes"),
        camera=joined("camera"),
        landmarks=np.zeros((rows, 68, 2), np.float32),
        box=np.zeros((rows, 4), np.float32),
        expression_names=head.asset.expression_names,
    )


def head_id(head: HeadModel) -> str:
    """The head's name with the hash of its content, as tracks carry it."""
    return f"{head.asset.name}:{head.asset.digest[:12]}"


def face_centre(head: HeadModel) -> Float[np.ndarray, "3"]:
    """A point amid the mean face, metres: the middle of its 51 inner landmarks."""
    marks = head.asset.landmarks
    assert marks is not None
    with torch.no_grad():
        return head.at(marks.static51)(neutral(head)).mean(0).cpu().double().numpy()


def neutral(head: HeadModel) -> FaceParams:
    """The mean head at rest, facing the camera."""
    asset = head.asset
    sizes = (asset.shapedirs.shape[2], asset.exprdirs.shape[2], 3, 3, 3, 3 * (len(JOINTS) - 3))
    return FaceParams(*(head.template.new_zeros(size) for size in sizes))


def with_landmarks(track: Track, head: HeadModel, spread: Spread = in_turn) -> Track:
    """The track with the landmarks of its posed heads, in the full frame, and the boxes around them.

    Args:
        spread: does the work on parts of the rows.
    """
    marks = HeadLandmarks(head)
    device = head.template.device
    moving = replace(track, light=None, albedo=None, detail=None)  # what landmarks depend on

    def posed(rows: np.ndarray) -> np.ndarray:
        params, camera = moving.params(rows), moving.cameras(rows)
        params = FaceParams(*(getattr(params, name).to(device) for name in params.__dataclass_fields__))
        camera = Camera(camera.s.to(device), camera.t.to(device))
        with torch.no_grad():
            return project(camera, marks.ibug68(params)).cpu().numpy()

    landmarks = np.concatenate([np.zeros((0, 68, 2), np.float32), *spread(posed, parts_of(len(track), _ROWS))])
    box = np.concatenate([landmarks.min(1), landmarks.max(1)], axis=1)
    return replace(track, landmarks=landmarks, box=box)
