"""From unlit faces to the statistics that the head is built with: mean, skin tone, components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt, gaussian_filter

from model.openhead.learned import LEARNED, LearnedAlbedo
from training.albedo.gather import SIZE, Faces, Zone
from training.albedo.light import dullness, settle
from training.albedo.pca import robust_components, robust_regression
from training.albedo.tone import Tones, evenly_toned, find_tones, usable
from training.albedo.unwrap import linear_to_srgb, srgb_to_linear

SCALE = 0.08
"""Residual of an encoded colour that halves a texel's weight."""
DOUBT = 0.55
"""Photographs whose tone is less certain than this, in standard deviations, are left out."""
SUPPORT = (0.12, 0.45)
"""Share of the best seen texel's weight from which on, and up to which, a texel's colours are blended in."""
EDGE = 7.0
"""Width of the blend to the built albedo, texels."""
STUDIO = 3.0
"""How much more a face of a studio counts: its light is even and its tone is known."""
SMOOTH = (0.4, 1.2)
"""Smoothing of the first and the last component, texels of the small map: later ones are noisier."""


@dataclass(frozen=True)
class Learned:
    """The statistics, and what they say of the photographs.

    Attributes:
        albedo: what the head is built with.
        used: indices of the photographs.
        tones: of all photographs.
        scores: of the used ones: the tone, then the components.
        colours: of the used ones, encoded albedo at the zone's texels.
        error: root mean square of what the directions do not explain, encoded colour.
        spread: root mean square of the colours about the mean and the tone.
    """

    albedo: LearnedAlbedo
    used: Int[np.ndarray, "M"]
    tones: Tones
    scores: Float[np.ndarray, "M K"]
    colours: Float[np.ndarray, "M n 3"]
    error: float
    spread: float


