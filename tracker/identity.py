"""Who a person is, from all frames: robust means of codes, weighed by how well each frame shows the face."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from tracker.observation import FaceCodes

SIDEWAYS = 0.1
"""Weight of a profile, beside a face that looks ahead."""
FAR = 2.0
"""Distance from the mean, over the median distance, at which a row's weight has fallen to a quarter."""
ROUNDS = 10


def quality(codes: FaceCodes, confidence: Float[np.ndarray, "T"], resolution: int) -> Float[np.ndarray, "T"]:
    """How well each row shows the face, [0, 1]: the detector's confidence, by the face's size in the picture as far as
    the network's resolution can use it, by how much the face looks ahead; 0 where nothing was encoded."""
    ahead = Rotation.from_rotvec(codes.pose.astype(np.float64)).as_matrix()[:, 2, 2]
    facing = SIDEWAYS + (1 - SIDEWAYS) * np.maximum(ahead, 0.0) ** 2
    size = np.minimum(codes.size, resolution) / resolution
    return np.where(codes.encoded, confidence * size * facing, 0.0)


def robust_mean(values: Float[np.ndarray, "T C"], weight: Float[np.ndarray, "T"]) -> Float[np.ndarray, "C"]:
    """Weighted mean in which rows far from it count less (Geman and McClure's weights), started at the median.

    The order of the rows does not matter; fewer than half of the weight may be anything at all.

    Args:
        weight: not negative, positive somewhere.
    """
    assert weight.min() >= 0 and weight.max() > 0, "no row has weight"
    rows = np.flatnonzero(weight > 0)
    x, w = values[rows].astype(np.float64), weight[rows].astype(np.float64)
    centre = np.array([weighted_median(column, w) for column in x.T])
    for _ in range(ROUNDS):
        distance = np.linalg.norm(x - centre, axis=1)
        usual = weighted_median(distance, w)
        trust = w / (1 + (distance / max(FAR * usual, 1e-9)) ** 2) ** 2
        centre = (trust[:, None] * x).sum(0) / trust.sum()
    return centre.astype(np.float32)


def weighted_median(values: Float[np.ndarray, "T"], weight: Float[np.ndarray, "T"]) -> float:
    """The value under which half of the weight lies."""
    order = np.lexsort((weight, values))
    below = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(below, 0.5 * below[-1])])
