"""Pictures as the bytes that lie in a shard."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def jpeg(image: UInt8[np.ndarray, "H W 3"], quality: int) -> bytes:
    """An RGB picture as JPEG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return file.getvalue()


def png(image: UInt8[np.ndarray, "H W"]) -> bytes:
    """A grey picture as PNG, without loss."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
