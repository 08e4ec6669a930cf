"""Filters with shared gains: the same as plain filterpy, the stated response, rotations on the manifold."""

import numpy as np
import pytest
from filterpy.common import Q_continuous_white_noise
from filterpy.kalman import KalmanFilter
from scipy.spatial.transform import Rotation

from tracker.kalman import GAP_SECONDS, filter_turns, filter_values, process_noise, work_out_gains

FPS = 25.0


def plain_filterpy(time, values, measured, variance, cutoff, causal):
    """One parameter through filterpy alone, as its manual has it."""
    kf = KalmanFilter(dim_x=2, dim_z=1)
    kf.x = np.array([values[0], 0.0])
    kf.P = np.diag([variance[0], 1e4 * FPS**2])
    kf.H = np.array([[1.0, 0.0]])
    density = process_noise(np.array([cutoff]), 1 / FPS)[0]
    means, covariances, Fs, Qs = [kf.x], [kf.P], [np.eye(2)], [np.eye(2)]
    for k in range(1, len(time)):
        dt = time[k] - time[k - 1]
        fade = np.exp(-dt / GAP_SECONDS)
        Fs.append(np.array([[1, dt], [0, 1]] if measured[k] else [[1, GAP_SECONDS * (1 - fade)], [0, fade]]))
        Qs.append(Q_continuous_white_noise(2, dt, density))
        kf.predict(F=Fs[k], Q=Qs[k])
        kf.update(values[k] if measured[k] else None, R=variance[k])
        means.append(kf.x)
        covariances.append(kf.P)
    means, covariances = np.array(means), np.array(covariances)
    return means[:, 0] if causal else kf.rts_smoother(means, covariances, Fs, Qs)[0][:, 0]


@pytest.fixture(scope="module")
def recording():
    """Six noisy parameters at uneven times, with gaps and changing confidence."""
    rng = np.random.default_rng(4)
    n = 90
    time = np.cumsum(rng.uniform(0.02, 0.08, n))
    values = np.sin(time[:, None] * rng.uniform(1, 9, 6)) + rng.normal(size=(n, 6)) * 0.1
    measured = rng.random(n) > 0.15
    measured[40:50] = False
    measured[0] = True
    return time, values, measured, rng.uniform(0.5, 20, n)


@pytest.mark.parametrize("causal", [False, True])
def test_equals_one_plain_filter_per_parameter(recording, causal):
    time, values, measured, variance = recording
    cutoffs, which = np.array([1.5, 4.0, 11.0]), np.array([0, 1, 2, 1, 0, 2])
    gains = work_out_gains(time, measured, variance, cutoffs, 1 / FPS, causal)
    result = filter_values(values, which, gains)
    for p in range(6):
        expected = plain_filterpy(time, values[:, p], measured, variance, cutoffs[which[p]], causal)
        np.testing.assert_allclose(result[:, p], expected, rtol=1e-6, atol=1e-7)


def test_rows_without_measurement_are_not_looked_at(recording):
    time, values, measured, variance = recording
    gains = work_out_gains(time, measured, variance, np.array([4.0]), 1 / FPS)
    which = np.zeros(6, int)
    other = np.where(measured[:, None], values, 1e6)
    np.testing.assert_array_equal(filter_values(values, which, gains), filter_values(other, which, gains))


@pytest.mark.parametrize("cutoff", [1.0, 2.0, 4.0])
def test_response_is_the_stated_low_pass_without_delay(cutoff):
    """At frequencies well under the frame rate, where discrete time is as continuous time."""
    time = np.arange(600) / 60
    gains = work_out_gains(time, np.ones(600, bool), np.ones(600), np.array([cutoff]), 1 / 60)
    frequency = np.array([0.5, 1.0, 2.0]) * cutoff
    signal = np.sin(2 * np.pi * frequency * time[:, None])
    smooth = filter_values(signal, np.zeros(3, int), gains)
    inside = slice(150, 450)
    amplitude = (smooth[inside] * signal[inside]).sum(0) / (signal[inside] ** 2).sum(0)
    np.testing.assert_allclose(amplitude, 1 / (1 + np.array([0.5, 1.0, 2.0]) ** 4), atol=0.03)
    quadrature = (smooth[inside] * np.cos(2 * np.pi * frequency * time[inside, None])).sum(0)
    np.testing.assert_allclose(quadrature / (signal[inside] ** 2).sum(0), 0, atol=0.01)


