"""Ray for the time of a run: started here or joined, the processes with the network, and what is measured."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
from ray.util.metrics import Counter, Gauge, Histogram

import model
import tracker
from tracker.chunks import Spent
from tracker.cluster_tasks import TASK_CPUS, EncoderProcess
from tracker.config import ClusterConfig

_STORE = 200 << 20
"""Bytes for Ray's objects on this machine; only crops on their way to a network go that way."""
_STORE_EACH = 24 << 20
"""And per process: batches of crops that wait."""
_ALLOCATOR = {"MALLOC_ARENA_MAX": "2"}
"""glibc gives threads heaps of their own, eight per processor, and what threads come and go free in them is not handed
back: decoders' threads would let processes that look grow for as long as the video is. Two heaps cost no time."""
_ENCODER_CPUS = 0.001
_MOST_EACH = 8
"""Processes with the network per processor, at most: all of them must find room beside the tasks that wait for them."""


class Session:
    """Ray, started on this machine or joined; a context manager.

    Args:
        workers: processors to use; all of a cluster's if absent.
        address: of a cluster; None starts Ray here for the time of the run.

    Raises:
        ValueError: no cluster there.
    """

    def __init__(self, config: ClusterConfig, workers: int | None, address: str | None) -> None:
        self._config, self._workers, self._address = config, workers, address

    def __enter__(self) -> Session:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray does work again without end whose process ran out of memory; for it the bound is a setting of its own.
        os.environ.setdefault("RAY_task_oom_retries", str(self._config.retries))
        for name, value in _ALLOCATOR.items():  # for the processes that are started on this machine
            os.environ.setdefault(name, value)
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if self._address is None:
            store = _STORE + _STORE_EACH * (self._workers or 1)
            ray.init("local", num_cpus=self._workers, object_store_memory=store, include_dashboard=False, **quiet)
        else:
            try:
                ray.init(self._address, runtime_env=self._environment(), **quiet)
            except (ConnectionError, RuntimeError) as error:
                line = next(iter(str(error).splitlines()), "")
                raise ValueError(f"--ray-address {self._address}: no cluster can be reached there ({line})") from None
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()

    def _environment(self) -> dict[str, Any]:
        """Of processes on a cluster: how they take memory; the package, sent once and unpacked once on each machine."""
        environment: dict[str, Any] = {"env_vars": dict(_ALLOCATOR)}
        if self._config.ship:
            environment["py_modules"] = [str(Path(str(package.__file__)).parent) for package in (model, tracker)]
        return environment

    @property
    def processors(self) -> int:
        """How many there are to work with now; at least one, for a cluster that starts its machines when asked."""
        there = int(ray.cluster_resources().get("CPU", 0))
        return max(1, min(there, self._workers or there))

    @property
    def in_flight(self) -> int:
        """How much work to give out at once.

        More than can run: machines are never idle, and a cluster that grows by itself sees that there is more to do.
        """
        joined = self._address is not None and self._workers is not None  # the others' processors are not ours
        return self.processors * (1 if joined else self._config.ahead)

    def options(self, *, gpu: bool = False) -> dict[str, Any]:
        """Of a task: what it needs; done again when its process is lost, but not when it raises."""
        options: dict[str, Any] = {"num_cpus": TASK_CPUS, "max_retries": self._config.retries}
        if gpu:
            options["num_gpus"] = self._config.gpu
        return {**options, "retry_exceptions": False}


class Encoders:
    """The processes with the network: as many as there is room for, also when machines come or leave.

    Those whose machine leaves are started again elsewhere by Ray; what they were asked is asked again by
    `tracker.cluster_tasks.RemoteEyes`.
    """

    def __init__(self, config: ClusterConfig, session: Session, kit: Any) -> None:
        self._config, self._session, self._kit = config, session, kit
        self._process: Any = ray.remote(EncoderProcess)
        self._handles: list[Any] = []
        self._where: list[Any] = []  # the machine's name, or the reference by which it will be known

    def adjust(self) -> None:
        """Start what is lacking; let go of what is too much, which ends when the work that uses it is done."""
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        for number, where in enumerate(self._where):
            if isinstance(where, str) and where not in alive:  # it is started elsewhere, and says where once it is
                self._where[number] = self._handles[number].where.remote()
        gpus = ray.cluster_resources().get("GPU", 0.0)
        processors = self._session.processors
        wanted = math.floor(gpus / self._config.gpu) if gpus else processors
        wanted = max(1, min(self._config.encoders, _MOST_EACH * processors) or wanted)
        options: dict[str, Any] = {"num_cpus": _ENCODER_CPUS, "num_gpus": self._config.gpu if gpus else 0}
        options |= {"max_restarts": -1, "max_task_retries": 1, "scheduling_strategy": "SPREAD"}
        while len(self._handles) < wanted:
            handle = self._process.options(**options).remote(self._kit)
            self._handles.append(handle)
            self._where.append(handle.where.remote())
        del self._handles[wanted:], self._where[wanted:]

    def handles(self) -> list[tuple[str, Any]]:
        """Machine and handle of each; the machine is empty while it is not known."""
        for number, where in enumerate(self._where):
            if not isinstance(where, str) and ray.wait([where], timeout=0)[0]:
                try:
                    self._where[number] = ray.get(where)
                except ray.exceptions.RayError:  # lost meanwhile; Ray starts it elsewhere
                    self._where[number] = ""
        return [
            (where if isinstance(where, str) else "", handle)
            for where, handle in zip(self._where, self._handles, strict=True)
        ]


class Metrics:
    """What Ray's dashboard and Prometheus see of a run."""

    def __init__(self) -> None:
        bounds = [0.1, 0.3, 1, 3, 10, 30, 100, 300]
        self._frames = Counter("decatrack_frames", "Frames that were looked at")
        self._videos = Counter("decatrack_videos", "Videos that are done, by how they ended", tag_keys=("state",))
        self._stages = Histogram("decatrack_stage_seconds", "Of a chunk, by stage", bounds, tag_keys=("stage",))
        self._queue = Gauge("decatrack_queue", "Work by where it is", tag_keys=("where",))

    def chunk(self, frames: int, spent: Spent) -> None:
        """A chunk is done."""
        if frames:
            self._frames.inc(frames)
        for stage in ("decode", "detect", "crop", "encode"):
            self._stages.observe(max(getattr(spent, stage), 1e-6), {"stage": stage})

    def video(self, state: str) -> None:
        """A video is done."""
        self._videos.inc(1, {"state": state})

    def queue(self, given: int, waiting: int) -> None:
        """Work that was given out, and chunks of begun videos that were not."""
        self._queue.set(given, {"where": "given out"})
        self._queue.set(waiting, {"where": "waiting"})
