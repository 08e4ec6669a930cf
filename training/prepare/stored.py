"""The part of a photograph that is stored, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from tracker.image import warp
from training.prepare.quality import box_side


@dataclass(frozen=True)
class Window:
    """A rectangle of a photograph, perhaps shrunk.

    Attributes:
        corner: x, y of its top-left corner in the photograph, px.
        scale: its px per px of the photograph, at most 1.
        size: width, height, px of its own.
    """

    corner: Float[np.ndarray, "2"]
    scale: float
    size: tuple[int, int]

    def cut(self, picture: UInt8[np.ndarray, "H W *C"]) -> UInt8[np.ndarray, "h w *C"]:
        """This part of the photograph, or of a picture of the same size."""
        if self.scale == 1:
            (x, y), (w, h) = self.corner.astype(int), self.size
            return np.ascontiguousarray(picture[y : y + h, x : x + w])
        x, y = -self.scale * self.corner
        return warp(picture, np.array([[self.scale, 0, x], [0, self.scale, y]]), self.size, border="edge")

    def points(self, points: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
        """Pixels of the photograph to pixels of the window."""
        return (points - self.corner) * self.scale

    @property
    def whole(self) -> Float[np.ndarray, "2"]:
        """Width, height, px of the window."""
        return np.array(self.size, float)


def window_around(points: Float[np.ndarray, "N 2"], width: int, height: int, room: float, most: int) -> Window:
    """The square of `room` times the points' box, as far as it lies in the photograph, no side over `most` px."""
    middle, half = (points.min(axis=0) + points.max(axis=0)) / 2, room * box_side(points) / 2
    limit = np.array([width, height])
    low = np.clip(np.floor(middle - half), 0, limit - 1)
    high = np.clip(np.ceil(middle + half), low + 1, limit)
    scale = min(1.0, most / float((high - low).max()))
    w, h = np.maximum(1, np.floor(scale * (high - low) + 0.5)).astype(int).tolist()
    return Window(low, scale, (w, h))
