"""What is done for one video besides looking at it: whether there is anything to do, and where results go.

Used in this process and on the machines of a cluster alike.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from model.asset import HeadAsset
from model.head import HeadModel
from model.io.assets import load_head
from tracker import storage
from tracker.chunks import Chunk, chunks_of
from tracker.config import ClusterConfig, TrackConfig
from tracker.finish import Source
from tracker.inputs import Job
from tracker.pipeline import detection_settings
from tracker.preview import write_preview
from tracker.resume import DetectionStore, content_hash
from tracker.seek import Index, read_index
from tracker.storage import Place
from tracker.track import SCHEMA, Track, load_track
from tracker.video import open_video


@dataclass(frozen=True)
class Outcome:
    """How it went with one video.

    Attributes:
        video, out: names of the source and of the result.
        state: ``kept`` where the result was there already.
        frames, faces: in the result.
        seen: share of its rows in which the face was seen.
        seconds: it took, from the first look into the file to the result.
        error: one line; None where all went well.
        mistake: whether the error is the user's (a file that is no video) rather than the machines'.
        notes: what a user should know besides, one line each.
    """

    video: str
    out: str
    state: str
    frames: int = 0
    faces: int = 0
    seen: float = 0.0
    seconds: float = 0.0
    error: str | None = None
    mistake: bool = False
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(job: Job, track: Track, state: str, seconds: float = 0.0, notes: tuple[str, ...] = ()) -> Outcome:
        """Of a video that was tracked, now or before."""
        frames = int(track.frame.max()) + 1
        return Outcome(
            job.name, str(job.out), state, frames, len(track.faces), float(track.valid.mean()), seconds, notes=notes
        )

    @staticmethod
    def failed(job: Job, error: BaseException | str, seconds: float = 0.0) -> Outcome:
        """Of a video that was not tracked."""
        mistake = isinstance(error, ValueError)
        text = " ".join(str(error).split())
        if isinstance(error, BaseException) and not isinstance(error, ValueError | RuntimeError | OSError):
            text = f"{type(error).__name__}: {text}"
        return Outcome(job.name, str(job.out), "failed", seconds=seconds, error=text, mistake=mistake)


@dataclass(frozen=True)
class Survey:
    """What there is to do for a video.

    Attributes:
        origin: what the result's origin will be.
        store: where its chunks go.
        source: what the track says of it.
        index, chunks: of the video.
        waiting: the chunks that are not in the store.
        track: the finished result, where there is one of this origin.
    """

    origin: str
    store: DetectionStore
    source: Source
    index: Index
    chunks: list[Chunk]
    waiting: list[Chunk]
    track: Outcome | None


def survey(job: Job, path: Path, config: TrackConfig, asset: HeadAsset, weights: str, *, resume: bool) -> Survey:
    """Look into a video and at what is there of its result.

    Args:
        path: the video, here.
        weights: digest of the network's weights.
        resume: otherwise what is there is forgotten.

    Raises:
        ValueError: no video, or it cannot be read.
    """
    with open_video(path) as video:
        source = Source.of(video)
    content = content_hash(path)
    origin = origin_of(content, config, asset, weights)
    store = DetectionStore.of(job.out, content, detection_settings(config, asset, weights))
    index = read_index(path)
    chunks = chunks_of(index.frames, config.chunk)
    track = finished(job.out, origin) if resume else None
    if not resume:
        store.discard()
    there = store.finished() if resume else set()
    waiting = [chunk for chunk in chunks if chunk.number not in there]
    kept = None if track is None else Outcome.of(job, track, "kept")
    return Survey(origin, store, source, index, chunks, waiting, kept)


def origin_of(content: str, config: TrackConfig, asset: HeadAsset, weights: str) -> str:
    """By what a result is known to be of this content and these settings, wherever head and weights lie."""
    settings = asdict(replace(config, head="", weights="", cluster=ClusterConfig()))
    return hashlib.sha256(repr((SCHEMA, content, settings, asset.digest, weights)).encode()).hexdigest()


def finished(out: Place, origin: str) -> Track | None:
    """The result of an origin, if it is there and whole."""
    try:
        if not storage.exists(out):
            return None
        with storage.local_copy(out) as path:
            track = load_track(path)
    except (ValueError, OSError):
        return None
    return track if track.origin == origin else None


def save(track: Track, out: Place, store: DetectionStore) -> None:
    """Put the result where it belongs, in one piece, and remove the chunks.

    Raises:
        ValueError: it cannot be written there.
    """
    try:
        if isinstance(out, Path):
            assert isinstance(store.root, Path)
            store.root.mkdir(parents=True, exist_ok=True)
            staged = store.root / f"result.{os.getpid()}.npz"  # goes with the folder if we are killed here
            track.save(staged)
            os.replace(staged, out)
        else:
            with tempfile.TemporaryDirectory() as folder:
                staged = Path(folder) / "result.npz"
                track.save(staged)
                storage.write(out, staged.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot write {out}: {error.strerror or error}; choose another place") from None
    store.discard()


def preview(job: Job, path: Path, track: Track, config: TrackConfig, report: Callable[[int, int], None]) -> None:
    """Write the preview that a job asks for.

    Raises:
        ValueError: it cannot be written there.
    """
    assert job.preview is not None
    head = HeadModel(load_head(config.head))
    with open_video(path) as video:
        if isinstance(job.preview, Path):
            write_preview(job.preview, video, track, head, report)
            return
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / storage.name_of(job.preview)
            write_preview(local, video, track, head, report)
            storage.write(job.preview, local.read_bytes())


def ending(job: Job, suffix: str, folder: str) -> Place:
    """Where something else about a video goes: beside its result, in a folder of that name."""
    name = storage.name_of(job.out).rsplit(".", 1)[0] + suffix
    return storage.below(storage.beside(job.out, folder), name)
