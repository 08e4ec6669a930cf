"""SIGTERM and SIGINT end a run after the step that is under way."""

from __future__ import annotations

import signal
from types import FrameType

_CAUGHT = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """A context manager, in the main thread; the second signal acts as it would have done without it.

    Attributes:
        signal: which came; None while none did.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def status(self) -> int:
        """Exit status of a run that ended so: 128 + the signal, as shells count."""
        return 128 + int(self.signal or 0)

    def _caught(self, number: int, _: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._before = {}

    def __enter__(self) -> Stop:
        self._before = {number: signal.signal(number, self._caught) for number in _CAUGHT}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
