"""The astronaut's photograph as a target of reenactment, closer up."""

from __future__ import annotations

import numpy as np
import pytest

from model.head import HeadModel
from reenact.target import Target, target_of
from tracker.detect import open_detector
from tracker.image import resize
from tracker.observation import Frame


def astronaut_target(head: HeadModel, side: int) -> Target:
    """She shows her teeth. Skips the test where scikit-image, which carries the photograph, is absent."""
    data = pytest.importorskip("skimage.data")
    image = resize(np.ascontiguousarray(data.astronaut()[:300, 75:375]), (side, side))
    with open_detector(static=True) as detector:
        return target_of(image, detector.detect(Frame(0, 0.0, image))[0], head)
