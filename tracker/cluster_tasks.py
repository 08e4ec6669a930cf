"""What runs on the machines of a cluster: functions of their arguments, and the process that holds the network.

Expected failures (a file that is no video) are answers, so that Ray's exceptions mean lost workers and our mistakes.
What a chunk shows goes to the store beside the result; answers hold figures only.
"""

from __future__ import annotations

import gc
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.exceptions
import torch
from jaxtyping import UInt8
from threadpoolctl import threadpool_limits

from model.io.assets import load_head
from tracker import work
from tracker.chunks import Chunk, Spent, look
from tracker.config import TrackConfig
from tracker.detect import Detector
from tracker.encode import Crops, Encoder, Pending
from tracker.finish import finish_track
from tracker.fit import Spread, Work
from tracker.inputs import Job
from tracker.merge import Gathered, Merger
from tracker.network import NetworkFacts, open_network
from tracker.observation import FaceCodes
from tracker.pipeline import detector_of, load_model, only_ibug68
from tracker.storage import local_copy
from tracker.threads import give_back
from tracker.track import load_track
from tracker.video import open_video
from tracker.work import Outcome, Survey

TASK_CPUS = 0.9
"""Of a processor, that a task is counted as; the rest is for the process with the network beside it, which cannot be
counted as nothing: it would come to head nodes that are to be left alone."""
_SHARES = 3
"""Parts of a fit per processor: they are not equally quick."""
_PAUSE = 3.5
"""Seconds before a lost batch is asked again; the square of it before the next time, and so on."""


@dataclass(frozen=True)
class Kit:
    """What all work of a run needs.

    Attributes:
        settings: of the tracker.
        files: contents of the head's and the network's file, where the settings name files; machines that share no
            disk with the driver have them from here.
        network: what is known of the network; None without one.
    """

    settings: TrackConfig
    files: Mapping[str, bytes]
    network: NetworkFacts | None

    @staticmethod
    def of(settings: TrackConfig, network: NetworkFacts | None) -> Kit:
        """With the files that the settings name."""
        named = {name: Path(getattr(settings, name)) for name in ("head", "weights")}
        files = {name: path.read_bytes() for name, path in named.items() if path.is_file()}
        whole = {name: str(path.absolute()) for name, path in named.items() if path.exists()}  # FLAME's is a folder
        return Kit(replace(settings, **whole), files, network)

    def eyes(self, encoders: Sequence[tuple[str, Any]], first: int) -> RemoteEyes | None:
        """The network, as a task sees it; None without one. Arguments as of `RemoteEyes`."""
        if self.network is None:
            return None
        return RemoteEyes(encoders, self.network.resolution, first, self.settings.cluster.retries)

    def config(self) -> TrackConfig:
        """The settings, with files that are on this machine."""
        return replace(self.settings, **{name: str(_unpacked(self.settings, name, self.files)) for name in self.files})


@dataclass(frozen=True)
class Receipt:
    """A finished chunk: frames and faces in it, seconds spent, on which machine and by which process."""

    frames: int
    faces: int
    spent: Spent
    node: str
    process: int


@dataclass(frozen=True)
class Missing:
    """Chunks that were thought to be in the store and are not."""

    chunks: list[Chunk]


def survey(job: Job, kit: Kit, resume: bool) -> Survey | Outcome:
    """What there is to do for a video."""
    with _quietly():
        try:
            config = kit.config()
            digest = kit.network.digest if kit.network else ""
            with local_copy(job.video) as path:
                return work.survey(job, path, config, load_head(config.head), digest, resume=resume)
        except (ValueError, OSError) as error:
            return Outcome.failed(job, error)


