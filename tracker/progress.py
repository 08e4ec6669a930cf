"""Progress of long work in the terminal."""

from __future__ import annotations

from tqdm import tqdm


class Progress:
    """A bar per stage, with its rate; quiet when stderr is no terminal. A context manager, called as `Report` is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: tqdm | None = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Stage, how much of it is done, how much there is."""
        if self._bar is None or stage != self._stage:
            self._close()
            self._stage = stage
            self._bar = tqdm(total=total, desc=f"{self._name}: {stage}", unit=" frames", disable=None, leave=False)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


class BatchProgress:
    """One bar over the frames of many videos: rate, time left, how many videos are done; quiet as `Progress` is.

    How many frames there are is known only of videos that were begun; the time left is theirs.
    """

    def __init__(self, videos: int) -> None:
        self._videos, self._done, self._failed = videos, 0, 0
        self._bar = tqdm(total=0, desc="track", unit=" frames", disable=None, leave=False)

    def expect(self, frames: int) -> None:
        """There are so many more frames to do."""
        self._bar.total = (self._bar.total or 0) + frames
        self._bar.refresh()

    def frames(self, count: int) -> None:
        """So many were looked at."""
        self._bar.update(count)

    def video(self, *, failed: bool) -> None:
        """A video is done."""
        self._done += 1
        self._failed += failed
        self._bar.set_postfix_str(f"{self._done} of {self._videos} videos, {self._failed} failed")
        self._bar.clear()  # a line about it follows

    def __enter__(self) -> BatchProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
