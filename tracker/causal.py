"""The causal smoothing of `tracker.smooth`, one row at a time: what live tracking needs.

The same filters, levels and thresholds; `smooth_track` with method ``causal`` over all rows is the slow reference. What
`tracker.kalman.work_out_gains` does for all rows is here one step of 2×2 covariances, one for every cut-off.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from tracker.kalman import GAP_SECONDS, START, process_noise
from tracker.smooth import (
    ACCEPT,
    CAUTION,
    FAINT,
    POSE,
    WINDOW_SECONDS,
    SmoothConfig,
    cutoffs_of,
    from_channels,
    to_channels,
)
from tracker.track import Track


class CausalSmoother:
    """Smooths one face within one shot; begin a new one at a cut.

    Args:
        config: its method is taken to be ``causal``, unless it is ``none``.
        pivot, anchor: as in `smooth_track`.
        fps: nominal rate, Hz.
    """

    def __init__(
        self, config: SmoothConfig, pivot: Float[np.ndarray, "3"], anchor: Float[np.ndarray, "3"], fps: float
    ) -> None:
        self._config, self._pivot, self._anchor, self._fps = config, pivot, anchor, fps
        self._idle = config.method == "none" or config.averaging_ms == 0
        self._time: float | None = None
        self._unit = 1.0

    def push(self, row: Track) -> Track:
        """The next row, smoothed; the first must be valid, of others that are not the values do not matter.

        Args:
            row: a track of one row; times ascend.
        """
        assert len(row) == 1, "one row at a time"
        if self._idle:
            return row
        first = self._time is None
        if first:
            assert row.valid[0], "the first row must be a measurement"
            self._unit = float(row.camera[0, 0])
        pose = Rotation.from_rotvec(row.pose.astype(np.float64))
        channels = to_channels(row, pose, self._pivot, self._anchor, self._unit)
        variance = 1.0 / max(float(row.confidence[0]), FAINT) ** 2
        values, turn = channels.values[0], pose[0]
        if first:
            self._begin([POSE, *channels.kinds], values, turn, variance)
        else:
            self._step(values, turn, float(row.time[0]), bool(row.valid[0]), variance)
        self._time = float(row.time[0])
        smooth, smooth_turn = self._adapted(values, turn, bool(row.valid[0]))
        turns = Rotation.from_quat(smooth_turn.as_quat()[None])
        return from_channels(row, smooth[None], turns, self._pivot, self._anchor, self._unit)

    def _begin(self, kinds: list, values: np.ndarray, turn: Rotation, variance: float) -> None:
        cutoffs, self._which = cutoffs_of(kinds, self._config, self._fps)
        self._noise = CAUTION * np.array([kind.noise for kind in kinds])
        self._density = process_noise(cutoffs, 1 / self._fps)
        self._covariance = np.zeros((len(cutoffs), 2, 2))
        self._covariance[:, 0, 0], self._covariance[:, 1, 1] = variance, START * self._fps**2
        levels = len(self._which)
        self._place = np.repeat(values[None], levels, axis=0)
        self._velocity = np.zeros_like(self._place)
        self._turns, self._spins = [turn] * levels, np.zeros((levels, 3))
        self._residuals = np.zeros((levels, len(kinds)))
        self._weight = 0.0

    def _step(self, values: np.ndarray, turn: Rotation, time: float, measured: bool, variance: float) -> None:
        assert self._time is not None
        step = max(time - self._time, 1e-4)
        reach = step if measured else GAP_SECONDS * -np.expm1(-step / GAP_SECONDS)
        keep = 1.0 if measured else float(np.exp(-step / GAP_SECONDS))
        gain = self._gains(step, reach, keep, measured, variance)  # B 2

        which = self._which[:, 1:]
        self._place = self._place + reach * self._velocity
        self._velocity = keep * self._velocity
        if measured:
            surprise = values - self._place
            self._place = self._place + gain[which, 0] * surprise
            self._velocity = self._velocity + gain[which, 1] * surprise
        for level, mine in enumerate(self._which[:, 0]):
            ahead = Rotation.from_rotvec(self._spins[level] * reach) * self._turns[level]
            spin = keep * self._spins[level]
            if measured:
                surprise = (turn * ahead.inv()).as_rotvec()
                ahead = Rotation.from_rotvec(gain[mine, 0] * surprise) * ahead
                spin = spin + gain[mine, 1] * surprise
            self._turns[level], self._spins[level] = ahead, spin

    def _gains(
        self, step: float, reach: float, keep: float, measured: bool, variance: float
    ) -> Float[np.ndarray, "B 2"]:
        """Predict and update the covariances."""
        move = np.array([[1.0, reach], [0.0, keep]])
        noise = np.array([[step**3 / 3, step**2 / 2], [step**2 / 2, step]])
        ahead = move @ self._covariance @ move.T + self._density[:, None, None] * noise
        if not measured:
            self._covariance = ahead
            return np.zeros((len(ahead), 2))
        gain = ahead[:, :, 0] / (ahead[:, :1, 0] + variance)
        self._covariance = ahead - gain[:, :, None] * ahead[:, :1, :]
        return gain

    def _adapted(self, values: np.ndarray, turn: Rotation, measured: bool) -> tuple[np.ndarray, Rotation]:
        """From the level that passes nearly all to the lowest, as far as the residuals are noise."""
        keep = np.exp(-1 / (self._fps * WINDOW_SECONDS))
        self._weight = (1 - keep) * measured + keep * self._weight
        smooth, smooth_turn = self._place[-1], self._turns[-1]
        for level in range(len(self._which) - 2, -1, -1):
            steadier = self._turns[level]
            angle = (turn * steadier.inv()).magnitude() / np.sqrt(3)
            residual = np.append(angle, values - self._place[level]) / self._noise
            self._residuals[level] = (1 - keep) * measured * residual**2 + keep * self._residuals[level]
            size = np.sqrt(self._residuals[level] / max(self._weight, 1e-12))
            taken = np.clip((ACCEPT[1] - size) / (ACCEPT[1] - ACCEPT[0]), 0, 1)
            smooth = smooth + taken[1:] * (self._place[level] - smooth)
            smooth_turn = Rotation.from_rotvec(taken[0] * (steadier * smooth_turn.inv()).as_rotvec()) * smooth_turn
        return smooth, smooth_turn
