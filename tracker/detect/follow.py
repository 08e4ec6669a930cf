"""The next crop of a face that is followed: predicted, and moved a little from frame to frame on purpose.

The answer of a landmark network depends on where its crop lies. A crop that follows the previous points makes that
error slow: it drifts with the head, and no smoothing over time can tell it from motion. Two things mend it at no cost.
The crop is predicted by an alpha-beta filter (constant velocity), so that it does not trail behind a moving head; and
it is dithered: moved, scaled and turned by one or two hundredths in a pattern that alternates every frame, so that what
is left of the error alternates too, and the smoother averages it away. `tests/benchmarks/accuracy.py smoothing` prints
what that brings on a photograph whose motion is known.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_ALPHA, _BETA = 0.6, 0.25  # gains of the alpha-beta filter: place, velocity
_DITHER = 0.015  # part of the crop's side; radians for the angle
_PATTERN = np.array([(1, 0, 1, 0.8), (-1, 0, -1, -0.8), (0, 1, -1, 0.8), (0, -1, 1, -0.8)])


class CropFollower:
    """The crop (cx, cy, side, angle; px, radians) of one face over time.

    Args:
        crop: around the face in the frame in which it was found.
        dither: whether crops are dithered.
    """

    def __init__(self, crop: Float[np.ndarray, "4"], *, dither: bool = True) -> None:
        self._crop = crop
        self._velocity = np.zeros(4)
        self._dither = dither
        self._step = 0

    def update(self, crop: Float[np.ndarray, "4"]) -> None:
        """Take in the crop around the face's points in the next frame."""
        predicted = self._crop + self._velocity
        off = crop - predicted
        off[3] = (off[3] + np.pi) % (2 * np.pi) - np.pi
        self._crop = predicted + _ALPHA * off
        self._velocity = self._velocity + _BETA * off
        self._step += 1

    def crop(self) -> Float[np.ndarray, "4"]:
        """Where to look in the next frame."""
        crop = self._crop + self._velocity
        if not self._dither:
            return crop
        move = _DITHER * _PATTERN[self._step % len(_PATTERN)]
        side = crop[2]
        return crop + move * (side, side, side, 1.0)
