"""One process against several: ``python tests/benchmarks/scale.py [speed] [overhead] [memory] [model]``.

speed      one long clip in this process as it comes, and with --workers 1 and 2: frames a second net of start-up, which
           is told apart; and whether the results are the same.
overhead   what Ray costs per chunk and frame when the work itself is nothing; the same by Ray Data.
memory     the most memory that all processes of ``--workers 2`` take together, by length of the video.
model      seconds of a processor by stage; from these frames a second, bottleneck and efficiency of clusters; and
           whether that predicts what `speed` measured.

Goals (2 cores): two workers 1.6 times as fast as one process; memory that is flat; predictions within 20 %.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("GLOG_minloglevel", "3")

from scale_model import Costs, Machines, predict, seconds
from speed import repeated

ROOT = Path(__file__).resolve().parents[2]
SIDE = 512
SPEEDUP_GOAL = 1.6
FLAT_GOAL = 1.1
"""Memory for the longest video over that for the shortest."""
MODEL_GOAL = 0.2
GPU_ENCODE = 0.0005
"""Seconds per frame of the network on one GPU: an assumption, --gpu-ms replaces it."""


def config(options: argparse.Namespace):
    """The settings that all sections use."""
    from tracker.config import TrackConfig

    return TrackConfig(weights=options.weights)


def child(options: argparse.Namespace, what: str, *arguments: object) -> dict:
    """Run a section's part in a process of its own; its answer, and the most memory it took with all its children."""
    command = [
        sys.executable,
        __file__,
        what,
        "--weights",
        options.weights,
        "--child",
        json.dumps(arguments, default=str),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            peak[0] = max(peak[0], memory_of(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{what} {arguments} failed")
    return {**json.loads(output.splitlines()[-1]), "peak": peak[0]}


def memory_of(root: int) -> float:
    """MB of a process and all that come from it; shared pages count once (PSS)."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
    family, more = {root}, True
    while more:
        found = {pid for pid, parent in parents.items() if parent in family} - family
        family, more = family | found, bool(found)
    total = 0
    for pid in family:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1024


def timed(options: argparse.Namespace, workers: int, clip: str, short: str, out: str) -> dict:
    """Track a short clip often enough that all processes are there, then the long one. Workers 0: in this process."""
    from tracker.cluster import Driver
    from tracker.cluster_session import Session
    from tracker.cluster_tasks import Kit
    from tracker.inputs import Job
    from tracker.network import network_facts
    from tracker.pipeline import load_model
    from tracker.progress import BatchProgress
    from tracker.single import Tracker

    settings, started = config(options), time.perf_counter()
    folder = Path(out).parent
    warm = [Job(Path(short), folder / f"warm{i}.npz", None) for i in range(max(1, 2 * workers))]
    job = Job(Path(clip), Path(out), None)
    if not workers:
        tracker = Tracker(settings)
        tracker.track(warm[0], resume=False)
        ready = time.perf_counter()
        frames = tracker.track(job, resume=False).frames
    else:
        kit = Kit.of(settings, network_facts(settings.weights, load_model(settings).asset))
        with Session(settings.cluster, workers, None) as session, BatchProgress(1) as progress:
            driver = Driver(kit, session, progress)
            failed = [o.error for _, o in driver.run(warm, resume=False) if o.error]
            ready = time.perf_counter()
            ((_, outcome),) = driver.run([job], resume=False)
            if failed or outcome.error:
                raise SystemExit(f"failed: {failed} {outcome.error}")
            frames = outcome.frames
    ended = time.perf_counter()
    return {"frames": frames, "start": ready - started, "seconds": ended - ready}


def speed(options: argparse.Namespace, folder: Path, clip: Path, short: Path) -> tuple[bool, dict[int, dict]]:
    """The first section."""
    print(f"{options.minutes[0]} min of {SIDE}x{SIDE}, weights {options.weights}, {os.cpu_count()} cores")
    runs: dict[int, dict] = {}
    for workers in (0, 1, 2):
        out = folder / f"by{workers}.npz"
        runs[workers] = run = child(options, "speed", workers, clip, short, out)
        run["rate"] = run["frames"] / run["seconds"]
        name = f"--workers {workers}" if workers else "in process"
        print(f"  {name:12s} {run['rate']:6.1f} frames/s net of {run['start']:5.1f} s to start; {run['peak']:5.0f} MB")
    same = len({(folder / f"by{workers}.npz").read_bytes() for workers in runs}) == 1
    print(f"  the three files are {'the same, byte for byte: pass' if same else 'NOT THE SAME: FAIL'}")
    gain = runs[2]["rate"] / runs[0]["rate"]
    print(
        f"  2 workers over 1 process {gain:.2f} (goal {SPEEDUP_GOAL}): {'pass' if gain >= SPEEDUP_GOAL else 'FAIL'};",
        end="",
    )
    print(f" over 1 worker {runs[2]['rate'] / runs[1]['rate']:.2f}")
    return same and gain >= SPEEDUP_GOAL, runs


def idle(*_: object) -> int:
    """The work that is nothing."""
    return 0


def costs_of_ray(count: int) -> dict:
    """Seconds per piece of work that is nothing: on the clock, and of the driver's processor; by Ray core and Data."""
    import ray

    from tracker.chunks import chunks_of
    from tracker.cluster_session import Session
    from tracker.config import ClusterConfig

    with Session(ClusterConfig(), 2, None) as session:
        task = ray.remote(idle).options(**session.options())
        shared, chunk = ray.put({"like": bytes(100_000)}), chunks_of(600, 600)[0]
        ray.get([task.remote() for _ in range(8)])
        began, used = time.perf_counter(), time.process_time()
        given, left = [], count
        while given or left:
            while left and len(given) < session.in_flight:
                given.append(task.remote(shared, chunk, shared, []))
                left -= 1
            done, given = ray.wait(given, num_returns=1)
            ray.get(done)
        core = (time.perf_counter() - began, time.process_time() - used)
        import ray.data

        ray.data.DataContext.get_current().enable_progress_bars = False

        def through(blocks: int) -> tuple[float, float]:
            began, used = time.perf_counter(), time.process_time()
            data = ray.data.range(blocks, override_num_blocks=blocks).map_batches(lambda rows: rows, batch_size=1)
            assert sum(len(rows["id"]) for rows in data.iter_batches(batch_size=1)) == blocks
            return time.perf_counter() - began, time.process_time() - used

        through(8)
        data = through(count)
    return {"core": [s / count for s in core], "data": [s / count for s in data]}


def overhead(options: argparse.Namespace) -> float:
    """The second section; the driver's seconds per chunk."""
    found = child(options, "overhead", 400)
    for name, (clock, driver) in (("core", found["core"]), ("Data", found["data"])):
        print(
            f"  Ray {name}: {1e3 * clock:.2f} ms a chunk on 2 cores, {1e3 * driver:.2f} ms of them the driver's;",
            end="",
        )
        print(f" {1e3 * clock / 600:.4f} ms a frame in chunks of 600")
    return found["core"][1]


def memory(options: argparse.Namespace, folder: Path, source: Path, short: Path) -> bool:
    """The third section."""
    peaks = []
    for minutes in options.minutes:
        clip = folder / f"{minutes}.mp4"
        repeated(source, clip, int(minutes * 60 * 25), (SIDE, SIDE))
        run = child(options, "speed", 2, clip, short, folder / "long.npz")
        peaks.append(run["peak"])
        print(f"  {minutes:5.1f} min: {run['peak']:6.0f} MB, {run['frames'] / run['seconds']:.1f} frames/s", flush=True)
    flat = max(peaks) / peaks[0]
    passed = flat <= FLAT_GOAL
    print(f"  {flat:.2f} times the shortest's (goal {FLAT_GOAL}): {'pass' if passed else 'FAIL'}")
    return passed


def stages(options: argparse.Namespace, clip: str) -> dict:
    """Processor seconds per frame of every stage, each alone: of all threads, so that waiting does not count."""
    from scale_stages import measure

    return asdict(measure(config(options), Path(clip)))


def model(options: argparse.Namespace, clip: Path, driver: float, runs: dict[int, dict]) -> bool:
    """The fourth section."""
    found = child(options, "model", clip)
    found.pop("peak")
    costs = Costs(**(found | {"driver": driver}))
    print("  ms of a processor per frame: ", end="")
    print(
        ", ".join(
            f"{name} {1e3 * getattr(costs, name):.2f}" for name in ("decode", "detect", "crop", "encode", "finish")
        )
    )
    passed = True
    for workers in (1, 2):
        if workers in runs:
            measured = runs[workers]["seconds"]
            expected = seconds(costs, runs[workers]["frames"], workers, os.cpu_count() or 1)
            off = expected / measured - 1
            passed &= abs(off) <= MODEL_GOAL
            print(f"  {workers} worker(s): predicted {expected:.1f} s, measured {measured:.1f} s: ", end="")
            print(f"{100 * off:+.0f} %: {'pass' if abs(off) <= MODEL_GOAL else 'FAIL'}")
    for gpus in (0, 1):
        print(
            f"  machines of 16 processors{f' and a GPU ({1e3 * options.gpu_ms / 1e3:.2f} ms a frame)' if gpus else ''}:"
        )
        one = predict(costs, Machines(1, 16, gpus, options.gpu_ms / 1e3)).rate
        for count in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
            there = predict(costs, Machines(count, 16, gpus, options.gpu_ms / 1e3))
            print(
                f"    {count:5d}: {there.rate:9.0f} frames/s, efficiency {100 * there.rate / count / one:4.0f} %, "
                f"bottleneck {there.bottleneck} ({100 * there.busy:.0f} % busy)"
            )
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help="all if none is named")
    parser.add_argument("--video", type=Path, default=ROOT.parent / "shared/data/video/d10.mp4")
    parser.add_argument("--weights", default="embedded", help="of the network; none leaves it out")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 5, 20], help="of video; the first for speed")
    parser.add_argument("--gpu-ms", type=float, default=1e3 * GPU_ENCODE, help="assumed, per frame, of the network")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        work = {"speed": timed, "model": stages}.get(options.sections[0])
        arguments = json.loads(options.child)
        print(json.dumps(work(options, *arguments) if work else costs_of_ray(*arguments)))
        return 0
    chosen = options.sections or ["speed", "overhead", "memory", "model"]
    passed, driver, runs = True, 0.003, {}
    with tempfile.TemporaryDirectory() as name:
        folder, source = Path(name), options.video
        if not source.exists():
            from training.clips import write_astronaut

            source = folder / "astronaut.mp4"
            write_astronaut(source)
        clip, short = folder / "clip.mp4", folder / "short.mp4"
        repeated(source, clip, int(options.minutes[0] * 60 * 25), (SIDE, SIDE))
        repeated(source, short, 30, (SIDE, SIDE))
        if "speed" in chosen:
            met, runs = speed(options, folder, clip, short)
            passed &= met
        if "overhead" in chosen:
            driver = overhead(options)
        if "memory" in chosen:
            passed &= memory(options, folder, source, short)
        if "model" in chosen:
            passed &= model(options, clip, driver, runs)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
