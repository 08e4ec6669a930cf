"""The driver: a video, tracked once and kept beside the output, or a track that is there already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from model.head import HeadModel
from reenact.remainder import Remainder, load_remainder, remainder_of
from reenact.transfer import calm_rows, main_face
from tracker.config import TrackConfig
from tracker.finish import Report, head_id
from tracker.network import Network
from tracker.observation import Observations
from tracker.pipeline import track_video
from tracker.track import Track, load_track
from tracker.video import open_video

DRIVER = TrackConfig(device="cpu", precise=True)
"""How drivers are tracked: every error of a landmark is seen as a trembling of somebody's skin."""


@dataclass(frozen=True)
class Driver:
    """Who moves the target.

    Attributes:
        track: rows of one face, one per frame of the video from its first to its last.
        video: the file, for its sound and pictures; None where only a track is there.
        remainder: what its landmarks do besides since rest, one row per row of the track; None where only a track is
            there.
    """

    track: Track
    video: Path | None
    remainder: Remainder | None = None


def open_driver(
    path: str | Path,
    out: Path,
    head: HeadModel,
    config: TrackConfig,
    network: Network | None = None,
    *,
    report: Report = lambda stage, done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Driver:
    """Load a track, or track a video; the track of a video is kept beside `out` and found again.

    Raises:
        ValueError: no such file, no face, a track of another head or schema.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz":
        track = load_track(path)
        check_head(track, head, str(path))
        video = path.parent / track.video
        if not video.is_file():
            note(f"{path}: {track.video} is not beside it; the result has no sound")
            return Driver(main_face(track), None)
        return Driver(filled(main_face(track), _frames(video, track)), video)
    with open_video(path) as video:
        kept = cached_as(path, out, head, config)
        points = kept.with_name(kept.name.replace(".track.npz", ".points.npz"))
        known, remainder = _known(kept), _known_remainder(points)
        if known is not None and remainder is not None and len(remainder.shifts) == len(main_face(known)):
            track = known
        else:
            faces: list[Observations] = []
            track = track_video(video, config, report=report, note=note, network=network, seen_faces=faces.extend)
            track.save(kept)
            remainder_of(main_face(track), faces[0], head).save(points)
            remainder = load_remainder(points)  # rounded as the next run will find it
        if not video.has_audio:
            note(f"{path}: has no sound; neither has the result")
        seen = track.valid.mean()
        if seen < 0.9:
            note(f"{path}: the face is seen in {100 * seen:.0f} % of its frames; between them motion is interpolated")
        track, frames = main_face(track), _frames(path, track)
        _, rows = _spread_over(track, frames)
        track = filled(track, frames)
        return Driver(track, path, remainder.select(rows).since(calm_rows(track).numpy()))


def check_head(track: Track, head: HeadModel, name: str) -> None:
    """Raises ValueError where the track's codes belong to another head."""
    if track.head != head_id(head):
        raise ValueError(f"{name}: tracked with head {track.head}, this one is {head_id(head)}; track it again")


def cached_as(video: Path, out: Path, head: HeadModel, config: TrackConfig) -> Path:
    """Where the track of a video is kept: a name that changes with the file and with what it is tracked by.

    It does not depend on the target: another photograph moved by the same driver finds it.
    """
    stat = video.stat()
    weights = Path(config.weights)
    trained = (weights.stat().st_size, weights.stat().st_mtime_ns) if weights.is_file() else ()
    key = (str(video.resolve()), stat.st_size, stat.st_mtime_ns, head_id(head), repr(config), trained)
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:10]
    return out.with_name(f"{video.stem}-{digest}.track.npz")


def filled(track: Track, frames: int) -> Track:
    """A row for each of the video's frames: before the face is seen and after it, it holds still.

    Args:
        track: rows of one face.
        frames: of the video.
    """
    first, last = int(track.frame[0]), int(track.frame[-1])
    every, rows = _spread_over(track, frames)
    spread = track.select(rows)
    before, after = every < first, every > last
    time = spread.time.astype(float).copy()
    step = track.time[0] / first if first else 0.0
    time[before] = every[before] * step
    time[after] = track.time[-1] + (every[after] - last) / track.fps
    return replace(spread, frame=every, time=time, valid=spread.valid & ~before & ~after)


def _spread_over(track: Track, frames: int) -> tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"]]:
    """Every frame, and the row of the track that it takes."""
    every = np.arange(0, max(frames, int(track.frame[-1]) + 1))
    return every, np.clip(np.searchsorted(track.frame, every), 0, len(track) - 1)


def _known_remainder(path: Path) -> Remainder | None:
    try:
        return load_remainder(path)
    except ValueError:
        return None


def _known(path: Path) -> Track | None:
    try:
        return load_track(path)
    except ValueError:
        return None


def _frames(video: Path, track: Track) -> int:
    """Frames that the video has, if it says so plausibly."""
    with open_video(video) as opened:
        last = int(track.frame.max()) + 1
        return opened.frames if opened.frames <= last + 10 * track.fps else last
