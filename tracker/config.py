"""The settings of `track`: defaults here, overridden by a YAML file, then by the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tracker.fit import FitConfig
from tracker.smooth import SmoothConfig


@dataclass(frozen=True)
class ClusterConfig:
    """Settings of the work on several processes or machines; they change nothing about the result.

    Attributes:
        ahead: chunks given out at once, per processor; bounds the memory of the driver and of queues, and lets a
            cluster that grows by itself see that there is more to do.
        retries: how often work is done again whose process or machine was lost, before its video counts as failed.
        encoders: processes with the network; 0 is one per processor, or as many as `gpu` allows.
        gpu: share of a GPU that one of them takes, where there are GPUs.
        ship: whether this package goes to the machines of a cluster with the work; not needed where it is installed.
    """

    ahead: int = 2
    retries: int = 3
    encoders: int = 0
    gpu: float = 0.25
    ship: bool = True

    def __post_init__(self) -> None:
        if self.ahead < 1:
            raise ValueError(f"ahead must be at least 1, got {self.ahead}")
        if self.retries < 0 or self.encoders < 0:
            raise ValueError("retries and encoders must not be negative")
        if not 0 < self.gpu <= 1:
            raise ValueError(f"gpu must be in (0, 1], got {self.gpu}")


@dataclass(frozen=True)
class TrackConfig:
    """Settings of the tracker.

    Attributes:
        head: ``openhead``, or the path of a head model.
        weights: of the network that looks at every face: ``embedded``, those that come with the package for this head
            (none where none come), ``open``, those of them learned from freely licensed pictures alone, the path of a
            file, or ``none``: landmarks only.
        detector: which network finds the landmarks.
        precise: whether it looks at five crops of every face in every frame and the mean counts: steadier landmarks for
            five times its time (mediapipe).
        faces: how many faces to keep, those longest on screen first; ``all`` keeps every one.
        device: where the fit runs; ``auto`` takes CUDA when it is there.
        chunk: frames that are looked at in one go, after which the detector starts afresh and what it found is put on
            disk. It bounds what an interruption costs, and is what is spread over processes and machines.
        fit: the landmark fit.
        smooth: the smoothing over time.
        cluster: the work on several processes or machines.
    """

    head: str = "openhead"
    weights: str = "embedded"
    detector: Literal["mediapipe", "face-alignment"] = "mediapipe"
    precise: bool = False
    faces: int | Literal["all"] = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    chunk: int = 600
    fit: FitConfig = field(default_factory=FitConfig)
    smooth: SmoothConfig = field(default_factory=SmoothConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        if isinstance(self.faces, int) and self.faces < 1:
            raise ValueError(f"faces must be at least 1 or 'all', got {self.faces}")
        if self.chunk < 30:
            raise ValueError(f"chunk must be at least 30 frames, got {self.chunk}")

    @property
    def most_faces(self) -> int:
        """How many faces the detector follows at once; ``all`` stops at 16."""
        return 16 if self.faces == "all" else self.faces
