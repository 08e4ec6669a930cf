"""Light off: the second-order light on one face, and its colours as they would be under even light.

The photograph is linear albedo times ``transfer @ light`` (Ramamoorthi and Hanrahan 2001). What a face's own colour is
and what the light's is cannot be told from one photograph: here only the light's shape is found and taken off; its
level and colour stay in the colours. `training.albedo.tone` parts these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from training.albedo.unwrap import LUMINANCE

SPREAD = np.repeat([0.55, 0.3], [3, 5])
"""Standard deviations of the shading by the harmonics above the first, in parts of the even light."""
TINTED = 0.3
"""Standard deviation of a channel's light about the luminance's, in the same parts, as a share of `SPREAD`."""
TEXTURE = 0.12
"""Standard deviation of skin about its mean under the light, in parts of it; further off is doubted (Cauchy)."""
INDEPENDENT = 120.0
"""Places of skin that count as independent of each other: neighbours err alike."""
DARKEST = 0.35
"""Least shading that colours are divided by, in parts of the even light; below half of it they do not count."""
GLARE = (0.15, 0.3)
"""Logarithm of how much brighter than mean skin a texel may be, and by how much more halves its trust."""
MOST = 3000
"""Texels of skin that the light is found from; more are thinned."""
LEFT = (0.15, 0.03)
"""Spread of what is left of the light, logarithms: of brightness, of a channel about it."""
SHINE = (0.08, 0.12)
"""As `GLARE`, where the tone is known."""
_ROUNDS = 6


@dataclass(frozen=True)
class Lit:
    """A face's light.

    Attributes:
        light: by colour, head axes, for linear RGB.
        level: shading of a place that faces the viewer (mean over the skin), RGB.
        shading: by texel, in parts of the level, RGB; at least `DARKEST`.
        trust: [0, 1] by texel: less where shading is weak, and on highlights.
    """

    light: Float[np.ndarray, "9 3"]
    level: Float[np.ndarray, "3"]
    shading: Float[np.ndarray, "N 3"]
    trust: Float[np.ndarray, "N"]


def find_light(
    colour: Float[np.ndarray, "N 3"],
    albedo: Float[np.ndarray, "N 3"],
    transfer: Float[np.ndarray, "N 9"],
    skin: Float[np.ndarray, "N"],
) -> Lit:
    """The light on a face by robust least squares, drawn to even white light.

    Args:
        colour: linear RGB.
        albedo: of a mean face, linear RGB; its level does not matter.
        transfer: of the texels.
        skin: weights; zero on all that is not plain skin.

    Raises:
        ValueError: no skin.
    """
    used = np.flatnonzero(skin > 0.05)
    if len(used) < 50:
        raise ValueError(f"{len(used)} texels of skin; 50 are needed to find a light")
    used = used[:: max(1, len(used) // MOST)]
    weight = skin[used] / skin[used].sum() * INDEPENDENT
    t = transfer[used] / np.median(transfer[used][:, 0])
    luminance = np.array(LUMINANCE)
    grey = _solve(colour[used] @ luminance, albedo[used] @ luminance, t, weight, None)
    ratio = [
        np.median(colour[used][:, k] / np.maximum(albedo[used][:, k] * _at_least(t @ grey), 1e-4)) for k in range(3)
    ]
    light = np.stack(
        [_solve(colour[used][:, k], albedo[used][:, k], t, weight, ratio[k] * grey) for k in range(3)], axis=1
    )
    level = np.average(_at_least(t @ light), axis=0, weights=skin[used])
    shading = transfer / np.median(transfer[used][:, 0]) @ light / level
    trust = _ramp(shading @ luminance, 0.5 * DARKEST, 1.3 * DARKEST)
    shading = np.maximum(shading, DARKEST)
    # Highlights are brighter than skin under this light could be.
    excess = (colour / np.maximum(albedo * shading * level, 1e-4)) @ luminance
    glare = np.maximum(np.log(np.maximum(excess, 1e-3)) - GLARE[0], 0) / GLARE[1]
    trust = trust * np.where(skin > 0.05, 1 / (1 + glare**2), 1.0)
    return Lit(light / np.median(transfer[used][:, 0]), level, shading, trust)


def settle(
    colour: Float[np.ndarray, "n 3"],
    expected: Float[np.ndarray, "n 3"],
    weight: Float[np.ndarray, "n"],
    harmonics: Float[np.ndarray, "n H"],
) -> Float[np.ndarray, "n 3"]:
    """A face's even colours without what is left of the light: smooth deviations from what its tone lets expect.

    The light was found with a painted face. Where the true mean face is known, the rest of it can be found: logarithms
    of the colours over the expected ones, as far as a few smooth functions of the normal explain them.

    Args:
        colour: linear RGB, under even light.
        expected: the mean face of this tone, linear RGB.
        weight: of the texels.
        harmonics: functions of the place that light may have left; the first constant.
    """
    some = slice(None, None, max(1, len(colour) // MOST))
    ratio = np.log(np.maximum(colour[some], 1e-3) / np.maximum(expected[some], 1e-3))
    size = harmonics.std(axis=0)
    size[0] = 1.0
    rows = harmonics / size
    rows[:, 1:] -= np.average(rows[:, 1:], axis=0, weights=weight + 1e-9)
    grey = ratio @ np.array(LUMINANCE)
    left = _ridge(grey, rows[some], weight[some], LEFT[0])
    tint = [_ridge(ratio[:, k] - grey, rows[some], weight[some], LEFT[1]) for k in range(3)]
    return colour / np.exp(rows @ (left[:, None] + np.stack(tint, axis=1)))


def dullness(colour: Float[np.ndarray, "n 3"], expected: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    """[0, 1], less for skin so much brighter than expected that it must be a highlight; 1 on brows and lips."""
    seen, mean = (np.maximum(rgb @ np.array(LUMINANCE), 1e-3) for rgb in (colour, expected))
    excess = np.maximum(np.log(seen / mean) - SHINE[0], 0) / SHINE[1]
    return np.where(mean > 0.75 * np.median(mean), 1 / (1 + excess**2), 1.0)


def _ridge(values: np.ndarray, rows: np.ndarray, weight: np.ndarray, spread: float) -> Float[np.ndarray, "H"]:
    """Coefficients of columns that explain values, robustly; `spread` is what is expected of them."""
    w = weight / max(float(weight.sum()), 1e-9) * INDEPENDENT / 2 / TEXTURE**2
    doubt, found = np.ones(len(values)), np.zeros(rows.shape[1])
    for _ in range(4):
        weighted = rows * (w * doubt)[:, None]
        found = np.linalg.solve(rows.T @ weighted + np.eye(rows.shape[1]) / spread**2, weighted.T @ values)
        doubt = 1 / (1 + ((values - rows @ found) / TEXTURE) ** 2)
    return found


def _solve(
    colour: np.ndarray, albedo: np.ndarray, t: np.ndarray, weight: np.ndarray, about: np.ndarray | None
) -> Float[np.ndarray, "9"]:
    """One channel's light. `about` is what it is drawn to; by default even light of any level."""
    first = np.zeros(9)
    first[0] = np.sum(weight * colour * albedo) / np.sum(weight * albedo**2)
    light = first if about is None else about
    level = float(np.mean(_at_least(t @ light)))
    # The harmonics' values on a sphere have these sizes, next to the first's.
    size = np.sqrt(np.array([1, 4 / 3, 4 / 3, 4 / 3, 0.42, 0.42, 0.42, 0.1, 0.1]))
    precision = np.zeros(9)
    precision[1:] = (size[1:] / (SPREAD * (1.0 if about is None else TINTED))) ** 2
    target = np.zeros(9) if about is None else about
    doubt = np.ones(len(colour))
    for _ in range(_ROUNDS):
        predicted = albedo * np.maximum(_at_least(t @ light), 0.3 * level)
        rows = albedo[:, None] * t / predicted[:, None]
        w = weight * doubt / TEXTURE**2
        normal = rows.T @ (w[:, None] * rows) + np.diag(precision / level**2)
        light = np.linalg.solve(normal, rows.T @ (w * colour / predicted) + precision / level**2 * target)
        rest = (colour - albedo * (t @ light)) / predicted
        doubt = 1 / (1 + (rest / (2 * TEXTURE)) ** 2)
    return light


def _at_least(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 1e-3)


def _ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((x - low) / (high - low), 0, 1)
