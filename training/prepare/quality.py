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


def box_side(points: Float[np.ndarray, "N 2"]) -> float:
    """Mean side of the points' box, px."""
    return float(np.ptp(points, axis=0).mean())


def eye_distance(points: Float[np.ndarray, "68 2"]) -> float:
    """Distance of the outer eye corners, px; of a turned face, where they come together, half the side of its box."""
    return max(float(np.linalg.norm(points[36] - points[45])), 0.5 * box_side(points))


def _face(image: UInt8[np.ndarray, "H W 3"], points: np.ndarray, size: int, room: float) -> Float[np.ndarray, "s s"]:
    """The face in grey, a square of `room` times the points' box."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = size / (room * box_side(points))
    shift = size / 2 - scale * (low + high) / 2
    part = warp(image, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), (size, size), border="edge")
    return part.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def sharpness(image: UInt8[np.ndarray, "H W 3"], points: Float[np.ndarray, "N 2"]) -> float:
    """Variance of the Laplacian over the variance of the grey values, of the points' box brought to 128 px."""
    grey = _face(image, points, _SHARP, 1.0)
    return float(ndimage.laplace(grey).var() / (grey.var() + 1.0))


def fingerprint(image: UInt8[np.ndarray, "H W 3"], points: Float[np.ndarray, "N 2"]) -> int:
    """256 bits of how a face looks: whether its brightness rises from each of 16 × 16 fields to its right neighbour.

    Pictures of one photograph differ in few bits, whatever their size and compression.
    """
    grey = np.clip(_face(image, points, 4 * (_PRINT + 1), 1.4), 0, 255).astype(np.uint8)
    fields = resize(grey, (_PRINT + 1, _PRINT)).astype(np.int16)
    bits = np.packbits(fields[:, 1:] > fields[:, :-1])
    return int.from_bytes(bits.tobytes(), "big")