def test_constant_velocity_passes_whole():
    time = np.sort(np.random.default_rng(0).uniform(0, 4, 80))
    values = np.stack([3 + 2 * time, -time], 1)
    for causal in (False, True):
        gains = work_out_gains(time, np.ones(80, bool), np.ones(80), np.array([1.0]), 1 / FPS, causal)
        np.testing.assert_allclose(filter_values(values, np.zeros(2, int), gains), values, atol=2e-3)


def test_less_trusted_rows_count_less():
    time, values, variance = np.arange(41) / FPS, np.zeros((41, 1)), np.ones(41)
    values[20] = 1.0
    which = np.zeros(1, int)
    even = filter_values(values, which, work_out_gains(time, variance > 0, variance, np.array([4.0]), 1 / FPS))
    variance[20] = 100.0
    doubted = filter_values(values, which, work_out_gains(time, variance > 0, variance, np.array([4.0]), 1 / FPS))
    assert 0.1 < even[20, 0] < 0.9 and doubted[20, 0] < 0.1 * even[20, 0]


def random_turns(n, seed=0, size=0.02):
    """A head that nods and turns, with noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / FPS
    path = Rotation.from_rotvec(np.stack([0.3 * np.sin(3 * t), 0.6 * np.sin(1.3 * t), 0.2 * np.sin(2 * t)], 1))
    return Rotation.from_rotvec(rng.normal(size=(n, 3)) * size) * path, path


def uniform_gains(n, cutoff=3.0, causal=False):
    return work_out_gains(np.arange(n) / FPS, np.ones(n, bool), np.ones(n), np.array([cutoff]), 1 / FPS, causal)


@pytest.mark.parametrize("causal", [False, True])
def test_rotations_do_not_depend_on_the_axes(causal):
    """Turning the camera, or the head's own axes, turns the result: at any angle, also near π."""
    turns, _ = random_turns(60)
    gains = uniform_gains(60, causal=causal)
    result = Rotation.from_quat(filter_turns(turns.as_quat(), 0, gains))
    rng = np.random.default_rng(3)
    for other in [*Rotation.random(3, random_state=rng), Rotation.from_rotvec([0, 0, np.pi])]:
        for left, right in ((other, Rotation.identity()), (Rotation.identity(), other)):
            moved = Rotation.from_quat(filter_turns((left * turns * right).as_quat(), 0, gains))
            assert (moved.inv() * left * result * right).magnitude().max() < 1e-9


def test_the_sign_of_a_quaternion_does_not_matter():
    turns, _ = random_turns(60)
    gains, signs = uniform_gains(60), np.random.default_rng(0).choice([-1.0, 1.0], (60, 1))
    a, b = filter_turns(turns.as_quat(), 0, gains), filter_turns(turns.as_quat() * signs, 0, gains)
    assert (Rotation.from_quat(a).inv() * Rotation.from_quat(b)).magnitude().max() < 1e-9


@pytest.mark.parametrize("causal", [False, True])
def test_about_one_axis_rotations_are_numbers(causal):
    angle = np.random.default_rng(0).normal(size=(60, 1)) * 0.05 + np.linspace(0, 9, 60)[:, None]  # more than a turn
    gains, axis = uniform_gains(60, causal=causal), np.array([[0.6, 0.0, 0.8]])
    turns = filter_turns(Rotation.from_rotvec(angle * axis).as_quat(), 0, gains)
    expected = Rotation.from_rotvec(filter_values(angle, np.zeros(1, int), gains) * axis)
    assert (Rotation.from_quat(turns).inv() * expected).magnitude().max() < 1e-8


def test_small_rotations_are_vectors():
    small = np.random.default_rng(0).normal(size=(60, 3)) * 1e-4
    gains = uniform_gains(60)
    turns = Rotation.from_quat(filter_turns(Rotation.from_rotvec(small).as_quat(), 0, gains)).as_rotvec()
    np.testing.assert_allclose(turns, filter_values(small, np.zeros(3, int), gains), atol=1e-7)


def test_a_spinning_head_is_smoothed_as_a_still_one():
    """Noise on a spin of 250° a second falls as much as noise on a head at rest."""
    rng = np.random.default_rng(0)
    t = np.arange(200) / FPS
    noise = Rotation.from_rotvec(rng.normal(size=(200, 3)) * 0.03)
    gains = uniform_gains(200)
    left = []
    for speed in (0.0, 4.4):
        path = Rotation.from_rotvec(t[:, None] * np.array([0.0, 0.8, 0.6]) * speed)
        smooth = Rotation.from_quat(filter_turns((noise * path).as_quat(), 0, gains))
        left.append(np.sqrt(np.mean((path.inv() * smooth).magnitude() ** 2)))
    assert left[1] < 1.1 * left[0] < 0.6 * 0.03 * np.sqrt(3)
