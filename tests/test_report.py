"""The report: one file that needs nothing else, true to the track, for several faces, gaps and cuts."""

import re
from dataclasses import replace

import numpy as np
import pytest
from test_track import make_track

from model.io.assets import load_head
from tracker.commands import main
from tracker.report.chart import Axis, Line, line_chart
from tracker.report.make import make_report
from tracker.report.measures import curves, cuts, gaps, jitter, shake, strongest
from tracker.track import Track
from tracker.video import VideoWriter

NAMES = load_head("openhead").expression_names
SIZE = (320, 180)


def openhead_track(rows=(60, 30), seed=0, **changes) -> Track:
    """Faces that turn and talk, each further to the right; a gap in the first, and where there are several a cut."""
    rng = np.random.default_rng(seed)
    n = sum(rows)
    face = np.repeat(np.arange(len(rows)), rows)
    frame = np.concatenate([np.arange(r) for r in rows])
    t = frame / 25.0
    pose = np.stack([0.1 * np.sin(3 * t), 0.5 * np.sin(2 * t + face), 0 * t], 1)
    landmarks = rng.uniform(-20, 20, (1, 68, 2)) + np.stack([100 + 90 * face + 5 * np.sin(t), 90 + 0 * t], 1)[:, None]
    valid = np.ones(n, bool)
    valid[20:26] = False
    shot = (frame >= 10).astype(int) if len(rows) > 1 else np.zeros(n, int)
    asset = load_head("openhead")
    values = {
        "head": f"{asset.name}:{asset.digest[:12]}",
        "size": SIZE,
        "shape": (rng.normal(size=(len(rows), asset.shapedirs.shape[2])) * 0.5).astype(np.float32)[face],
        "expression": np.clip(np.sin(t[:, None] * rng.uniform(1, 9, len(NAMES))), 0, 1).astype(np.float32),
        "expression_names": NAMES,
        "pose": pose.astype(np.float32),
        "jaw": np.stack([0.1 + 0.1 * np.sin(9 * t), 0 * t, 0 * t], 1).astype(np.float32),
        "eyes": np.zeros((n, 6), np.float32),
        "camera": np.stack([400 + 0 * t, 100.0 + 90 * face, 80 + 0 * t], 1).astype(np.float32),
        "valid": valid,
        "confidence": np.where(valid, 0.9, 0.0).astype(np.float32),
        "shot": shot,
        "landmarks": landmarks.astype(np.float32),
        "box": np.concatenate([landmarks.min(1), landmarks.max(1)], 1).astype(np.float32),
        "time": t,
        "frame": frame,
        "video": "two<b>people.mp4",
    }
    return make_track(rows=rows, **(values | changes))


def noisy(track: Track, size: float) -> Track:
    noise = np.random.default_rng(1).normal(size=track.pose.shape) * size
    return replace(track, pose=(track.pose + noise).astype(np.float32))


def write_clip(path, frames=60):
    with VideoWriter(path, SIZE, 25) as writer:
        for k in range(frames):
            writer.write(np.full((SIZE[1], SIZE[0], 3), (4 * k, 90, 160), np.uint8))
    return path


@pytest.mark.parametrize("with_video", [True, False])
def test_one_page_with_everything_inside(tmp_path, with_video):
    track = openhead_track()
    video = write_clip(tmp_path / "clip.mp4") if with_video else None
    path = make_report(tmp_path / "made", "two", track, video=video)
    text = path.read_text()
    assert path == tmp_path / "made" / "two.report.html" and len(list(path.parent.iterdir())) == 1
    # Nothing is fetched: no address but those inside the page.
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "http" not in text.replace("http-equiv", "")
    assert "two&lt;b&gt;people.mp4" in text and "<b>people" not in text
    assert text.count("<section") == 2 and "frames 20–25 not seen" in text and "cuts at 0:00.40" in text
    assert text.count("data:image/jpeg") == 12 * 2 * (2 if with_video else 1)
    assert "is not kept in params.npz" in text and "before smoothing</th>" not in text


def test_jitter_before_and_after(tmp_path):
    track = openhead_track(rows=(200,), valid=np.ones(200, bool), confidence=np.full(200, 0.9, np.float32))
    raw = noisy(track, 0.01)
    rows = {row.name: row for row in jitter(track, raw)}
    turn = rows["turn of the head"]
    assert turn.before == pytest.approx(np.rad2deg(0.01), rel=0.2)
    assert turn.after < 0.1 * turn.before
    assert np.isnan(jitter(track, None)[1].before)
    text = make_report(tmp_path, "one", track, raw=raw).read_text()
    assert "before smoothing</th>" in text and "is not kept" not in text


def test_measures():
    track = openhead_track()
    first, last = track.of_face(0), track.of_face(1)
    angles = curves(first)
    assert np.abs(angles.turn[:, 1] - np.rad2deg(first.pose[:, 0])).max() < 2.5  # small turns nearly commute
    assert angles.turn[:, 0].max() == pytest.approx(np.rad2deg(0.5), abs=1)
    assert [(g.first, g.last) for g in gaps(first)] == [(20, 25)] and gaps(last) == []
    assert gaps(first)[0].seconds == pytest.approx(6 / 25)
    assert cuts(track) == pytest.approx([0.4])
    still = replace(first, landmarks=np.zeros_like(first.landmarks), valid=np.ones(len(first), bool))
    jump = still.landmarks.copy()
    jump[30] += 3.0
    assert not shake(still).any()
    assert shake(replace(still, landmarks=jump))[29:32] == pytest.approx(np.sqrt(2) * np.array([3, 6, 3]))


def test_the_sheet_shows_every_stretch_and_prefers_what_was_seen():
    track = openhead_track(rows=(60,))
    rows = strongest(track, 6)
    assert (rows // 10 == np.arange(6)).all() and track.valid[rows].all()
    assert len(strongest(track.select(slice(0, 3)), 12)) == 3


def test_long_curves_are_thinned_but_keep_their_peaks():
    n = 20_000
    values = np.zeros(n)
    values[[777, 12_345]] = 1.0, -1.0
    axis = Axis(np.arange(n) / 25, np.arange(n, dtype=float), [], np.zeros(0))
    chart = line_chart("x", "°", axis, [Line("a", values)])
    assert len(chart) < 100_000
    heights = {float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", chart)}
    assert len(heights) == 3  # rest, the peak up and the peak down


def test_the_command_and_its_mistakes(tmp_path, capsys):
    track = openhead_track(rows=(12,))
    track.save(tmp_path / "p.npz")
    assert main(["report", str(tmp_path / "p.npz"), "--out", str(tmp_path / "made")]) == 0
    said = capsys.readouterr()
    assert "p.report.html" in said.out and "without --video" in said.err
    other = write_clip(tmp_path / "two.mp4", 12)
    replace(track, size=(640, 360)).save(tmp_path / "q.npz")
    assert main(["report", str(tmp_path / "q.npz"), "--out", str(tmp_path), "--video", str(other)]) == 2
    assert "is 320×180, the track was made from 640×360" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "none.npz"), "--out", str(tmp_path)]) == 2
    assert "no such track" in capsys.readouterr().err


def test_heads_without_names_and_other_heads(tmp_path):
    track = make_track()
    with pytest.raises(ValueError, match="give the track's"):
        make_report(tmp_path, "x", track)
