"""How wrong a network is: measured on known faces, carried by its weights, read by the tracker's fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np
from jaxtyping import Float

POSE = np.deg2rad((5.0, 8.0, 12.0))
"""Assumed of weights that carry no figures, at 15°, 45° and 75° of yaw, every axis."""
CAMERA = (0.04, 0.004, 0.004)
"""The same: log of the scale, place in metres."""


@dataclass(frozen=True)
class NetworkErrors:
    """Root mean square errors of E_c's codes, and what the faces were like on which they were measured.

    A network that has learned nothing of a code says the population's mean, and its error is the population's spread:
    only what it is better by is information.

    Attributes:
        yaw: middles of the bins that the errors are given for, degrees from the front, ascending.
        pose: rotation vector between the heads, camera axes, radians.
        camera: log of the scale; place of the face across and up, metres.
        face: expression, in its units; jaw; left eye x, y; right eye x, y; radians.
        face_mean, face_spread: of the population.
        shape: identity, standard deviations.
        shape_mean, shape_spread: of the population.
    """

    yaw: Float[np.ndarray, "B"]
    pose: Float[np.ndarray, "B 3"]
    camera: Float[np.ndarray, "B 3"]
    face: Float[np.ndarray, "B C"]
    face_mean: Float[np.ndarray, "C"]
    face_spread: Float[np.ndarray, "C"]
    shape: Float[np.ndarray, "S"]
    shape_mean: Float[np.ndarray, "S"]
    shape_spread: Float[np.ndarray, "S"]

    @staticmethod
    def unmeasured(shape: int, expression: int) -> NetworkErrors:
        """For weights without figures: pose and camera with wide errors, nothing is believed of the other codes."""
        one, many = np.ones(shape), np.ones(expression + 7)
        return NetworkErrors(
            yaw=np.array([15.0, 45.0, 75.0]),
            pose=np.tile(POSE[:, None], 3),
            camera=np.tile(CAMERA, (3, 1)),
            face=np.ones((3, len(many))),
            face_mean=0 * many,
            face_spread=many,
            shape=one,
            shape_mean=0 * one,
            shape_spread=one,
        )

    def to_lists(self) -> dict[str, list]:
        """Plain numbers, four significant digits, for a file."""
        return {name: _rounded(array).tolist() for name, array in asdict(self).items()}

    @staticmethod
    def from_lists(values: dict[str, list]) -> NetworkErrors:
        """The inverse of `to_lists`.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, or not numbers.
        """
        return NetworkErrors(**{f.name: np.array(values[f.name], dtype=np.float64) for f in fields(NetworkErrors)})


def _rounded(array: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda x: float(f"{x:.4g}"), otypes=[float])(array)
