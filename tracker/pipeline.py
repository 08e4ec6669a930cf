"""The stages in order: a video to its `Track`.

A video is looked at in chunks (`tracker.chunks`), which are put together (`tracker.merge`) and fitted
(`tracker.finish`). Here all of that happens in one process; `tracker.cluster` spreads the same chunks over many.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress

import torch
from threadpoolctl import threadpool_limits

from model.asset import HeadAsset
from model.head import HeadModel
from model.io.assets import load_head
from tracker.chunks import chunks_of, look
from tracker.config import TrackConfig
from tracker.detect import Detector, open_detector
from tracker.encode import EncoderThread, Eyes
from tracker.finish import Note, Raw, Report, Source, finish_track, no_report
from tracker.merge import Gathered, Merger
from tracker.network import Network, open_network
from tracker.observation import Observations
from tracker.resume import DetectionStore
from tracker.seek import read_index
from tracker.threads import single_threaded
from tracker.track import Track
from tracker.video import Video


def track_video(
    video: Video,
    config: TrackConfig | None = None,
    *,
    report: Report = no_report,
    store: DetectionStore | None = None,
    note: Note = lambda text: None,
    network: Network | None = None,
    raw: Raw | None = None,
    seen_faces: Callable[[list[Observations]], None] = lambda faces: None,
) -> Track:
    """Find, fit and smooth the faces of a video.

    Args:
        report: called after every frame that was searched, and as the later stages go on.
        store: where finished chunks are kept and found again; None keeps nothing.
        note: told, in one line each, what a user should know besides.
        network: that looks at the faces; the one of `TrackConfig.weights` if absent.
        raw: told the track before it is smoothed; without colours and detail.
        seen_faces: told what the detector saw of every face; row for row, and in the order of, the track's faces.

    Raises:
        ValueError: no face in the video, no such head or weights, the detector or the device cannot be had.
    """
    config = config or TrackConfig()
    head = load_model(config)
    network = network or open_network(config.weights, head)
    needs_network(config, network is not None)
    # The detector's 2×2 matrices wake OpenBLAS's threads, which then spin on the core that decodes; and sums that are
    # shared out otherwise are rounded otherwise.
    with threadpool_limits(1, user_api="blas"):
        with (
            detector_of(config, device=str(head.template.device)) as detector,
            EncoderThread(network.deca) if network else nullcontext() as eyes,
        ):
            seen = observe(video, detector, config, report, store, as_ibug68=only_ibug68(config, head.asset), eyes=eyes)
        seen_faces(seen.faces)
        return finish_track(
            Source.of(video), seen, head, config, network and network.facts, report=report, note=note, raw=raw
        )


def needs_network(config: TrackConfig, there: bool) -> None:
    """Raises ValueError where nothing could say what a face is like."""
    if not there and not config.fit.landmarks:
        raise ValueError("--no-fit: without the fit a network must look at the faces; give --weights")


def load_model(config: TrackConfig) -> HeadModel:
    """The head model on the device that the configuration asks for.

    Raises:
        ValueError: no such head or device.
    """
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise ValueError("--device cuda: no CUDA device is there (or torch is a CPU build); use --device cpu")
    device = "cuda" if cuda and config.device != "cpu" else "cpu"
    with single_threaded():
        return HeadModel(load_head(config.head)).to(device)


def detector_of(config: TrackConfig, *, device: str) -> Detector:
    """The detector of a configuration; raises as `open_detector`."""
    dither = config.smooth.method == "kalman"
    return open_detector(config.detector, faces=config.most_faces, dither=dither, precise=config.precise, device=device)


def detection_settings(config: TrackConfig, asset: HeadAsset | None = None, network: str = "") -> tuple:
    """What is seen in the chunks of a video depends on these besides its content.

    Args:
        asset: the head; openhead if absent.
        network: digest of the weights.
    """
    dither, reduced = config.smooth.method == "kalman", asset is not None and only_ibug68(config, asset)
    return config.detector, config.precise, config.most_faces, config.chunk, dither, reduced, network


def only_ibug68(config: TrackConfig, asset: HeadAsset) -> bool:
    """Whether the head knows MediaPipe's points only by the 68 of them that are nearest to iBUG's."""
    marks = asset.landmarks
    return config.detector == "mediapipe" and marks is not None and marks.mediapipe478 is None


def observe(
    video: Video,
    detector: Detector,
    config: TrackConfig,
    report: Report = no_report,
    store: DetectionStore | None = None,
    *,
    as_ibug68: bool = False,
    eyes: Eyes | None = None,
) -> Gathered:
    """Look at every chunk of a video that is not in the store yet, and say who is who.

    Args:
        as_ibug68: see `tracker.chunks.look`.
        eyes: a network that is shown every face.

    Raises:
        ValueError: no face in the video.
    """
    index = read_index(video.path)
    merger = Merger(video.size)
    done = 0
    for chunk in chunks_of(index.frames, config.chunk):
        seen = store.load(chunk.number) if store else None
        if seen is None:

            def each() -> None:
                nonlocal done
                done += 1
                report("detect", done, max(index.frames, done))

            seen = look(video, index, chunk, detector, eyes, as_ibug68=as_ibug68, each=each)
            if store:
                with suppress(OSError):  # a full disk is not the track's failure
                    store.save(chunk.number, seen)
        merger.push(seen)
        done = merger.frames
    gathered = merger.finish(eyes, config.faces if isinstance(config.faces, int) else None)
    if not gathered.faces:
        raise ValueError(f"{video.path}: no face was found in {gathered.frames} frames")
    return gathered
