"""Constant-velocity Kalman filters and Rauch-Tung-Striebel smoothers that share their gains.

A state is (value, velocity); its acceleration is white noise of density q, and a measurement of the value has the
variance r w, with w given per row. The gains depend on q / r, the times and w, not on what is measured: filterpy works
them out once for every *cut-off* (see `process_noise`), and any number of values and rotations follow with them.

References: Bar-Shalom, Li, Kirubarajan 2001, "Estimation with Applications to Tracking and Navigation", 6.2 (model) and
8.6 (smoother); Markley, Crassidis 2014, "Fundamentals of Spacecraft Attitude Determination and Control", 6.2 (filters
on rotations by way of their error).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from filterpy.common import Q_continuous_white_noise
from filterpy.kalman import KalmanFilter
from jaxtyping import Bool, Float, Int

GAP_SECONDS = 0.15
"""In a gap the velocity fades with this time constant: a head that leaves while turning does not spin on."""
START = 1e4
"""Variance of the first velocity, in (noise / frame)^2: nothing is known of it."""


@dataclass(frozen=True)
class Gains:
    """The gains of B filters over n rows; see `work_out_gains`.

    Attributes:
        reach: seconds that the velocity of the row before acts on the value, fading included; 0 for the first row.
        keep: part of the velocity of the row before that is left.
        update: what a difference between measurement and prediction does to value and velocity; 0 where not measured.
        back: what a difference between the smoothed and the predicted state of the next row does to value and velocity;
            None for a causal filter.
    """

    reach: Float[np.ndarray, "n"]
    keep: Float[np.ndarray, "n"]
    update: Float[np.ndarray, "n B 2"]
    back: Float[np.ndarray, "n-1 B 2 2"] | None


def process_noise(cutoff_hz: Float[np.ndarray, "B"], interval: float) -> Float[np.ndarray, "B"]:
    """The density q, in units of r, with which the smoother passes 1 / (1 + (f / cutoff)^4).

    In continuous time the smoother's response is Q / (Q + R ω^4), with R = r interval the density of the noise.
    """
    return interval * (2 * np.pi * cutoff_hz) ** 4


def work_out_gains(
    time: Float[np.ndarray, "n"],
    measured: Bool[np.ndarray, "n"],
    variance: Float[np.ndarray, "n"],
    cutoff_hz: Float[np.ndarray, "B"],
    interval: float,
    causal: bool = False,
) -> Gains:
    """Gains of the filters with these cut-offs, in one filterpy filter with a 2x2 block for each.

    Args:
        time: seconds, ascending; the interval between rows may vary.
        measured: rows with a measurement, the first among them; the others are predicted.
        variance: of each row's measurement, relative to what is usual.
        interval: between frames on average, seconds: what the cut-offs refer to.
    """
    assert measured[0], "the first row must be a measurement"
    n, b = len(time), len(cutoff_hz)
    steps = np.maximum(np.diff(time, prepend=time[0]), 1e-4)  # equal times happen in broken files
    fading = GAP_SECONDS * -np.expm1(-steps / GAP_SECONDS)
    reach, keep = np.where(measured, steps, fading), np.where(measured, 1.0, np.exp(-steps / GAP_SECONDS))
    reach[0] = 0.0

    kf = KalmanFilter(dim_x=2 * b, dim_z=b)
    kf.H = np.kron(np.eye(b), [[1.0, 0.0]])
    kf.P = np.kron(np.eye(b), np.diag([variance[0], START / interval**2]))
    density = np.diag(process_noise(cutoff_hz, interval))
    # Few intervals differ, and building these takes longer than the filter itself.
    unit_noise = {step: np.kron(density, Q_continuous_white_noise(2, step)) for step in set(steps[1:].tolist())}
    moves = list(zip(reach.tolist(), keep.tolist(), strict=True))
    moved = {(r, k): np.kron(np.eye(b), [[1.0, r], [0.0, k]]) for r, k in set(moves)}
    blocks = np.arange(2 * b).reshape(b, 2)
    squares = blocks[:, :, None], blocks[:, None, :]
    columns = blocks, np.arange(b)[:, None]
    nothing = np.zeros(b)

    update = np.zeros((n, b, 2))
    update[0, :, 0] = 1.0
    before, after = np.empty((n, b, 2, 2)), np.empty((n, b, 2, 2))  # covariances before and after the measurement
    after[0] = kf.P[squares]
    for k in range(1, n):
        kf.predict(F=moved[moves[k]], Q=unit_noise[float(steps[k])])
        before[k] = kf.P[squares]
        if measured[k]:
            kf.update(nothing, R=float(variance[k]))
            update[k] = kf.K[columns]
        after[k] = kf.P[squares]
    back = None
    if not causal:
        transition = np.zeros((n - 1, 1, 2, 2))
        transition[:, 0, 0, 0], transition[:, 0, 0, 1], transition[:, 0, 1, 1] = 1.0, reach[1:], keep[1:]
        back = after[:-1] @ transition.swapaxes(-1, -2) @ np.linalg.inv(before[1:])
    return Gains(reach, keep, update, back)


def filter_values(
    values: Float[np.ndarray, "n P"], cutoff: Int[np.ndarray, "P"], gains: Gains
) -> Float[np.ndarray, "n P"]:
    """Filter P values at once, and smooth them if the gains say so.

    Args:
        values: rows that are not measured are not looked at.
        cutoff: for every value, which of the B filters it goes through.
    """
    n = len(values)
    place, velocity = np.empty_like(values), np.zeros_like(values)
    x, v = values[0], np.zeros(values.shape[1])
    place[0] = x
    by_value, by_velocity = gains.update[:, :, 0], gains.update[:, :, 1]
    measured = by_value[:, 0] != 0
    for k in range(1, n):
        x, v = x + gains.reach[k] * v, gains.keep[k] * v
        if measured[k]:
            surprise = values[k] - x
            x, v = x + by_value[k, cutoff] * surprise, v + by_velocity[k, cutoff] * surprise
        place[k], velocity[k] = x, v
    if gains.back is None:
        return place
    for k in range(n - 2, -1, -1):
        dx = x - (place[k] + gains.reach[k + 1] * velocity[k])
        dv = v - gains.keep[k + 1] * velocity[k]
        g = gains.back[k, cutoff]
        x = place[k] + g[:, 0, 0] * dx + g[:, 0, 1] * dv
        v = velocity[k] + g[:, 1, 0] * dx + g[:, 1, 1] * dv
        place[k] = x
    return place


def filter_turns(turns: Float[np.ndarray, "n 4"], cutoff: int, gains: Gains) -> Float[np.ndarray, "n 4"]:
    """The same for rotations (unit quaternions x, y, z, w): on the manifold, at any angle.

    The state is (rotation, angular velocity in camera axes), its error a rotation vector on the left of the predicted
    rotation; noise and error are alike in all directions, so the gains are those of a value.
    """
    n = len(turns)
    z = [tuple(q) for q in turns.tolist()]
    reach, keep = gains.reach.tolist(), gains.keep.tolist()
    update = gains.update[:, cutoff].tolist()
    q, v = z[0], (0.0, 0.0, 0.0)
    states = [(q, v)]
    for k in range(1, n):
        q, v = _mul(_exp(_scaled(v, reach[k])), q), _scaled(v, keep[k])
        by_value, by_velocity = update[k]
        if by_value:
            surprise = _log(_mul(z[k], _conjugate(q)))
            q, v = _mul(_exp(_scaled(surprise, by_value)), q), _added(v, _scaled(surprise, by_velocity))
        states.append((q, v))
    if gains.back is not None:
        back = gains.back[:, cutoff].tolist()
        for k in range(n - 2, -1, -1):
            (qf, vf), ((xx, xv), (vx, vv)) = states[k], back[k]
            predicted = _mul(_exp(_scaled(vf, reach[k + 1])), qf)
            dx = _log(_mul(q, _conjugate(predicted)))
            dv = _added(v, _scaled(vf, -keep[k + 1]))
            q = _mul(_exp(_added(_scaled(dx, xx), _scaled(dv, xv))), qf)
            v = _added(vf, _added(_scaled(dx, vx), _scaled(dv, vv)))
            states[k] = (q, v)
    result = np.array([q for q, _ in states])
    return result / np.linalg.norm(result, axis=1, keepdims=True)


# Rotations one at a time: plain floats are several times faster here than arrays of three or four.

_Vector = tuple[float, float, float]
_Quaternion = tuple[float, float, float, float]


def _scaled(a: _Vector, s: float) -> _Vector:
    return a[0] * s, a[1] * s, a[2] * s


def _added(a: _Vector, b: _Vector) -> _Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _conjugate(q: _Quaternion) -> _Quaternion:
    return -q[0], -q[1], -q[2], q[3]


def _mul(a: _Quaternion, b: _Quaternion) -> _Quaternion:
    """The rotation b, then a."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _exp(v: _Vector) -> _Quaternion:
    """The rotation of a rotation vector."""
    angle = math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    s = 0.5 - angle * angle / 48 if angle < 1e-4 else math.sin(angle / 2) / angle
    return v[0] * s, v[1] * s, v[2] * s, math.cos(angle / 2)


def _log(q: _Quaternion) -> _Vector:
    """The shortest rotation vector of a rotation."""
    x, y, z, w = q if q[3] >= 0 else (-q[0], -q[1], -q[2], -q[3])
    sine = math.sqrt(x * x + y * y + z * z)
    s = 2.0 if sine < 1e-9 else 2 * math.atan2(sine, w) / sine
    return x * s, y * s, z * s
