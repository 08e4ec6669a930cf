"""What the sections of `accuracy.py` share: the tracker under judgement, the goals, one statistic."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model.head import HeadModel
from tracker.config import TrackConfig
from tracker.detect import open_detector
from tracker.network import Network
from tracker.observation import Observations
from tracker.pipeline import detection_settings, observe, track_video
from tracker.resume import DetectionStore
from tracker.track import Track
from tracker.video import open_video


@dataclass
class Report:
    """Prints figures and remembers the goals that were missed."""

    missed: list[str] = field(default_factory=list)
    checked: int = 0

    def goal(self, what: str, value: float, bound: float, unit: str = "", at_least: bool = False) -> None:
        met = value >= bound if at_least else value <= bound
        self.checked += 1
        sign = "≥" if at_least else "≤"
        print(f"  {'pass' if met else 'FAIL'}  {what}: {value:.3g}{unit} (goal {sign} {bound:g}{unit})", flush=True)
        if not met:
            self.missed.append(what)


@dataclass(frozen=True)
class Bench:
    """What all sections share."""

    report: Report
    config: TrackConfig
    head: HeadModel
    network: Network | None
    data: Path
    folder: Path
    limit: int | None

    def track(self, video: Path, config: TrackConfig | None = None) -> Track:
        """The whole tracker on a video; its detections are kept, so that a second run of it only fits."""
        config = config or self.config
        return track_video(
            open_video(video), config, store=self.store(video, config, self.network), network=self.network
        )

    def observations(self, video: Path) -> Observations:
        """What the detector saw of the longest face."""
        with open_detector(self.config.detector, faces=self.config.most_faces, dither=True) as detector:
            return observe(open_video(video), detector, self.config, store=self.store(video, self.config, None)).faces[
                0
            ]

    def store(self, video: Path, config: TrackConfig, network: Network | None) -> DetectionStore:
        settings = detection_settings(config, self.head.asset, network.facts.digest if network else "")
        return DetectionStore.beside(self.folder / video.stem, video, settings)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """0 where one of them does not move at all."""
    if a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
