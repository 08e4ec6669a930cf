"""The records that travel between the stages: a frame, a detected face, and one face's observations over a video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8


@dataclass(frozen=True)
class Frame:
    """A decoded picture: RGB as displayed (rotation applied), its index in the file and presentation time (s)."""

    index: int
    time: float
    image: UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class Detection:
    """A face found in one frame.

    Attributes:
        points: landmarks, full-frame pixels (may lie outside the frame).
        scheme: what the points are: ``mediapipe478`` or ``ibug68``.
        confidence: [0, 1].
        box: x0, y0, x1, y1 of the points, px.
    """

    points: Float[np.ndarray, "N 2"]
    scheme: str
    confidence: float
    box: Float[np.ndarray, "4"]


@dataclass(frozen=True)
class Observations:
    """One face over a video, T rows in frame order, from its first to its last frame, gaps included.

    Attributes:
        frame, time, shot: source frame index, presentation time (s), index of the shot.
        points: landmarks, px; rows that are not `seen` are zero.
        seen: whether the detector found the face in that frame.
        confidence: [0, 1], 0 where not seen.
        scheme: as in `Detection`.
        size: width, height of the video, px.
    """

    frame: Int[np.ndarray, "T"]
    time: Float[np.ndarray, "T"]
    shot: Int[np.ndarray, "T"]
    points: Float[np.ndarray, "T N 2"]
    seen: Bool[np.ndarray, "T"]
    confidence: Float[np.ndarray, "T"]
    scheme: str
    size: tuple[int, int]
