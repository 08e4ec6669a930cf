"""A small clip with a face that moves and two cuts, for the tests of chunks and clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tracker.image import resize
from tracker.video import VideoWriter

FRAMES = 135


def write_clip(path: Path, frames: int, seed: int = 0) -> Path:
    """A photograph that moves; cut to its mirror image at frame 60, where two chunks meet, and back at 100."""
    data = pytest.importorskip("skimage.data")
    picture = resize(np.ascontiguousarray(data.astronaut()[:280, 90:370]), (200, 200))
    with VideoWriter(path, (160, 160), 25) as writer:
        for i in range(frames):
            x, y = (int(20 + 18 * np.sin((i + 5 * seed) / w)) for w in (9.0, 13.0))
            part = picture[y : y + 160, x : x + 160]
            writer.write(np.ascontiguousarray(part[:, ::-1] if 60 <= i < 100 else part))
    return path
