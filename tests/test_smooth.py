"""Smoothing of tracks: less noise, no delay, cuts and gaps respected, nothing lost of fast motion."""

import time as clock
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_track import make_track, same

from tracker.smooth import SmoothConfig, cutoff_hz, measured_noise, segments, smooth_track
from tracker.track import Track

FPS = 25.0
PIVOT, ANCHOR = np.array([0.0, -0.12, -0.03]), np.array([0.0, 0.03, 0.07])
NAMES = ("eyeBlinkLeft", "mouthSmileLeft", "browInnerUp", "cheekPuff", "jawForward", "mouthPucker", "a", "b")
MOVING = ("expression", "pose", "neck", "jaw", "eyes", "camera")


def moving_track(n=300, noise=1.0, seed=0, middle=None, **changes) -> tuple[Track, Track]:
    """A head that talks, nods and drifts: as measured, and as it is. `noise` 1 is the noise of poor landmarks."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / FPS
    pose = Rotation.from_rotvec(
        np.stack([0.15 * np.sin(4 * t), 0.4 * np.sin(1.7 * t + 1), 0.1 * np.sin(2.2 * t)], 1)
    ) * (middle or Rotation.identity())
    unit = 0.5 + 0.4 * np.sin(t[:, None] * rng.uniform(2, 12, 8))
    jaw = np.stack([0.15 + 0.1 * np.sin(11 * t), 0 * t, 0 * t], 1)
    eyes = 0.2 * np.sin(t[:, None] * rng.uniform(2, 8, 6))
    scale = 1500 * np.exp(0.1 * np.sin(0.8 * t))
    place = np.stack([320 + 80 * np.sin(1.1 * t), 180 + 30 * np.sin(2.3 * t)], 1)

    def build(noise: float) -> Track:
        def jitter(size: float, *shape: int) -> np.ndarray:
            return rng.normal(size=(n, *shape)) * size * noise

        turned = Rotation.from_rotvec(jitter(0.012, 3)) * pose
        s = scale * np.exp(jitter(0.006))
        shift = (PIVOT + turned.apply(ANCHOR - PIVOT))[:, :2] * (1, -1)
        camera = np.column_stack([s, place + jitter(1.0, 2) - s[:, None] * shift])
        values = {
            "pose": turned.as_rotvec(),
            "expression": np.clip(unit + jitter(0.05, 8), 0, 1),
            "jaw": jaw + jitter(0.012, 3),
            "eyes": eyes + jitter(0.03, 6),
            "camera": camera,
            "time": t,
            "confidence": np.full(n, 0.9),
            "valid": np.ones(n, bool),
            "expression_names": NAMES,
        }
        return make_track(rows=(n,), **(values | changes))

    return build(noise), build(0.0)


def error(track: Track, truth: Track, name: str) -> float:
    if name == "pose":
        turns = Rotation.from_rotvec(track.pose) * Rotation.from_rotvec(truth.pose).inv()
        return float(np.sqrt(np.mean(turns.magnitude() ** 2)))
    if name == "camera":  # where the face is: a translation means nothing without its rotation
        return float(np.sqrt(np.mean((place(track) - place(truth)) ** 2)))
    return float(np.sqrt(np.mean((getattr(track, name) - getattr(truth, name)) ** 2)))


def place(track: Track) -> np.ndarray:
    posed = PIVOT + Rotation.from_rotvec(track.pose).apply(ANCHOR - PIVOT)
    return track.camera[:, :1] * posed[:, :2] * (1, -1) + track.camera[:, 1:]


def smooth(track: Track, **settings) -> Track:
    return smooth_track(track, SmoothConfig(**settings), PIVOT, ANCHOR)


def lag(moved: np.ndarray, truth: np.ndarray) -> float:
    """By how many rows `moved` comes later: peak of the normalised cross-correlation, to a fraction of a row."""
    shifts = np.arange(-6, 7)
    middle = slice(10, len(truth) - 10)
    c = [np.corrcoef(np.roll(moved, -k)[middle], truth[middle])[0, 1] for k in shifts]
    i = int(np.clip(np.argmax(c), 1, len(c) - 2))
    return float(shifts[i] + 0.5 * (c[i - 1] - c[i + 1]) / (c[i - 1] - 2 * c[i] + c[i + 1]))


@pytest.mark.parametrize(
    "name, goal", [("pose", 0.6), ("camera", 0.6), ("jaw", 0.7), ("eyes", 0.7), ("expression", 0.7)]
)
def test_noise_falls(name, goal):
    noisy, truth = moving_track(noise=0.4)
    assert error(smooth(noisy), truth, name) < goal * error(noisy, truth, name)


def test_motion_is_not_taken_for_noise():
    """A head shaken five times a second, filmed from a shaking hand: what fixed averaging would wipe out."""
    noisy, _ = moving_track(noise=0.2)
    t = noisy.time
    pose = np.stack([0 * t, 0.2 * np.sin(2 * np.pi * 5 * t), 0 * t], 1)
    camera = np.column_stack([np.full(300, 1500.0), 300 + 30 * np.sin(2 * np.pi * 4 * t), np.full(300, 200.0)])
    shaken = replace(noisy, pose=pose, camera=camera)
    for method in ("kalman", "causal"):
        result = smooth(shaken, method=method)
        assert error(result, shaken, "pose") < 0.01 and error(result, shaken, "camera") < 1.0
    fixed = smooth(shaken, adapt=False)
    assert error(fixed, shaken, "pose") > 0.1 and error(fixed, shaken, "camera") > 10


def test_quiet_between_two_blinks():
    """Averaging stops for the blink only: before and after, the noise of the lid is gone."""
    noisy, _ = moving_track(n=200, noise=0.4)
    t = np.arange(200) / FPS
    blinks = sum(np.clip(1 - np.abs(t - at) / 0.08, 0, 1) for at in (2.0, 6.0))
    lid = np.zeros((200, 8))
    lid[:, 0] = 0.2 + 0.8 * blinks
    jitter = np.random.default_rng(0).normal(size=(200, 8)) * 0.02
    result = smooth(replace(noisy, expression=np.clip(lid + jitter, 0, 1))).expression[:, 0]
    assert result[[50, 150]].min() > 0.93
    still = slice(80, 120)
    assert np.std(result[still] - lid[still, 0]) < 0.75 * np.std(jitter[still, 0])


@pytest.mark.parametrize("method, most", [("kalman", 0.1), ("causal", 0.5)])
def test_lag_is_under_half_a_frame(method, most):
    noisy, truth = moving_track(n=600, noise=0.5)
    result = smooth(noisy, method=method)
    for name, column in (("jaw", 0), ("pose", 1), ("expression", 1), ("eyes", 2), ("camera", 0)):
        assert abs(lag(getattr(result, name)[:, column], getattr(truth, name)[:, column])) < most


def test_a_blink_keeps_its_depth():
    """Eyes shut and open again within 150 ms: the most that smoothing at usual noise may take of it is a tenth."""
    noisy, _ = moving_track(n=100, noise=0.3)
    t = np.arange(100) / FPS
    units = noisy.expression.copy()
    units[:, 0] = np.clip(1.2 - np.abs(t - 2.0) / 0.075, 0, 1)
    for method in ("kalman", "causal"):
        assert smooth(replace(noisy, expression=units), method=method).expression[48:53, 0].max() > 0.9


def test_what_is_taken_away_is_of_the_size_of_the_noise():
    for noise in (0.01, 0.1, 1.0):
        noisy, _ = moving_track(noise=noise)
        change = np.sqrt(np.mean((smooth(noisy).eyes - noisy.eyes) ** 2))
        assert 0.2 * noise * 0.03 < change < 1.6 * noise * 0.03


def test_measured_noise():
    rng = np.random.default_rng(0)
    t = np.arange(500) / FPS
    signal = np.stack([np.sin(6 * t), 0 * t, np.clip(np.sin(t), 0, 1), 0 * t], 1)
    sizes = np.array([0.01, 0.002, 0.005, 0.0])
    valid = rng.random(500) > 0.05
    values = np.where(valid[:, None], signal + rng.normal(size=signal.shape) * sizes, 1e3)
    noise = measured_noise(values, valid)
    np.testing.assert_allclose(noise[:3], sizes[:3], rtol=0.15)
    assert np.isnan(noise[3])  # a constant says nothing
    assert np.isnan(measured_noise(values[:4], valid[:4])).all()


def test_averaging_time_and_cutoff():
    """Averaging over T leaves of white noise what a mean over T does: variance Δt / T."""
    noisy, _ = moving_track(n=1500, noise=0.0)
    still = replace(noisy, jaw=np.random.default_rng(0).normal(size=(1500, 3)) * 0.01, pose=0 * noisy.pose)
    result = smooth(still, averaging_ms=1000.0, adapt=False)
    # rounding of the cut-off to quarter octaves: up to 9 %; the jaw is averaged over 0.5 of the time
    assert np.var(result.jaw) / np.var(still.jaw) == pytest.approx(0.04 / 0.5, rel=0.2)
    assert cutoff_hz(np.array([150.0]))[0] == pytest.approx(4.0, rel=0.01)


def test_more_averaging_moves_more():
    noisy, _ = moving_track()
    moved = [np.abs(smooth(noisy, averaging_ms=ms).pose - noisy.pose).mean() for ms in (20.0, 80.0, 300.0)]
    assert moved[0] < moved[1] < moved[2]


@pytest.mark.parametrize("settings", [{"method": "none"}, {"averaging_ms": 0.0}])
def test_none_is_the_identity(settings):
    noisy, _ = moving_track(n=40)
    assert same(smooth(noisy, **settings), noisy)


@pytest.mark.parametrize("method", ["kalman", "causal"])
def test_inputs_are_not_changed_and_types_are_kept(method):
    noisy, _ = moving_track(n=40)
    noisy = replace(noisy, pose=noisy.pose.astype(np.float32), jaw=noisy.jaw.astype(np.float32))
    before = replace(noisy, **{name: getattr(noisy, name).copy() for name in MOVING})
    result = smooth(noisy, method=method)
    assert same(noisy, before)
    assert result.pose.dtype == np.float32 and result.camera.dtype == np.float64
    for name in ("landmarks", "box", "shape", "valid", "confidence", "time"):
        np.testing.assert_array_equal(getattr(result, name), getattr(noisy, name))


def test_cuts_are_respected():
    """A shot comes out as if it were alone, and so does a face, but for rounding: vector units take rows in groups."""
    noisy, _ = moving_track(n=120)
    cut = replace(noisy, shot=np.repeat([0, 1], [50, 70]), pose=noisy.pose + np.repeat([0.0, 0.9], [50, 70])[:, None])
    whole = smooth(cut)
    other = smooth(replace(cut, shot=np.zeros(120, int), face=np.repeat([0, 1], [50, 70])))
    for rows in (slice(0, 50), slice(50, 120)):
        alone = smooth(cut.select(rows))
        for name in MOVING:
            np.testing.assert_allclose(getattr(whole, name)[rows], getattr(alone, name), rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(getattr(other, name)[rows], getattr(alone, name), rtol=1e-12, atol=1e-12)
    assert segments(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == [slice(0, 1), slice(1, 2), slice(2, 4)]


@pytest.mark.parametrize("method", ["kalman", "causal"])
def test_gaps_are_predicted(method):
    noisy, truth = moving_track(n=150, noise=0.2)
    valid = np.ones(150, bool)
    valid[[0, 1, 20, 60, 61, 62, 149]] = False
    valid[90:140] = False  # two seconds
    junk = np.where(valid[:, None], noisy.pose, 2.0)
    gaps = replace(noisy, valid=valid, pose=junk, camera=np.where(valid[:, None], noisy.camera, [[9000.0, 0.0, 0.0]]))
    result = smooth(gaps, method=method)
    rows = slice(0 if method == "kalman" else 2, None)  # nothing is known before the first measurement
    for name in MOVING:
        assert np.isfinite(getattr(result, name)).all()
    assert result.camera[rows, 0].max() < 2000 and result.camera[rows, 0].min() > 1000
    turned = (Rotation.from_rotvec(result.pose) * Rotation.from_rotvec(truth.pose).inv()).magnitude()
    assert turned[rows][:85].max() < 0.15 and turned[rows].max() < 1.2  # short gaps are bridged, long ones stay sane


def test_a_face_seen_once_or_never_stays():
    noisy, _ = moving_track(n=6)
    never = replace(noisy, valid=np.zeros(6, bool))
    assert same(smooth(never), never)
    once = smooth(replace(noisy, valid=np.arange(6) == 3))
    np.testing.assert_allclose(once.jaw, np.repeat(noisy.jaw[3:4], 6, 0), atol=1e-12)
    single = noisy.select(slice(2, 3))
    np.testing.assert_allclose(smooth(single).camera, single.camera, rtol=1e-12)


def test_uneven_times_are_used():
    """The same motion, measured at uneven times, is found better with its times than without."""
    rng = np.random.default_rng(2)
    t = np.cumsum(rng.choice([0.02, 0.04, 0.12], 300))
    jaw = np.stack([0.2 * np.sin(4 * t), 0 * t, 0 * t], 1)
    base, _ = moving_track(n=300)
    track = replace(base, time=t, jaw=jaw + rng.normal(size=(300, 3)) * 0.01, fps=300 / t[-1])
    with_times = smooth(track, adapt=False, averaging_ms=400.0).jaw
    without = smooth(replace(track, time=np.linspace(0, t[-1], 300)), adapt=False, averaging_ms=400.0).jaw
    assert np.mean((with_times - jaw) ** 2) < 0.8 * np.mean((without - jaw) ** 2)


def test_causal_does_not_look_ahead():
    noisy, _ = moving_track(n=80)
    later, _ = moving_track(n=80, seed=5)
    future = {
        name: np.where(np.arange(80)[:, None] < 50, getattr(noisy, name), getattr(later, name)) for name in MOVING
    }
    changed = replace(
        noisy, **future, confidence=np.where(np.arange(80) < 50, 0.9, 0.3), valid=np.arange(80) < 70,
        time=np.where(np.arange(80) < 50, noisy.time, noisy.time + 0.2),
    )  # fmt: skip
    a, b = smooth(noisy, method="causal"), smooth(changed, method="causal")
    for name in MOVING:
        np.testing.assert_array_equal(getattr(a, name)[:50], getattr(b, name)[:50])
        assert np.abs(getattr(a, name)[50:] - getattr(b, name)[50:]).max() > 0 or name == "neck"


@pytest.mark.parametrize("middle", [[0.0, 0.0, 0.0], [0.0, 0.0, np.pi], [0.0, np.pi, 0.0], [2.2, 2.2, 0.3]])
def test_rotations_near_half_a_turn(middle):
    """An upside-down head, whose axis-angle jumps from +π to −π, is smoothed as an upright one."""
    noisy, truth = moving_track(middle=Rotation.from_rotvec(middle))
    upright, upright_truth = moving_track()
    assert error(smooth(noisy), truth, "pose") == pytest.approx(error(smooth(upright), upright_truth, "pose"), rel=1e-6)


def test_the_face_stays_in_place_though_its_root_is_far():
    """Noise of the rotation, levered to the root joint, cancels at the face: smoothing must keep that."""
    noisy, truth = moving_track(noise=0.0)
    rng = np.random.default_rng(0)
    turned = Rotation.from_rotvec(rng.normal(size=(300, 3)) * 0.03) * Rotation.from_rotvec(truth.pose)
    shift = (PIVOT + turned.apply(ANCHOR - PIVOT))[:, :2] * (1, -1)
    camera = np.column_stack([truth.camera[:, 0], place(truth) - truth.camera[:, :1] * shift])
    levered = replace(noisy, pose=turned.as_rotvec(), camera=camera)
    assert np.abs(camera[:, 1:] - truth.camera[:, 1:]).std() > 2.0
    assert np.abs(place(smooth(levered)) - place(truth)).max() < 0.5


def test_expression_stays_in_its_range_for_openhead_only():
    noisy, _ = moving_track(noise=0.0)
    steps = np.tile((np.arange(300) // 12 % 2).astype(float)[:, None], (1, 8))
    noisy = replace(noisy, expression=steps)
    result = smooth(noisy, adapt=False, averaging_ms=500.0).expression
    assert result.min() == 0 and result.max() == 1
    codes = smooth(replace(noisy, head="flame2020:0", expression_names=()), adapt=False, averaging_ms=500.0).expression
    assert codes.min() < 0 and codes.max() > 1


def test_light_and_detail_are_smoothed_where_present():
    noisy, _ = moving_track(n=60)
    rng = np.random.default_rng(0)
    rich = replace(noisy, light=rng.normal(size=(60, 9, 3)) * 0.02, detail=rng.normal(size=(60, 16)) * 0.1)
    result = smooth(rich)
    assert np.std(result.light) < 0.7 * np.std(rich.light) and np.std(result.detail) < 0.8 * np.std(rich.detail)
    for name in MOVING:
        np.testing.assert_allclose(getattr(result, name), getattr(smooth(noisy), name), atol=1e-9)


@pytest.mark.parametrize("settings", [{"averaging_ms": -1.0}, {"averaging_ms": float("nan")}, {"averaging_ms": 1e6}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match=r"^smooth\.\w+ must"):
        SmoothConfig(**settings)


def test_it_is_quick():
    """Milliseconds for a frame, at most; generous, as types are checked here and other programs may be running."""
    noisy, _ = moving_track(n=600)
    start = clock.perf_counter()
    smooth(noisy)
    assert (clock.perf_counter() - start) / 600 < 1e-2
