"""Frames from the middle of a file are those that decoding from the start gives: numbers, times and pixels."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from test_video import picture

import tracker.seek
from tracker.observation import Frame
from tracker.seek import read_index
from tracker.video import open_video

FRAMES = 50


def write(path: Path, codec: str = "libx264", times: list[int] | None = None, **options: str) -> Path:
    """Key frames every 12 frames, B-frames in between unless the options say otherwise."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "12", "bf": "3", **options})
        stream.width, stream.height = 160, 96
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 25 if codec == "mpeg4" else 1000)
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = times[index] if times else 40 * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def same(part: list[Frame], whole: list[Frame]) -> None:
    assert [frame.index for frame in part] == [frame.index for frame in whole]
    for a, b in zip(part, whole, strict=True):
        assert a.time == pytest.approx(b.time, abs=1e-9)
        np.testing.assert_array_equal(a.image, b.image)


KINDS = {
    "a.mp4": {},
    "open.mp4": {"x264-params": "open-gop=1"},
    "a.mkv": {},
    "a.ts": {},
    "a.avi": {"codec": "mpeg4", "bf": "0"},
    "varies.mp4": {"times": [40 * i + 13 * (i % 3) + (900 if i > 20 else 0) for i in range(FRAMES)]},
    "late.mp4": {"times": [40 * i + 500 for i in range(FRAMES)]},
}


@pytest.mark.parametrize("name", KINDS)
def test_a_stretch_is_a_part_of_the_whole(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, **KINDS[name])
    index = read_index(path)
    assert index.frames == FRAMES and len(index.stamps) in (0, FRAMES)
    with open_video(path) as video:
        whole = list(video)
        for start, stop in ((0, 5), (0, None), (1, 14), (11, 13), (12, 25), (30, 50), (35, None), (49, None)):
            same(list(video.between(index, start, stop)), whole[start:stop])
            assert video.truncated is None, (start, stop)


def test_only_what_is_near_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4")
    index = read_index(path)
    shown, real = [], tracker.seek.Shown.__call__
    monkeypatch.setattr(tracker.seek.Shown, "__call__", lambda self, picture: shown.append(1) or real(self, picture))
    with open_video(path) as video:
        stamps = video.frames, index.keys_before(40)
        frames = tracker.seek.SeekingDecoder(path, video.fps, video.size, index).run(40)
        first = next(frames)
        frames.close()
    assert stamps[0] == FRAMES and first.index == 40 and len(shown) == 1
    assert [index.row(stamp) for stamp in stamps[1]] == [36, 24]


def test_stamps_of_no_use_mean_decoding_from_the_start(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h264")  # a bare stream
    index = read_index(path)
    assert index.frames == FRAMES and not len(index.stamps)
    with open_video(path) as video:
        same(list(video.between(index, 30, 40)), list(video)[30:40])


def test_a_damaged_middle_has_holes_and_says_so(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "a.mp4").read_bytes())
    start = data.find(b"mdat") + 4
    middle = start + (data.find(b"moov") - start) // 2
    data[middle : middle + 300] = bytes(300)
    path = tmp_path / "b.mp4"
    path.write_bytes(data)
    index = read_index(path)
    with open_video(path) as video:
        video._plain = False
        found, damaged = [], False
        for first in range(0, FRAMES, 10):
            rows = [frame.index for frame in video.between(index, first, first + 10)]
            assert all(first <= row < first + 10 for row in rows)
            found += rows
            damaged |= video.truncated is not None
    assert found == sorted(set(found)) and len(found) >= 30
    assert damaged == (len(found) < FRAMES)
