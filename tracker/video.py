"""Video in and out: frames streamed from any file ffmpeg reads, H.264 that a browser plays.

Reading uses decord where it is right, and PyAV everywhere else. The plain case goes to decord (constant rate from time
zero, upright, even size, square pixels, up to a megapixel: its older ffmpeg is no faster on larger ones), where it is
short: decord decodes as far ahead of its consumer as it can, without a bound. At its first error PyAV takes over.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import av.container
import av.error
import av.stream
import numpy as np
from jaxtyping import UInt8

from tracker.decode import (
    DecordDecoder,
    Prefetch,
    PyAVDecoder,
    decoded,
    displayed_size,
    open_container,
    picture_streams,
)
from tracker.observation import Frame
from tracker.seek import Index, SeekingDecoder
from tracker.sound import AudioCopy

_QUEUE_BYTES = 48_000_000  # decoded pictures waiting for the consumer
_RGB = "rgb24"
_DECORD_PIXELS = 1_000_000
_DECORD_BYTES = 128_000_000
"""All pictures of a video that decord may decode. It takes some times as much memory as they have bytes."""


@dataclass
class Video:
    """A video file that can be iterated over, any number of times; every iteration decodes from the start.

    Attributes:
        path: the file.
        fps: average rate, Hz.
        size: width, height as displayed (rotation and pixel aspect applied), px.
        frames: number of frames, from the container or from its duration: an estimate.
        has_audio: whether there is a sound track.
        truncated: after an iteration that ended before the container's promise, or met data that would not decode: one
            line saying so; None otherwise.
        backend: what the last iteration decoded with: ``decord`` or ``pyav``.
    """

    path: Path
    fps: float
    size: tuple[int, int]
    frames: int
    has_audio: bool
    truncated: str | None = None
    backend: str = "pyav"
    _plain: bool = True
    _running: list[Prefetch] = field(default_factory=list)

    def __iter__(self) -> Iterator[Frame]:
        """Frames in the order they are shown, decoded ahead in a background thread."""
        return self._ahead(self._decode())

    def between(self, index: Index, start: int, stop: int | None) -> Iterator[Frame]:
        """The same from one frame on, up to another (not included) or to the end; decoding starts nearby.

        `truncated` then speaks of these frames.
        """
        return self._ahead(self._decode_between(index, start, stop))

    def _ahead(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        self.truncated = None
        width, height = self.size
        prefetch = Prefetch(frames, max(2, min(16, _QUEUE_BYTES // (3 * width * height))))
        self._running.append(prefetch)
        try:
            yield from prefetch
        finally:
            prefetch.close()
            self._running.remove(prefetch)

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the iterations that are under way."""
        for prefetch in list(self._running):
            prefetch.close()

    def _decode(self) -> Iterator[Frame]:
        count = 0
        for kind in (DecordDecoder, PyAVDecoder) if self._plain else (PyAVDecoder,):
            decoder = kind(self.path, self.fps, self.size)
            for frame in decoder.run(skip=count):
                self.backend = decoder.name
                count += 1
                yield frame
            if decoder.problem is None and self._is_whole(count):
                return
        self.truncated = f"{self.path}: truncated or damaged: {count} of about {self.frames} frames could be decoded"

    def _decode_between(self, index: Index, start: int, stop: int | None) -> Iterator[Frame]:
        decoders: list[DecordDecoder | SeekingDecoder] = [SeekingDecoder(self.path, self.fps, self.size, index)]
        if self._plain and start == 0:  # from the middle decord does not always find the frame
            decoders.insert(0, DecordDecoder(self.path, self.fps, self.size))
        got, count = 0, start
        for decoder in decoders:
            for frame in decoder.run(skip=count):
                self.backend = decoder.name
                if stop is not None and frame.index >= stop:
                    break
                got, count = got + 1, frame.index + 1
                yield frame
            if got == count - start and (count == stop or (decoder.problem is None and self._is_whole(count))):
                return
        self.truncated = f"{self.path}: damaged: not all frames from {start} to {stop or 'the end'} could be decoded"

    def _is_whole(self, count: int) -> bool:
        """Whether that is all; `frames` is an estimate, and frames before the first key frame do not decode."""
        return count >= 0.98 * self.frames - 2


