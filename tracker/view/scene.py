"""Where things stand in the page's space: +x right, +y up, +z to the viewer.

Beside the picture a head stands in the middle, one unit to a quarter of a metre, and turns as it did. Over the
picture it lies where the full-frame camera sees it; the picture is one unit high, or less where it is too wide.

The page's camera has a perspective, the track's has none (scaled orthographic). So that the two agree exactly when the
page is looked at from its `HOME`, what stands at height z before the picture is drawn nearer to the middle by
1 − z / distance; from elsewhere this hardly shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

FIELD = math.radians(20.0)
"""Vertical field of view."""
METRE = 4.0
"""Units of a metre, beside the picture."""
DEPTH = 0.13
"""Metres from the origin of the head, amid the skull, back to the picture, where the head lies over it."""


@dataclass(frozen=True)
class Home:
    """From where a view is looked at first: distance from the origin along +z, units."""

    distance: float


BESIDE = Home(1.55 / (2 * math.tan(FIELD / 2)))
OVER = Home(1.06 / (2 * math.tan(FIELD / 2)))


def beside(vertices: Float[np.ndarray, "V 3"], centre: Float[np.ndarray, "3"]) -> Float[np.ndarray, "V 3"]:
    """Vertices (metres, camera axes) about a point that stays in the middle."""
    return ((vertices - centre) * METRE).astype(np.float32)


def over(
    vertices: Float[np.ndarray, "V 3"],
    camera: Float[np.ndarray, "3"],
    size: tuple[int, int],
    origin: Float[np.ndarray, "3"],
    tall: float = 1.0,
    home: Home = OVER,
) -> Float[np.ndarray, "V 3"]:
    """Vertices (metres, camera axes) before the picture that they were seen in.

    Args:
        camera: s, tx, ty of the full frame.
        size: width, height of the frame, px.
        origin: a point amid the head, metres; `DEPTH` behind it is the picture.
        tall: height of the picture, units.
    """
    width, height = size
    s, tx, ty = (float(v) for v in camera)
    unit = tall / height
    x = (s * vertices[:, 0] + tx - width / 2) * unit
    y = -(-s * vertices[:, 1] + ty - height / 2) * unit
    z = s * (vertices[:, 2] - origin[2] + DEPTH) * unit
    nearer = 1 - z / home.distance
    return np.stack([x * nearer, y * nearer, z], 1).astype(np.float32)


def seen_at(
    points: Float[np.ndarray, "N 3"], size: tuple[int, int], tall: float = 1.0, home: Home = OVER
) -> Float[np.ndarray, "N 2"]:
    """Where points of the page fall on the picture when they are looked at from home, px of the frame."""
    width, height = size
    on_plane = points[:, :2] * (home.distance / (home.distance - points[:, 2:]))
    unit = height / tall
    return np.stack([on_plane[:, 0] * unit + width / 2, height / 2 - on_plane[:, 1] * unit], 1)
