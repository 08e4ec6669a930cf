"""Pictures to crops for the networks, and where the face is on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from model.crop import Crop, trained_crop
from tracker.detect import Detector, open_detector
from tracker.observation import Detection, Frame


class Finder:
    """Finds faces on unrelated photographs; a context manager. The detector is opened at the first photograph.

    Args:
        detector: as in `tracker.detect.open_detector`.
    """

    def __init__(self, detector: str = "mediapipe", faces: int = 8) -> None:
        self._name, self._faces = detector, faces
        self._detector: Detector | None = None
        self._count = 0

    def __enter__(self) -> Finder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._detector is not None:
            self._detector.close()

    def all(self, image: UInt8[np.ndarray, "H W 3"]) -> list[Detection]:
        """All faces, largest first."""
        if self._detector is None:
            self._detector = open_detector(self._name, faces=self._faces, static=True)
        self._count += 1
        return self._detector.detect(Frame(self._count, 0.0, image))

    def find(self, image: UInt8[np.ndarray, "H W 3"], near: Float[np.ndarray, "N 2"] | None = None) -> Detection | None:
        """The face that lies on the given points, px; without points the largest one; None where there is none.

        Args:
            near: e.g. annotated landmarks or the corners of a box.
        """
        found = self.all(image)
        if near is None or not found:
            return found[0] if found else None
        misses = [misplaced(face.points, near) for face in found]
        best = int(np.argmin(misses))
        return found[best] if misses[best] < 0.5 else None


def misplaced(points: Float[np.ndarray, "N 2"], annotated: Float[np.ndarray, "M 2"]) -> float:
    """How far one face is from another: distance of their boxes' centres and difference of their sizes, over the size.

    Below 0.5 they are taken for the same face.
    """
    (a0, a1), (b0, b1) = (points.min(0), points.max(0)), (annotated.min(0), annotated.max(0))
    size = np.sqrt(np.prod(b1 - b0))
    apart = np.linalg.norm((a0 + a1) / 2 - (b0 + b1) / 2) / size
    return float(apart + 0.5 * abs(np.log(np.sqrt(np.prod(a1 - a0)) / size)))


def crop_around(points: Float[np.ndarray, "N 2"]) -> Crop:
    """The crop around 68 points, px, as the tracker cuts it; without a batch dimension."""
    return trained_crop(torch.from_numpy(np.asarray(points, np.float32)))


def tensor(pictures: Sequence[UInt8[np.ndarray, "S S 3"]]) -> Float[Tensor, "batch 3 S S"]:
    """Pictures as the networks take them."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def stacked(crops: Sequence[Crop]) -> Crop:
    """Several crops as one record."""
    return Crop(torch.stack([crop.centre for crop in crops]), torch.stack([crop.size for crop in crops]))
