"""Who is who: the detections of single frames to one list of observations per face.

Within a shot, faces are matched from frame to frame by where they are (Hungarian assignment on box overlap and on the
distance of the points over the face's size), and a gap is bridged when the face comes back about where it was lost. No
face embedding is at hand, so across a cut a face keeps its identity only where place *and* size agree closely (a cut
away and back, a jump cut); otherwise it becomes a new face: two ids for one person are a smaller mistake than one
identity fitted to two people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from tracker.observation import Detection, Frame, Observations

_FARTHEST = 0.5  # distance (see `_distance`) up to which two detections in a row are one face
_DRIFT = 0.05  # added to that per frame of a gap, up to 2 × _FARTHEST
_ACROSS_CUT = 0.25  # the same, across a cut
_SIZE_ACROSS_CUT = 1.15  # ratio of sizes, across a cut
_NEVER = 1e6


@dataclass
class _Face:
    """A face while the video goes by: the frames in which it was seen."""

    number: int
    frames: list[int] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)  # float32, the chosen points only
    confidence: list[float] = field(default_factory=list)
    found: list[int] = field(default_factory=list)
    centre: np.ndarray = field(default_factory=lambda: np.zeros(2))
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    size: float = 1.0


class Associator:
    """Collects the detections of a video, frame by frame, into faces.

    Memory: 8 bytes per point, face and frame; an hour at 25 fps with all 478 points is 340 MB for one face, with 100
    chosen points 72 MB.

    Args:
        size: width, height of the video, px.
        keep: indices of the points to keep; None keeps all.
        gap: seconds without the face after which it is another one, within a shot.
        shortest: seconds; a face that was seen for less is dropped (unless no face was seen for longer).
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        keep: Int[np.ndarray, "K"] | None = None,
        gap: float = 2.0,
        shortest: float = 0.2,
    ) -> None:
        self._size = size
        self._keep = keep
        self._gap = gap
        self._shortest = shortest
        self._frame: list[int] = []
        self._time: list[float] = []
        self._shot: list[int] = []
        self._faces: list[_Face] = []
        self._scheme: str | None = None
        self._count = 0

    def push(self, frame: Frame, detections: Sequence[Detection], shot: int = 0) -> list[int]:
        """Add a frame and what was found in it; frames in order, without holes in between.

        Returns:
            whose face each detection is: a number that stays with a face while the video goes by.

        Args:
            frame: the frame; its picture is not kept.
            detections: the faces found.
            shot: index of the shot.
        """
        row = len(self._frame)
        self._frame.append(frame.index)
        self._time.append(frame.time)
        self._shot.append(shot)
        if not detections:
            return []
        self._scheme = detections[0].scheme
        open_faces = [face for face in self._faces if self._may_continue(face, row)]
        owner: dict[int, _Face] = {}
        if open_faces:
            costs = np.array([[self._cost(face, found, row) for found in detections] for face in open_faces])
            for i, j in zip(*linear_sum_assignment(costs), strict=True):
                if costs[i, j] < _NEVER:
                    owner[int(j)] = open_faces[i]
        for j, found in enumerate(detections):
            if j not in owner:
                owner[j] = _Face(len(self._faces))
                self._faces.append(owner[j])
            self._extend(owner[j], found, row, self._count + j)
        self._count += len(detections)
        return [owner[j].number for j in range(len(detections))]

    def _may_continue(self, face: _Face, row: int) -> bool:
        return self._time[row] - self._time[face.frames[-1]] <= self._gap

    def _cost(self, face: _Face, found: Detection, row: int) -> float:
        """Distance of a detection from where the face should be; `_NEVER` where it cannot be the same."""
        last = face.frames[-1]
        centre, size = _place(found)
        missing = row - last
        if self._shot[last] != self._shot[row]:
            far = _distance(face.centre, face.size, centre, size)
            ratio = max(size, face.size) / min(size, face.size)
            return far if far < _ACROSS_CUT and ratio < _SIZE_ACROSS_CUT else _NEVER
        expected = face.centre + face.velocity * min(missing, 3)
        far = min(_distance(expected, face.size, centre, size), _distance(face.centre, face.size, centre, size))
        return far if far < min(_FARTHEST + _DRIFT * (missing - 1), 2 * _FARTHEST) else _NEVER

    def _extend(self, face: _Face, found: Detection, row: int, count: int) -> None:
        centre, size = _place(found)
        together = bool(face.frames) and self._shot[face.frames[-1]] == self._shot[row]
        face.velocity = (centre - face.centre) / (row - face.frames[-1]) if together else np.zeros(2)
        face.centre, face.size = centre, size
        face.frames.append(row)
        points = found.points if self._keep is None else found.points[self._keep]
        face.points.append(np.asarray(points, np.float32))
        face.confidence.append(found.confidence)
        face.found.append(count)

    def finish(self) -> list[Observations]:
        """The faces, by total time on screen, longest first: the index in the list is the face's id."""
        if not self._frame:
            return []
        frame, shot = np.array(self._frame), np.array(self._shot)
        time = np.array(self._time)
        step = np.diff(time, append=time[-1] + (np.median(np.diff(time)) if len(time) > 1 else 1.0))
        faces = [(float(step[face.frames].sum()), face) for face in self._faces]
        longest = max((seconds for seconds, _ in faces), default=0.0)
        faces = [(seconds, face) for seconds, face in faces if seconds >= min(self._shortest, longest)]
        faces.sort(key=lambda item: (-item[0], item[1].frames[0]))
        return [self._observations(face, frame, time, shot) for _, face in faces]

    def _observations(
        self, face: _Face, frame: Int[np.ndarray, "T"], time: Float[np.ndarray, "T"], shot: Int[np.ndarray, "T"]
    ) -> Observations:
        first, last = face.frames[0], face.frames[-1]
        rows = np.array(face.frames) - first
        length = last - first + 1
        points = np.zeros((length, *face.points[0].shape), np.float32)
        points[rows] = face.points
        seen = np.zeros(length, bool)
        seen[rows] = True
        confidence = np.zeros(length)
        confidence[rows] = face.confidence
        found = np.full(length, -1)
        found[rows] = face.found
        span = slice(first, last + 1)
        assert self._scheme is not None
        columns = (frame[span], time[span], shot[span], points, seen, confidence)
        return Observations(*columns, scheme=self._scheme, size=self._size, kept=self._keep, found=found)


def _place(found: Detection) -> tuple[Float[np.ndarray, "2"], float]:
    """Centre and size (side of a square of the same area) of a detection, px."""
    extent = found.box[2:] - found.box[:2]
    return (found.box[:2] + found.box[2:]) / 2, float(np.sqrt(max(float(extent.prod()), 1.0)))


def _distance(
    centre_a: Float[np.ndarray, "2"], size_a: float, centre_b: Float[np.ndarray, "2"], size_b: float
) -> float:
    """How far apart two faces are: centres over the mean size, plus half the logarithm of the ratio of the sizes."""
    apart = float(np.linalg.norm(centre_a - centre_b)) / (0.5 * (size_a + size_b))
    return apart + 0.5 * abs(float(np.log(size_a / size_b)))
