"""A chunk of a video to what is seen in it: the unit of work, in this process or on any machine of a cluster.

What is seen follows from the file, the chunk's borders and the settings alone. A chunk starts looking some frames
early, so that the detector has settled and cuts are known at its first own frame; those frames belong to the chunk
before.
Faces get their owners over the whole video later (`tracker.merge`), where chunks meet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from tracker.associate import Associator
from tracker.decode import Prefetch
from tracker.detect import Detector
from tracker.encode import DETAILED, Eyes, FaceEncoder, Kept
from tracker.fit.points import points_used
from tracker.observation import MEDIAPIPE_OF_IBUG, Detection, FaceCodes
from tracker.seek import Index
from tracker.shots import number_shots
from tracker.video import Video

BEFORE = 32
"""Frames decoded before a chunk: a cut is told from the motion in the second before it."""
AFTER = 2
"""And after it: a flash is told from a cut by what follows."""
SETTLE = 10
"""Frames before a chunk in which faces are looked for: a detector follows differently than it finds."""


@dataclass(frozen=True)
class Chunk:
    """Frames of a video from `start` to `stop` (not included; None is the end), and the chunk's number."""

    number: int
    start: int
    stop: int | None


@dataclass(frozen=True)
class Spent:
    """Seconds: waiting for frames, finding faces, cutting crops and handing them over, waiting for codes; all of it."""

    decode: float = 0.0
    detect: float = 0.0
    crop: float = 0.0
    encode: float = 0.0
    whole: float = 0.0


@dataclass(frozen=True)
class Seen:
    """What a chunk shows: F frames, D faces in them, C crops kept for E_d.

    Attributes:
        frame, time: number of the frame in the file (a damaged file has holes), presentation time, s.
        cut: whether a shot begins with the frame.
        count: faces in the frame.
        points: the points that are kept of every face, px.
        kept: which points of the scheme these are; None is all.
        scheme: as in `tracker.observation.Detection`.
        confidence, box: of every face.
        codes: what a network says of every face, without detail; None without a network or without faces.
        best: the best crops of faces, with the faces' numbers within the chunk.
        damage: one line, where frames could not be decoded.
        spent: seconds; not part of the result.
    """

    frame: Int[np.ndarray, "F"]
    time: Float[np.ndarray, "F"]
    cut: Bool[np.ndarray, "F"]
    count: Int[np.ndarray, "F"]
    points: Float[np.ndarray, "D K 2"]
    kept: Int[np.ndarray, "K"] | None
    scheme: str
    confidence: Float[np.ndarray, "D"]
    box: Float[np.ndarray, "D 4"]
    codes: FaceCodes | None
    best: Kept | None
    damage: str | None
    spent: Spent = field(default_factory=Spent, compare=False)


def chunks_of(frames: int, length: int) -> list[Chunk]:
    """Chunks of `length` frames; the last is open, as `frames` is what the container promises."""
    starts = range(0, max(frames, 1), length)
    return [Chunk(i, start, None if i == len(starts) - 1 else start + length) for i, start in enumerate(starts)]


def look(
    video: Video,
    index: Index,
    chunk: Chunk,
    detector: Detector,
    eyes: Eyes | None = None,
    *,
    as_ibug68: bool = False,
    each: Callable[[], None] = lambda: None,
) -> Seen:
    """Find the faces of a chunk, and show them to a network.

    Args:
        as_ibug68: MediaPipe's points are given as the 68 that are nearest to iBUG's.
        each: called after every frame.
    """
    stop = None if chunk.stop is None else chunk.stop + AFTER
    keep = MEDIAPIPE_OF_IBUG if as_ibug68 else points_used(detector.scheme)
    encoder = None if eyes is None else FaceEncoder(eyes, stretch=-(-index.frames // DETAILED) or 1)
    associator = Associator(video.size, keep=np.zeros(0, np.int64))  # here only to tell crops of two faces apart
    frames: list[tuple[int, float, bool, int]] = []
    found: list[Detection] = []
    clock = _Clock()
    before = -1
    detector.reset()
    # Cuts are found in the thread that decodes.
    ahead = Prefetch(number_shots(video.between(index, max(0, chunk.start - BEFORE), stop)), 4)
    try:
        for frame, shot in ahead:
            clock.lap("decode")
            cut, before = before >= 0 and shot != before, shot
            if frame.index < chunk.start - SETTLE or (chunk.stop is not None and frame.index >= chunk.stop):
                continue
            if cut:
                detector.reset()
            faces = detector.detect(frame)
            clock.lap("detect")
            if frame.index < chunk.start:
                continue
            owners = associator.push(frame, faces, shot)
            if encoder is not None:
                encoder.push(frame.image, faces, owners)
            clock.lap("crop")
            frames.append((frame.index, frame.time, cut, len(faces)))
            found += [
                Detection(face.points[keep].astype(np.float32), face.scheme, face.confidence, face.box)
                for face in faces
            ]
            each()
    finally:
        ahead.close()
    codes, best = encoder.finish() if encoder is not None else (None, None)
    clock.lap("encode")
    return Seen(
        frame=np.array([row[0] for row in frames], np.int64),
        time=np.array([row[1] for row in frames], np.float64),
        cut=np.array([row[2] for row in frames], bool),
        count=np.array([row[3] for row in frames], np.int64),
        points=np.array([face.points for face in found], np.float32).reshape(-1, len(keep), 2),
        kept=None if as_ibug68 else keep,
        scheme="ibug68" if as_ibug68 else detector.scheme,
        confidence=np.array([face.confidence for face in found], np.float64),
        box=np.array([face.box for face in found], np.float64).reshape(-1, 4),
        codes=codes,
        best=best,
        damage=video.truncated,
        spent=clock.spent(),
    )


class _Clock:
    """Seconds since the last lap go to a stage."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self._laps[stage] = self._laps.get(stage, 0.0) + now - self._last
        self._last = now

    def spent(self) -> Spent:
        return Spent(**self._laps, whole=self._last - self._started)
