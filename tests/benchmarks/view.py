"""What a frame costs in the viewer, on ten minutes of video: python tests/benchmarks/view.py [--minutes 10]

Makes the track and the video from the rendered head's clip, repeated; prints milliseconds on this machine's processor
for frames in any order (scrubbing) and in a row (playing), without and with a browser looking.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from test_report import openhead_track
from test_view import looks

from tracker.video import VideoWriter, open_video
from tracker.view.page import Wanted
from tracker.view.serve import open_viewer
from training.clips import write_openhead


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--frames", type=int, default=100, help="measured for every line")
    options = parser.parse_args()
    count = round(options.minutes * 60 * 25)
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short.mp4", Path(folder) / "long.mp4"
        write_openhead(short, seconds=4.0)
        with open_video(short) as video:
            pictures = [frame.image for frame in video]
            size = video.size
        with VideoWriter(long, size, 25) as writer:
            for k in range(count):
                writer.write(pictures[k % len(pictures)])
        track = replace(looks(openhead_track(rows=(count,))), size=size)
        print(f"{count} frames of {size[0]}×{size[1]}")
        started = time.perf_counter()
        with open_viewer(track, long, port=18080) as viewer:
            print(f"open: {time.perf_counter() - started:.1f} s")
            drawer, page = viewer.player._drawer, viewer.page
            rng = np.random.default_rng(0)
            orders = {"scrub": rng.integers(0, count, options.frames), "play": 5000 % count + np.arange(options.frames)}
            for surface in ("coarse", "detail", "texture"):
                for name, order in orders.items():
                    laps = []
                    for frame in order.tolist():
                        wanted = Wanted(frame=frame % count, face=drawer.names[0], surface=surface)
                        begun = time.perf_counter()
                        shown = drawer.shown(wanted)
                        made = time.perf_counter()
                        page.draw(shown, wanted)
                        laps.append((1000 * (made - begun), 1000 * (time.perf_counter() - made)))
                    made_ms, sent_ms = np.median(laps, 0)
                    worst = np.quantile(np.sum(laps, 1), 0.95)
                    print(
                        f"{surface:8} {name:6} {made_ms + sent_ms:6.1f} ms (made {made_ms:.1f}, handed over {sent_ms:.1f}; 95 % {worst:.1f})"
                    )
        print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at most")


if __name__ == "__main__":
    main()
