"""`track --report`: the report of every video as soon as it is tracked, with the track before smoothing at hand."""

from __future__ import annotations

from pathlib import Path

from tracker.inputs import Job
from tracker.progress import Progress
from tracker.report.make import make_report
from tracker.storage import local_copy, name_of
from tracker.track import Track, load_track


class Reports:
    """Writes the reports of a command line.

    Args:
        folder: where they go; made if need be.
        head: of the tracks.

    Raises:
        ValueError: the folder cannot be made.
    """

    def __init__(self, folder: str, head: str) -> None:
        self._folder, self._head = Path(folder), head
        self._raw: Track | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"--report {folder}: cannot be made ({error.strerror or error})") from None

    def keep(self, raw: Track) -> None:
        """The track before smoothing, of the video that is being tracked."""
        self._raw = raw

    def write(self, job: Job) -> Path:
        """The report of a video whose result is there.

        Raises:
            ValueError: it cannot be written.
        """
        raw, self._raw = self._raw, None
        name = name_of(job.out).removesuffix(".npz")
        with local_copy(job.out) as params, local_copy(job.video) as video, Progress(job.name) as progress:
            track = load_track(params)
            return make_report(
                self._folder, name, track, video=video, raw=raw, head=self._head, source=job.name, report=progress
            )
