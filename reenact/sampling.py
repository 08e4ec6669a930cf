"""Pictures looked up at places given pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Shaped

_WAYS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


def look_up(
    picture: Shaped[np.ndarray, "H W *C"], places: Float[np.ndarray, "h w 2"], way: str = "linear"
) -> Shaped[np.ndarray, "h w *C"]:
    """A picture, of any type that cv2 takes, at places in it; beyond its edge the edge goes on.

    Args:
        places: x, y, px, origin at the corner of the first pixel.
        way: ``linear`` or ``cubic``.
    """
    at = places.astype(np.float32, copy=False) - np.float32(0.5)  # cv2 counts from the pixels' centres
    # One map of two channels, no second one: cv2's types do not know that.
    return cv2.remap(picture, at, None, _WAYS[way], borderMode=cv2.BORDER_REPLICATE)  # pyright: ignore