def look_at(job: Job, todo: Survey, chunk: Chunk, kit: Kit, encoders: Sequence[tuple[str, Any]]) -> Receipt | Outcome:
    """Look at a chunk; what it shows goes to the store.

    Args:
        encoders: machine and handle of the processes with the network.
    """
    with _quietly():
        try:
            config = kit.config()
            eyes = kit.eyes(encoders, chunk.number)
            device = "cuda" if torch.cuda.is_available() and config.device != "cpu" else "cpu"
            as_ibug68 = only_ibug68(config, load_head(config.head))
            detector = _detector(config, device)
            with local_copy(job.video) as path, open_video(path) as video:
                seen = look(video, todo.index, chunk, detector, eyes, as_ibug68=as_ibug68)
            todo.store.save(chunk.number, seen)
        except (ValueError, OSError) as error:
            return Outcome.failed(job, error)
        give_back()
        return Receipt(len(seen.frame), len(seen.points), seen.spent, _node(), os.getpid())


@cache
def _detector(config: TrackConfig, device: str) -> Detector:
    """The detector of this process. Made anew for every chunk, it would leave some of its memory behind each time."""
    return detector_of(config, device=device)


def finish(
    job: Job, todo: Survey, kit: Kit, encoders: Sequence[tuple[str, Any]], processors: int, started: float
) -> Outcome | Missing:
    """Put the chunks of a video together, fit them, and write the result.

    Args:
        processors: that are free for the fit of this video.
        started: when the video was begun, seconds since the epoch.
    """
    with _quietly():
        try:
            config = kit.config()
            notes: list[str] = []
            outcome = todo.track
            if outcome is None:
                most = config.faces if isinstance(config.faces, int) else None
                gathered = _gathered(todo, kit.eyes(encoders, 0), most)
                if isinstance(gathered, Missing):
                    return gathered
                if not gathered.faces:
                    todo.store.discard()
                    return Outcome.failed(job, ValueError(f"{job.name}: no face was found in {gathered.frames} frames"))
                give_back()
                track = finish_track(
                    todo.source,
                    gathered,
                    load_model(config),
                    config,
                    kit.network,
                    note=notes.append,
                    spread=_shared_out(processors, config.cluster.retries) if processors > 1 else None,
                )
                track = replace(track, origin=todo.origin)
                work.save(track, job.out, todo.store)
                outcome = Outcome.of(job, track, "tracked", time.time() - started, tuple(notes))
            if job.preview is not None:
                with local_copy(job.video) as path, local_copy(job.out) as result:
                    work.preview(job, path, load_track(result), config, lambda done, total: None)
            return outcome
        except (ValueError, OSError) as error:
            return Outcome.failed(job, error)


def _gathered(todo: Survey, eyes: RemoteEyes | None, most: int | None) -> Gathered | Missing:
    """What the store has of a video, as `Merger.finish` gives it."""
    merger = Merger(todo.source.size)
    missing = []
    for chunk in todo.chunks:
        seen = todo.store.load(chunk.number)
        if seen is None:
            missing.append(chunk)
        elif not missing:
            merger.push(seen)
    return Missing(missing) if missing else merger.finish(eyes, most)


def fit_rows(work: Work, parts: Sequence[np.ndarray]) -> list[Any]:
    """Some parts of the work on a face."""
    with _quietly():
        found = [work(part) for part in parts]
        del work  # with its head
        give_back()
        return found


def _shared_out(processors: int, retries: int) -> Spread:
    """A fit on all processors: this task does its share, and waits for the others' as `_Answer` does."""

    def spread(work: Work, parts: Sequence[np.ndarray]) -> list[Any]:
        fit = ray.remote(fit_rows).options(num_cpus=TASK_CPUS, max_retries=retries)
        shared = ray.put(work)
        borders = np.linspace(0, len(parts), _SHARES * processors + 1).round().astype(int)
        groups = [parts[start:stop] for start, stop in pairwise(borders) if start < stop]
        theirs = {n: fit.remote(shared, group).future() for n, group in enumerate(groups) if n % processors}
        mine = {n: fit_rows(work, group) for n, group in enumerate(groups) if not n % processors}
        return [found for n in range(len(groups)) for found in (theirs[n].result() if n in theirs else mine[n])]

    return spread


