"""The stages in order: a video to its `Track`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from model.asset import JOINTS
from model.camera import project
from model.head import HeadModel
from model.io.assets import load_head
from model.landmarks import HeadLandmarks
from model.params import Camera, FaceParams
from tracker.associate import Associator
from tracker.config import TrackConfig
from tracker.decode import Prefetch
from tracker.detect import Detector, open_detector
from tracker.encode import FaceEncoder
from tracker.fit import FaceFit, NetworkEstimate, fit_face
from tracker.fit.points import points_used
from tracker.network import Network, open_network, overall
from tracker.observation import MEDIAPIPE_OF_IBUG, Detection, Frame, Observations
from tracker.resume import DetectionStore
from tracker.shots import number_shots
from tracker.smooth import smooth_track
from tracker.track import Track
from tracker.video import Video

Report = Callable[[str, int, int], None]
"""Told how far the work is: what is being done, how much of it is done, how much there is (frames)."""

Note = Callable[[str], None]
"""Told one line for the user."""

_ROWS = 256  # posed at once for their landmarks; bounds the memory


def _silent(stage: str, done: int, total: int) -> None:
    """No report."""


def track_video(
    video: Video,
    config: TrackConfig | None = None,
    *,
    report: Report = _silent,
    store: DetectionStore | None = None,
    note: Note = lambda text: None,
    network: Network | None = None,
) -> Track:
    """Find, fit and smooth the faces of a video.

    Args:
        report: called after every frame that was searched, and as the later stages go on.
        store: where finished chunks of detections are kept and found again; None keeps nothing.
        note: told, in one line each, what a user should know besides.
        network: that looks at the faces; the one of `TrackConfig.weights` if absent.

    Raises:
        ValueError: no face in the video, no such head or weights, the detector or the device cannot be had.
    """
    config = config or TrackConfig()
    head = load_model(config)
    network = network or open_network(config.weights, head)
    if network is None and not config.fit.landmarks:
        raise ValueError("--no-fit: without the fit a network must look at the faces; give --weights")
    dither = config.smooth.method == "kalman"
    device = str(head.template.device)
    # The detector's 2×2 matrices wake OpenBLAS's threads, which then spin on the core that decodes.
    with (
        threadpool_limits(1, user_api="blas"),
        open_detector(config.detector, faces=config.most_faces, dither=dither, device=device) as detector,
        FaceEncoder(network.deca) if network else nullcontext() as encoder,
    ):
        as_ibug68 = not _has_points_of(detector, head)
        faces = observe(video, detector, config, report, store, as_ibug68=as_ibug68, encoder=encoder)
        if not faces:
            raise ValueError(f"{video.path}: no face was found in {video.frames} frames")
        codes = encoder and encoder.finish()
    if config.faces != "all":
        faces = faces[: config.faces]
    fits = []
    for number, face in enumerate(faces):
        report("fit", number, len(faces))
        estimate = None
        if network is not None and codes is not None and face.found is not None:
            estimate = NetworkEstimate(codes.at(face.found), network.errors, network.resolution)
        fits.append(fit_face(face, head, config.fit, estimate))
        if config.fit.landmarks and fits[-1].appearance is None and network is not None:
            share = f"{100 * (1 - fits[-1].believed):.0f} %"
            note(f"face {number}: the network disagrees with the landmarks in {share} of the frames; fitted without it")
    report("smooth", 0, 1)
    track = _assembled(video, head, faces, fits)
    looks = overall([fit.appearance for fit in fits], [len(face.frame) for face in faces])
    if looks is not None:
        track = replace(track, light=looks.light)
    anchor = face_centre(head)
    track = smooth_track(track, config.smooth, pivot=head.skeleton.template[0].cpu().double().numpy(), anchor=anchor)
    if looks is not None:  # constant: nothing to smooth
        track = replace(track, albedo=looks.albedo, detail=looks.detail)
    return with_landmarks(track, head)


def load_model(config: TrackConfig) -> HeadModel:
    """The head model on the device that the configuration asks for.

    Raises:
        ValueError: no such head or device.
    """
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise ValueError("--device cuda: no CUDA device is there (or torch is a CPU build); use --device cpu")
    device = "cuda" if cuda and config.device != "cpu" else "cpu"
    return HeadModel(load_head(config.head)).to(device)


def detection_settings(config: TrackConfig) -> tuple:
    """What the detections of a video depend on besides its file."""
    return config.detector, config.most_faces, config.chunk, config.smooth.method == "kalman"


def observe(
    video: Video,
    detector: Detector,
    config: TrackConfig,
    report: Report = _silent,
    store: DetectionStore | None = None,
    *,
    as_ibug68: bool = False,
    encoder: FaceEncoder | None = None,
) -> list[Observations]:
    """Detect the faces of every frame and say who is who; the list is sorted by time on screen.

    With `as_ibug68`, MediaPipe's points are given as the 68 that are nearest to iBUG's. An `encoder` is shown every
    face. Its codes are not stored: a resumed run decodes all frames anyhow, and encoding them again is quick.
    """
    keep = MEDIAPIPE_OF_IBUG if as_ibug68 else points_used(detector.scheme)
    associator = Associator(video.size, keep=keep)
    done = 0
    ahead = Prefetch(number_shots(iter(video)), 4)  # cuts are found on the core that decodes
    try:
        for chunk in _chunks(iter(ahead), config.chunk):
            known = store.load(chunk.number) if store else None
            found: list[list[Detection]] = []
            detector.reset()  # a chunk's detections follow from its frames alone
            shot = -1
            for row, (frame, frame_shot) in enumerate(chunk.frames):
                if known is not None and row < len(known):
                    faces = known[row]
                else:
                    if frame_shot != shot:
                        detector.reset()
                    faces = detector.detect(frame)
                shot = frame_shot
                found.append(faces)
                owners = associator.push(frame, faces, frame_shot)
                if encoder is not None:
                    encoder.push(frame.image, faces, owners)
                done += 1
                report("detect", done, max(video.frames, done))
            if store and known is None:
                store.save(chunk.number, found)
    finally:
        ahead.close()
    faces = associator.finish()
    return [replace(face, scheme="ibug68", kept=None) for face in faces] if as_ibug68 else faces


def _has_points_of(detector: Detector, head: HeadModel) -> bool:
    marks = head.asset.landmarks
    return detector.scheme != "mediapipe478" or marks is None or marks.mediapipe478 is not None


@dataclass(frozen=True)
class _Chunk:
    number: int
    frames: Iterator


def _chunks(frames: Iterator[tuple[Frame, int]], length: int) -> Iterator[_Chunk]:
    """Frames and their shots in runs of `length`; each run must be used up before the next."""
    number = 0
    while (first := next(frames, None)) is not None:
        yield _Chunk(number, _run(first, frames, length))
        number += 1


def _run(first, frames: Iterator, length: int) -> Iterator:
    yield first
    for _ in range(length - 1):
        item = next(frames, None)
        if item is None:
            return
        yield item


def _assembled(video: Video, head: HeadModel, faces: list[Observations], fits: list[FaceFit]) -> Track:
    """The rows of all faces; landmarks and boxes are still empty."""

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(fit, name) for fit in fits])

    rows = sum(len(face.frame) for face in faces)
    return Track(
        head=head_id(head),
        video=video.path.name,
        fps=video.fps,
        size=video.size,
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


def with_landmarks(track: Track, head: HeadModel) -> Track:
    """The track with the landmarks of its posed heads, in the full frame, and the boxes around them."""
    marks = HeadLandmarks(head)
    device = head.template.device
    landmarks = np.zeros((len(track), 68, 2), np.float32)
    with torch.no_grad():
        for start in range(0, len(track), _ROWS):
            rows = slice(start, start + _ROWS)
            params, camera = track.params(rows), track.cameras(rows)
            params = FaceParams(*(getattr(params, name).to(device) for name in params.__dataclass_fields__))
            camera = Camera(camera.s.to(device), camera.t.to(device))
            landmarks[rows] = project(camera, marks.ibug68(params)).cpu().numpy()
    box = np.concatenate([landmarks.min(1), landmarks.max(1)], axis=1)
    return replace(track, landmarks=landmarks, box=box)
