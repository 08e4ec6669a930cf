"""Settings of the preparation: what is kept, and how it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PrepareConfig:
    """What is kept, and how it is stored. The thresholds' units are such that faces of any size compare.

    Attributes:
        head: `openhead`, or the path of another head; the labels are its codes.
        detector: `mediapipe` or `face-alignment`.
        points: whose 68 landmarks are stored: those of the `head` fitted to all the detector's points, or the
            `detector`'s own nearest ones. (On HELEN's training set the fitted head's are nearer to the annotators'.)
        several: what to do where a picture has several faces: take the `largest`, or `drop` it.
        smallest: least mean side of the landmarks' box, px of the photograph.
        confidence: least confidence of the detection.
        disagreement: greatest mean distance of the landmarks found in two crops, over the outer eye distance.
        misfit: greatest mean distance of the fitted head's points to the detector's, over the outer eye distance.
        sharpness: least variance of the Laplacian of the face at 128 px, over the variance of its grey values.
        duplicate: two faces of a person whose fingerprints (256 bits) differ in no more bits are one photograph.
        side: greatest side of a stored picture, px.
        room: side of a stored picture over the mean side of the landmarks' box; 1.8 is the largest crop, the rest is
            for rolls and shifts.
        quality: of the stored JPEG.
        masks: whether skin masks are made where none are given.
        frames: most frames taken from a video; 0 takes 32, and 4 of each utterance of VoxCeleb2.
    """

    head: str = "openhead"
    detector: Literal["mediapipe", "face-alignment"] = "mediapipe"
    points: Literal["head", "detector"] = "head"
    several: Literal["largest", "drop"] = "largest"
    smallest: float = 50.0
    confidence: float = 0.75
    disagreement: float = 0.05
    misfit: float = 0.03
    sharpness: float = 0.006
    duplicate: int = 12
    side: int = 400
    room: float = 2.3
    quality: int = 94
    masks: bool = True
    frames: int = 0

    def __post_init__(self) -> None:
        for name in ("smallest", "disagreement", "misfit", "side"):
            if not getattr(self, name) > 0:
                raise ValueError(f"--{name} must be positive, got {getattr(self, name)}")
        for name in ("sharpness", "duplicate", "frames"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"--confidence must lie in [0, 1], got {self.confidence}")
        if not 1.8 <= self.room <= 4:
            raise ValueError(f"--room must lie in [1.8, 4], got {self.room}")
        if not 50 <= self.quality <= 100:
            raise ValueError(f"--quality must lie in [50, 100], got {self.quality}")