class EncoderProcess:
    """A process that holds the network; an actor."""

    def __init__(self, kit: Kit) -> None:
        torch.set_num_threads(1)
        config = kit.config()
        network = open_network(config.weights, load_model(config))
        assert network is not None
        self._encoder = Encoder(network.deca)
        del network
        gc.collect()  # what it was made of
        give_back()

    def where(self) -> str:
        """The machine it runs on."""
        return _node()

    def coarse(self, crops: Crops) -> FaceCodes:
        """As `Encoder.coarse`."""
        return self._encoder.coarse(crops)

    def detail(self, images: UInt8[np.ndarray, "B S S 3"]) -> np.ndarray:
        """As `Encoder.detail`."""
        try:
            return self._encoder.detail(images)
        finally:
            give_back()


class RemoteEyes:
    """The encoders as a task sees them: batches go to all in turn, to those of this machine if there are any.

    A batch whose process is lost is asked again, of any process, and each time after a longer pause: until a cluster
    knows that a machine has left, and has started its processes elsewhere, most of a minute may pass.

    Args:
        first: which of them has the first batch, so that tasks do not all begin with the same.
        retries: how often a batch is asked again.
    """

    def __init__(self, encoders: Sequence[tuple[str, Any]], resolution: int, first: int, retries: int) -> None:
        self._all = [handle for _, handle in encoders]
        self._here = [handle for node, handle in encoders if node == _node()] or self._all
        self._next = first
        self._resolution = resolution
        self._retries = retries

    @property
    def resolution(self) -> int:
        """Side of the network's pictures, px."""
        return self._resolution

    def coarse(self, crops: Crops) -> Pending[FaceCodes]:
        """As `Encoder.coarse`; the answer is pending."""
        return self._asked("coarse", crops)

    def detail(self, images: UInt8[np.ndarray, "B S S 3"]) -> Pending[np.ndarray]:
        """As `Encoder.detail`; the answer is pending."""
        return self._asked("detail", images)

    def _asked(self, method: str, what: object) -> Pending:
        def ask(handles: Sequence[Any]) -> Pending:
            self._next += 1
            return getattr(handles[self._next % len(handles)], method).remote(what).future()

        return _Answer(ask(self._here), lambda: ask(self._all), self._retries)


class _Answer:
    """What a process will say; if that is lost, what another one says.

    Awaited through futures: a task that waits in `ray.get` is counted as idle, and Ray would start another beside it.
    """

    def __init__(self, pending: Pending, again: Callable[[], Pending], retries: int) -> None:
        self._pending, self._again, self._retries = pending, again, retries

    def result(self) -> Any:
        for number in range(self._retries):
            try:
                return self._pending.result()
            except ray.exceptions.RayTaskError:  # it was not lost: it raised
                raise
            except ray.exceptions.RayError:
                time.sleep(_PAUSE ** (number + 1))
                self._pending = self._again()
        return self._pending.result()


def _node() -> str:
    return ray.get_runtime_context().get_node_id()


@contextmanager
def _quietly() -> Iterator[None]:
    """One thread for what follows, and none of MediaPipe's remarks."""
    os.environ.setdefault("GLOG_minloglevel", "3")
    torch.set_num_threads(1)
    with threadpool_limits(1, user_api="blas"):
        yield


def _unpacked(settings: TrackConfig, name: str, files: Mapping[str, bytes]) -> Path:
    """The file that was sent along; written once per machine, under a name that tells its content."""
    data = files[name]
    folder = Path(tempfile.gettempdir()) / f"decatrack-files-{os.getuid()}"
    folder.mkdir(exist_ok=True, mode=0o700)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:24]}{Path(getattr(settings, name)).suffix}"
    if not path.exists() or path.stat().st_size != len(data):
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_bytes(data)
        part.replace(path)
    return path
