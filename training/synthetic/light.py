"""Light: ambient and one to three lamps, as second-order spherical harmonics in the convention of DECA's renderer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from model.shading import sh_basis

_Y = (
    math.pi / math.sqrt(4 * math.pi),  # DECA's factor of the constant lacks the π of a Lambertian surface
    *(math.sqrt(3 / (4 * math.pi)),) * 3,
    *(math.sqrt(15 / (4 * math.pi)),) * 3,
    math.sqrt(15 / (16 * math.pi)),
    math.sqrt(5 / (16 * math.pi)),
)


@dataclass(frozen=True)
class Light:
    """What falls on a face.

    Attributes:
        harmonics: coefficients by colour; `model.views.shading_view` makes the shading of them.
        direction: towards the lamps, unit, camera axes.
        colour: of the lamps, RGB: the shading of skin that faces one.
    """

    harmonics: Float[np.ndarray, "9 3"]
    direction: Float[np.ndarray, "L 3"]
    colour: Float[np.ndarray, "L 3"]

    @property
    def factors(self) -> Float[np.ndarray, "9 3"]:
        """The coefficients times what `model.shading.sh_basis` multiplies its polynomials by."""
        some = torch.tensor([[2.0, 3.0, 5.0]], dtype=torch.float64)
        x, y, z = some[0]
        plain = torch.stack([torch.ones_like(x), x, y, z, x * y, x * z, y * z, x**2 - y**2, 3 * z**2 - 1])
        return (self.harmonics * (sh_basis(some)[0] / plain).numpy()[:, None]).astype(np.float32)

    def on(self, normal: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
        """Shading of a surface, RGB."""
        return self.harmonics.T @ sh_basis(torch.from_numpy(normal[None]).float()).numpy()[0]


def lamp_harmonics(direction: Float[np.ndarray, "L 3"], colour: Float[np.ndarray, "L 3"]) -> Float[np.ndarray, "9 3"]:
    """Coefficients of distant lamps: shading about ``colour max(0, n·direction)`` (Basri and Jacobs 2003)."""
    x, y, z = direction.T
    basis = np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x**2 - y**2, 3 * z**2 - 1], axis=-1)
    return (basis * np.array(_Y)).T @ colour


def draw_light(rng: np.random.Generator, skin: Float[np.ndarray, "3"]) -> Light:
    """Light as in photographs: soft or hard, from above more often than from below, warm or cold, sometimes from one
    side or from behind; exposed for the picture rather than for the skin, so dark skin stays darker than light skin.

    The shading is positive on all that faces the camera.

    Args:
        skin: mean albedo of the skin, RGB.
    """
    count = int(rng.choice([1, 2, 3], p=[0.45, 0.4, 0.15]))
    kind = rng.choice(["soft", "key", "side", "back"], p=[0.4, 0.35, 0.17, 0.08])
    azimuth = rng.uniform(-np.pi, np.pi, count)
    azimuth[0] = {
        "soft": rng.normal(0.0, 0.6),
        "key": rng.normal(0.0, 0.8),
        "side": rng.choice([-1, 1]) * rng.uniform(0.9, 1.7),
        "back": rng.choice([-1, 1]) * rng.uniform(1.8, 2.8),
    }[kind]
    height = np.clip(rng.normal(0.45, 0.4, count), -0.6, 1.3)
    direction = np.stack([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)], axis=-1)
    ambient = {"soft": rng.uniform(0.5, 1.4), "key": rng.uniform(0.2, 0.7)}.get(kind, rng.uniform(0.12, 0.45))
    strength = rng.uniform(0.3, 1.0, count) * np.where(np.arange(count) == 0, 1.3, 0.6)
    tint = _tint(rng, 0.05) if rng.random() < 0.85 else _tint(rng, 0.25)
    colour = strength[:, None] * tint * np.stack([_tint(rng, 0.06) for _ in range(count)])

    sky = 0.35 * rng.standard_normal(3) * np.array([0.5, 0.7, 0.4]) + np.array([0.0, 0.25, 0.15])
    harmonics = lamp_harmonics(direction, colour)
    around = ambient * _tint(rng, 0.07)
    harmonics[0] += around * math.sqrt(4 * math.pi)
    harmonics[1:4] += 0.35 * around * sky[:, None] * np.stack([_tint(rng, 0.08) for _ in range(3)])
    harmonics[4:] += 0.05 * around * rng.standard_normal((5, 1))

    normals = _sphere(160)
    normals = normals[normals[:, 2] > -0.15]
    basis = sh_basis(torch.from_numpy(normals)).numpy()
    shading = basis @ harmonics
    lack = np.maximum(0.06 * shading.max(0) - shading.min(0), 0).max()
    harmonics[0] += lack * math.sqrt(4 * math.pi)
    shading = shading + lack

    facing = np.clip(normals[:, 2], 0, None)
    grey = np.array([0.3, 0.59, 0.11])
    mean = float((facing @ shading / facing.sum() * skin) @ grey)
    wanted = 0.56 * (float(skin @ grey) / 0.5) ** 0.55 * np.exp(0.27 * rng.standard_normal())
    exposure = np.clip(wanted, 0.08, 0.85) / mean
    exposure = min(exposure, 1.25 / float(np.quantile(shading * skin, 0.9)))  # little of the face burns out
    return Light(harmonics * exposure, direction, colour * exposure)


def _tint(rng: np.random.Generator, spread: float) -> Float[np.ndarray, "3"]:
    """A colour about white: warm or cold, and a little green or magenta; grey value 1."""
    warm, green = spread * rng.standard_normal(), 0.35 * spread * rng.standard_normal()
    colour = np.exp(np.array([warm, green, -warm]))
    return colour / (colour @ np.array([0.3, 0.59, 0.11]))


def _sphere(count: int) -> Float[np.ndarray, "n 3"]:
    """Directions spread evenly (a Fibonacci lattice)."""
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    angle = np.pi * (1 + math.sqrt(5)) * index
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=-1)
