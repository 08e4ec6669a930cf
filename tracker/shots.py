"""Shot cuts, found as the frames go by.

A cut is a change between neighbouring frames that is large, stands out from the changes around it (fast motion is large
for many frames in a row), and stays (after a flash or a broken frame the picture is what it was before). The change is
measured on 16×16 thumbnails of sampled pixels, so it costs next to nothing: half of it is how little the grey pictures
correlate, which light and exposure leave alone; half is the mean difference of the colours, which motion leaves alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from tracker.observation import Frame

_CELLS = 16
_SAMPLES = 4  # per cell and axis
_AHEAD = 2  # frames looked at after a change: flashes of up to this many frames are no cuts
_WINDOW = 25  # frames before a change that it is compared with
_LEAST = 0.3  # change, [0, 1], below which nothing is a cut
_TIMES = 3.0  # a cut is this many times the large changes around it
_LARGE = 0.9  # their quantile: not the median, as videos slowed down have many repeated frames
_CONTRAST = 0.02  # standard deviation of the grey thumbnail that counts as flat; noise lies below


@dataclass(frozen=True)
class _Signature:
    colour: Float[np.ndarray, "16 16 3"]
    grey: Float[np.ndarray, "16 16"]  # zero mean
    deviation: float


def number_shots(frames: Iterable[Frame]) -> Iterator[tuple[Frame, int]]:
    """Every frame with the index of its shot, from 0; runs two frames behind its input.

    A shot shorter than three frames is taken for a flash, and a dissolve for no cut.
    """
    past: deque[float] = deque(maxlen=_WINDOW)
    waiting: deque[tuple[Frame, _Signature]] = deque()
    before: _Signature | None = None  # of the last frame that was not a flash
    shot = 0

    def decide() -> tuple[Frame, int]:
        nonlocal before, shot
        frame, signature = waiting.popleft()
        change = 0.0 if before is None else _change(before, signature)
        if before is not None and change >= _LEAST:
            later = [other for _, other in waiting]
            if min((_change(before, other) for other in later), default=change) < max(_LEAST, 0.5 * change):
                return frame, shot  # a flash: the picture before it is found again after it
            if _stands_out(change, [*past], [_change(a, b) for a, b in zip([signature, *later], later, strict=False)]):
                shot += 1
                past.clear()
                change = 0.0
        past.append(change)
        before = signature
        return frame, shot

    for frame in frames:
        waiting.append((frame, _signature(frame.image)))
        if len(waiting) > _AHEAD:
            yield decide()
    while waiting:
        yield decide()


class CutNow:
    """Says at once whether a shot begins with a frame, for those who cannot wait: a flash counts as a cut."""

    def __init__(self) -> None:
        self._past: deque[float] = deque(maxlen=_WINDOW)
        self._before: _Signature | None = None

    def __call__(self, frame: Frame) -> bool:
        """The next frame."""
        signature, before = _signature(frame.image), self._before
        self._before = signature
        if before is None:
            return False
        change = _change(before, signature)
        cut = change >= _LEAST and _stands_out(change, [*self._past], [])
        if cut:
            self._past.clear()
            change = 0.0
        self._past.append(change)
        return cut


def _stands_out(change: float, past: list[float], later: list[float]) -> bool:
    """Whether a change is larger than the motion around it explains."""
    usual = max(np.quantile(past, _LARGE) if past else 0.0, np.median(later) if later else 0.0)
    return bool(change > _TIMES * usual)


def _signature(image: UInt8[np.ndarray, "H W 3"]) -> _Signature:
    n = _CELLS * _SAMPLES
    height, width = image.shape[:2]
    rows = (np.arange(n) * height + height // 2) // n
    columns = (np.arange(n) * width + width // 2) // n
    samples = image[rows[:, None], columns[None, :]].reshape(_CELLS, _SAMPLES, _CELLS, _SAMPLES, 3)
    colour = samples.sum(axis=(1, 3), dtype=np.float64) / (255.0 * _SAMPLES**2)
    grey = colour @ np.array([0.299, 0.587, 0.114])
    grey = grey - grey.mean()
    return _Signature(colour, grey, float(grey.std()))


def _change(a: _Signature, b: _Signature) -> float:
    """How different two pictures are, [0, 1]."""
    flat = _CONTRAST**2
    scale = np.sqrt((a.deviation**2 + flat) * (b.deviation**2 + flat))
    correlation = (float((a.grey * b.grey).mean()) + flat) / scale
    structure = 1.0 - float(np.clip(correlation, 0.0, 1.0))
    colour = min(1.0, 4.0 * float(np.abs(a.colour - b.colour).mean()))
    return 0.5 * structure + 0.5 * colour
