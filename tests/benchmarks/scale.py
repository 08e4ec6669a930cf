"""One process against several: ``python tests/benchmarks/scale.py [speed] [overhead] [memory] [model]``.

speed      one long clip in a process that has one processor; in one as it comes, which decodes, detects and encodes in
           threads; and with --workers 1 and 2: frames a second net of start-up, which is told apart; and whether the
           results are the same.
overhead   what Ray costs per chunk and frame when the work itself is nothing; the same by Ray Data.
memory     the most memory that all processes of ``--workers 2`` take together, by length of the video.
model      seconds of a processor by stage; from these frames a second, bottleneck and efficiency of clusters; and
           whether that predicts what `speed` measured.

Goals (2 cores): two workers 1.6 times as fast as one processor; memory that is flat; predictions within 20 %.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("GLOG_minloglevel", "3")

from scale_model import Costs, Machines, predict, seconds
from scale_process import Run, Runner, serve
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


def child(options: argparse.Namespace, what: str, *arguments: object, copies: int = 1) -> dict:
    """Run a section's part in a process of its own; its answer. Several at once: the mean of their numbers."""
    line = command(options, what, *arguments)
    running = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(copies)]
    printed = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit(f"{what} {arguments} failed")
    answers = [json.loads(text.splitlines()[-1]) for text in printed]
    if copies == 1:
        return answers[0]
    return {name: type(value)(sum(a[name] for a in answers) / copies) for name, value in answers[0].items()}


def command(options: argparse.Namespace, what: str, *arguments: object) -> list[str]:
    """That runs a section's part."""
    told = json.dumps(arguments, default=str)
    return [sys.executable, __file__, what, "--weights", options.weights, "--child", told]


def tracking(options: argparse.Namespace, workers: int, short: str, folder: str) -> None:
    """Tracks what it is told to, after warming up all processes. Workers 0: in this one."""
    from tracker.cluster import Driver
    from tracker.cluster_session import Session
    from tracker.cluster_tasks import Kit
    from tracker.inputs import Job
    from tracker.network import network_facts
    from tracker.pipeline import load_model
    from tracker.progress import BatchProgress
    from tracker.single import Tracker

    settings = config(options)
    # As many short clips that every process has had one.
    warm = [Job(Path(short), Path(folder) / f"warm{i}.npz", None) for i in range(max(1, 2 * workers))]
    if not workers:
        tracker = Tracker(settings)
        tracker.track(warm[0], resume=False)
        serve(lambda clip, out: tracker.track(Job(clip, out, None), resume=False).frames)
        return
    kit = Kit.of(settings, network_facts(settings.weights, load_model(settings).asset))
    with Session(settings.cluster, workers, None) as session, BatchProgress(1) as progress:
        driver = Driver(kit, session, progress)

        def frames(jobs: list[Job]) -> int:
            outcomes = [outcome for _, outcome in driver.run(jobs, resume=False)]
            failed = [outcome.error for outcome in outcomes if outcome.error]
            if failed:
                raise SystemExit(f"failed: {failed}")
            return sum(outcome.frames for outcome in outcomes)

        frames(warm)
        serve(lambda clip, out: frames([Job(clip, out, None)]))


def runner(
    options: argparse.Namespace,
    workers: int,
    short: Path,
    folder: Path,
    *,
    cores: int | None = None,
    watched: bool = False,
) -> Runner:
    """A process that tracks by so many workers (0: by itself), warm; with so many of the processors."""
    here = sorted(os.sched_getaffinity(0))
    folder = folder / f"warm-{workers}-{cores}"
    folder.mkdir(exist_ok=True)
    return Runner(command(options, "speed", workers, short, folder), cores and set(here[:cores]), watched=watched)


