"""Frames from the middle of a file: which frames there are, where decoding can start, and a decoder that starts there.

Nothing is decoded for the index. A frame's number is its place among the time stamps of the container, so it does not
depend on where decoding started.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from jaxtyping import Int

from tracker.decode import PyAVDecoder, Shown, decoded, open_container, picture_streams
from tracker.observation import Frame

_THREADS = 2
"""Of a decoder. Not as many as there are cores: other chunks are decoded beside it."""


@dataclass(frozen=True)
class Index:
    """What a container promises about its pictures.

    Attributes:
        frames: how many there are.
        stamps: presentation times in the order shown, in the stream's time base; empty where they are of no use (some
            are missing, or two are the same), and then decoding can only start at the beginning.
        keys: those of them where decoding can start.
    """

    frames: int
    stamps: Int[np.ndarray, "N"]
    keys: Int[np.ndarray, "K"]

    def row(self, stamp: int | None) -> int | None:
        """The number of the frame with a stamp; None where no frame has it."""
        if stamp is None:
            return None
        row = int(np.searchsorted(self.stamps, stamp))
        return row if row < len(self.stamps) and self.stamps[row] == stamp else None

    def keys_before(self, frame: int) -> list[int]:
        """Stamps from which a frame can be decoded, the latest first; two at most."""
        last = int(np.searchsorted(self.keys, self.stamps[frame], side="right"))
        return [int(stamp) for stamp in self.keys[max(0, last - 2) : last][::-1]]


def read_index(path: Path) -> Index:
    """Go through a file's packets without decoding them.

    Raises:
        ValueError: as `tracker.decode.open_container`.
    """
    stamps: list[int | None] = []
    keys: list[int] = []
    with open_container(path) as container:
        packets = container.demux(picture_streams(container)[0])
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:  # cut off; what is there counts
                break
            if packet is None:
                break
            if packet.size == 0 or packet.is_discard:
                continue
            stamps.append(packet.pts)
            if packet.is_keyframe and packet.pts is not None:
                keys.append(packet.pts)
    known = np.unique(np.array([stamp for stamp in stamps if stamp is not None], np.int64))
    if len(known) < len(stamps) or not keys or min(keys) != known[0]:
        known, keys = known[:0], []
    return Index(len(stamps), known, np.unique(np.array(keys, np.int64)))


class SeekingDecoder:
    """Decoding by PyAV from any frame on, starting at the key frame before it."""

    name = "pyav"

    def __init__(self, path: Path, fps: float, size: tuple[int, int], index: Index) -> None:
        self._path, self._fps, self._size, self._index = path, fps, size, index
        self.problem: str | None = None

    def run(self, skip: int) -> Iterator[Frame]:
        """Frames from the `skip`-th on."""
        index = self._index
        if not skip or not len(index.stamps):
            plain = PyAVDecoder(self._path, self._fps, self._size, _THREADS)
            yield from plain.run(skip)
            self.problem = plain.problem
            return
        if skip >= index.frames:
            return
        for key in (*index.keys_before(skip), None):
            errors: list[str] = []
            first, shown = True, Shown(self._size)
            with open_container(self._path) as container:
                stream = picture_streams(container)[0]
                stream.codec_context.thread_count = _THREADS
                if key is not None:
                    try:
                        container.seek(key, stream=stream, backward=True)
                    except av.error.FFmpegError:  # it cannot
                        continue
                for picture in decoded(container, stream, errors):
                    row = index.row(picture.pts)
                    if row is None:
                        errors.append("a frame that the container does not promise")
                        continue
                    if first and key is not None and index.stamps[row] > key:
                        break  # containers without an index are searched by guesses, which may end too late
                    first = False
                    if row >= skip:
                        yield Frame(row, float(picture.time or 0.0), shown(picture))
            if not first:
                self.problem = errors[0] if errors else None
                return
        self.problem = errors[0] if errors else "nothing could be decoded"