def learn(
    faces: Faces,
    zone: Zone,
    harmonics: Float[np.ndarray, "n H"],
    studios: Sequence[str],
    about: str,
    directions: int = LEARNED,
) -> Learned:
    """Mean, tone and components of the faces' albedo.

    Args:
        harmonics: see `training.albedo.light.settle`; at the zone's texels.
        studios: see `training.albedo.tone.find_tones`.
        about: sources, for the file.

    Raises:
        ValueError: too few faces.
    """
    tones = find_tones(faces.level, faces.white, faces.group, studios)
    used = np.flatnonzero(usable(faces.level) & (tones.doubt < DOUBT))
    if len(used) <= directions:
        raise ValueError(f"{len(used)} usable faces give no {directions} directions; give more photographs")
    share = evenly_toned(tones.tone[used])
    share[of_studio(faces.group[used], studios)] *= STUDIO
    share /= share.mean()
    weight = faces.weight[used].astype(np.float32)
    colours = albedo_colours(faces, tones, used)

    weighted = weight * share[:, None].astype(np.float32)
    covariates = np.stack([np.ones(len(used)), tones.tone[used]], axis=1)
    mean, tone = robust_regression(colours, weighted, covariates, SCALE, rounds=3)
    for i, t in enumerate(tones.tone[used]):
        expected = _decoded((mean + t * tone).clip(0.01, 1))
        even = settle(_decoded(colours[i]), expected, weight[i].astype(float), harmonics)
        colours[i] = _encoded(even.clip(0, 1))
        weight[i] *= dullness(even, expected)
    rest = colours - mean.astype(np.float32)
    rest -= tones.tone[used][:, None, None].astype(np.float32) * tone.astype(np.float32)
    share *= evenness(rest, weight)
    share /= share.mean()
    weighted = weight * share[:, None].astype(np.float32)
    mean, tone = robust_regression(colours, weighted, covariates, SCALE, rounds=4)
    support = weighted.sum(0) / np.percentile(weighted.sum(0), 95)
    blend = _blend(support, zone)

    small, pooled, at = _halved(colours - (covariates @ np.stack([mean, tone]).reshape(2, -1)).reshape(colours.shape),
                                weight, zone)  # fmt: skip
    kept = _pool(blend[..., None], np.ones(blend.shape))[0][..., 0][at] > 0.02
    components = robust_components(small[:, kept], pooled[:, kept], share, directions - 1, SCALE)
    spread = np.sqrt((share[:, None] * pooled[:, kept] * (small[:, kept] ** 2).sum(-1)).sum()
                     / (3 * (share[:, None] * pooled[:, kept]).sum()))  # fmt: skip

    half = (SIZE // 2, SIZE // 4)
    inside = np.zeros(half, bool)
    inside[at] = kept
    maps = np.zeros((directions, *half, 3))
    maps[0] = _pool(_placed(tone, zone), blend)[0]
    maps[1:, inside] = components.directions.reshape(directions - 1, -1, 3)
    maps = np.stack([_smoothed(m, inside, s) for m, s in zip(maps, np.linspace(*SMOOTH, directions), strict=True)])
    albedo = LearnedAlbedo(_placed(mean, zone).clip(0, 1), blend, maps, about)
    scores = np.concatenate([tones.tone[used][:, None], components.scores], axis=1)
    return Learned(albedo, used, tones, scores, colours, components.error, float(spread))


def of_studio(group: np.ndarray, studios: Sequence[str]) -> Bool[np.ndarray, "N"]:
    """Which faces are of sets whose names contain one of these."""
    return np.array([any(s in name for s in studios) for name in group.tolist()], bool)


def evenness(rest: Float[np.ndarray, "N n 3"], weight: Float[np.ndarray, "N n"]) -> Float[np.ndarray, "N"]:
    """Weights of faces by how near they are to the mean face of their tone: what is far from it is badly lit or fitted.

    A face twice as far off as the middle one counts a fifth; beards and make-up are not that far.
    """
    power = (weight * (rest**2).mean(-1)).sum(1) / np.maximum(weight.sum(1), 1e-6)
    return 1 / (1 + (power / np.median(power)) ** 2 / 4)


def albedo_colours(faces: Faces, tones: Tones, which: Int[np.ndarray, "M"]) -> Float[np.ndarray, "M n 3"]:
    """Encoded albedo of photographs: their colours under even light, without its level and colour."""
    linear = faces.colour[which].astype(np.float32) / tones.light[which][:, None].astype(np.float32)
    return linear_to_srgb(torch.from_numpy(linear.clip(0, 1))).numpy()


def _decoded(colours: np.ndarray) -> np.ndarray:
    return srgb_to_linear(torch.from_numpy(colours)).double().numpy()


def _encoded(colours: np.ndarray) -> np.ndarray:
    return linear_to_srgb(torch.from_numpy(colours)).float().numpy()


def _placed(values: np.ndarray, zone: Zone) -> np.ndarray:
    """The zone's texels in the left half of the map; where there are none, the nearest one's value."""
    out = np.zeros((*zone.half.shape, *values.shape[1:]))
    out[zone.half] = values
    rows, columns = _nearest_inside(zone.half)
    return out[rows, columns]


def _blend(support: np.ndarray, zone: Zone) -> Float[np.ndarray, "H W"]:
    """How much the learned colours count: where many faces are seen, fading towards the edges of that region."""
    seen = np.zeros(zone.half.shape)
    seen[zone.half] = np.clip((support - SUPPORT[0]) / (SUPPORT[1] - SUPPORT[0]), 0, 1)
    whole = np.concatenate([seen, seen[:, ::-1]], axis=1)
    inner = np.asarray(distance_transform_edt(np.pad(whole > 0.5, 1)))[1:-1, 1:-1]
    soft = gaussian_filter(np.clip(inner / EDGE, 0, 1) * whole, 1.0)
    return soft[:, : zone.half.shape[1]]


def _pool(values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means and mean weights of squares of four texels."""
    h, w, c = values.shape
    value = (values * weight[..., None]).reshape(h // 2, 2, w // 2, 2, c).sum(axis=(1, 3))
    total = weight.reshape(h // 2, 2, w // 2, 2).sum(axis=(1, 3))
    plain = values.reshape(h // 2, 2, w // 2, 2, c).mean(axis=(1, 3))
    return np.where(total[..., None] > 1e-6, value / np.maximum(total, 1e-6)[..., None], plain), total / 4


def _halved(colours: np.ndarray, weight: np.ndarray, zone: Zone) -> tuple[np.ndarray, np.ndarray, tuple]:
    """Faces at half the resolution: colours, weights, and where in the small left half the texels lie."""
    at = np.nonzero(_pool(zone.half[..., None].astype(float), np.ones(zone.half.shape))[0][..., 0])
    small = np.zeros((len(colours), len(at[0]), 3), np.float32)
    pooled = np.zeros((len(colours), len(at[0])), np.float32)
    for i, (colour, w) in enumerate(zip(colours, weight, strict=True)):
        image, weights = np.zeros((*zone.half.shape, 3)), np.zeros(zone.half.shape)
        image[zone.half], weights[zone.half] = colour, w
        value, total = _pool(image, weights)
        small[i], pooled[i] = value[at], total[at]
    return small, pooled, at


def _smoothed(image: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    """Smoothed within the region, and carried on beyond it; the mirror image is the neighbour at the midline."""
    whole, mask = np.concatenate([image, image[:, ::-1]], 1), np.concatenate([inside, inside[:, ::-1]], 1).astype(float)
    total = gaussian_filter(whole * mask[..., None], (sigma, sigma, 0))
    weight = gaussian_filter(mask, sigma)
    value = total / np.maximum(weight, 1e-3)[..., None]
    rows, columns = _nearest_inside(mask > 0.5)
    return value[rows, columns][:, : image.shape[1]]


def _nearest_inside(inside: np.ndarray) -> np.ndarray:
    """Rows and columns of the nearest place inside, (2, h, w)."""
    return np.asarray(distance_transform_edt(~inside, return_distances=False, return_indices=True))