def speed(options: argparse.Namespace, folder: Path, clip: Path, short: Path) -> tuple[bool, dict[int, Run]]:
    """The first section: all ways in turn, several times; of each the fastest, as other work only slows them down."""
    cores = len(os.sched_getaffinity(0))
    print(f"{options.frames} frames of {SIDE}x{SIDE}, weights {options.weights}, {cores} cores")
    print("  frames/s on the clock, ms of a processor per frame, processors that others kept busy meanwhile")
    ways = {"one processor": (0, 1), "in process": (0, None), "--workers 1": (1, None), "--workers 2": (2, None)}
    best: dict[str, Run] = {}
    with ExitStack() as stack:
        runners = {}
        for name, (workers, pinned) in ways.items():
            runners[name] = stack.enter_context(runner(options, workers, short, folder, cores=pinned))
        for _ in range(options.rounds):
            for name, process in runners.items():
                run = process.track(clip, folder / f"by {name}.npz")
                print(
                    f"  {name:13s} {run.rate:6.1f}  {1e3 * run.used / run.frames:5.1f}  {run.others:4.1f}", flush=True
                )
                best[name] = max(best.get(name, run), run, key=lambda run: run.rate)
        for name, process in runners.items():
            print(
                f"  {name:13s} {best[name].rate:6.1f} frames/s at best, net of {process.start:.1f} s to start;", end=""
            )
            print(f" {best[name].used / best[name].seconds:.2f} processors")
    same = len({(folder / f"by {name}.npz").read_bytes() for name in ways}) == 1
    print(f"  the four files are {'the same, byte for byte: pass' if same else 'NOT THE SAME: FAIL'}")
    two, gains = best["--workers 2"].rate, {}
    for name in ("one processor", "--workers 1", "in process"):
        gains[name] = two / best[name].rate
        print(f"  --workers 2 over {name}: {gains[name]:.2f}", end="")
        # One process as it comes works in threads. What its threads leave idle is all that a second process can win.
        idle = cores / (best[name].used / best[name].seconds)
        print(f", at most {idle:.2f} by the processors that were idle")
    passed = same and gains["one processor"] >= SPEEDUP_GOAL
    print(f"  over one processor (goal {SPEEDUP_GOAL}): {'pass' if gains['one processor'] >= SPEEDUP_GOAL else 'FAIL'}")
    return passed, {1: best["--workers 1"], 2: best["--workers 2"]}


def idle(*_: object) -> int:
    """The work that is nothing."""
    return 0


class Nobody:
    """A network that says nothing; a process."""

    def coarse(self, crops: object) -> bytes:
        """As many bytes as of codes."""
        return bytes(16_000)

    def used(self) -> float:
        """Processor seconds so far."""
        return time.process_time()


def cost_of_handing(batches: int) -> float:
    """Processor seconds per crop that goes to another process, with an answer of the size of its codes."""
    import numpy as np
    import ray

    from tracker.encode import AHEAD, BATCH, Crops

    crops = Crops(np.zeros((BATCH, 224, 224, 3), np.uint8), np.zeros((BATCH, 3)), np.zeros(BATCH))
    other: Any = ray.remote(Nobody).options(num_cpus=0.001).remote()
    before = 0.0
    for number in range(-20, batches):
        if not number:
            before = time.process_time() + ray.get(other.used.remote())
        waiting = [other.coarse.remote(crops).future() for _ in range(AHEAD)]
        for answer in waiting:
            answer.result()
    return (time.process_time() + ray.get(other.used.remote()) - before) / (batches * AHEAD * BATCH)


def costs_of_ray(count: int) -> dict:
    """Seconds per piece of work that is nothing: on the clock, and of the driver's processor; by Ray core and Data. And
    per crop that is handed over."""
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
        hand = cost_of_handing(60)
        import ray.data

        ray.data.DataContext.get_current().enable_progress_bars = False

        def through(blocks: int) -> tuple[float, float]:
            began, used = time.perf_counter(), time.process_time()
            data = ray.data.range(blocks, override_num_blocks=blocks).map_batches(lambda rows: rows, batch_size=1)
            assert sum(len(rows["id"]) for rows in data.iter_batches(batch_size=1)) == blocks
            return time.perf_counter() - began, time.process_time() - used

        through(8)
        data = through(count)
    return {"core": [s / count for s in core], "data": [s / count for s in data], "hand": hand}


def overhead(options: argparse.Namespace) -> tuple[float, float]:
    """The second section; the driver's seconds per chunk, and those of handing a crop over."""
    found = child(options, "overhead", 400)
    print(f"  handing crops to the network: {1e3 * found['hand']:.2f} ms of a processor per frame")
    for name, (clock, driver) in (("core", found["core"]), ("Data", found["data"])):
        print(
            f"  Ray {name}: {1e3 * clock:.2f} ms a chunk on 2 cores, {1e3 * driver:.2f} ms of them the driver's;",
            end="",
        )
        print(f" {1e3 * clock / 600:.4f} ms a frame in chunks of 600")
    return found["core"][1], found["hand"]


