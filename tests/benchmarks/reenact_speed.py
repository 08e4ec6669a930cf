"""How fast the composite is drawn after tracking, stage by stage, and whether memory grows with the length.

  python tests/benchmarks/reenact_speed.py [--driver CLIP.mp4] [--weights W] [--threads N] [--detail D]

The target is scikit-image's photograph of an astronaut (512 × 512). The driver's first frames are tracked, and their
rows repeated to the lengths that are drawn. Printed: frames per second by the clock and processor time per frame,
drawn as `reenact` does (two pictures at once); then where one thread's time goes; then memory by length.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this folder: it has a file of the name of the package that is measured

import argparse
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import skimage.data
import torch

from model.head import HeadModel
from model.io.assets import load_head
from reenact import compose, pipeline
from reenact.driver import DRIVER
from reenact.pipeline import Reenactor, ViewConfig
from reenact.remainder import Remainder, remainder_of
from reenact.target import open_deca, target_of
from reenact.transfer import calibrated_neutral
from tracker.detect import open_detector
from tracker.observation import Frame, Observations
from tracker.pipeline import track_video
from tracker.track import Track
from tracker.video import Video, open_video

CLIP = Path(__file__).resolve().parents[2] / "../shared/data/video/d0.mp4"
GOAL = 20.0
_TRACKED = 40
_LENGTHS = (150, 600, 1200)
_MORE = 20
_STAGES = (
    (pipeline.Lips, "gap", "opening of the lips"),
    (pipeline.Rig, "posed", "pose the head (batches of 8)"),
    (pipeline.Spread, "__call__", "driver's landmarks spread"),
    (pipeline.Wrinkles, "displacement", "wrinkles: F_d"),
    (pipeline.Wrinkles, "normals", "wrinkles: detailed normals"),
    (pipeline.Wrinkles, "relief", "wrinkles: change of light"),
    (compose.Field, "sources", "field around the face"),
    (compose.Composer, "_attributes", "light, lids, departure by vertex"),
    (compose.Composer, "_on_mesh", "rasterise, carry, texture"),
    (compose.Composer, "_coloured", "colours mixed"),
    (compose, "look_up", "photograph looked up, cubic"),
    (compose, "over", "person over background"),
)


def main() -> int:
    """Print the figures with their goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", type=Path, default=CLIP)
    parser.add_argument("--weights", default="embedded")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--detail", choices=("animated", "static", "off"), default="animated")
    options = parser.parse_args()
    if not options.driver.is_file():
        print(f"no driver: {options.driver} is absent; give one with --driver")
        return 0
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    head = HeadModel(load_head())
    deca, network = open_deca(options.weights, head) or (None, None)
    image = skimage.data.astronaut()
    with open_detector(static=True) as detector:
        face = detector.detect(Frame(0, 0.0, image))[0]
    target = target_of(image, face, head, network)
    reenactor = Reenactor(target, head, deca, show=ViewConfig(detail=options.detail))
    seen: list[Observations] = []
    with open_video(options.driver) as video:
        config = replace(DRIVER, weights=options.weights)
        track = track_video(cast(Video, _Short(video)), config, network=network, seen_faces=seen.extend).of_face(0)
    remainder = remainder_of(track, seen[0], head).since(np.arange(1))
    _drawn(reenactor, track, remainder, 20)  # kernels are compiled and caches warm then
    size = f"{image.shape[1]} x {image.shape[0]}"
    print(f"composite of {size}, {options.threads} threads, detail {options.detail}")
    memory, rates = [], []
    for length in _LENGTHS:
        clock, work = _drawn(reenactor, track, remainder, length)
        memory.append(_memory())
        rates.append(length / clock)
        print(
            f"  {length:4d} frames: {rates[-1]:5.1f} frames/s, {1000 * work / length:.0f} ms of CPU per frame",
            flush=True,
        )
    print("one thread's time by stage, ms per frame (what a stage calls is counted with the inner one)")
    for name, spent in _by_stage(reenactor, track, remainder, 60):
        print(f"  {name:36s}{spent:6.2f}")
    lengths = ", ".join(f"{n} frames {m:.0f} MB" for n, m in zip(_LENGTHS, memory, strict=True))
    print(f"memory in use after {lengths}")
    flat = memory[-1] - memory[-2] < _MORE  # the first length fills the allocator's pools
    print(f"{'met   ' if rates[-1] >= GOAL else 'MISSED'} {GOAL:.0f} frames per second")
    span = f"from {_LENGTHS[-2]} to {_LENGTHS[-1]} frames less than {_MORE} MB more"
    print(f"{'met   ' if flat else 'MISSED'} memory flat in length ({span})")
    return 0 if flat and rates[-1] >= GOAL else 1


class _Short:
    """The first frames of a video."""

    def __init__(self, video) -> None:
        self.path, self.fps, self.size, self.frames, self._video = video.path, video.fps, video.size, _TRACKED, video
        self.truncated = None

    def between(self, index, start: int, stop: int | None):
        for frame in self._video.between(index, start, stop):
            if frame.index >= _TRACKED:
                return
            yield frame


def _drawn(reenactor: Reenactor, track: Track, remainder: Remainder, count: int) -> tuple[float, float]:
    """Seconds by the clock and of processor time for so many frames, forth and back through the track."""
    way = np.concatenate([np.arange(len(track)), np.arange(len(track))[::-1]])
    rows = np.resize(way, count)
    rest = calibrated_neutral(track)
    clock, work = time.monotonic(), time.process_time()
    for _ in reenactor.render(track.select(rows), rest=rest, remainder=remainder.select(rows)):
        pass
    return time.monotonic() - clock, time.process_time() - work


def _by_stage(reenactor, track: Track, remainder: Remainder, count: int) -> list[tuple[str, float]]:
    """Milliseconds per frame of each stage, and of what is none of them, with everything in one thread."""
    spent: dict[str, float] = defaultdict(float)
    stack: list[float] = []  # time of the stages within the one that runs

    def timed(function, name: str):
        def call(*args, **kwargs):
            started = time.perf_counter()
            stack.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                whole = time.perf_counter() - started
                spent[name] += whole - stack.pop()
                if stack:
                    stack[-1] += whole

        return call

    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in _STAGES]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        for (owner, name, function), (_, _, label) in zip(kept, _STAGES, strict=True):
            setattr(owner, name, timed(function, label))
        rows = np.resize(np.arange(len(track)), count)
        rest = calibrated_neutral(track)
        started = time.perf_counter()
        for head in reenactor._heads(reenactor.motion(track.select(rows), rest), remainder.select(rows)):
            reenactor._draw(head, None)
        whole = time.perf_counter() - started
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    spent["the rest"] = whole - sum(spent.values())
    spent["all"] = whole
    return [(name, 1000 * value / count) for name, value in spent.items()]


def _memory() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    sys.exit(main())
