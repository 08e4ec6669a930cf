"""A process that tracks clips when told to, and what it and all that come from it take; see scale.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """One clip: frames, seconds on the clock, processor seconds, processors that were busy with something else, and
    processors that Ray's own processes and the driver kept busy (part of `used`)."""

    frames: int
    seconds: float
    used: float
    others: float
    agents: float

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds


class Runner:
    """A process of its own, started and warm once this is made; a context manager.

    Args:
        watched: whether its memory is looked at all the time, which takes a tenth of a processor.

    Attributes:
        start: seconds that took.
        peak: the most memory so far, MB, of it and all that come from it; 0 where it is not watched.
    """

    def __init__(self, command: list[str], processors: set[int] | None = None, *, watched: bool = False) -> None:
        began = time.perf_counter()

        def pin() -> None:
            if processors:
                os.sched_setaffinity(0, processors)

        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=pin
        )
        self.peak, self._done = 0.0, threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        if watched:
            self._watcher.start()
        self._answer()
        self.start = time.perf_counter() - began

    def track(self, clip: Path, out: Path) -> Run:
        """Track a clip."""
        mine, all_of_them = used_by(self._process.pid), busy()
        agents = used_by(self._process.pid, besides=b"ray::")
        assert self._process.stdin is not None
        print(json.dumps([str(clip), str(out)]), file=self._process.stdin, flush=True)
        found = self._answer()
        mine, all_of_them = used_by(self._process.pid) - mine, busy() - all_of_them
        agents, seconds = used_by(self._process.pid, besides=b"ray::") - agents, found["seconds"]
        return Run(found["frames"], seconds, mine, max(0.0, all_of_them - mine) / seconds, agents / seconds)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        if self._watcher.is_alive():
            self._watcher.join()

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit("the process that tracks has failed")

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            self.peak = max(self.peak, memory_of(self._process.pid))


def serve(ready: Callable[[Path, Path], int]) -> None:
    """The other end of a `Runner`: track what is asked for until nothing more is.

    Args:
        ready: tracks a clip; gives its frames.
    """
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        clip, out = json.loads(line)
        began = time.perf_counter()
        frames = ready(Path(clip), Path(out))
        print(json.dumps({"frames": frames, "seconds": time.perf_counter() - began}), flush=True)


def family(root: int) -> set[int]:
    """A process and all that come from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue  # it has ended meanwhile
    found, more = {root}, True
    while more:
        new = {pid for pid, parent in parents.items() if parent in found} - found
        found, more = found | new, bool(new)
    return found


def memory_of(root: int) -> float:
    """MB of a family; shared pages count once (PSS)."""
    total = 0
    for pid in family(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1024


def used_by(root: int, besides: bytes | None = None) -> float:
    """Processor seconds of a family, with those of its dead; without processes whose title begins with `besides`."""
    total = 0
    for pid in family(root):
        try:
            if besides and Path(f"/proc/{pid}/cmdline").read_bytes().startswith(besides):
                continue
            total += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:15]))
        except (OSError, IndexError):
            continue
    return total / _TICKS


def busy() -> float:
    """Processor seconds of everything on this machine since it was started."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8])
    return (user + nice + system + sum(rest)) / _TICKS
