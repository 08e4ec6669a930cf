"""How fast `track` is beside MediaPipe's FaceMesh alone, on the same frames in the same run; and its memory.

    python tests/benchmarks/speed.py [--video PATH] [--rounds 3] [--skip-memory] [--weights PATH]

The clip is played to and fro for a minute, since loading the head and finding the identity cost the same for a second
of video as for an hour; the clip itself is timed too.

`track` is timed as it comes, with the network and the fit; with the network alone (``--no-fit``); and with the fit
alone (``--weights none``).

Goals (2 cores, 512² video): detection and fit, which is what can be compared with FaceMesh, at 0.5 of its frame rate or
more (with the network, which FaceMesh does not have, the ratio is printed); the network alone at 40 frames a second or
more, with the fit at least half of that; memory that does not grow with the length of the video, and
an hour of 1080p within 1.5 GB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracker.config import TrackConfig

os.environ.setdefault("GLOG_minloglevel", "3")
RATIO_GOAL = 0.5
RATE_GOAL = 40.0
HOUR_GOAL_GB = 1.5
DEFAULT, ALONE, FIT = "track", "network alone", "fit alone"
HOUR_FRAMES = 3600 * 25
MINUTE = 60 * 25


def facemesh_alone(frames: list) -> float:
    """Frames per second of the packaged solution, pictures already in memory."""
    import mediapipe

    mesh = mediapipe.solutions.face_mesh.FaceMesh(max_num_faces=1, refine_landmarks=True)
    mesh.process(frames[0])
    started = time.perf_counter()
    for frame in frames:
        mesh.process(frame)
    seconds = time.perf_counter() - started
    mesh.close()
    return len(frames) / seconds


def track_alone(path: Path, config: TrackConfig, stages: dict[str, float]) -> float:
    """Frames per second of the whole tracker, from the file to the Track; seconds per stage are added up."""
    from tracker.pipeline import track_video
    from tracker.video import open_video

    last = ["open", time.perf_counter()]

    def report(stage: str, done: int, total: int) -> None:
        now = time.perf_counter()
        stages[last[0]] = stages.get(last[0], 0.0) + now - last[1]
        last[:] = [stage, now]

    started = time.perf_counter()
    with open_video(path) as video:
        track = track_video(video, config, report=report)
    report("end", 0, 0)
    return (int(track.frame.max()) + 1) / (time.perf_counter() - started)


def compare(path: Path, rounds: int, configs: dict[str, TrackConfig]) -> dict[str, tuple[float, float]]:
    """FaceMesh and every way to track in turn, several times: medians of the ratio and of the frames per second."""
    from tracker.video import open_video

    with open_video(path) as video:
        frames = [frame.image for frame in video]
        size = video.size
    print(f"{path.name}: {len(frames)} frames of {size[0]}×{size[1]}, {os.cpu_count()} cores")
    for config in configs.values():
        track_alone(path, config, {})  # compiles and loads
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in configs}
    stages: dict[str, dict[str, float]] = {name: {} for name in configs}
    for _ in range(rounds):
        alone = facemesh_alone(frames)
        print(f"  FaceMesh alone    {alone:6.1f} frames/s")
        for name, config in configs.items():
            ours = track_alone(path, config, stages[name])
            found[name].append((ours / alone, ours))
            print(f"  {name:17s} {ours:6.1f} frames/s   ratio {ours / alone:.2f}")
    for name, spent in stages.items():
        parts = [f"{stage} {1000 * seconds / rounds / len(frames):.2f}" for stage, seconds in spent.items()]
        print(f"  {name:17s} ms per frame: {', '.join(parts)}")
    middle = rounds // 2
    return {
        name: (sorted(ratio for ratio, _ in pairs)[middle], sorted(rate for _, rate in pairs)[middle])
        for name, pairs in found.items()
    }


def ways(weights: str) -> dict[str, TrackConfig]:
    """The ways to track: with networks only where there are some."""
    from tracker.config import TrackConfig
    from tracker.fit import FitConfig
    from tracker.network import open_network
    from tracker.pipeline import load_model

    plain = {FIT: TrackConfig(weights="none")}
    if open_network(weights, load_model(TrackConfig())) is None:
        print("no weights come with the package: the network is not timed")
        return plain
    return {
        DEFAULT: TrackConfig(weights=weights),
        ALONE: TrackConfig(weights=weights, fit=FitConfig(landmarks=False)),
        **plain,
    }


CHILD = """
import re, sys
from tracker.cli import main
status = main([sys.argv[1], "--out", sys.argv[2]])
# Not ru_maxrss: a child starts with its parent's.
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024, file=sys.stderr)
sys.exit(status)
"""


def repeated(source: Path, target: Path, frames: int, size: tuple[int, int]) -> None:
    """The frames of a video to and fro, up to a number of frames, at a size."""
    from tracker.image import resize
    from tracker.video import VideoWriter, open_video

    with open_video(source) as video:
        pictures = [resize(frame.image, size) for frame, _ in zip(video, range(500), strict=False)]
    order = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
    with VideoWriter(target, size, 25, crf=23) as writer:
        for i in range(frames):
            writer.write(pictures[order[i % len(order)]])


def peak_mb(path: Path) -> float:
    """Largest resident memory of a process that runs `track` on a file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", CHILD, str(path), f"{folder}/params.npz"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stderr.strip().splitlines()[-1])


