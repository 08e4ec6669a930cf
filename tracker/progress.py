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
