"""Videos tracked in many processes or on many machines, by Ray; see docs/cluster.md.

The driver gives out work and counts. A video is surveyed, its chunks are looked at, and when all of them are in the
store beside the result, one task puts them together. Chunks are what `tracker.pipeline` would have looked at, and so
the result is the same, bit for bit, however many processes there are and whatever happens to them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
import ray.exceptions

from model.io.assets import load_head
from tracker.batch import Log
from tracker.chunks import Chunk
from tracker.cluster_session import Encoders, Metrics, Session
from tracker.cluster_tasks import Kit, Missing, Receipt, finish, look_at, survey
from tracker.config import TrackConfig
from tracker.inputs import Job
from tracker.network import network_facts
from tracker.pipeline import needs_network
from tracker.progress import BatchProgress
from tracker.storage import Place
from tracker.work import Outcome, Survey

_PATIENCE = 1.0
"""Seconds between looks at the cluster while nothing is done."""


def track_by_ray(
    jobs: Sequence[Job],
    config: TrackConfig,
    *,
    resume: bool = False,
    workers: int | None = None,
    address: str | None = None,
) -> Iterator[tuple[Job, Outcome]]:
    """Track videos; each is given with how it went, as they are done.

    Args:
        resume: go on with what was interrupted, keep what is done.
        workers: processors to use; Ray is started on this machine where no address is given.
        address: of a cluster, as `ray.init` understands it. Places that are no URLs must be the same on all machines.

    Raises:
        ValueError: no such head, weights or cluster.
    """
    asset = load_head(config.head)
    network = network_facts(config.weights, asset)
    needs_network(config, network is not None)
    kit = Kit.of(config, network)
    named = {_whole(job): job for job in jobs}
    with Session(config.cluster, workers, address) as session, BatchProgress(len(jobs)) as progress:
        driver = Driver(kit, session, progress)
        for whole, outcome in driver.run(list(named), resume=resume):
            yield named[whole], replace(outcome, out=str(named[whole].out))


@dataclass
class _Video:
    """A video that was begun."""

    job: Job
    log: Log
    started: float = field(default_factory=time.time)
    todo: Survey | None = None
    survey: Any = None  # the reference, which goes along with the work
    waiting: deque[Chunk] = field(default_factory=deque)
    given: int = 0  # parts that are being worked on
    again: int = 0  # times that chunks turned out to be missing
    ended: bool = False

    @property
    def ready(self) -> bool:
        """Whether it can be put together."""
        return self.todo is not None and not self.waiting and not self.given


@dataclass(frozen=True)
class _Part:
    """Work that was given out."""

    video: _Video
    chunk: Chunk | None = None


class Driver:
    """Gives out the work of a run and takes what becomes of it; holds the processes with the network."""

    def __init__(self, kit: Kit, session: Session, progress: BatchProgress) -> None:
        self._kit = kit
        self._session = session
        self._progress = progress
        self._shared = ray.put(kit)
        # Ray warns of references as arguments of what it may start again, though this one lives as long as the run.
        mine = self._shared if kit.files else kit
        self._encoders = Encoders(kit.settings.cluster, session, mine) if kit.network else None
        self._jobs: deque[Job] = deque()
        self._open: list[_Video] = []
        self._given: dict[Any, _Part] = {}
        self._metrics = Metrics()
        self._alone = self._resume = False
        self._gpu = kit.settings.device == "cuda"
        detects = self._gpu and kit.settings.detector == "face-alignment"
        self._survey: Any = ray.remote(survey).options(**session.options())
        self._look: Any = ray.remote(look_at).options(**session.options(gpu=detects))
        self._finish: Any = ray.remote(finish).options(**session.options(gpu=self._gpu))

    def run(self, jobs: Sequence[Job], *, resume: bool) -> Iterator[tuple[Job, Outcome]]:
        """Until everything is done; arguments as of `track_by_ray`, with absolute paths."""
        self._jobs, self._alone, self._resume = deque(jobs), len(jobs) == 1, resume
        while self._jobs or self._given or self._open:
            if self._encoders:
                self._encoders.adjust()
            limit = self._session.in_flight
            while len(self._given) < limit and self._give():
                pass
            self._metrics.queue(len(self._given), sum(len(video.waiting) for video in self._open))
            assert self._given, "videos are open and nothing is under way"
            done, _ = ray.wait(list(self._given), num_returns=1, timeout=_PATIENCE)
            for reference in done:
                part = self._given.pop(reference)
                part.video.given -= 1
                outcome = self._taken(part, reference)
                if outcome is not None:
                    yield part.video.job, outcome

    def _give(self) -> bool:
        """Give out the most urgent piece of work: what ends a video first, new videos last."""
        handles = self._encoders.handles() if self._encoders else []
        for video in self._open:
            if video.ready:
                free = self._free(video)
                reference = self._finish.remote(video.job, video.survey, self._shared, handles, free, video.started)
                self._submit(_Part(video), reference)
                return True
        for video in self._open:
            if video.waiting:
                chunk = video.waiting.popleft()
                reference = self._look.remote(video.job, video.survey, chunk, self._shared, handles)
                self._submit(_Part(video, chunk), reference)
                return True
        if not self._jobs:
            return False
        job = self._jobs.popleft()
        video = _Video(job, Log(job, silent=self._alone))
        video.survey = self._survey.remote(job, self._shared, self._resume)
        self._open.append(video)
        self._submit(_Part(video), video.survey)
        return True

    def _submit(self, part: _Part, reference: Any) -> None:
        self._given[reference] = part
        part.video.given += 1

    def _free(self, video: _Video) -> int:
        """Processors for the fit of a video: all when it is the last thing to do, else one."""
        if self._gpu or self._jobs or self._given or any(other is not video for other in self._open):
            return 1
        return self._session.processors

    def _taken(self, part: _Part, reference: Any) -> Outcome | None:
        """What became of a piece of work; how it went with its video, once that is known."""
        video = part.video
        try:
            answer: Survey | Receipt | Missing | Outcome = ray.get(reference)
        except ray.exceptions.RayError as error:
            answer = Outcome.failed(video.job, RuntimeError(f"{video.job.name}: {self._reason(error)}"))
        if video.ended:  # it failed elsewhere
            return None
        if isinstance(answer, Receipt):
            assert part.chunk is not None
            self._progress.frames(answer.frames)
            self._metrics.chunk(answer.frames, answer.spent)
            video.log.line(
                f"chunk {part.chunk.number}: {answer.frames} frames, {answer.faces} faces, {answer.spent.whole:.1f} s "
                f"(decode {answer.spent.decode:.1f}, detect {answer.spent.detect:.1f}, crop {answer.spent.crop:.1f}, "
                f"encode {answer.spent.encode:.1f}) in process {answer.process} of {answer.node[:8]}"
            )
            return None
        if isinstance(answer, Survey):
            self._begin(video, answer)
            if answer.track is None or video.job.preview is not None:
                return None
            answer = answer.track
        if isinstance(answer, Missing):
            video.again += 1
            if video.again <= self._kit.settings.cluster.retries:
                video.log.line(f"{len(answer.chunks)} chunks are not in the store; they are looked at again")
                video.waiting.extend(answer.chunks)
                return None
            answer = Outcome.failed(video.job, RuntimeError(f"{video.job.name}: chunks vanish from its store"))
        return self._end(video, answer)

    def _begin(self, video: _Video, todo: Survey) -> None:
        video.todo = todo
        if todo.track is None:
            video.waiting.extend(todo.waiting)
            there = len(todo.chunks) - len(todo.waiting)
            video.log.line(f"{todo.index.frames} frames in {len(todo.chunks)} chunks, {there} of them done before")
            self._progress.expect(sum(self._length(chunk, todo) for chunk in todo.waiting))

    def _end(self, video: _Video, outcome: Outcome) -> Outcome:
        if outcome.error is not None:
            outcome = replace(outcome, seconds=time.time() - video.started)
            if video.todo is not None:
                self._progress.expect(-sum(self._length(chunk, video.todo) for chunk in video.waiting))
        video.ended = True
        video.waiting.clear()
        self._open.remove(video)
        self._progress.video(failed=outcome.error is not None)
        self._metrics.video(outcome.state)
        video.log.end(outcome)
        return outcome

    @staticmethod
    def _length(chunk: Chunk, todo: Survey) -> int:
        return (todo.index.frames if chunk.stop is None else chunk.stop) - chunk.start

    def _reason(self, error: ray.exceptions.RayError) -> str:
        """One line on why work could not be done."""
        if isinstance(error, ray.exceptions.RayTaskError):
            cause = error.cause if isinstance(error.cause, BaseException) else error
            lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
            return f"{type(cause).__name__}: {lines[-1] if lines else 'no more is known'}"
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        times = self._kit.settings.cluster.retries + 1
        return f"the process that worked on it was lost {times} times, the last time by: {first}"


def _whole(job: Job) -> Job:
    """With absolute paths: processes elsewhere run in folders of their own."""

    def absolute(place: Place) -> Place:
        return place.absolute() if isinstance(place, Path) else place

    return Job(absolute(job.video), absolute(job.out), None if job.preview is None else absolute(job.preview))