def open_video(path: str | Path) -> Video:
    """Look into a video file, decoding its first frame.

    Raises:
        ValueError: the file is missing, is not a video, holds no pictures, or none that can be decoded.
    """
    path = Path(path)
    with open_container(path) as container:
        if not picture_streams(container):
            what = "holds only sound" if container.streams.audio else "holds no video stream"
            raise ValueError(f"{path}: {what}; a video with pictures is needed")
        stream = picture_streams(container)[0]
        first = next(decoded(container, stream, []), None)
        if first is None:
            raise ValueError(f"{path}: no frame can be decoded")
        fps = float(stream.average_rate or stream.guessed_rate or 25)
        frames = stream.frames
        if frames <= 0:
            seconds = 0.0
            if stream.duration is not None and stream.time_base is not None:
                seconds = float(stream.duration * stream.time_base)
            elif container.duration is not None:
                seconds = container.duration / av.time_base
            frames = round(seconds * fps)
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        plain = (
            first.rotation % 360 == 0
            and aspect == 1
            and first.width % 2 == 0
            and first.height % 2 == 0
            and first.format.name in ("yuv420p", "yuvj420p")
            and first.width * first.height <= _DECORD_PIXELS
            and 3 * first.width * first.height * frames <= _DECORD_BYTES
            and not stream.start_time
        )
        return Video(
            path, fps, displayed_size(first, aspect), max(frames, 1), bool(container.streams.audio), _plain=plain
        )


class VideoWriter:
    """Writes H.264 (yuv420p, BT.709, the index at the front) into an MP4 file that any browser plays.

    A context manager: the file appears under its name when the block ends well, and not at all when it raises. Odd
    sizes are padded by repeating the last row or column. With `audio_from`, the sound of that file is copied along as
    it is (AAC, MP3, Opus) or coded as AAC, on the same time axis as the frames and as long as they last.

    Args:
        path: the file; its name ends in .mp4, .m4v or .mov.
        size: width, height of the pictures, px.
        fps: Hz; the time of frames that are written without one, and the length of the last frame.
        audio_from: a video or sound file.
        crf: H.264's constant rate factor, 0 (lossless) to 51; 18 can hardly be told from the source.
        metadata: tags of the file, e.g. ``comment``.

    Raises:
        ValueError: unknown suffix, or the folder cannot be written to.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: float | int,
        *,
        audio_from: str | Path | None = None,
        crf: float | int = 18,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in (".mp4", ".m4v", ".mov"):
            raise ValueError(f"{path}: cannot write a video as '{self.path.suffix}'; use .mp4")
        self._temporary = self.path.with_name(f".{self.path.stem}.{os.getpid()}.part{self.path.suffix}")
        self._size = size
        self._fps = fps
        self._audio: AudioCopy | None = None
        self._last = -1
        self._count = 0
        try:
            self._temporary.touch()
        except OSError as error:
            raise ValueError(f"{path}: cannot be written ({error.strerror})") from None
        self._container: av.container.OutputContainer | None = av.open(
            str(self._temporary), "w", options={"movflags": "+faststart"}
        )
        try:
            self._container.metadata.update(metadata or {})
            self._stream = self._add_stream(crf)
            if audio_from is not None:
                self._audio = AudioCopy.of(Path(audio_from), self._container)
        except BaseException:
            self.abort()
            raise

    def _add_stream(self, crf: float | int):
        assert self._container is not None
        rate = Fraction(self._fps).limit_denominator(1001)
        stream = self._container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"})
        stream.width, stream.height = (side + side % 2 for side in self._size)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 1, 1, 1, 1
        context.time_base = stream.time_base = Fraction(1, 90000)
        return stream

    def write(self, image: UInt8[np.ndarray, "H W 3"], time: float | int | None = None) -> None:
        """Add a frame.

        Args:
            image: RGB, of the writer's size.
            time: presentation time, s, later than the last frame's; by default the frame's number over `fps`.
        """
        assert self._container is not None, "the writer is closed"
        if (image.shape[1], image.shape[0]) != self._size:
            raise ValueError(f"{self.path}: a frame of {image.shape[1]}×{image.shape[0]} in a video of {self._size}")
        if time is None:
            time = self._count / self._fps
        width, height = self._size
        if width % 2 or height % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=_RGB)
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.time_base = Fraction(1, 90000)
        frame.pts = max(round(time * 90000), self._last + 1)
        self._last = frame.pts
        self._count += 1
        self._container.mux(self._stream.encode(frame))
        if self._audio is not None:
            self._audio.copy_until(time)

    def close(self) -> None:
        """Finish the file and give it its name."""
        if self._container is None:
            return
        try:
            if self._count == 0:
                raise ValueError(f"{self.path}: no frames were written")
            if self._audio is not None:
                self._audio.copy_until(self._last / 90000 + 1.0 / self._fps)
                self._audio.close()
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None
            os.replace(self._temporary, self.path)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Give up: no file is left behind."""
        container, self._container = self._container, None
        with contextlib.suppress(Exception):
            if self._audio is not None:
                self._audio.abandon()
        with contextlib.suppress(Exception):
            if container is not None:
                container.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