def memory(options: argparse.Namespace, folder: Path, source: Path, short: Path) -> bool:
    """The third section."""
    peaks = []
    for minutes in options.minutes:
        clip = folder / f"{minutes}.mp4"
        repeated(source, clip, int(minutes * 60 * 25), (SIDE, SIDE))
        with runner(options, 2, short, folder, watched=True) as process:
            run = process.track(clip, folder / "long.npz")
        clip.unlink()
        peaks.append(process.peak)
        print(f"  {minutes:5.1f} min: {process.peak:6.0f} MB, {run.rate:.1f} frames/s", flush=True)
    flat = max(peaks) / peaks[0]
    passed = flat <= FLAT_GOAL
    print(f"  {flat:.2f} times the shortest's (goal {FLAT_GOAL}): {'pass' if passed else 'FAIL'}")
    return passed


def stages(options: argparse.Namespace, clip: str) -> dict:
    """Processor seconds of every stage: of all threads, so that waiting does not count."""
    from scale_stages import measure

    return asdict(measure(config(options), Path(clip)))


def model(options: argparse.Namespace, clip: Path, ray: tuple[float, float], runs: dict[int, Run]) -> bool:
    """The fourth section. The stages are timed in as many processes at once as there are processors, as they run."""
    cores = len(os.sched_getaffinity(0))
    found = child(options, "model", clip, copies=cores)
    costs = Costs(**(found | {"driver": ray[0], "hand": ray[1]}))
    print(f"  ms of a processor per frame, {cores} processes at once: ", end="")
    names = ("decode", "detect", "crop", "encode", "hand", "serial", "shared")
    print(", ".join(f"{name} {1e3 * getattr(costs, name):.2f}" for name in names), end="")
    print(f"; per chunk: start {1e3 * costs.start:.0f}, driver {1e3 * costs.driver:.1f}; ", end="")
    print(f"per video: detail {1e3 * costs.detail:.0f}")
    passed = True
    for workers in (1, 2):
        if workers in runs:
            run = runs[workers]
            expected = seconds(costs, run.frames, workers, cores, run.agents)
            off = expected / run.seconds - 1
            passed &= abs(off) <= MODEL_GOAL
            print(f"  {workers} worker(s): predicted {expected:.1f} s, measured {run.seconds:.1f} s", end="")
            print(f" (Ray's own processes: {run.agents:.2f} processors): ", end="")
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
    parser.add_argument("--frames", type=int, default=6000, help="of the first section; by default ten chunks")
    parser.add_argument("--video", type=Path, default=ROOT.parent / "shared/data/video/d10.mp4")
    parser.add_argument("--weights", default="embedded", help="of the network; none leaves it out")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 5, 20], help="of video, for memory")
    parser.add_argument("--rounds", type=int, default=3, help="of the first section")
    parser.add_argument("--gpu-ms", type=float, default=1e3 * GPU_ENCODE, help="assumed, per frame, of the network")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        work = {"model": stages}.get(options.sections[0])
        arguments = json.loads(options.child)
        if options.sections[0] == "speed":
            tracking(options, *arguments)
            return 0
        print(json.dumps(work(options, *arguments) if work else costs_of_ray(*arguments)))
        return 0
    chosen = options.sections or ["speed", "overhead", "memory", "model"]
    passed, ray, runs = True, (0.003, 0.0005), {}
    with tempfile.TemporaryDirectory() as name:
        folder, source = Path(name), options.video
        if not source.exists():
            from training.clips import write_astronaut

            source = folder / "astronaut.mp4"
            write_astronaut(source)
        clip, short = folder / "clip.mp4", folder / "short.mp4"
        repeated(source, clip, options.frames, (SIDE, SIDE))
        repeated(source, short, 30, (SIDE, SIDE))
        if "speed" in chosen:
            met, runs = speed(options, folder, clip, short)
            passed &= met
        if "overhead" in chosen:
            ray = overhead(options)
        if "memory" in chosen:
            passed &= memory(options, folder, source, short)
        if "model" in chosen:
            passed &= model(options, clip, ray, runs)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
