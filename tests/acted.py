"""Tracks of heads that act: strong expressions, an open jaw, gaze and turns, as one or more faces."""

from __future__ import annotations

import numpy as np

from model.asset import HeadAsset
from tracker.track import Track


def acted_track(asset: HeadAsset, frames: int = 9, faces: int = 1, seed: int = 0) -> Track:
    """Every face of it differs in identity; the second face has a row less and starts a frame later."""
    rng = np.random.default_rng(seed)
    parts = [_face(asset, frames - face, face, rng) for face in range(faces)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rows = len(joined["face"])
    return Track(
        head=f"{asset.name}:{asset.digest[:12]}",
        video="acted.mp4",
        fps=25.0,
        size=(320, 240),
        expression_names=asset.expression_names,
        valid=np.ones(rows, bool),
        confidence=np.ones(rows, np.float32),
        shot=np.zeros(rows, np.int64),
        landmarks=np.zeros((rows, 68, 2), np.float32),
        box=np.tile(np.array([80, 40, 240, 200], np.float32), (rows, 1)),
        **joined,
    )


def _face(asset: HeadAsset, frames: int, face: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    phase = np.linspace(0, 2 * np.pi, frames)[:, None]

    def waves(columns: int, size: float) -> np.ndarray:
        """Smooth curves within ±size."""
        return (size * np.sin(phase * rng.integers(1, 3, columns) + rng.uniform(0, 6, columns))).astype(np.float32)

    units = asset.exprdirs.shape[-1]
    expression = waves(units, 1.0) if asset.expression_range is None else np.abs(waves(units, 0.9))
    jaw = np.abs(waves(3, 1.0)) * np.array([0.4, 0.06, 0.03], np.float32)
    camera = np.array([700, 160 + 40 * face, 125], np.float32) + waves(3, 1.0) * np.array([60, 20, 10], np.float32)
    index = np.arange(frames) + face
    return {
        "face": np.full(frames, face),
        "frame": index,
        "time": index / 25.0,
        "shape": np.tile(rng.normal(size=asset.shapedirs.shape[-1]).astype(np.float32), (frames, 1)),
        "expression": expression,
        "pose": waves(3, 0.4),
        "neck": waves(3, 0.1),
        "jaw": jaw,
        "eyes": waves(6, 0.35),
        "camera": camera,
    }
