"""What surrounds a rendered head in a clip: a room, clothes, and the camera's noise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from tracker.image import warp

SIDE = 512  # of the frames, px
_NOISE = 0.012  # standard deviation of the sensor's noise at mid grey, of [0, 1]


def as_filmed(image: Float[np.ndarray, "H W 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "H W 3"]:
    """A picture in [0, 1] with a sensor's noise, stronger where it is bright, finer in colour than in light."""
    grain = 0.8 * rng.standard_normal((*image.shape[:2], 1)) + 0.6 * rng.standard_normal(image.shape)
    noisy = image + _NOISE * np.sqrt(0.3 + 1.4 * image.clip(0, 1)) * grain
    return (255 * noisy.clip(0, 1)).round().astype(np.uint8)


def room(rng: np.random.Generator) -> Float[np.ndarray, "H W 3"]:
    """A wall, a shelf of coloured things and lights, out of focus; larger than the frame, [0, 1]."""
    side = SIDE
    y, x = np.mgrid[:side, :side] / side
    wall = np.array([0.42, 0.44, 0.46]) + 0.12 * (y - x)[..., None] * np.array([1.0, 0.8, 0.5])
    for _ in range(60):
        x0, y0, w, h = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.02, 0.12), rng.uniform(0.04, 0.25)
        inside = _soft(w - np.abs(x - x0), 0.012) * _soft(h - np.abs(y - y0), 0.012)
        colour = rng.uniform(0.1, 0.75) + 0.12 * rng.standard_normal(3) * np.array([1.2, 0.7, 1.0])
        wall += 0.6 * inside[..., None] * (colour.clip(0, 1) - wall)
    for _ in range(14):
        disc = _soft(rng.uniform(0.01, 0.03) - np.hypot(x - rng.uniform(), y - rng.uniform()), 0.005)
        wall += 0.5 * disc[..., None] * (np.array([1.0, 0.9, 0.7]) - wall)
    return wall.clip(0, 1)


def _soft(distance: Float[np.ndarray, "..."], blur: float) -> Float[np.ndarray, "..."]:
    """1 inside, 0 outside of an edge at distance 0."""
    return np.clip(0.5 + distance / (2 * blur), 0, 1)


def surroundings(
    wall: Float[np.ndarray, "H W 3"], s: float, neck: tuple[float, float]
) -> tuple[Float[np.ndarray, "512 512 3"], Float[np.ndarray, "512 512 3"], Float[np.ndarray, "512 512 1"]]:
    """What is behind the head (the room, which moves half as much as the head does, and shoulders), the cloth, and
    where the cloth is in front: a round neckline over the hem of the neck."""
    zoom = 2 * (0.5 + 0.5 * s / 1400)
    shift = 0.5 * (np.array(neck) - zoom * SIDE) + SIDE * np.array([0.25, 0.0])
    T = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    picture = warp((255 * wall).round().astype(np.uint8), T, (SIDE, SIDE), border="reflect") / 255.0
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5 - np.array([neck[1], neck[0]])[:, None, None]) / s  # metres from the hem
    out = np.abs(x)
    shoulders = _soft(y + 0.075 - 0.12 * (out / 0.2) ** 1.3, 0.0015)[..., None]
    neckline = _soft(y + 0.012 + 0.03 * np.minimum(out / 0.07, 1.2) ** 2, 0.0015)[..., None]
    weave = 0.02 * np.sin(400 * y + 60 * x**2) - 0.25 * out
    cloth = np.array([0.16, 0.22, 0.33]) + weave[..., None] * np.array([0.3, 0.35, 0.4])
    return picture + shoulders * (cloth - picture), cloth, neckline * shoulders
