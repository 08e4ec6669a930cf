"""Principal components of maps of which every photograph shows a part, and some parts wrongly.

Weighted low-rank approximation by expectation maximisation (Srebro and Jaakkola 2003): what a photograph does not show
is filled in from the model, by as much as it is not shown; then comes a step of subspace iteration. Texels that the
model explains badly (a shadow, a strand of hair, a highlight) lose weight by Cauchy's function.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_BLOCK = 256


@dataclass(frozen=True)
class Components:
    """A linear space of residuals.

    Attributes:
        directions: per standard deviation, by decreasing variance.
        scores: of every photograph; unit variance under the photographs' weights.
        error: root mean square of what is left, under all weights.
    """

    directions: Float[np.ndarray, "K D"]
    scores: Float[np.ndarray, "N K"]
    error: float


def robust_regression(
    x: Float[np.ndarray, "N n C"],
    weight: Float[np.ndarray, "N n"],
    covariates: Float[np.ndarray, "N q"],
    scale: float,
    prior: tuple[Float[np.ndarray, "q n C"], Float[np.ndarray, "q"]] | None = None,
    rounds: int = 5,
) -> Float[np.ndarray, "q n C"]:
    """Every texel's values as a linear function of covariates, by reweighted least squares.

    Args:
        x: maps.
        weight: of texels and photographs.
        covariates: with a column of ones where there is to be a constant.
        scale: residual (root mean square over the channels) that halves a texel's weight.
        prior: what the coefficients are drawn to, and as how much total weight.
    """
    n, q = x.shape[1], covariates.shape[1]
    squares = (covariates[:, :, None] * covariates[:, None, :]).reshape(-1, q * q)
    about = np.zeros((covariates.shape[1], *x.shape[1:])) if prior is None else prior[0]
    strength = np.full(covariates.shape[1], 1e-6) if prior is None else prior[1]
    coefficients = np.array(about, np.float64)
    for start in range(0, n, _BLOCK):
        part = slice(start, min(n, start + _BLOCK))
        values, w0 = x[:, part].astype(np.float64), weight[:, part].astype(np.float64)
        doubt = np.ones_like(w0)
        for _ in range(rounds):
            w = w0 * doubt
            normal = (w.T @ squares).reshape(-1, q, q) + np.diag(strength)
            right = np.tensordot(w[..., None] * values, covariates, (0, 0)).transpose(0, 2, 1)
            right += strength[:, None] * about[:, part].transpose(1, 0, 2)
            found = np.linalg.solve(normal, right)
            rest = values - np.tensordot(covariates, found, (1, 1))
            doubt = 1 / (1 + (rest**2).mean(-1) / scale**2)
        coefficients[:, part] = found.transpose(1, 0, 2)
    return coefficients


def robust_components(
    x: Float[np.ndarray, "N n C"],
    weight: Float[np.ndarray, "N n"],
    face_weight: Float[np.ndarray, "N"],
    count: int,
    scale: float,
    rounds: int = 40,
    seed: int = 0,
) -> Components:
    """Principal components of maps about zero.

    Args:
        x: maps, their mean taken off.
        weight: [0, 1], of texels.
        face_weight: of photographs, mean 1.
        count: of components.
        scale: residual (root mean square over the channels) that halves a texel's weight.
        rounds: of iteration.

    Raises:
        ValueError: fewer photographs than components.
    """
    faces, texels, channels = x.shape
    if faces <= count:
        raise ValueError(f"{faces} photographs give no {count} directions; give more, or ask for fewer")
    flat = x.reshape(faces, -1).astype(np.float32)
    seen = np.repeat(weight.astype(np.float32), channels, axis=1)
    share = (face_weight / face_weight.sum()).astype(np.float32)
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(texels * channels, count)).astype(np.float32))[0].T
    scores = np.zeros((faces, count), np.float32)
    trusted, error = seen, 0.0
    for k in range(rounds):
        model = scores @ basis
        rest = flat - model
        if k >= 5:
            doubt = 1 / (1 + (rest.reshape(x.shape) ** 2).mean(-1) / scale**2)
            trusted = seen * np.repeat(doubt.astype(np.float32), channels, axis=1)
        left = float((share[:, None] * trusted * rest**2).sum())
        total = float((share[:, None] * trusted).sum())
        error = float(np.sqrt(left / total))
        filled = model + trusted * rest
        scores = filled @ basis.T
        # Faces of which little is seen would have wild scores: they are drawn to zero, the more the less is seen.
        variance = (share[:, None] * scores**2).sum(0)
        noise = error**2 * texels * channels / max(float(trusted.mean()) * texels * channels, 1.0)
        scores *= variance / (variance + noise)
        basis = np.linalg.qr((filled.T * share) @ scores)[0].T
    scores = filled @ basis.T
    values, turn = np.linalg.eigh((scores.T * share) @ scores)
    order = np.argsort(-values)
    spread = np.sqrt(np.maximum(values[order], 1e-12))
    directions = (turn[:, order].T @ basis) * spread[:, None]
    return Components(directions.astype(np.float32), (scores @ turn[:, order] / spread).astype(np.float32), error)
