"""What a frame costs in the viewer, on ten minutes of video: python tests/benchmarks/view.py [--minutes 10]

Tracks four seconds of the rendered head and repeats them, track and video; prints milliseconds on this machine's
processor for frames in any order (scrubbing) and in a row (playing). What the browser does with them comes on top.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from tracker.pipeline import track_video
from tracker.track import Track
from tracker.video import VideoWriter, open_video
from tracker.view.page import Wanted
from tracker.view.serve import Viewer, open_viewer
from training.clips import write_openhead

SECONDS = 4.0
SURFACES = ("coarse", "detail", "texture")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--frames", type=int, default=100, help="measured for every line")
    parser.add_argument("--port", type=int, default=18080)
    options = parser.parse_args()
    count = round(options.minutes * 60 * 25)
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short.mp4", Path(folder) / "long.mp4"
        write_openhead(short, seconds=SECONDS)
        with open_video(short) as video:
            track = repeated(track_video(video), count)
            pictures = [frame.image for frame in video]
        with VideoWriter(long, track.size, 25) as writer:
            for k in range(count):
                writer.write(pictures[k % len(pictures)])
        print(f"{count} frames of {track.size[0]}×{track.size[1]}")
        started = time.perf_counter()
        with open_viewer(track, long, port=options.port) as viewer:
            print(f"open: {time.perf_counter() - started:.1f} s")
            measure(viewer, count, options.frames)
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at most")


def repeated(track: Track, count: int) -> Track:
    """The rows of a track again and again."""
    rows = np.arange(count) % len(track)
    columns = {f.name: getattr(track, f.name) for f in fields(track)}
    again = {name: array[rows] for name, array in columns.items() if isinstance(array, np.ndarray)}
    return replace(track, **(again | {"frame": np.arange(count), "time": np.arange(count) / track.fps}))


def measure(viewer: Viewer, count: int, frames: int) -> None:
    """One line for every surface and order."""
    drawer, page = viewer.player._drawer, viewer.page
    rng = np.random.default_rng(0)
    start = min(5000, count - frames)
    orders = {"scrub": rng.integers(0, count, frames), "play": start + np.arange(frames)}
    for surface in SURFACES:
        for name, order in orders.items():
            laps = []
            for frame in order.tolist():
                wanted = Wanted(frame=frame, face=drawer.names[0], surface=surface)
                begun = time.perf_counter()
                shown = drawer.shown(wanted)
                made = time.perf_counter()
                page.draw(shown, wanted)
                laps.append((1000 * (made - begun), 1000 * (time.perf_counter() - made)))
            made_ms, sent_ms = np.median(laps, 0)
            worst = np.quantile(np.sum(laps, 1), 0.95)
            parts = f"made {made_ms:.1f}, handed over {sent_ms:.1f}; 95 % {worst:.1f}"
            print(f"{surface:8} {name:6} {made_ms + sent_ms:6.1f} ms ({parts})")


if __name__ == "__main__":
    main()
