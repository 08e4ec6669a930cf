"""Processor seconds per frame of every stage of the tracker, each alone; see scale.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from scale_model import Costs
from threadpoolctl import threadpool_limits

from tracker.chunks import BEFORE, chunks_of, look
from tracker.config import TrackConfig
from tracker.encode import BATCH, DETAILED, EncoderThread
from tracker.finish import Source, finish_track
from tracker.fit import Work, in_turn
from tracker.merge import Merger
from tracker.network import open_network
from tracker.pipeline import detector_of, load_model, only_ibug68
from tracker.seek import read_index
from tracker.shots import number_shots
from tracker.threads import single_threaded
from tracker.video import open_video


def measure(config: TrackConfig, clip: Path) -> Costs:
    """The stages on two chunks amid a clip; what Ray costs is left 0.

    The network's share, and that of cropping, is what looking costs more with it than without.
    """
    head = load_model(config)
    network = open_network(config.weights, head)
    index = read_index(clip)
    chunks = chunks_of(index.frames, config.chunk)
    chunks = chunks[1:3] if len(chunks) > 3 else chunks[:2]
    frames = sum((index.frames if chunk.stop is None else chunk.stop) - chunk.start for chunk in chunks)

    def used(work: Callable[[], object]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    with threadpool_limits(1, user_api="blas"), single_threaded(), open_video(clip) as video:

        def decode() -> None:
            for chunk in chunks:
                for _ in number_shots(video.between(index, max(0, chunk.start - BEFORE), chunk.stop)):
                    pass

        def opened() -> None:
            with open_video(clip), detector_of(config, device="cpu"):
                pass

        def seen(eyes):
            reduced = only_ibug68(config, head.asset)
            with detector_of(config, device="cpu") as detector:
                return [look(video, index, chunk, detector, eyes, as_ibug68=reduced) for chunk in chunks]

        seen(None)  # compiles
        start, decoding, looking = used(opened), used(decode), used(lambda: seen(None))
        with EncoderThread(network.deca) if network else nullcontext() as eyes:
            parts = seen(eyes)
            crop = sum(part.spent.crop for part in parts) if eyes else 0.0
            whole = used(lambda: seen(eyes)) if eyes else looking
            merger = Merger(video.size)
            merging = used(lambda: [merger.push(part) for part in parts])
            detail = 0.0
            if eyes:  # as many crops as of a long video
                picture = np.zeros((1, eyes.resolution, eyes.resolution, 3), np.uint8)
                batch = picture.repeat(BATCH, 0)
                detail = DETAILED / BATCH * used(lambda: eyes.detail(batch).result())
            gathered = merger.finish(eyes, 1)
        facts, source, inside = network and network.facts, Source.of(video), []

        def shared(work: Work, parts: Sequence[np.ndarray]) -> list[Any]:
            answers: list[Any] = []
            inside.append(used(lambda: answers.extend(in_turn(work, parts))))
            return answers

        finishing = used(lambda: finish_track(source, gathered, head, config, facts, spread=shared))
    looking -= start
    crop = min(crop, max(whole - start - looking, 0.0))
    return Costs(
        decode=decoding / frames,
        detect=(looking - decoding) / frames,
        crop=crop / frames,
        encode=max(whole - start - looking - crop, 0.0) / frames,
        start=start,
        serial=(merging + finishing - sum(inside)) / frames,
        shared=sum(inside) / frames,
        detail=detail,
        chunk=config.chunk,
    )
