"""A track's cameras as places in a scene: metres, y up, the video's camera looking along −z from (0, 0, `distance`).

The tracker's camera is scaled orthographic: ``u = s X + tx``, ``v = ty − s Y``. It does not tell how far away a head
is: a growing face is a larger s. A scene can say that in two ways, which both show the head where the video does:

- *orthographic* (the default, exact): the head stays at z = 0 and its size follows s. With s₀ px to a metre::

      translation = ((tx − W/2) / s₀, (H/2 − ty) / s₀, 0)      scale = s / s₀

- *perspective*, when a distance d is given: the head keeps its size and comes nearer. The lens has f = s₀ d, so::

      translation = ((tx − W/2) / s, (H/2 − ty) / s, d − f / s)      scale = 1

  It shows the head's origin exactly where the video does, and other points at a relative error of depth / d.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tracker.track import Track

_AWAY = 2.0
"""Metres from an orthographic camera to the head's origin: before any head, whatever its size."""


@dataclass(frozen=True)
class Motion:
    """Where a head is, one row per row of its track.

    Attributes:
        translation: of the origin of head space, metres.
        scale: of the head, about that origin.
    """

    translation: Float[np.ndarray, "T 3"]
    scale: Float[np.ndarray, "T"]


@dataclass(frozen=True)
class Scene:
    """How pixels become metres.

    Attributes:
        reference: s₀, px per metre.
        size: of the video, px.
        distance: from the camera to the place of a head of that scale, metres; None for an orthographic camera.
        still: leave out where the head is in the picture; only its rotation stays.
    """

    reference: float
    size: tuple[int, int]
    distance: float | None = None
    still: bool = False

    def motion(self, track: Track) -> Motion:
        """Place and size of the head in every row."""
        s, tx, ty = track.camera.astype(np.float64).T
        if self.still:
            return Motion(np.zeros((len(track), 3)), np.ones(len(track)))
        offset = np.stack([tx - self.size[0] / 2, self.size[1] / 2 - ty, np.zeros_like(s)], axis=1)
        if self.distance is None:
            return Motion(offset / self.reference, s / self.reference)
        place = offset / s[:, None]
        place[:, 2] = self.distance * (1 - self.reference / s)
        return Motion(place, np.ones(len(track)))

    @property
    def focal(self) -> float:
        """Focal length, px, of the perspective camera."""
        assert self.distance is not None
        return self.reference * self.distance

    @property
    def camera_z(self) -> float:
        """Where the camera stands on the z axis, metres."""
        return _AWAY if self.distance is None else self.distance

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the picture at z = 0, metres."""
        return self.size[0] / self.reference, self.size[1] / self.reference


def scene_of(track: Track, distance: float | None = None, still: bool = False) -> Scene:
    """The scene of a whole track: the median scale of all seen faces is what it is measured in.

    Raises:
        ValueError: the distance is not positive.
    """
    if distance is not None and not distance > 0:
        raise ValueError(f"--distance {distance:g}: must be a positive number of metres")
    scales = track.camera[:, 0]
    seen = scales[track.valid] if track.valid.any() else scales
    return Scene(float(np.median(seen)), track.size, distance, still)
