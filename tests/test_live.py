"""Live tracking: the newest frame and no other, the same heads as offline, a clean end."""

import time
from dataclasses import replace

import numpy as np
import pytest

from tracker.camera import Arrived, Newest, PacedFile, open_live
from tracker.cli import main
from tracker.config import TrackConfig
from tracker.live import Latency, LiveTracker, run_live
from tracker.observation import Frame
from tracker.shots import CutNow
from tracker.track import load_track
from tracker.video import open_video
from training.clips import load_openhead, write_openhead


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A rendered head that turns and talks for two seconds."""
    path = tmp_path_factory.mktemp("live") / "openhead.mp4"
    write_openhead(path, seconds=2.0)
    return path


class Burst:
    """A source that gives its frames at once, and then waits to be let go."""

    name, fps, size = "burst", 25.0, (8, 8)

    def __init__(self, count):
        self.count, self.closed = count, False

    def frames(self):
        for k in range(self.count):
            yield Arrived(Frame(k, k / 25, np.full((8, 8, 3), k, np.uint8)), time.perf_counter())

    def close(self):
        self.closed = True


def test_frames_are_dropped_never_queued():
    source = Burst(10)
    newest = Newest(source)
    newest._thread.join()
    taken = newest.take(1.0)
    assert taken is not None and taken.frame.index == 9
    assert (newest.arrived, newest.dropped) == (10, 9)
    assert newest.take(0.01) is None and newest.over
    newest.close()
    assert source.closed


def test_a_failing_source_says_so():
    class Broken(Burst):
        def frames(self):
            yield from super().frames()
            raise OSError("the cable is out")

    newest = Newest(Broken(1))
    newest._thread.join()
    assert newest.take(1.0) is not None
    with pytest.raises(OSError, match="cable"):
        newest.take(1.0)


def test_a_file_comes_at_its_own_pace(clip):
    source = PacedFile(clip)
    arrived = [item for item, _ in zip(source.frames(), range(6), strict=False)]
    source.close()
    at = np.array([item.at for item in arrived])
    assert at - at[0] == pytest.approx([item.frame.time - arrived[0].frame.time for item in arrived])
    assert time.perf_counter() >= at[-1]


def test_cuts_are_found_at_once():
    rng = np.random.default_rng(0)
    rooms = rng.integers(0, 255, (2, 8, 8, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    pictures = [np.roll(rooms[int(k >= 12)], k % 12, axis=1) for k in range(24)]  # a pan, a cut, a pan
    cut = CutNow()
    assert [k for k, picture in enumerate(pictures) if cut(Frame(k, k / 25, picture))] == [12]


@pytest.fixture(scope="module")
def session(clip):
    """Every frame looked at, and the moments that were shown."""
    with open_video(clip) as video, LiveTracker(TrackConfig(), video.size, video.fps, video.path.name) as tracker:
        shown = [tracker.look(frame) for frame in video]
        return shown, tracker.finish()


def test_what_is_shown_follows_the_known_motion(clip, session):
    shown, track = session
    truth = load_openhead(clip).params
    assert all(len(now.rows) == 1 for now in shown)
    rows = [next(iter(now.rows.values())) for now in shown]
    for name, least in (("pose", 0.97), ("jaw", 0.85)):  # the jaw opens by a few degrees only
        seen = np.concatenate([getattr(row, name) for row in rows])
        known = getattr(truth, name).numpy()[: len(seen)]
        axis = int(np.argmax(known.std(0)))
        assert np.corrcoef(seen[:, axis], known[:, axis])[0, 1] > least, name
    assert track.frame.tolist() == list(range(len(shown))) and track.valid.all()


def test_the_saved_session_is_a_track(tmp_path, session):
    _, track = session
    track.save(tmp_path / "live.npz")
    track = load_track(tmp_path / "live.npz")
    assert track.faces == (0,) and (np.diff(track.shape, axis=0) == 0).all() and np.abs(track.shape).max() > 0.1
    assert track.detail is not None and np.abs(track.detail).max() > 0
    inside = (track.landmarks > 0).all() and (track.landmarks < track.size).all()
    assert inside


def test_faces_that_go_are_predicted_and_then_forgotten(clip):
    with open_video(clip) as video:
        frames = [frame for frame, _ in zip(video, range(8), strict=False)]
    empty = np.full_like(frames[0].image, 90)
    with LiveTracker(TrackConfig(weights="none"), video.size, video.fps) as tracker:
        for frame in frames:
            tracker.look(frame)
        tracker._cut = lambda frame: False  # a hand before the lens, say: no cut
        away = [Frame(8 + k, 8 / 25 + 0.5 * k, empty) for k in range(7)]
        counts = [len(tracker.look(frame).rows) for frame in away]
        assert counts == [1, 1, 1, 1, 0, 0, 0]
        track = tracker.finish()
        assert track.valid.all() and len(track) == 8  # what came after was no face
        again = tracker.look(replace(frames[0], index=20, time=9.0))
        assert len(again.rows) == 1


def test_interrupting_ends_cleanly(clip):
    def stop(latency):
        raise KeyboardInterrupt

    source = PacedFile(clip)
    with LiveTracker(TrackConfig(weights="none"), source.size, source.fps) as tracker:
        latency = run_live(source, tracker, status=stop)
        assert latency.whole and len(tracker.finish()) <= len(latency.whole)
    assert "end to end" in str(latency) and "frames dropped" in str(latency)
    assert "no frame" in str(Latency())


def test_the_command(tmp_path, capsys, clip):
    out = tmp_path / "live.npz"
    assert main(["--camera", str(clip), "--out", str(out), "--weights", "none"]) == 0
    said = capsys.readouterr().out
    assert "latency, ms, median/95 %: waiting" in said and "frames dropped" in said
    assert len(load_track(out)) > 3


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--camera", "63"], "--camera 63: no such camera, or it gives no picture"),
        (["--camera", "none.mp4"], "none.mp4: no such file"),
        (["talk.mp4", "--camera", "0"], "--camera does not go with talk.mp4"),
        (["--camera", "0", "--report", "x"], "--camera does not go with --report"),
        (["--camera", "0", "--port", "80"], "--port goes with --view"),
        (["--camera", "0", "--out", "x.json"], "--out x.json: must be a name ending in .npz"),
        (["talk.mp4", "--out", "x.npz", "--view"], "--view and --port go with --camera"),
        (["talk.mp4"], "required: --out"),
    ],
)
def test_mistakes_are_one_line(words, text, capfd):
    assert main(words) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and text in error


def test_numbers_are_cameras():
    with pytest.raises(ValueError, match="no such camera"):
        open_live("63")
