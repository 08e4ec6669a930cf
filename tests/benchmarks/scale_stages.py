"""Processor seconds per frame of every stage of the tracker, each alone; see scale.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from scale_model import Costs
from threadpoolctl import threadpool_limits

from tracker.chunks import chunks_of, look
from tracker.config import TrackConfig
from tracker.encode import EncoderThread
from tracker.finish import Source, finish_track
from tracker.merge import Merger
from tracker.network import open_network
from tracker.pipeline import detector_of, load_model, only_ibug68
from tracker.seek import read_index
from tracker.shots import number_shots
from tracker.threads import single_threaded
from tracker.video import open_video


def measure(config: TrackConfig, clip: Path) -> Costs:
    """The stages on the first chunks of a clip; `driver` is left 0.

    The network's share, and that of cropping, is what looking costs more with it than without.
    """
    head = load_model(config)
    network = open_network(config.weights, head)
    index = read_index(clip)
    chunks = chunks_of(index.frames, config.chunk)[:2]
    frames = sum((index.frames if chunk.stop is None else chunk.stop) - chunk.start for chunk in chunks)

    def used(work: Callable[[], object]) -> float:
        began = time.process_time()
        work()
        return (time.process_time() - began) / frames

    with threadpool_limits(1, user_api="blas"), single_threaded(), open_video(clip) as video:

        def decode() -> None:
            for chunk in chunks:
                for _ in number_shots(video.between(index, max(0, chunk.start - 32), chunk.stop)):
                    pass

        def seen(eyes):
            reduced = only_ibug68(config, head.asset)
            with detector_of(config, device="cpu") as detector:
                return [look(video, index, chunk, detector, eyes, as_ibug68=reduced) for chunk in chunks]

        seen(None)  # compiles
        decoding = used(decode)
        looking = used(lambda: seen(None))
        with EncoderThread(network.deca) if network else nullcontext() as eyes:
            parts = seen(eyes)
            crop = sum(part.spent.crop for part in parts) / frames if eyes else 0.0
            whole = used(lambda: seen(eyes)) if eyes else looking
            merger = Merger(video.size)
            for part in parts:
                merger.push(part)
            gathered = merger.finish(eyes, 1)
        facts, source = network and network.facts, Source.of(video)
        finishing = used(lambda: finish_track(source, gathered, head, config, facts))
    crop = min(crop, max(whole - looking, 0.0))
    return Costs(decoding, looking - decoding, crop, max(whole - looking - crop, 0.0), finishing, 0.0, config.chunk)
