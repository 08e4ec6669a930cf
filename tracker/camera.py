"""Frames as they happen: from a camera, or from a file at its own pace. The newest is there to take; none waits."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np

from tracker.detect.attention_mesh import quiet
from tracker.observation import Frame
from tracker.video import Video, open_video

_BACKENDS = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_MSMF}
_RATE = 30.0
"""Of a camera that does not say."""


@dataclass(frozen=True)
class Arrived:
    """A frame, and when it was there: `time.perf_counter`, s. Of a camera when it was handed over; what passed inside
    the camera nobody can see. Of a file when its time had come."""

    frame: Frame
    at: float


@runtime_checkable
class LiveSource(Protocol):
    """Where frames happen.

    Attributes:
        name: for the track.
        fps: nominal rate, Hz.
        size: width, height, px.
    """

    name: str
    fps: float
    size: tuple[int, int]

    def frames(self) -> Iterator[Arrived]:
        """Frames when they happen."""
        ...

    def close(self) -> None:
        """Free what is held."""
        ...


def open_live(text: str) -> LiveSource:
    """A camera by its number, or a video file at its own pace.

    Raises:
        ValueError: there is no such camera or file, or it gives no picture.
    """
    return Camera(int(text)) if text.isdigit() else PacedFile(Path(text))


class PacedFile:
    """A video whose frames come when their time has come."""

    def __init__(self, path: Path) -> None:
        self._video: Video = open_video(path)
        self.name, self.fps, self.size = path.name, self._video.fps, self._video.size

    def frames(self) -> Iterator[Arrived]:
        """Frames at the file's pace."""
        start = 0.0
        for number, frame in enumerate(self._video):
            if number == 0:
                start = time.perf_counter() - frame.time
            wait = start + frame.time - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            yield Arrived(frame, start + frame.time)

    def close(self) -> None:
        """Stop decoding."""
        self._video.close()


class Camera:
    """A camera by way of OpenCV.

    Raises:
        ValueError: there is none of that number, or it gives no picture.
    """

    def __init__(self, number: int) -> None:
        with quiet():  # OpenCV writes warnings of its own
            self._capture = cv2.VideoCapture(number, _BACKENDS.get(sys.platform, cv2.CAP_ANY))
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not the oldest that waits
            works, first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not works or first is None:
            self._capture.release()
            raise ValueError(f"--camera {number}: no such camera, or it gives no picture{_there()}")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.name = f"camera {number}"
        self.fps = float(rate) if 1 <= rate <= 1000 else _RATE
        self.size = (first.shape[1], first.shape[0])

    def frames(self) -> Iterator[Arrived]:
        """Frames until the camera stops."""
        start, number = time.perf_counter(), 0
        while True:
            works, picture = self._capture.read()
            at = time.perf_counter()
            if not works:
                return
            yield Arrived(Frame(number, at - start, np.ascontiguousarray(picture[..., ::-1])), at)
            number += 1

    def close(self) -> None:
        """Give the camera back."""
        self._capture.release()


def _there() -> str:
    """Which cameras there are, where the system tells."""
    if not sys.platform.startswith("linux"):
        return "; give the number of another, or a video file"
    found = sorted(name.removeprefix("video") for name in os.listdir("/dev") if name.startswith("video"))
    numbers = [name for name in found if name.isdigit()]
    return f"; there {'is' if len(numbers) == 1 else 'are'} {', '.join(numbers)}" if numbers else "; there is none here"


class Newest:
    """Runs a source in a thread and keeps its newest frame; what nobody took in time is dropped, and counted."""

    def __init__(self, source: LiveSource) -> None:
        self._source = source
        self._there = threading.Condition()
        self._frame: Arrived | None = None
        self._over = False
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self.dropped = 0
        self.arrived = 0
        self._thread = threading.Thread(target=self._work, name="camera", daemon=True)
        self._thread.start()

    def take(self, seconds: float) -> Arrived | None:
        """The newest frame, once there is one; None when the time is over or the source is (`over`)."""
        with self._there:
            self._there.wait_for(lambda: self._frame is not None or self._over, seconds)
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        with self._there:
            return self._over and self._frame is None

    def close(self) -> None:
        """Stop the source."""
        self._stop.set()
        self._thread.join(timeout=5)
        self._source.close()

    def _work(self) -> None:
        try:
            for arrived in self._source.frames():
                with self._there:
                    self.arrived += 1
                    self.dropped += self._frame is not None
                    self._frame = arrived
                    self._there.notify()
                if self._stop.is_set():
                    break
        except BaseException as error:
            self._error = error
        finally:
            with self._there:
                self._over = True
                self._there.notify()
