"""Frames out of a file: the two decoders, and the thread that runs one ahead of its consumer. See `tracker.video`."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Generic, TypeVar

import av
import av.container
import av.error
import av.stream
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from tracker.image import resize
from tracker.observation import Frame

Item = TypeVar("Item")


def open_container(path: Path) -> av.container.InputContainer:
    """Open a file for reading.

    Raises:
        ValueError: it is missing, empty, a directory, or nothing that ffmpeg can read.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a directory, not a video")
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    try:
        if path.stat().st_size == 0:
            raise ValueError(f"{path}: the file is empty")
        return av.open(str(path), metadata_errors="ignore")
    except PermissionError:
        raise ValueError(f"{path}: cannot be read (permission denied)") from None
    except (av.error.FFmpegError, OSError):
        raise ValueError(f"{path}: not a video that can be read") from None


def picture_streams(container: av.container.InputContainer) -> list:
    """The video streams, less the cover pictures of audio files."""
    cover = av.stream.Disposition.attached_pic
    return [stream for stream in container.streams.video if not stream.disposition & cover]


def displayed_size(frame: av.VideoFrame, aspect: Fraction) -> tuple[int, int]:
    """Width, height after the pixel aspect and the rotation are applied, px."""
    width, height = max(1, round(frame.width * aspect)), frame.height
    return (height, width) if frame.rotation % 180 else (width, height)


def decoded(container, stream, errors: list[str]) -> Iterator[av.VideoFrame]:
    """Frames that decode; what does not is stepped over and noted in `errors`."""
    stream.thread_type = "AUTO"
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:  # the file ends in the middle of a packet
            errors.append(str(error))
            packet = None
        try:
            yield from stream.decode(packet)
        except av.error.EOFError:
            return
        except av.error.FFmpegError as error:
            errors.append(str(error))
        if packet is None:
            return


class Shown:
    """Decoded pictures as they are shown: RGB, upright, with square pixels, of one size.

    The tables that turn colours are made once for all pictures; made for each, they would cost a third of all decoding.
    Not to be shared by threads.

    Args:
        size: width, height, px.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._colours = VideoReformatter()

    def __call__(self, picture: av.VideoFrame) -> UInt8[np.ndarray, "H W 3"]:
        """One picture."""
        image = self._colours.reformat(picture, format="rgb24", threads=1).to_ndarray()
        turns = round(picture.rotation / 90) % 4  # counter-clockwise
        image = np.rot90(image, turns) if turns else image
        if (image.shape[1], image.shape[0]) != self._size:  # pixels not square, or the size changes on the way
            image = resize(np.ascontiguousarray(image), self._size)
        return np.ascontiguousarray(image)


class PyAVDecoder:
    """Decoding by PyAV from the start of a file.

    Args:
        threads: 0 is one per core.
    """

    name = "pyav"

    def __init__(self, path: Path, fps: float, size: tuple[int, int], threads: int = 0) -> None:
        self._path = path
        self._fps = fps
        self._size = size
        self._threads = threads
        self.problem: str | None = None

    def run(self, skip: int = 0) -> Iterator[Frame]:
        """Frames from the `skip`-th on."""
        errors: list[str] = []
        with open_container(self._path) as container:
            stream = picture_streams(container)[0]
            stream.codec_context.thread_count = self._threads
            shown, last = Shown(self._size), -1.0
            for index, picture in enumerate(decoded(container, stream, errors)):
                time = picture.time
                if time is None or time <= last:  # no stamp or a broken one: the average rate must do
                    time = last + 1.0 / self._fps if index else 0.0
                last = float(time)
                if index >= skip:
                    yield Frame(index, last, shown(picture))
        self.problem = errors[0] if errors else None


class DecordDecoder:
    """Decoding by decord, where it can be trusted: see the top of `tracker.video`."""

    name = "decord"

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        self._path = path
        self._fps = fps
        self._size = size
        self.problem: str | None = None

    def run(self, skip: int = 0) -> Iterator[Frame]:
        """Frames up to its first error, which becomes `problem`; so does being absent or the wrong tool."""
        assert skip == 0, "decord comes first"
        self.problem = "not decoded"
        try:
            import decord
        except ImportError:
            return
        decord.logging.set_level(decord.logging.QUIET)
        try:
            reader = decord.VideoReader(str(self._path), num_threads=1)
            count = len(reader)
            times = reader.get_frame_timestamp(list(range(count)))[:, 0].astype(float)  # float32: good for a check only
        except Exception:  # decord raises its own errors, and plain RuntimeErrors and IndexErrors
            return
        if count == 0 or np.abs(times * self._fps - np.arange(count)).max() > 0.05:
            return  # the rate varies
        for index in range(count):
            try:
                image = reader.next().asnumpy()
            except (decord.DECORDError, StopIteration):
                return
            if (image.shape[1], image.shape[0]) != self._size:
                return
            yield Frame(index, index / self._fps, image)
        self.problem = None


class Prefetch(Generic[Item]):
    """An iterator run in a thread, a bounded number of items ahead of its consumer."""

    def __init__(self, items: Iterator[Item], depth: int) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="video-decoder", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while not self._stop.is_set():
            frame, error = self._queue.get()
            if error is not None:
                raise error
            if frame is None:
                return
            yield frame

    def close(self) -> None:
        self._stop.set()
        with contextlib.suppress(queue.Empty):  # make room, so that a waiting put returns
            while True:
                self._queue.get_nowait()
        with contextlib.suppress(queue.Full):  # and wake a consumer in another thread
            self._queue.put_nowait((None, None))
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            for frame in self._items:
                if not self._put((frame, None)):
                    break
        except BaseException as caught:
            error = caught
        finally:
            self._items.close()  # type: ignore[attr-defined]  # a generator: frees the decoder in its own thread
            del self._items
        self._put((None, error))

    def _put(self, item: tuple[Item | None, BaseException | None]) -> bool:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return True
        return False
