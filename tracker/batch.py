"""Many videos in one run: what is told of each while it goes on, and of all of them in the end."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tracker import storage
from tracker.inputs import Job
from tracker.storage import Place
from tracker.work import Outcome, ending

_LISTED = 40
"""Videos in the table; of more, only those that failed."""


class Log:
    """What happened to one video, line by line, in ``logs/`` beside the results; an older log is continued.

    Logs in an object store are written when the video is done.

    Args:
        silent: nothing is written.
    """

    def __init__(self, job: Job, *, silent: bool = False) -> None:
        self._place: Place = ending(job, ".log", "logs")
        self._lines: list[str] = []
        self._silent = silent
        if isinstance(self._place, Path) and not silent:
            self._place.parent.mkdir(parents=True, exist_ok=True)

    def line(self, text: str) -> None:
        """Add a line, with the time."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n"
        if self._silent:
            return
        if isinstance(self._place, Path):
            with open(self._place, "a") as file:
                file.write(line)
        else:
            self._lines.append(line)

    def end(self, outcome: Outcome) -> None:
        """The last lines."""
        for note in outcome.notes:
            self.line(note)
        self.line(f"failed: {outcome.error}" if outcome.error else said(outcome))
        if not isinstance(self._place, Path) and not self._silent:
            storage.write(self._place, "".join(self._lines).encode())


def said(outcome: Outcome) -> str:
    """One line on a result."""
    if outcome.state == "kept":
        return f"{outcome.video}: {outcome.out} is there already"
    rate = outcome.frames / max(outcome.seconds, 1e-9)
    return f"{outcome.out}: {outcome.faces} face(s), {outcome.frames} frames, {rate:.0f} frames/s"


def table(outcomes: Sequence[Outcome], seconds: float) -> str:
    """All videos, one a line, and a line on all of them."""
    failed = sum(outcome.error is not None for outcome in outcomes)
    shown = [o for o in outcomes if len(outcomes) <= _LISTED or o.error is not None]
    width = max((len(o.video) for o in shown), default=5)
    lines = (
        [f"{'video':{width}s}  {'state':8s} {'frames':>7s} {'frames/s':>8s} {'faces':>5s} {'seen':>5s}"]
        if shown
        else []
    )
    for o in shown:
        rate = f"{o.frames / o.seconds:8.1f}" if o.seconds and not o.error else f"{'':8s}"
        figures = f"{o.frames:7d} {rate} {o.faces:5d} {100 * o.seen:4.0f}%" if not o.error else o.error
        lines.append(f"{o.video:{width}s}  {o.state:8s} {figures}")
    frames = sum(o.frames for o in outcomes if o.state == "tracked")
    lines.append(
        f"{len(outcomes) - failed} of {len(outcomes)} videos tracked, {failed} failed; "
        f"{frames} frames in {seconds:.0f} s, {frames / max(seconds, 1e-9):.0f} frames/s"
    )
    return "\n".join(lines)


def write_summary(jobs: Sequence[Job], outcomes: Sequence[Outcome], seconds: float) -> Place:
    """Write ``summary.json`` beside the results.

    Raises:
        OSError: it cannot be written.
    """
    failed = sum(outcome.error is not None for outcome in outcomes)
    frames = sum(o.frames for o in outcomes if o.state == "tracked")
    content = {
        "videos": [asdict(o) | {"fps": o.frames / o.seconds if o.seconds else None} for o in outcomes],
        "failed": failed,
        "frames": frames,
        "seconds": seconds,
        "fps": frames / max(seconds, 1e-9),
    }
    place = storage.beside(jobs[0].out, "summary.json")
    storage.write(place, json.dumps(content, indent=1).encode())
    return place
