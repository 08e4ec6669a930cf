"""What a report says of a face in numbers: angles over time, gaps, cuts, and jitter."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

from tracker.smooth import measured_noise
from tracker.track import Track

LOW = 0.5
"""Confidence under which a stretch is worth a look."""
SHORTEST = 3
"""Frames of a stretch that is named."""


@dataclass(frozen=True)
class Stretch:
    """Frames from `first` to `last` (included), and the seconds from `start` to `end`."""

    first: int
    last: int
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start


@dataclass(frozen=True)
class Curves:
    """A face over time, degrees.

    Attributes:
        turn: yaw (to the subject's left), pitch (down), roll (to the subject's right shoulder).
        gaze: of the two eyeballs' mean, relative to the head: to the subject's left, down.
        jaw: opening, sideways (to the subject's left).
    """

    turn: Float[np.ndarray, "T 3"]
    gaze: Float[np.ndarray, "T 2"]
    jaw: Float[np.ndarray, "T 2"]


@dataclass(frozen=True)
class Jitter:
    """Standard deviation of the white noise in a face's parameters; NaN where too little can be seen of it.

    Attributes:
        name, unit: for the reader.
        before, after: the smoothing; `before` is NaN where the raw track is not at hand.
    """

    name: str
    unit: str
    before: float
    after: float


def curves(face: Track) -> Curves:
    """Angles of one face's rows.

    The turn is split as yaw, then pitch, then roll (intrinsic Y-X-Z), in camera axes.
    """
    angles = Rotation.from_rotvec(face.pose.astype(np.float64)).as_euler("YXZ", degrees=True)
    eyes = np.rad2deg(face.eyes.astype(np.float64)).reshape(-1, 2, 3).mean(1)
    jaw = np.rad2deg(face.jaw.astype(np.float64))
    return Curves(angles, eyes[:, [1, 0]], jaw[:, :2])


def gaps(face: Track) -> list[Stretch]:
    """Where one face was not seen."""
    return stretches(~face.valid, face)


def doubtful(face: Track) -> list[Stretch]:
    """Where it was seen with little confidence, for `SHORTEST` frames or more."""
    found = stretches(face.valid & (face.confidence < LOW), face)
    return [s for s in found if s.last - s.first + 1 >= SHORTEST]


def stretches(mask: Bool[np.ndarray, "T"], face: Track) -> list[Stretch]:
    """Runs of rows in a mask; a run ends where frames are missing too."""
    rows = np.flatnonzero(mask)
    if not len(rows):
        return []
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    runs = [(int(run[0]), int(run[-1])) for run in np.split(rows, breaks)]
    step = 1 / face.fps
    return [
        Stretch(int(face.frame[a]), int(face.frame[b]), float(face.time[a]), float(face.time[b]) + step)
        for a, b in runs
    ]


def cuts(track: Track) -> Float[np.ndarray, "C"]:
    """Times (s) at which a shot begins, but for the first."""
    order = np.argsort(track.time, kind="stable")
    shot, time = track.shot[order], track.time[order]
    return time[1:][np.diff(shot) != 0].astype(np.float64)


def jitter(after: Track, before: Track | None) -> list[Jitter]:
    """Noise of one face's parameters in the track, and in the one that was not smoothed.

    As the smoother measures it (`tracker.smooth.measured_noise`): robust size of the differences of 4th order, in which
    motion has nearly gone. Blinks and quick speech leave a little in it.

    Args:
        before: the same rows, not smoothed; None where it is not at hand.
    """
    rows = []
    for name, unit, of in _MEASURED:
        values = [np.nan if track is None else _noise(of(track), track) for track in (before, after)]
        rows.append(Jitter(name, unit, *values))
    return rows


def _noise(values: Float[np.ndarray, "T C"], face: Track) -> float:
    """Root mean square over the channels; differences do not reach across cuts."""
    joined = face.valid.copy()
    joined[1:] &= np.diff(face.shot) == 0
    noise = measured_noise(values.astype(np.float64), joined)
    known = noise[np.isfinite(noise)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")


def _turning(face: Track) -> Float[np.ndarray, "T 3"]:
    pose = Rotation.from_rotvec(face.pose.astype(np.float64))
    steps = (pose[1:] * pose[:-1].inv()).as_rotvec(degrees=True)
    return np.cumsum(np.concatenate([np.zeros((1, 3)), steps]), axis=0)


def _place(face: Track) -> Float[np.ndarray, "T 2"]:
    """Middle of the inner landmarks, px."""
    return face.landmarks[:, 17:].mean(1)


def shake(face: Track) -> Float[np.ndarray, "T"]:
    """How much the landmarks change their pace from frame to frame, px: mean length of their second differences.

    0 at both ends of a shot, and around frames that were not seen.
    """
    marks = face.landmarks.astype(np.float64)
    out = np.zeros(len(face))
    if len(face) < 3:
        return out
    bend = np.linalg.norm(marks[2:] - 2 * marks[1:-1] + marks[:-2], axis=2).mean(1)
    known = face.valid[2:] & face.valid[1:-1] & face.valid[:-2] & (face.shot[2:] == face.shot[:-2])
    out[1:-1] = np.where(known, bend, 0.0)
    return out


_MEASURED = (
    ("place in the picture", "px", _place),
    ("turn of the head", "°", _turning),
    ("jaw", "°", lambda face: np.rad2deg(face.jaw)),
    ("gaze", "°", lambda face: np.rad2deg(face.eyes)),
    ("expression", "", lambda face: face.expression),
    ("landmarks", "px", lambda face: face.landmarks.reshape(len(face), -1)),
)


def strongest(face: Track, count: int) -> Int[np.ndarray, "N"]:
    """Rows for a contact sheet: of each of `count` stretches the one with the strongest expression, if seen."""
    strength = np.abs(face.expression).sum(1) + np.abs(face.jaw[:, 0])
    strength = strength + np.where(face.valid, 1e6, 0.0)
    edges = np.linspace(0, len(face), min(count, len(face)) + 1).round().astype(int)
    return np.array([a + int(np.argmax(strength[a:b])) for a, b in pairwise(edges) if b > a])
