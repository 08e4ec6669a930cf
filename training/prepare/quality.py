"""How good a picture of a face is, and whether two are the same."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from tracker.image import resize, warp

MIRRORED = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *(27, 28, 29, 30, 35, 34, 33, 32, 31),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
    ]
)
"""iBUG's points of a mirrored face: point i of the mirror image is point MIRRORED[i] of the face."""

_SHARP, _PRINT = 128, 16
_SPREADS = 4.2
"""Side of what a fingerprint looks at, in root mean square distances of the inner points from their mean."""


def box_side(points: Float[np.ndarray, "N 2"]) -> float:
    """Mean side of the points' box, px."""
    return float(np.ptp(points, axis=0).mean())


def eye_distance(points: Float[np.ndarray, "68 2"]) -> float:
    """Distance of the outer eye corners, px; of a turned face, where they come together, half the side of its box."""
    return max(float(np.linalg.norm(points[36] - points[45])), 0.5 * box_side(points))


def _square(
    image: UInt8[np.ndarray, "H W 3"], centre: Float[np.ndarray, "2"], side: float, size: int
) -> Float[np.ndarray, "s s"]:
    """A square of the picture in grey, brought to `size` px."""
    scale = size / side
    shift = size / 2 - scale * centre
    part = warp(image, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), (size, size), border="edge")
    return part.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def sharpness(image: UInt8[np.ndarray, "H W 3"], points: Float[np.ndarray, "N 2"]) -> float:
    """Variance of the Laplacian over the variance of the grey values, of the points' box brought to 128 px."""
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    grey = _square(image, centre, box_side(points), _SHARP)
    return float(ndimage.laplace(grey).var() / (grey.var() + 1.0))


def fingerprint(image: UInt8[np.ndarray, "H W 3"], points: Float[np.ndarray, "68 2"]) -> int:
    """256 bits of how a face looks: whether its brightness rises from each of 16 × 16 fields to its right neighbour.

    Pictures of one photograph differ in few bits, whatever their size and compression. Mean and spread of the inner
    points place the fields: they are found more alike in two copies than the corners of the box.
    """
    inner = points[17:].astype(np.float64)
    centre = inner.mean(axis=0)
    side = _SPREADS * float(np.sqrt(np.square(inner - centre).sum(axis=-1).mean()))
    grey = np.clip(_square(image, centre, max(side, 1.0), 4 * (_PRINT + 1)), 0, 255).astype(np.uint8)
    fields = resize(grey, (_PRINT + 1, _PRINT)).astype(np.int16)
    bits = np.packbits(fields[:, 1:] > fields[:, :-1])
    return int.from_bytes(bits.tobytes(), "big")