def memory(source: Path) -> bool:
    """Peak memory against length, at 1080p, and what an hour would need at that slope."""
    lengths, peaks = (250, 1000, 3000), []
    with tempfile.TemporaryDirectory() as folder:
        for frames in lengths:
            path = Path(folder) / f"{frames}.mp4"
            repeated(source, path, frames, (1920, 1080))
            peaks.append(peak_mb(path))
            print(f"  {frames:5d} frames of 1920×1080: peak {peaks[-1]:6.0f} MB")
    slope = (peaks[-1] - peaks[-2]) / (lengths[-1] - lengths[-2])
    hour = (peaks[-1] + slope * (HOUR_FRAMES - lengths[-1])) / 1024
    passed = hour <= HOUR_GOAL_GB
    print(f"  {1024 * slope:.1f} kB per frame; an hour at 25 frames/s: {hour:.2f} GB (goal ≤ {HOUR_GOAL_GB}): ", end="")
    print("pass" if passed else "FAIL")
    return passed


def main() -> int:
    shared = Path(__file__).parents[3] / "shared/data/video/d10.mp4"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="default: ../shared's 512² clip, else the astronaut clip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--weights", default="embedded", help="of the network (default: embedded)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.video or shared
        if not path.exists():
            from training.clips import write_astronaut

            print(f"{path} is absent: timing the astronaut clip")
            path = Path(folder) / "astronaut.mp4"
            write_astronaut(path)
        minute = Path(folder) / f"{path.stem}-minute.mp4"
        repeated(path, minute, MINUTE, (512, 512))
        configs = ways(options.weights)
        short, long = compare(path, options.rounds, configs), compare(minute, options.rounds, configs)
        passed = True
        for name in configs:
            (ratio, rate), goals = long[name], []
            if name == FIT:
                goals.append((f"ratio ≥ {RATIO_GOAL}", ratio >= RATIO_GOAL))
            elif name == DEFAULT:
                goals.append((f"≥ {RATE_GOAL / 2:.0f} frames/s", rate >= RATE_GOAL / 2))
            elif name == ALONE:
                goals.append((f"≥ {RATE_GOAL:.0f} frames/s", rate >= RATE_GOAL))
            verdicts = "".join(f"; goal {goal}: {'pass' if met else 'FAIL'}" for goal, met in goals)
            print(f"{name}: a minute {rate:.1f} frames/s, ratio {ratio:.2f} (the clip {short[name][0]:.2f}){verdicts}")
            passed &= all(met for _, met in goals)
        if not options.skip_memory:
            passed &= memory(path)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
