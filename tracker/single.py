"""One video after another in this process."""

from __future__ import annotations

import time
from dataclasses import replace

from tracker import work
from tracker.config import TrackConfig
from tracker.inputs import Job
from tracker.network import open_network
from tracker.pipeline import load_model, needs_network, track_video
from tracker.progress import Progress
from tracker.storage import local_copy
from tracker.video import open_video
from tracker.work import Outcome


class Tracker:
    """The networks, loaded once for all videos.

    Raises:
        ValueError: no such head, weights or device.
    """

    def __init__(self, config: TrackConfig) -> None:
        self._config = config
        self._head = load_model(config)
        self._network = open_network(config.weights, self._head)
        needs_network(config, self._network is not None)

    def track(self, job: Job, *, resume: bool) -> Outcome:
        """Track a video, unless it is done already.

        Raises:
            ValueError: not a video, no face in it, or the result cannot be written.
        """
        started = time.monotonic()
        notes: list[str] = []
        digest = self._network.facts.digest if self._network else ""
        with local_copy(job.video) as path:
            todo = work.survey(job, path, self._config, self._head.asset, digest, resume=resume)
            track = work.finished(job.out, todo.origin) if todo.track else None
            if track is None:
                with open_video(path) as video, Progress(job.name) as progress:
                    try:
                        track = track_video(
                            video,
                            self._config,
                            report=progress,
                            store=todo.store,
                            note=notes.append,
                            network=self._network,
                        )
                    except ValueError:  # no face: going on would not help
                        todo.store.discard()
                        raise
                track = replace(track, origin=todo.origin)
                work.save(track, job.out, todo.store)
                outcome = Outcome.of(job, track, "tracked", time.monotonic() - started, tuple(notes))
            else:
                outcome = Outcome.of(job, track, "kept")
            if job.preview is not None:
                with Progress(job.name) as progress:
                    work.preview(job, path, track, self._config, lambda done, total: progress("preview", done, total))
        return outcome
