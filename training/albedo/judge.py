"""How well an albedo model explains faces of people that it was not learned from."""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Bool, Float

from training.albedo.gather import Zone

NOISE = 0.05
"""Deviation of an encoded colour that is no albedo."""
INDEPENDENT = 400.0
"""Texels of a face that count as independent of each other."""
EVERY = 4
"""Only each so many texels are compared."""


def held_out(identities: np.ndarray, share: float) -> Bool[np.ndarray, "N"]:
    """Whether each face's person is left out of learning: by the hash of the name, about `share` of the people."""
    names = {name: int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 16**8 for name in set(identities.tolist())}
    return np.array([names[name] < share for name in identities.tolist()], bool)


def unexplained(
    colours: Float[np.ndarray, "M n 3"],
    weight: Float[np.ndarray, "M n"],
    zone: Zone,
    mean: Float[np.ndarray, "H W 3"],
    basis: Float[np.ndarray, "K h w 3"],
    inside: Float[np.ndarray, "H W2"],
) -> float:
    """Root mean square of what the most probable codes leave of faces' encoded albedo.

    Args:
        colours, weight: at the zone's texels.
        mean, basis: of the model, the basis at half the size.
        inside: over the left half, where faces are compared: above a half.
    """
    at = np.flatnonzero(zone.fold(np.concatenate([inside, inside[:, ::-1]], axis=1))[0] > 0.5)[::EVERY]
    large = basis.repeat(2, axis=1).repeat(2, axis=2)
    directions = np.stack([zone.fold(b)[0][at] for b in large]).reshape(len(basis), -1).astype(np.float64)
    middle = zone.fold(mean)[0][at].ravel()
    total, count = 0.0, 0.0
    for face, w in zip(colours[:, at].reshape(len(colours), -1), weight[:, at], strict=True):
        w3 = np.repeat(w.astype(np.float64), 3)
        if w3.sum() < 1:
            continue
        known = w3 / w3.sum() * INDEPENDENT * 3 / NOISE**2
        rest = face.astype(np.float64) - middle
        codes = np.linalg.solve((directions * known) @ directions.T + np.eye(len(basis)), directions @ (known * rest))
        total += float((w3 * (rest - codes @ directions) ** 2).sum() / w3.sum())
        count += 1
    return float(np.sqrt(total / max(count, 1)))
