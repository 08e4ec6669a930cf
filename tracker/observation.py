"""The records that travel between the stages: a frame, a detected face, and one face's observations over a video."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

POINTS_OF_SCHEME = {"mediapipe478": 478, "ibug68": 68}

MEDIAPIPE_OF_IBUG = np.array(
    [
        *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),
        *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
        *(168, 197, 5, 4, 75, 97, 2, 326, 305),
        *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
        *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
    ]
)
"""The point of MediaPipe's Face Mesh nearest to each iBUG point: for heads that have only these (FLAME)."""


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
        points: landmarks, px; rows that are not `seen` are zero. Use `of_scheme` where `kept` may be given.
        seen: whether the detector found the face in that frame.
        confidence: [0, 1], 0 where not seen.
        scheme: as in `Detection`.
        size: width, height of the video, px.
        kept: which points of the scheme `points` holds; None is all. An hour of all 478 would take 340 MB.
        found: which detection each row is, counted over the whole video; −1 where not seen. None where nobody counted.
    """

    frame: Int[np.ndarray, "T"]
    time: Float[np.ndarray, "T"]
    shot: Int[np.ndarray, "T"]
    points: Float[np.ndarray, "T N 2"]
    seen: Bool[np.ndarray, "T"]
    confidence: Float[np.ndarray, "T"]
    scheme: str
    size: tuple[int, int]
    kept: Int[np.ndarray, "N"] | None = None
    found: Int[np.ndarray, "T"] | None = None

    def of_scheme(self, rows: Int[np.ndarray, "R"]) -> Float[np.ndarray, "R M 2"]:
        """The points of some rows at their places in the scheme, px; points that were not kept are zero."""
        if self.kept is None:
            return self.points[rows]
        spread = np.zeros((len(rows), POINTS_OF_SCHEME[self.scheme], 2), self.points.dtype)
        spread[:, self.kept] = self.points[rows]
        return spread


def ibug68(face: Detection) -> Float[np.ndarray, "68 2"]:
    """The detection's iBUG points, px; of MediaPipe's the nearest ones."""
    return face.points[MEDIAPIPE_OF_IBUG] if face.scheme == "mediapipe478" else face.points


@dataclass(frozen=True)
class FaceCodes:
    """What a network sees of faces, one row each, float32; about 1 kB a row.

    Attributes:
        encoded: false where no network looked; such rows are zero.
        shape, albedo: identity, standard deviations.
        expression: in the head's range.
        pose, jaw: axis-angle, radians; `pose` is head to camera.
        eyes: left, right eyeball, axis-angle, radians.
        camera: s (px/m), tx, ty (px) of the full frame.
        light: spherical harmonics by colour, camera axes.
        size: mean side of the box of the detector's 68 landmarks, px.
        detail: DECA's detail code δ.
        detailed: which rows have one: it is looked at in few frames.
    """

    encoded: Bool[np.ndarray, "T"]
    shape: Float[np.ndarray, "T S"]
    expression: Float[np.ndarray, "T E"]
    pose: Float[np.ndarray, "T 3"]
    jaw: Float[np.ndarray, "T 3"]
    eyes: Float[np.ndarray, "T 6"]
    camera: Float[np.ndarray, "T 3"]
    albedo: Float[np.ndarray, "T A"]
    light: Float[np.ndarray, "T 9 3"]
    size: Float[np.ndarray, "T"]
    detail: Float[np.ndarray, "T D"]
    detailed: Bool[np.ndarray, "T"]

    def __len__(self) -> int:
        return len(self.encoded)

    def at(self, rows: Int[np.ndarray, "R"]) -> FaceCodes:
        """Some rows; a negative number gives a row that is not encoded."""
        outside = rows < 0
        picked = {f.name: getattr(self, f.name)[np.maximum(rows, 0)] for f in fields(FaceCodes)}
        for array in picked.values():
            array[outside] = 0
        return FaceCodes(**picked)
