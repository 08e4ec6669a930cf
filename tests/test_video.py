"""Video and photographs, out and in again: pixels, times, sound, and every way a file can be wrong."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import tracker.decode
import tracker.video
from tracker.image import read_image, resize, warp, write_image
from tracker.video import VideoWriter, open_video


def picture(index: int, size: tuple[int, int] = (160, 96)) -> np.ndarray:
    """A smooth picture that differs from frame to frame: a bright disc that moves over a gradient."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    base = np.stack([40 + 100 * x / width, 40 + 100 * y / height, np.full_like(x, 90)], axis=-1)
    disc = (x - 20 - 3 * index) ** 2 + (y - height / 2) ** 2 < (height / 6) ** 2
    return np.where(disc[..., None], 220, base).astype(np.uint8)


def disc_x(image: np.ndarray) -> float:
    """Where the disc is: the mean column of the bright pixels."""
    return float(np.nonzero(image.min(axis=-1) > 180)[1].mean())


def write_raw(
    path: Path,
    count: int = 20,
    *,
    size: tuple[int, int] = (160, 96),
    times: list[int] | None = None,
    rotation: int = 0,
    sound: str | None = None,
    pixels: str = "yuv420p",
    codec: str = "libx264",
    aspect: Fraction | None = None,
) -> Path:
    """A file by PyAV alone, so that the reader is not tested against our writer only. Times in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        audio = container.add_stream(sound, rate=44100, layout="mono") if sound else None
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(index, size), format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = times[index] if times else 40 * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None:
            for start in range(0, count * 44100 // 25, 1024):
                tone = 0.3 * np.sin(np.arange(start, start + 1024) * 2 * np.pi * 440 / 44100)
                data = np.clip(tone * 32767, -32767, 32767).astype(np.int16)[None]
                block = av.AudioFrame.from_ndarray(data, format="s16", layout="mono")
                block.sample_rate = 44100
                block.pts, block.time_base = start, Fraction(1, 44100)
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return path


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def decoder_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "video-decoder"]


def test_frames_come_in_order_with_their_times_and_again(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.mp4")
    with open_video(path) as video:
        assert (video.fps, video.size, video.frames, video.has_audio) == (25.0, (160, 96), 20, False)
        for _ in range(2):
            frames = list(video)
            assert [frame.index for frame in frames] == list(range(20))
            np.testing.assert_allclose([frame.time for frame in frames], np.arange(20) / 25, atol=1e-9)
            for frame in frames:
                assert frame.image.dtype == np.uint8 and frame.image.flags["C_CONTIGUOUS"]
                assert abs(disc_x(frame.image) - disc_x(picture(frame.index))) < 0.3
                assert np.abs(frame.image.astype(int) - picture(frame.index)).mean() < 4
            assert video.truncated is None


def test_both_decoders_give_the_same_pixels(tmp_path: Path) -> None:
    video = open_video(write_raw(tmp_path / "a.mp4"))
    pytest.importorskip("decord", reason="decord is not on every platform")
    plain = list(video)
    assert video.backend == "decord"
    video._plain = False
    other = list(video)
    assert video.backend == "pyav"
    for a, b in zip(plain, other, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        assert a.time == pytest.approx(b.time, abs=1e-9)


def test_takes_over_where_decord_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decord = pytest.importorskip("decord", reason="decord is not on every platform")
    video = open_video(write_raw(tmp_path / "a.mp4"))
    real = decord.VideoReader.next
    calls = []

    def failing(self):
        calls.append(1)
        if len(calls) > 7:
            raise decord.DECORDError("cannot go on")
        return real(self)

    monkeypatch.setattr(decord.VideoReader, "next", failing)
    frames = list(video)
    assert video.backend == "pyav" and video.truncated is None
    assert [frame.index for frame in frames] == list(range(20))
    assert all(abs(disc_x(frame.image) - disc_x(picture(frame.index))) < 0.3 for frame in frames)


def test_the_decoder_waits_for_its_consumer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = open_video(write_raw(tmp_path / "a.mp4", 60))
    shown, real = [], tracker.decode.Shown.__call__
    monkeypatch.setattr(tracker.decode.Shown, "__call__", lambda self, picture: shown.append(1) or real(self, picture))
    video._plain = False
    frames = iter(video)
    next(frames)
    before = -1
    while len(shown) != before:  # until it waits
        before = len(shown)
        time.sleep(0.3)
    assert before < 20
    assert len(list(frames)) == 59 and len(shown) == 60


def test_long_videos_are_not_decord_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_raw(tmp_path / "a.mp4", 60)
    assert open_video(path)._plain
    monkeypatch.setattr(tracker.video, "_DECORD_BYTES", 59 * 3 * open_video(path).size[0] * open_video(path).size[1])
    assert not open_video(path)._plain


def test_variable_frame_rate(tmp_path: Path) -> None:
    times = [0, 40, 80, 200, 210, 300, 500, 540, 700, 1000]
    video = open_video(write_raw(tmp_path / "v.mp4", 10, times=times))
    frames = list(video)
    assert video.backend == "pyav"
    np.testing.assert_allclose([frame.time for frame in frames], np.array(times) / 1000, atol=1e-3)
    out = tmp_path / "w.mp4"
    with VideoWriter(out, video.size, video.fps) as writer:
        for frame in frames:
            writer.write(frame.image, frame.time)
    np.testing.assert_allclose([frame.time for frame in open_video(out)], np.array(times) / 1000, atol=1e-3)


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation_is_applied(tmp_path: Path, rotation: int) -> None:
    """As ffmpeg defines the flag: degrees counter-clockwise."""
    video = open_video(write_raw(tmp_path / "r.mp4", 5, rotation=rotation))
    assert video.size == ((96, 160) if rotation % 180 else (160, 96))
    for frame in video:
        expected = np.rot90(picture(frame.index), rotation // 90)
        assert frame.image.shape == expected.shape
        assert np.abs(frame.image.astype(int) - expected).mean() < 4


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    video = open_video(write_raw(tmp_path / "s.mp4", 5, aspect=Fraction(4, 3)))
    assert video.size == (213, 96)
    assert next(iter(video)).image.shape == (96, 213, 3)


@pytest.mark.parametrize("size", [(161, 97), (160, 97), (33, 64)])
def test_odd_sizes_are_read_whole_and_written_padded(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_raw(tmp_path / "o.mp4", 5, size=size, pixels="yuv444p")
    video = open_video(path)
    frames = list(video)
    assert video.size == size and len(frames) == 5
    assert all(np.abs(frame.image.astype(int) - picture(frame.index, size)).mean() < 6 for frame in frames)
    out = tmp_path / "p.mp4"
    with VideoWriter(out, size, 25) as writer:
        for frame in frames:
            writer.write(frame.image)
    again = open_video(out)
    assert again.size == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    first = next(iter(again)).image[: size[1], : size[0]]
    assert np.abs(first.astype(int) - frames[0].image).mean() < 5


def test_colours_survive(tmp_path: Path) -> None:
    """The matrix that is written in the file is the one the pixels were coded with."""
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (230, 200, 170), (12, 12, 12), (250, 250, 250)]
    with VideoWriter(tmp_path / "c.mp4", (64, 64), 10, crf=5) as writer:
        for colour in colours:
            writer.write(np.full((64, 64, 3), colour, np.uint8))
    for frame, colour in zip(open_video(tmp_path / "c.mp4"), colours, strict=True):
        np.testing.assert_allclose(frame.image.mean(axis=(0, 1)), colour, atol=3)


def test_written_file_suits_a_browser(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "b.mp4", (160, 96), 30000 / 1001) as writer:
        for index in range(10):
            writer.write(picture(index))
    data = (tmp_path / "b.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == pytest.approx(30000 / 1001, rel=1e-3)
        assert container.format.name.startswith("mov,mp4")


@pytest.mark.parametrize("codec", ["aac", "libmp3lame"])
def test_sound_is_copied_packet_by_packet(tmp_path: Path, codec: str) -> None:
    source = write_raw(tmp_path / "s.mp4", 50, sound=codec)
    video = open_video(source)
    assert video.has_audio
    with VideoWriter(tmp_path / "t.mp4", video.size, video.fps, audio_from=source) as writer:
        for frame in video:
            writer.write(frame.image, frame.time)
    before, after = sound_packets(source), sound_packets(tmp_path / "t.mp4")
    assert len(after) >= 0.95 * len(before) and after == before[: len(after)]


def test_sound_that_mp4_cannot_hold_is_coded_anew(tmp_path: Path) -> None:
    source = write_raw(tmp_path / "s.mkv", 50, sound="pcm_s16le")
    with VideoWriter(tmp_path / "t.mp4", (160, 96), 25, audio_from=source) as writer:
        for index in range(25):
            writer.write(picture(index))
    with av.open(str(tmp_path / "t.mp4")) as container:
        stream = container.streams.audio[0]
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])
        assert stream.codec_context.name == "aac"
    assert len(samples) / 44100 == pytest.approx(1.0, abs=0.1)  # as long as the pictures, half of the source
    spectrum = np.abs(np.fft.rfft(samples[4410:34410]))
    assert abs(spectrum.argmax() * 44100 / 30000 - 440) < 5


def test_source_without_sound_gives_a_file_without(tmp_path: Path) -> None:
    source = write_raw(tmp_path / "s.mp4")
    with VideoWriter(tmp_path / "t.mp4", (160, 96), 25, audio_from=source) as writer:
        writer.write(picture(0))
    assert not open_video(tmp_path / "t.mp4").has_audio


def bad_files(folder: Path) -> dict[str, Path]:
    (folder / "text.mp4").write_text("this is no video\n" * 50)
    (folder / "empty.mp4").write_bytes(b"")
    whole = write_raw(folder / "whole.mp4").read_bytes()
    (folder / "headless.mp4").write_bytes(whole[: len(whole) // 2])  # the index was at the end
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        block.sample_rate, block.pts = 44100, 0
        container.mux(stream.encode(block))
        container.mux(stream.encode(None))
    names = ["text", "empty", "headless", "sound", "missing"]
    return {name: folder / f"{name}.mp4" for name in names} | {"folder": folder}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing", "no such file"),
        ("text", "not a video that can be read"),
        ("empty", "the file is empty"),
        ("headless", "not a video that can be read"),
        ("sound", "holds only sound"),
        ("folder", "is a directory"),
    ],
)
def test_bad_files(tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, problem: str) -> None:
    path = bad_files(tmp_path)[name]
    capfd.readouterr()
    with pytest.raises(ValueError) as caught:
        open_video(path)
    message = str(caught.value)
    assert str(path) in message and problem in message and "\n" not in message
    assert capfd.readouterr().err == ""  # no remarks of ffmpeg's


@pytest.mark.parametrize("plain", [True, False])
def test_truncated_video_gives_what_decodes_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], plain: bool
) -> None:
    with VideoWriter(tmp_path / "whole.mp4", (160, 96), 25, crf=5) as writer:
        for index in range(40):
            writer.write(np.random.default_rng(index).integers(0, 255, (96, 160, 3), np.uint8))
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(0.6 * len(data))])
    capfd.readouterr()
    video = open_video(tmp_path / "cut.mp4")
    video._plain = video._plain and plain
    frames = list(video)
    assert 10 <= len(frames) < 40
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert (np.diff([frame.time for frame in frames]) > 0).all()
    assert video.truncated is not None and "truncated" in video.truncated and str(len(frames)) in video.truncated
    assert capfd.readouterr().err == ""


def test_damaged_middle_is_stepped_over(tmp_path: Path) -> None:
    data = bytearray(write_raw(tmp_path / "a.mp4", 60).read_bytes())
    start = data.find(b"mdat") + 4
    middle = start + (data.find(b"moov") - start) // 2
    data[middle : middle + 200] = bytes(200)
    (tmp_path / "b.mp4").write_bytes(data)
    frames = list(open_video(tmp_path / "b.mp4"))
    assert len(frames) >= 30
    assert (np.diff([frame.time for frame in frames]) > 0).all()


def test_writer_leaves_nothing_behind_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="work failed"), VideoWriter(tmp_path / "a.mp4", (160, 96), 25) as writer:
        writer.write(picture(0))
        raise RuntimeError("work failed")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="no frames"), VideoWriter(tmp_path / "a.mp4", (160, 96), 25):
        pass
    assert list(tmp_path.iterdir()) == []


def test_writer_keeps_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.mp4")
    before = path.read_bytes()
    with VideoWriter(path, (160, 96), 25, audio_from=path) as writer:
        writer.write(picture(0))
        assert path.read_bytes() == before
    assert open_video(path).frames == 1 and list(tmp_path.iterdir()) == [path]


def test_writer_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot write a video as '\.avi'"):
        VideoWriter(tmp_path / "a.avi", (160, 96), 25)
    with pytest.raises(ValueError, match="cannot be written"):
        VideoWriter(tmp_path / "none" / "a.mp4", (160, 96), 25)
    with pytest.raises(ValueError, match="a frame of 96×160"), VideoWriter(tmp_path / "a.mp4", (160, 96), 25) as writer:
        writer.write(picture(0, (96, 160)))
    with pytest.raises(ValueError, match="no such file"):
        VideoWriter(tmp_path / "a.mp4", (160, 96), 25, audio_from=tmp_path / "none.mp4")
    assert list(tmp_path.iterdir()) == []


def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    video = open_video(write_raw(tmp_path / "a.mp4", 80))
    frames = iter(video)
    next(frames)
    assert decoder_threads()
    frames.close()  # type: ignore[attr-defined]
    assert not decoder_threads()
    abandoned = iter(video)
    next(abandoned)
    video.close()
    assert not decoder_threads() and list(abandoned) == []
    for frame in video:
        if frame.index == 3:
            break
    del frame
    time.sleep(0.05)
    assert not decoder_threads()


def test_two_iterations_at_once(tmp_path: Path) -> None:
    video = open_video(write_raw(tmp_path / "a.mp4"))
    assert [a.index - b.index for a, b in zip(video, video, strict=True)] == [0] * 20


def test_errors_of_the_decoder_reach_the_consumer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = open_video(write_raw(tmp_path / "a.mp4"))

    def broken(self):
        yield from ()
        raise OSError("disk on fire")

    monkeypatch.setattr(type(video), "_decode", broken)
    with pytest.raises(OSError, match="disk on fire"):
        list(video)
    assert not decoder_threads()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_photographs_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, picture(3))
    assert np.abs(read_image(path).astype(int) - picture(3)).mean() < (0.01 if suffix == ".png" else 3)
    assert list(tmp_path.iterdir()) == [path]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", picture(3))
    data = (tmp_path / "a.jpg").read_bytes()
    # An EXIF block that says: turn by 90° clockwise to display (orientation 6).
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    block = b"Exif\x00\x00" + tiff
    (tmp_path / "b.jpg").write_bytes(data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:])
    assert np.abs(read_image(tmp_path / "b.jpg").astype(int) - np.rot90(picture(3), -1)).mean() < 3


def test_bad_photographs(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, problem in [("none.png", "no such file"), ("text.png", "not a picture"), ("empty.png", "not a picture")]:
        with pytest.raises(ValueError, match=problem):
            read_image(tmp_path / name)
    with pytest.raises(ValueError, match=r"cannot write a picture as '\.gif'"):
        write_image(tmp_path / "a.gif", picture(0))
    with pytest.raises(ValueError, match="cannot be written"):
        write_image(tmp_path / "none" / "a.png", picture(0))


@pytest.mark.parametrize("smooth", [True, False])
def test_warp_counts_from_pixel_corners(smooth: bool) -> None:
    image = picture(5)
    np.testing.assert_array_equal(warp(image, np.array([[1.0, 0, 0], [0, 1, 0]]), (160, 96), smooth=smooth), image)
    moved = warp(image, np.array([[1.0, 0, 7], [0, 1, -3]]), (160, 96), smooth=smooth)
    np.testing.assert_array_equal(moved[:90, 7:], image[3:93, :-7])
    y, x = np.mgrid[:96, :120]
    ramp = np.stack([2 * x, 2 * y, 0 * x], axis=-1).astype(np.uint8)  # at (u, v) its value is (2u − 1, 2v − 1)
    for scale in (0.25, 0.5, 0.4, 2.0):
        T = np.array([[scale, 0, 0.3], [0, scale, -0.2]])
        small = warp(ramp, T, (int(110 * scale), int(90 * scale)), smooth=smooth, border="edge").astype(float)
        v, u = np.mgrid[: small.shape[0], : small.shape[1]] + 0.5
        inner = (slice(2, -2), slice(2, -2))
        np.testing.assert_allclose(small[..., 0][inner], (2 * (u - 0.3) / scale - 1)[inner], atol=1.01)
        np.testing.assert_allclose(small[..., 1][inner], (2 * (v + 0.2) / scale - 1)[inner], atol=1.01)


def test_warp_does_not_alias() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 200
    small = warp(stripes, np.array([[0.25, 0, 0], [0, 0.25, 0]]), (64, 64))
    assert np.abs(small[2:-2, 2:-2].astype(int) - 100).max() <= 2
    assert resize(stripes, (64, 64)).std() < 2
