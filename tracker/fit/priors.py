"""What is likely of a face before it is seen: at rest, the two sides and the two eyes alike, joints within limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from model.asset import HeadAsset
from tracker.fit.config import FitConfig

RAD = np.pi / 180

JAW_SIGMA = (12 * RAD, 2.5 * RAD, 0.7 * RAD)
"""Opening, turning, rolling of the jaw."""
JAW_LIMITS = ((-2 * RAD, 38 * RAD), (-8 * RAD, 8 * RAD), (-3 * RAD, 3 * RAD))
EYE_SIGMA = (10 * RAD, 15 * RAD)
"""Looking down or up, and sideways."""
EYE_LIMITS = ((-35 * RAD, 35 * RAD), (-45 * RAD, 45 * RAD))
EYE_DIFFERENCE_SIGMA = (1.5 * RAD, 4 * RAD)
"""Between the eyes: they look up together, and nearly sideways together (vergence)."""
ASYMMETRY_SIGMA = {
    "eyeBlink": 0.5, "mouthPucker": 0.08, "mouthFunnel": 0.08, "mouthRoll": 0.08, "mouthShrug": 0.08, "cheekPuff": 0.1,
    "browInnerUp": 0.15,
}  # fmt: skip
"""Difference of a unit's left and right side, by the start of its name; others 0.25. Small where ARKit has no sides."""

UNIT_SCALE = {
    "eyeBlink": 1.2, "eyeSquint": 0.15, "mouthSmile": 0.35, "brow": 0.4, "mouthClose": 0.05, "cheekPuff": 0.1,
    "mouthShrug": 0.15, "mouthRoll": 0.15, "mouthPress": 0.15, "tongueOut": 0.05, "jawForward": 0.1,
    "mouthUpperUp": 0.5, "mouthLowerDown": 0.4,
}  # fmt: skip
"""Typical size of the units' activity by the start of their names; others 0.3. Small where another unit or the jaw
explains the points as well: the lips meet by closing the jaw, not by `mouthClose`."""


@dataclass(frozen=True)
class FacePrior:
    """½ xᵀ precision x + slopeᵀ x over x = (expression, jaw, eyes), within the limits."""

    precision: Float[Tensor, "C C"]
    slope: Float[Tensor, "C"]
    low: Float[Tensor, "C"]
    high: Float[Tensor, "C"]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> FacePrior:
        """The same prior elsewhere or in another floating type."""
        return FacePrior(*(x.to(device, dtype) for x in (self.precision, self.slope, self.low, self.high)))

    def cost(self, face: Float[Tensor, "N C"]) -> Float[Tensor, "N"]:
        """Its value for every row."""
        return 0.5 * (face @ self.precision * face).sum(1) + face @ self.slope


def face_prior(asset: HeadAsset, config: FitConfig) -> FacePrior:
    """The prior of a head: half exponential, half Gaussian on units in [0, 1]; normal on unbounded directions."""
    n = asset.exprdirs.shape[-1]
    precision, slope = np.zeros((n + 7, n + 7)), np.zeros(n + 7)
    low, high = np.full(n + 7, -np.inf), np.full(n + 7, np.inf)
    weight = config.expression_weight
    if asset.expression_range is None:
        precision[:n, :n] = weight * np.eye(n)
    else:
        low[:n], high[:n] = asset.expression_range
        names = asset.expression_names or ("",) * n
        scale = np.array([_by_name(UNIT_SCALE, name, 0.3) for name in names])
        precision[:n, :n] = weight * np.diag(1 / scale**2)
        slope[:n] = weight * 0.5 / scale
        for i, j, sigma in _mirrored(names):
            _tie(precision, i, j, sigma, weight)
    jaw, left, right = range(n, n + 3), range(n + 3, n + 5), range(n + 5, n + 7)
    slope[jaw[0]] = weight * 0.5 / JAW_SIGMA[0]
    for i, sigma, limits in zip(jaw, JAW_SIGMA, JAW_LIMITS, strict=True):
        precision[i, i] += sigma**-2
        low[i], high[i] = limits
    for axis in range(2):
        for i in (left[axis], right[axis]):
            precision[i, i] += 0.5 * EYE_SIGMA[axis] ** -2
            low[i], high[i] = EYE_LIMITS[axis]
        _tie(precision, left[axis], right[axis], EYE_DIFFERENCE_SIGMA[axis])
    return FacePrior(*(torch.from_numpy(x).float() for x in (precision, slope, low, high)))


def _by_name(values: dict[str, float], name: str, default: float) -> float:
    return next((value for prefix, value in values.items() if name.startswith(prefix)), default)


def _mirrored(names: tuple[str, ...]) -> list[tuple[int, int, float]]:
    """Pairs of units that are each other's mirror image, and how much they may differ."""
    at = {name: i for i, name in enumerate(names)}
    return [
        (i, at[name[:-4] + "Right"], _by_name(ASYMMETRY_SIGMA, name, 0.25))
        for name, i in at.items()
        if name.endswith("Left") and name[:-4] + "Right" in at
    ]


def _tie(precision: np.ndarray, i: int, j: int, sigma: float, weight: float = 1.0) -> None:
    """Add (x_i − x_j)² / 2σ²."""
    precision[[i, j], [i, j]] += weight * sigma**-2
    precision[[i, j], [j, i]] -= weight * sigma**-2
