"""Frames of a video in any order, small: decoded when they are asked for, and kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from tracker.image import resize
from tracker.observation import Frame
from tracker.seek import Index, SeekingDecoder, read_index
from tracker.video import Video

STEP = 48
"""Frames ahead that are decoded in passing; further away decoding starts anew at a key frame."""
BYTES = 128_000_000
"""Memory of the frames that are kept."""


class FrameReader:
    """Random access to the frames of a video.

    Whatever is decoded on the way to a frame is kept too, so that scrubbing back and forth within the same seconds
    decodes them once.

    Args:
        longest: longer side of the pictures, px; smaller videos keep their size.
    """

    def __init__(self, video: Video, longest: int = 720) -> None:
        self._video = video
        self._index: Index = read_index(video.path)
        width, height = video.size
        shrink = min(1.0, longest / max(width, height))
        self.size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        self._kept: OrderedDict[int, UInt8[np.ndarray, "h w 3"]] = OrderedDict()
        self._most = max(8, BYTES // (3 * self.size[0] * self.size[1]))
        self._running: Iterator[Frame] | None = None
        self._next = 0

    @property
    def frames(self) -> int:
        """How many the container promises."""
        return self._index.frames

    def at(self, frame: int) -> UInt8[np.ndarray, "h w 3"] | None:
        """A frame by its number; None where there is none or it does not decode."""
        if frame in self._kept:
            self._kept.move_to_end(frame)
            return self._kept[frame]
        if not 0 <= frame < self._index.frames:
            return None
        if self._running is None or not self._next <= frame < self._next + STEP:
            self.close()
            decoder = SeekingDecoder(self._video.path, self._video.fps, self._video.size, self._index)
            start = self._start(frame)
            self._running, self._next = decoder.run(start), start
        for found in self._running:
            self._keep(found)
            self._next = found.index + 1
            if found.index >= frame:
                break
        else:
            self._running = None
        return self._kept.get(frame)

    def _start(self, frame: int) -> int:
        """The key frame from which a frame is decoded: what lies between is decoded anyhow."""
        if not len(self._index.stamps):
            return 0
        keys = self._index.keys_before(frame)
        row = self._index.row(keys[0]) if keys else 0
        return max(row or 0, frame - self._most // 2)

    def _keep(self, frame: Frame) -> None:
        same = self.size == self._video.size
        self._kept[frame.index] = frame.image if same else resize(frame.image, self.size)
        self._kept.move_to_end(frame.index)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def close(self) -> None:
        """Stop decoding; the next frame starts it again."""
        running, self._running = self._running, None
        if running is not None:
            with suppress(Exception):
                running.close()  # pyright: ignore[reportAttributeAccessIssue]  # a generator


def check_size(have: tuple[int, int], want: tuple[int, int], video: str | Path) -> None:
    """Raises ValueError where a video is not as large as the one that a track was made from."""
    if have != want:
        one, other = ("×".join(map(str, size)) for size in (have, want))
        raise ValueError(f"--video {video}: is {one}, the track was made from {other}; give the tracked video")
