"""Noise that repeats at its borders: skin, hair, cloth; and soft noise for backgrounds."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

STRANDS, CURLS, GRAIN, WEAVE, STRIPES, PLAIN = range(6)
"""Patterns of `patterns`."""


def spectrum_noise(
    rng: np.random.Generator,
    size: int,
    power: float,
    low: float | int = 1.0,
    high: float | int = np.inf,
    stretch: float | int = 1.0,
) -> Float[np.ndarray, "n n"]:
    """Gaussian noise of unit variance whose amplitude falls as frequency^−power between two frequencies.

    Args:
        low, high: waves per picture.
        stretch: how much longer it is along the rows' direction (downwards) than across.
    """
    fy = np.fft.fftfreq(size)[:, None] * size * stretch
    fx = np.fft.rfftfreq(size)[None] * size
    frequency = np.hypot(fx, fy)
    gain = np.where((frequency >= low) & (frequency <= high), np.maximum(frequency, 1e-9) ** -power, 0.0)
    spectrum = gain * (rng.standard_normal(gain.shape) + 1j * rng.standard_normal(gain.shape))
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return (noise - noise.mean()) / noise.std()


def patterns(size: int = 256) -> Float[np.ndarray, "P n n"]:
    """Noise for hair and cloth, every value in [0, 1] equally frequent."""
    rng = np.random.default_rng(20)
    y, x = np.mgrid[:size, :size] / size
    strands = spectrum_noise(rng, size, 0.6, 3, 110, stretch=14) + 0.5 * spectrum_noise(rng, size, 1.0, 2, 30, 5)
    curls = spectrum_noise(rng, size, 0.5, 10, 60) + 0.4 * spectrum_noise(rng, size, 1.0, 2, 12)
    grain = spectrum_noise(rng, size, 1.1, 2, 128)
    weave = np.sin(2 * np.pi * 32 * x) * np.sin(2 * np.pi * 32 * y) + 0.8 * spectrum_noise(rng, size, 1.2, 1, 60)
    stripes = np.sign(np.sin(2 * np.pi * 10 * x)) + 0.2 * spectrum_noise(rng, size, 1.0, 1, 100)
    bank = [_ranked(noise) for noise in (strands, curls, grain, weave, stripes)]
    return np.stack([*bank, np.full((size, size), 0.5)]).astype(np.float32)


def skin_heights(size: int = 256, count: int = 6) -> Float[np.ndarray, "n h w"]:
    """Relief of the skin over the UV map, unit variance: pores and fine lines, and softer unevenness."""
    rng = np.random.default_rng(21)
    maps = []
    for index in range(count):
        fine = spectrum_noise(rng, size, 0.2, 30, 110)
        soft = spectrum_noise(rng, size, 1.4, 6, 50)
        maps.append((0.5 + 0.1 * index) * fine + (0.9 - 0.1 * index) * 3.0 * soft)
    return np.stack(maps).astype(np.float32)


def _ranked(noise: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    order = np.empty(noise.size)
    order[np.argsort(noise, axis=None)] = np.arange(noise.size) / (noise.size - 1)
    return order.reshape(noise.shape)
