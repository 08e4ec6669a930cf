"""Shot cuts on made-up films: what is a cut and what only looks like one."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tracker.observation import Frame
from tracker.shots import number_shots


def scene(seed: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    """A smooth random picture, larger than the frame so that a camera can pan over it; [0, 1]."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.1, 0.9, (12, 16, 3))
    return np.kron(coarse, np.ones((size[0] * 2 // 12, size[1] * 2 // 16, 1)))


def film(pictures: list[np.ndarray], noise: float = 0.0) -> list[Frame]:
    rng = np.random.default_rng(0)
    frames = []
    for index, picture in enumerate(pictures):
        noisy = picture + noise * rng.standard_normal(picture.shape)
        frames.append(Frame(index, index / 25, (255 * np.clip(noisy, 0, 1)).astype(np.uint8)))
    return frames


def view(picture: np.ndarray, x: float = 0, y: float = 0) -> np.ndarray:
    return picture[int(y) : int(y) + 120, int(x) : int(x) + 160]


def cuts(frames: list[Frame]) -> list[int]:
    numbered = list(number_shots(frames))
    assert [frame.index for frame, _ in numbered] == list(range(len(frames)))  # none lost, none twice, in order
    shots = [shot for _, shot in numbered]
    assert shots[0] == 0
    return [index for index in range(1, len(shots)) if shots[index] != shots[index - 1]]


@pytest.mark.parametrize("noise", [0.0, 0.08])
def test_hard_cuts_are_found_where_they_are(noise: float) -> None:
    pictures = [view(scene(seed)) for seed, length in [(1, 20), (2, 3), (3, 30), (1, 10)] for _ in range(length)]
    assert cuts(film(pictures, noise)) == [20, 23, 53]


def test_cut_while_the_camera_moves() -> None:
    pan = [view(scene(1), x=2 * i) for i in range(30)] + [view(scene(2), y=2 * i) for i in range(30)]
    assert cuts(film(pan, 0.02)) == [30]


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_flashes_and_dropped_pictures_are_no_cuts(length: int, level: float) -> None:
    pictures = [view(scene(1))] * 20 + [np.full((120, 160, 3), level)] * length + [view(scene(1))] * 20
    assert cuts(film(pictures, 0.02)) == []


def test_exposure_fast_motion_and_noise_are_no_cuts() -> None:
    light = [0.4 * view(scene(1)) + 0.015 * i for i in range(30)]
    assert cuts(film(light, 0.02)) == []
    whip = [view(scene(1), x=min(max(0, 8 * (i - 10)), 160)) for i in range(40)]
    assert cuts(film(whip)) == []
    assert cuts(film([np.full((120, 160, 3), 0.5)] * 30, noise=0.2)) == []


def test_slowed_down_motion_with_repeated_pictures_is_no_cut() -> None:
    assert cuts(film([view(scene(1), x=5 * (i // 4)) for i in range(50)])) == []


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_short_films(count: int) -> None:
    frames = film([view(scene(1))] * count)
    assert len(list(number_shots(frames))) == count


def test_streams_two_frames_behind() -> None:
    taken = []

    def source():
        for frame in film([view(scene(1))] * 10):
            taken.append(frame.index)
            yield frame

    for frame, _ in number_shots(source()):
        assert len(taken) - frame.index <= 3


def test_cost_is_small() -> None:
    frames = [
        Frame(i, i / 25, np.random.default_rng(i).integers(0, 255, (512, 512, 3), np.uint8)) for i in range(8)
    ] * 5
    best = min(_seconds(frames) for _ in range(5))
    assert best / len(frames) < 1e-3  # 0.2 ms alone on the machine


def _seconds(frames: list[Frame]) -> float:
    start = time.process_time()
    for _ in number_shots(frames):
        pass
    return time.process_time() - start
