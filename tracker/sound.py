"""A sound track copied beside the pictures of another file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import av
import av.container
import av.error

from tracker.decode import open_container


class AudioCopy:
    """The sound track of one file, fed into another as the pictures advance."""

    def __init__(self, source, stream, target: av.container.OutputContainer) -> None:
        self._source = source
        self._target = target
        self._output: Any
        self._copied = stream.codec_context.codec.canonical_name in ("aac", "mp3", "opus")
        self._packets = source.demux(stream)
        self._waiting: av.Packet | None = None
        self._ended = False
        if self._copied:
            self._output = target.add_stream_from_template(stream)
        else:
            self._output = target.add_stream("aac", rate=stream.codec_context.sample_rate)
            self._output.codec_context.layout = "mono" if stream.codec_context.channels == 1 else "stereo"

    @classmethod
    def of(cls, path: Path, target: av.container.OutputContainer) -> AudioCopy | None:
        """None where the file has no sound."""
        source = open_container(path)
        if not source.streams.audio or source.streams.audio[0].codec_context is None:
            source.close()
            return None
        return cls(source, source.streams.audio[0], target)

    def copy_until(self, time: float | int) -> None:
        while not self._ended:
            packet = self._waiting or self._next()
            if packet is None:
                self._ended = True
                return
            if packet.time_base is not None and packet.pts is not None and packet.pts * packet.time_base >= time:
                self._waiting = packet
                return
            self._waiting = None
            self._write(packet)

    def _next(self) -> av.Packet | None:
        try:
            packet = next(self._packets, None)
        except av.error.FFmpegError:  # the source is truncated
            return None
        return packet if packet is not None and packet.dts is not None else None

    def _write(self, packet: av.Packet) -> None:
        if self._copied:
            packet.stream = self._output
            self._target.mux(packet)
            return
        with contextlib.suppress(av.error.InvalidDataError):
            for frame in packet.decode():
                self._target.mux(self._output.encode(frame))

    def close(self) -> None:
        if not self._copied:
            self._target.mux(self._output.encode(None))
        self._source.close()

    def abandon(self) -> None:
        self._source.close()
