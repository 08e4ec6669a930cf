"""The settings of `track`: defaults here, overridden by a YAML file, then by the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tracker.fit import FitConfig
from tracker.smooth import SmoothConfig


@dataclass(frozen=True)
class TrackConfig:
    """Settings of the tracker.

    Attributes:
        head: ``openhead``, or the path of a head model.
        weights: of the network that looks at every face: ``embedded``, those that come with the package for this head
            (none where none come), ``open``, those of them learned from freely licensed pictures alone, the path of a
            file, or ``none``: landmarks only.
        detector: which network finds the landmarks.
        faces: how many faces to keep, those longest on screen first; ``all`` keeps every one.
        device: where the fit runs; ``auto`` takes CUDA when it is there.
        chunk: frames after which the detector starts afresh and what it found is put on disk. It bounds what an
            interruption costs, and makes a resumed run equal to an uninterrupted one.
        fit: the landmark fit.
        smooth: the smoothing over time.
    """

    head: str = "openhead"
    weights: str = "embedded"
    detector: Literal["mediapipe", "face-alignment"] = "mediapipe"
    faces: int | Literal["all"] = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    chunk: int = 600
    fit: FitConfig = field(default_factory=FitConfig)
    smooth: SmoothConfig = field(default_factory=SmoothConfig)

    def __post_init__(self) -> None:
        if isinstance(self.faces, int) and self.faces < 1:
            raise ValueError(f"faces must be at least 1 or 'all', got {self.faces}")
        if self.chunk < 30:
            raise ValueError(f"chunk must be at least 30 frames, got {self.chunk}")

    @property
    def most_faces(self) -> int:
        """How many faces the detector follows at once; ``all`` stops at 16."""
        return 16 if self.faces == "all" else self.faces
