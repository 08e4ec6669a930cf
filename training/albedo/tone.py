"""Whose the colour is: how dark or light each person's skin is, and how bright and of which colour the light was.

One photograph gives their product. Three things tell them apart:
- Skin is of a narrow family of colours: one curve from the darkest to the lightest people (`model.openhead.paint`), and
  a little redness and yellowness about it.
- The light of one set of photographs has a mean and a spread, in brightness and colour. Both are estimated with the
  people's tones, by expectation maximisation. Sets made in one studio with one setting have hardly any spread: there
  the photograph gives the tone.
- The white of the eyes is the same white in everybody, under the same light as the skin: the darker the skin, the
  brighter the eyes beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from model.openhead.paint import DARK_SKIN, LIGHT_SKIN, linear_rgb, srgb_decoded, srgb_encoded

TONES = np.linspace(-2.6, 2.6, 105)
"""Tones that are weighed, in standard deviations of the painted lightness: −2 the darkest people, 2 the lightest."""
PEOPLE = ((0.75, 1.0, 0.4), (0.25, -0.5, 0.85))
"""Tones of the people of photograph collections: share, mean and spread of light-skinned ones (mean L* 65, what is
measured of Europeans and East Asians), and of all others."""
CHROMA = (0.05, 0.08)
"""Spread of the logarithm of red and of blue over green, of skin of one tone."""
STUDIO = np.array([0.05, 0.02, 0.02])
"""Spread of the light of one studio: logarithms of green, red over green, blue over green."""
SPREAD = np.array([0.35, 0.12, 0.18])
"""The same where every photograph has its own light, at first."""
PRIOR_COUNT = 20.0
"""Photographs that this first guess of the spread counts as."""
WHITE = 0.30
"""Spread of the logarithm of the white of the eyes beside the light."""
_ROUNDS = 30

_OPPONENT = np.array([[0.0, 1.0, 0.0], [1.0, -1.0, 0.0], [0.0, -1.0, 1.0]])  # log RGB to green, red/green, blue/green


@dataclass(frozen=True)
class Tones:
    """What was found of every photograph.

    Attributes:
        tone: expected, standard deviations as `TONES`.
        doubt: its standard deviation.
        light: RGB, what a face's evenly lit colours are to be divided by.
    """

    tone: Float[np.ndarray, "N"]
    doubt: Float[np.ndarray, "N"]
    light: Float[np.ndarray, "N 3"]


def skin_curve(tones: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n 3"]:
    """Skin of these tones, linear RGB, as it is painted."""
    dark, light = srgb_encoded(linear_rgb(DARK_SKIN)), srgb_encoded(linear_rgb(LIGHT_SKIN))
    return srgb_decoded(np.clip(0.5 * (dark + light) + tones[..., None] * 0.25 * (light - dark), 0.02, 1))


def find_tones(
    level: Float[np.ndarray, "N 3"],
    white: Float[np.ndarray, "N"],
    group: np.ndarray,
    studios: Sequence[str] = (),
) -> Tones:
    """Part the level of the light, as found for skin of tone 0, into tone and light.

    Args:
        level: `training.albedo.gather.Faces.level`.
        white: of the eyes beside that level; NaN where not seen.
        group: the set of each photograph.
        studios: sets whose name contains one of these have one and the same light.
    """
    steps = np.log(skin_curve(TONES) / skin_curve(np.zeros(1))) @ _OPPONENT.T
    seen = np.log(np.maximum(level, 1e-3)) @ _OPPONENT.T
    noise = np.array([0.03, *CHROMA]) ** 2
    people = np.log(
        sum(share / spread * np.exp(-0.5 * ((TONES - mean) / spread) ** 2) for share, mean, spread in PEOPLE)
    )
    tone, doubt, light = np.zeros(len(seen)), np.zeros(len(seen)), np.zeros((len(seen), 3))
    for name in np.unique(group):
        of = np.flatnonzero(group == name)
        studio = any(s in str(name) for s in studios)
        y, eyes = seen[of], np.log(np.maximum(white[of], 1e-3))
        use = np.isfinite(eyes)
        spread = (STUDIO if studio else SPREAD) ** 2
        rest = y[:, None] - steps[None]  # (photographs, tones, 3): the light that each tone asks for
        beside = eyes[:, None] + steps[None, :, 0]  # the eyes' white beside the light
        middle = np.searchsorted(TONES, PEOPLE[0][1])
        mean, kappa = np.median(rest[:, middle], axis=0), np.median(beside[use, middle]) if use.any() else 0.0
        p = np.zeros((len(of), len(TONES)))
        for _ in range(_ROUNDS):
            score = people - 0.5 * _tamed((rest - mean) ** 2 / (spread + noise)).sum(-1)
            score[use] -= 0.5 * _tamed(((beside[use] - kappa) / WHITE) ** 2)
            p = np.exp(score - score.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            mean = np.einsum("nt,ntc->c", p, rest) / len(of)
            kappa = float((p * beside)[use].sum() / max(use.sum(), 1))
            if not studio:
                found = np.einsum("nt,ntc->c", p, np.minimum((rest - mean) ** 2, 9 * spread))
                spread = np.maximum((found - len(of) * noise).clip(0) + PRIOR_COUNT * SPREAD**2, 0) / (
                    len(of) + PRIOR_COUNT
                )
        tone[of] = p @ TONES
        doubt[of] = np.sqrt(np.maximum(p @ TONES**2 - tone[of] ** 2, 0))
        asked = np.einsum("nt,ntc->nc", p, rest)
        share = spread / (spread + noise)
        share[0] = 1.0  # brightness that is not tone is light
        light[of] = mean + share * (asked - mean)
    return Tones(tone, doubt, np.exp(light @ np.linalg.inv(_OPPONENT).T))


def evenly_toned(tone: Float[np.ndarray, "N"], most: float = 8.0) -> Float[np.ndarray, "N"]:
    """Weights of photographs under which tones are spread about as evenly as they are painted (0 ± 1); mean 1.

    Args:
        most: the largest weight, before they are brought to the mean; few faces must not speak for a whole tone.
    """
    width = 0.35
    density = np.exp(-0.5 * ((tone[:, None] - tone[None]) / width) ** 2).mean(axis=1)
    wanted = np.exp(-0.5 * (tone / 1.2) ** 2)
    weight = wanted / density
    weight = np.minimum(weight, most * np.median(weight))
    return weight / weight.mean()


def usable(level: Float[np.ndarray, "N 3"]) -> Bool[np.ndarray, "N"]:
    """Photographs whose light has a believable colour: no black and white, no red or blue stage light."""
    ratio = np.log(np.maximum(level, 1e-3)) @ _OPPONENT.T[:, 1:]
    middle = np.median(ratio, axis=0)
    return (np.abs(ratio - middle) < [0.45, 0.6]).all(axis=1)


def _tamed(squares: np.ndarray) -> np.ndarray:
    """Squares of deviations that grow ever slower: rare lights are not impossible (Student's t, 5 degrees)."""
    return 6 * np.log1p(squares / 5)
