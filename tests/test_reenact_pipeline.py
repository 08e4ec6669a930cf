"""The written file: its sound lies where the driver's does, it is marked, and the label can be seen."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from portrait import astronaut_target

from model.head import HeadModel
from model.io.assets import load_head
from reenact.driver import Driver
from reenact.pipeline import MARK, Reenactor, ViewConfig, write_reenactment
from reenact.target import Target
from reenact.transfer import calibrated_neutral
from reenact.views import CELL
from tracker.finish import head_id
from tracker.track import Track
from tracker.video import open_video

RATE, FPS, FRAMES = 44100, 25, 30
CLICK = 0.5  # s


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel(load_head())


@pytest.fixture(scope="module")
def target(head) -> Target:
    return astronaut_target(head, 200)


def driver_video(path: Path, codec: str) -> Path:
    """Grey pictures with a click in the sound."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(codec, rate=RATE, layout="mono")
        for _ in range(FRAMES):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8), format="rgb24")
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        wave = np.zeros(RATE * FRAMES // FPS, np.float32)
        wave[round(CLICK * RATE) : round(CLICK * RATE) + 60] = 0.9
        for start in range(0, len(wave), 1024):
            sound = av.AudioFrame.from_ndarray(wave[None, start : start + 1024].copy(), format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE, start, Fraction(1, RATE)
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return path


def sound_of(path: Path) -> tuple[float, float]:
    """When the click is heard, and when the sound ends, s."""
    wave, end, click, loudest = [], 0.0, 0.0, 0.0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            values = np.abs(frame.to_ndarray().astype(np.float64)).reshape(-1, frame.samples).max(0)
            wave.append(values)
            at = float(frame.pts * frame.time_base)
            if values.max() > loudest:
                loudest, click = values.max(), at + int(values.argmax()) / RATE
            end = at + frame.samples / RATE
    return click, end


def track_of(head: HeadModel, target: Target, video: str) -> Track:
    def rows(values) -> np.ndarray:
        return np.tile(np.asarray(values, np.float32), (FRAMES, 1))

    p, camera = target.params, np.r_[float(target.camera.s), target.camera.t.numpy()]
    jaw = rows(p.jaw)
    jaw[:, 0] += 0.1 * np.sin(np.arange(FRAMES) / 4) ** 2
    return Track(
        head=head_id(head),
        video=video,
        fps=float(FPS),
        size=(64, 48),
        face=np.zeros(FRAMES, int),
        frame=np.arange(FRAMES),
        time=np.arange(FRAMES) / FPS,
        shot=np.zeros(FRAMES, int),
        valid=np.ones(FRAMES, bool),
        confidence=np.ones(FRAMES),
        shape=rows(p.shape),
        expression=rows(p.expression),
        pose=rows(p.pose),
        neck=rows(p.neck),
        jaw=jaw,
        eyes=rows(p.eyes),
        camera=rows(camera),
        landmarks=np.zeros((FRAMES, 68, 2), np.float32),
        box=rows([0, 0, 64, 48]),
        expression_names=head.asset.expression_names,
    )


@pytest.mark.parametrize("codec", ["aac", "libmp3lame"])
def test_the_sound_is_the_drivers_to_the_frame(head, target, tmp_path, codec):
    driver = driver_video(tmp_path / "driver.mp4", codec)
    written = tmp_path / "out.mp4"
    reenactor = Reenactor(target, head)
    write_reenactment(written, reenactor, Driver(track_of(head, target, "driver.mp4"), driver))
    (wanted, length), (click, end) = sound_of(driver), sound_of(written)
    assert abs(wanted - CLICK) < 0.5 / FPS
    assert abs(click - wanted) < 1e-3
    assert abs(end - length) <= 1 / FPS
    with open_video(written) as video:
        frames = list(video)
    assert len(frames) == FRAMES and frames[0].time == 0.0
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(FRAMES) / FPS, atol=2e-3)
    with av.open(str(written)) as container:
        assert all(container.metadata[name] == text for name, text in MARK.items())


def test_the_label_is_seen_in_every_picture_and_nowhere_without(head, target):
    track = track_of(head, target, "driver.mp4").select(np.arange(4))
    plain = Reenactor(target, head).render(track)
    marked = Reenactor(target, head, show=ViewConfig(label=True)).render(track)
    for without, having in zip(plain, marked, strict=True):
        changed = np.abs(having.astype(int) - without).max(-1) > 60
        assert 0.0005 < changed.mean() < 0.05
        assert not changed[: len(changed) // 2].any()


def test_the_label_is_seen_in_the_grid_too(head, target):
    track = track_of(head, target, "driver.mp4").select(np.arange(1))
    cells = [
        next(Reenactor(target, head, show=ViewConfig("grid", label=label)).render(track))[:, -CELL:]
        for label in (False, True)
    ]
    changed = np.abs(cells[0].astype(int) - cells[1]).max(-1) > 60
    assert 0.0005 < changed.mean() < 0.05


def test_a_driver_that_is_the_photograph_gives_the_photograph(head, target):
    """No motion, no change: not a pixel."""
    track = track_of(head, target, "driver.mp4")
    still = replace(track, jaw=np.tile(target.params.jaw.numpy(), (FRAMES, 1))).select(np.arange(3))
    reenactor = Reenactor(target, head)
    reenactor.config = replace(reenactor.config, contact=False)
    for picture in reenactor.render(still):
        # Poses go through rotation matrices and back: a thousandth of a pixel may be left.
        assert np.abs(picture.astype(int) - target.image).max() <= 3
        assert (picture == target.image).mean() > 0.98


def test_heads_alike_in_a_batch_and_alone(head, target):
    track = track_of(head, target, "driver.mp4")
    reenactor = Reenactor(target, head)
    reenactor.config = replace(reenactor.config, contact=False)  # it looks at the whole clip
    rows, rest = [0, 9, 17], calibrated_neutral(track)
    whole = list(reenactor.render(track, rest=rest))
    alone = list(reenactor.render(track.select(np.array(rows)), rest=rest))
    for row, picture in zip(rows, alone, strict=True):
        assert np.abs(whole[row].astype(int) - picture).max() <= 2
