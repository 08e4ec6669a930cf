"""Smoothing of a track over time: Kalman filters and Rauch-Tung-Striebel smoothers, constant velocity, real times.

Every parameter has the state (value, velocity); its acceleration is white noise of density q, its measurement has
the noise r. Run forward and backward, that is the zero-phase low-pass 1 / (1 + (f / f_c)^4) with
(2π f_c)^4 = q / (r Δt), so q is given by way of the cut-off f_c, in Hz, and this by the averaging time.

A head that is still and one that shakes need different q, often within seconds. So every parameter is smoothed at
several cut-offs, and at each moment the lowest one is taken that takes away no more than noise: where the local
residual is larger than the noise can be, it was motion, and the next higher cut-off answers (the idea of Lepski 1991,
"On a problem of adaptive estimation in Gaussian white noise"). A blink or a nod passes whole, a still face is quiet.

Parameters with the same cut-off share their gains (`tracker.kalman`). The head's rotation is filtered on the manifold;
joints of the face turn by less than a radian about their rest and are filtered as rotation vectors.

The camera is smoothed as the place of a point amid the face in the picture and the log of the scale. Its own tx, ty
belong to the root joint at the base of the neck, far below the face: their noise is that of the rotation, levered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from tracker.kalman import filter_turns, filter_values, work_out_gains
from tracker.track import Track

FAINT = 0.1
"""Confidence below which a measurement does not become noisier still."""
NOISIEST = 3.0
"""What seems to be noise beyond this multiple of the usual is taken to be motion: a shaking hand, say."""
CAUTION = 0.5
"""The part of the usual noise that a causal filter takes for granted: it cannot wait and measure."""
LEVELS = (1.0, 2.0)
"""The cut-offs that are tried, as multiples of the lowest; the last resort is the frame rate, which passes all."""
ACCEPT = (1.2, 1.6)
"""Local residuals, over the noise, up to which a cut-off is taken and from which it is not; between, it has a part."""
WINDOW_SECONDS = 0.08
"""Over how long (standard deviation of the weights) a residual is local."""
_PER_OCTAVE = 4  # cut-offs are rounded to quarter octaves, so that many parameters share one
_COLUMNS = 16  # that are compared at once; bounds the memory
_ORDER = 4  # of the differences that the noise is measured on


@dataclass(frozen=True)
class SmoothConfig:
    """Settings of the smoothing over time.

    Attributes:
        method: kalman looks at past and future; causal at the past only, for live use, and so averages over a quarter
            of the time below; none leaves all as it is.
        averaging_ms: time over which pose and camera are averaged while the head is still, ms; the expression takes
            0.7 of it, lips, jaw and gaze 0.5, eyelids 0.4. Motion is averaged less. 0 smooths nothing.
        adapt: look for motion; without, all is averaged over the time above, and quick motion suffers.
    """

    method: Literal["kalman", "causal", "none"] = "kalman"
    averaging_ms: float = 200.0
    adapt: bool = True

    def __post_init__(self) -> None:
        if self.method not in ("kalman", "causal", "none"):
            raise ValueError(f"smooth.method must be kalman, causal or none, got {self.method!r}")
        if not 0 <= self.averaging_ms <= 10_000:
            raise ValueError(f"smooth.averaging_ms must lie in [0, 10000], got {self.averaging_ms}")


@dataclass(frozen=True)
class Kind:
    """What is usual for a sort of parameter.

    Attributes:
        share: part of `SmoothConfig.averaging_ms` that it is averaged over.
        noise: usual standard deviation of one measurement, in the parameter's unit.
    """

    share: float
    noise: float


PLACE = Kind(1.0, 1.2e-4)  # metres at the face
LOG_SCALE = Kind(1.0, 2.5e-3)
POSE = Kind(1.0, 4e-3)
NECK = Kind(1.0, 4e-3)
JAW = Kind(0.5, 6e-3)
GAZE = Kind(0.5, 1.5e-2)
EYELIDS = Kind(0.4, 2e-2)
LIPS = Kind(0.5, 2e-2)
EXPRESSION = Kind(0.7, 2e-2)
CODES = Kind(0.5, 0.1)  # expression without names, in standard deviations
LIGHT = Kind(1.0, 2e-2)
DETAIL = Kind(0.7, 0.1)


def smooth_track(
    track: Track, config: SmoothConfig, pivot: Float[np.ndarray, "3"], anchor: Float[np.ndarray, "3"]
) -> Track:
    """Smooth all that moves: expression, pose, joints, camera and, where present, light and detail.

    Identity and albedo are constant already. `landmarks` and `box` are passed through: pose the head again. Rows
    that are not valid are no measurements: they are predicted, from both sides (causal: from the past).

    Args:
        pivot: the root joint, about which `pose` turns the head, metres, head space.
        anchor: a point amid the face, metres, head space; the mean head's will do for all.
    """
    if config.method == "none" or config.averaging_ms == 0:
        return track
    names = ("expression", "pose", "neck", "jaw", "eyes", "camera", "light", "detail")
    columns = {name: array.copy() for name in names if (array := getattr(track, name)) is not None}
    for rows in segments(track.face, track.shot):
        measured = np.flatnonzero(track.valid[rows])
        if not len(measured):
            continue
        begin = rows.start + measured[0]  # before the first measurement there is nothing to go by
        smoothed = _smooth_segment(track.select(slice(begin, rows.stop)), config, pivot, anchor)
        for name, column in columns.items():
            column[begin : rows.stop] = getattr(smoothed, name)
            if config.method == "kalman":
                column[rows.start : begin] = column[begin]
    return replace(track, **columns)


def segments(face: Int[np.ndarray, "T"], shot: Int[np.ndarray, "T"]) -> list[slice]:
    """Runs of rows of one face in one shot."""
    cuts = np.flatnonzero((np.diff(face) != 0) | (np.diff(shot) != 0)) + 1
    edges = [0, *cuts.tolist(), len(face)]
    return [slice(a, b) for a, b in pairwise(edges)]


def cutoff_hz(averaging_ms: Float[np.ndarray, "*P"]) -> Float[np.ndarray, "*P"]:
    """The cut-off f_c at which the smoother passes as much white noise as a mean over T = ``averaging_ms``.

    1 / T = ∫ H² df = 3π f_c / (4√2) over all frequencies, with H = 1 / (1 + (f / f_c)^4).
    """
    return 4 * np.sqrt(2) / (3 * np.pi) * 1000 / averaging_ms


def measured_noise(values: Float[np.ndarray, "n P"], valid: Bool[np.ndarray, "n"]) -> Float[np.ndarray, "P"]:
    """Standard deviation of white noise on smooth signals; NaN where too little can be seen of it.

    Robust (median) size of the differences of 4th order between five valid rows in succession: motion has nearly
    gone from them, white noise has grown by √(8 choose 4). Stretches without any change (a unit at its limit) say
    nothing about the noise.
    """
    differences = np.abs(np.diff(values, n=_ORDER, axis=0))
    runs = np.lib.stride_tricks.sliding_window_view(valid, _ORDER + 1).all(1) if len(valid) > _ORDER else valid[:0]
    differences = np.where(runs[:, None] & (differences > 1e-9), differences, np.nan)
    enough = np.isfinite(differences).sum(0) >= 8
    noise = np.full(values.shape[1], np.nan)
    noise[enough] = np.nanmedian(differences[:, enough], axis=0) / (0.6745 * np.sqrt(70))
    return noise


@dataclass(frozen=True)
class Channels:
    """The parameters of a segment, but for the pose, side by side, and what kind each is."""

    values: Float[np.ndarray, "n P"]
    kinds: list[Kind]


def _smooth_segment(part: Track, config: SmoothConfig, pivot: np.ndarray, anchor: np.ndarray) -> Track:
    causal = config.method == "causal"
    pose = Rotation.from_rotvec(part.pose.astype(np.float64))
    unit = float(part.camera[0, 0])
    channels = to_channels(part, pose, pivot, anchor, unit)
    kinds = [POSE, *channels.kinds]
    noise = np.array([kind.noise for kind in kinds])
    if causal:
        noise *= CAUTION
    else:
        noise = np.fmin(_noise(pose, channels.values, part.valid), NOISIEST * noise)

    trust = np.maximum(part.confidence.astype(np.float64), FAINT)
    usual_trust = 1.0 if causal else float(np.median(trust[part.valid]))
    variance = (usual_trust / trust) ** 2
    cutoffs, which = cutoffs_of(kinds, config, part.fps)
    gains = work_out_gains(part.time, part.valid, variance, cutoffs, 1 / part.fps, causal)

    values = filter_values(channels.values, which[-1, 1:], gains)
    turns = Rotation.from_quat(filter_turns(pose.as_quat(), int(which[-1, 0]), gains))
    for level in which[-2::-1]:  # from the one that passes nearly all to the lowest
        smoother = filter_values(channels.values, level[1:], gains)
        steadier = Rotation.from_quat(filter_turns(pose.as_quat(), int(level[0]), gains))
        taken = _acceptance(_angles(pose, steadier) / noise[:1], part, causal)
        turns = Rotation.from_rotvec(taken * (steadier * turns.inv()).as_rotvec()) * turns
        for start in range(0, values.shape[1], _COLUMNS):
            some = slice(start, start + _COLUMNS)
            residual = (channels.values[:, some] - smoother[:, some]) / noise[1:][some]
            values[:, some] += _acceptance(residual, part, causal) * (smoother[:, some] - values[:, some])
    return from_channels(part, values, turns, pivot, anchor, unit)


def cutoffs_of(
    kinds: list[Kind], config: SmoothConfig, fps: float
) -> tuple[Float[np.ndarray, "B"], Int[np.ndarray, "L P"]]:
    """The cut-offs (Hz) that are needed, and which of them every parameter has at every level, the lowest first."""
    lowest = cutoff_hz(config.averaging_ms * np.array([kind.share for kind in kinds]))
    levels = lowest * np.array(LEVELS if config.adapt else LEVELS[:1])[:, None]
    if config.adapt:
        levels = np.concatenate([levels, np.full((1, len(kinds)), fps)])
    rounded, which = np.unique(np.round(np.log2(np.minimum(levels, fps)) * _PER_OCTAVE), return_inverse=True)
    return 2 ** (rounded / _PER_OCTAVE), which.reshape(levels.shape)


def _noise(pose: Rotation, values: np.ndarray, valid: np.ndarray) -> Float[np.ndarray, "P"]:
    """`measured_noise` of the pose (one number, root mean square over the axes) and of the other channels."""
    steps = (pose[1:] * pose[:-1].inv()).as_rotvec()
    turning = np.cumsum(np.concatenate([np.zeros((1, 3)), steps]), axis=0)  # its differences are those of the pose
    noise = measured_noise(np.concatenate([turning, values], axis=1), valid)
    return np.append(np.sqrt(np.mean(noise[:3] ** 2)), noise[3:])


def _angles(a: Rotation, b: Rotation) -> Float[np.ndarray, "n 1"]:
    """Root mean square over the axes of the rotation vector between two rotations."""
    return (a * b.inv()).magnitude()[:, None] / np.sqrt(3)


def _acceptance(residual: Float[np.ndarray, "n P"], part: Track, causal: bool) -> Float[np.ndarray, "n P"]:
    """1 where the local residuals are what noise leaves, 0 where there must be motion in them."""
    weight = part.valid[:, None].astype(np.float64)

    def local(x: np.ndarray) -> np.ndarray:
        if causal:
            keep = np.exp(-1 / (part.fps * WINDOW_SECONDS))
            return np.asarray(lfilter([1 - keep], [1, -keep], x, axis=0))
        return gaussian_filter1d(x, WINDOW_SECONDS * part.fps, axis=0, mode="constant")

    size = np.sqrt(local(weight * residual**2) / np.maximum(local(weight), 1e-12))
    return np.clip((ACCEPT[1] - size) / (ACCEPT[1] - ACCEPT[0]), 0, 1)


def _kind(unit: str) -> Kind:
    if unit.startswith(("eyeBlink", "eyeWide", "eyeSquint")):
        return EYELIDS
    return LIPS if unit.startswith(("mouth", "jaw", "tongue")) else EXPRESSION


def to_channels(part: Track, pose: Rotation, pivot: np.ndarray, anchor: np.ndarray, unit: float) -> Channels:
    """What is filtered of some rows.

    Args:
        unit: px per metre, one for a whole segment: that of its first row, which a causal filter knows too.
    """
    scale = part.camera[:, :1].astype(np.float64)
    place = part.camera[:, 1:] + scale * _anchor_offset(pose, pivot, anchor)
    blocks = [
        (place / unit, [PLACE] * 2),
        (np.log(scale), [LOG_SCALE]),
        (part.neck, [NECK] * 3),
        (part.jaw, [JAW] * 3),
        (part.eyes, [GAZE] * 6),
        (part.expression, [_kind(name) for name in part.expression_names] or [CODES] * part.expression.shape[1]),
    ]
    for array, kind in ((part.light, LIGHT), (part.detail, DETAIL)):
        if array is not None:
            blocks.append((array.reshape(len(part), -1), [kind] * array[0].size))
    values = np.concatenate([values for values, _ in blocks], axis=1, dtype=np.float64)
    return Channels(values, [kind for _, kinds in blocks for kind in kinds])


def from_channels(
    part: Track, values: np.ndarray, pose: Rotation, pivot: np.ndarray, anchor: np.ndarray, unit: float
) -> Track:
    """The inverse of `to_channels`, in the types of `part` and its expression's range."""
    place, log_scale, neck, jaw, eyes, rest = np.split(values, [2, 3, 6, 9, 15], axis=1)
    scale = np.exp(log_scale)
    shift = place * unit - scale * _anchor_offset(pose, pivot, anchor)
    expression, rest = np.split(rest, [part.expression.shape[1]], axis=1)
    if part.expression_range is not None:
        expression = np.clip(expression, *part.expression_range)
    columns = {
        "expression": expression,
        "pose": pose.as_rotvec(),
        "neck": neck,
        "jaw": jaw,
        "eyes": eyes,
        "camera": np.concatenate([scale, shift], axis=1),
    }
    if part.light is not None:
        columns["light"], rest = rest[:, :27].reshape(part.light.shape), rest[:, 27:]
    if part.detail is not None:
        columns["detail"] = rest
    return replace(part, **{name: array.astype(getattr(part, name).dtype) for name, array in columns.items()})


def _anchor_offset(pose: Rotation, pivot: np.ndarray, anchor: np.ndarray) -> Float[np.ndarray, "n 2"]:
    """From the image of the head-space origin to that of the anchor, px per px/m; x right, y down."""
    posed = pivot + pose.apply(anchor - pivot)
    return posed[:, :2] * np.array([1.0, -1.0])
